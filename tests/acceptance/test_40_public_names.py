"""The public names of webds are pinned: whoever changes them changes this list, and writes a change note."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from typing import Final

import pytest

import webds

PINNED: Final = """
AudioDecoder BaseDataset BatchError CachingOpener Codec CommandOpener Dataset DatasetBuilder DecodeError Decoder
Displacement EmptyDatasetError EncodeError Encoder EpochPlan ErrorBudgetError FieldError FileOpener FsspecOpener
GzipCodec HttpOpener IMAGE_SPECS ImageCodec ImageSpec IndexedDataset IndexedSource IndexedTarSource IntCodec JsonCodec
LengthError Loader Loss MemorySource MissingExtraError MsgpackCodec NoSplit NpyCodec NpzCodec ObjectStoreOpener
OpenError Opener PickleCodec PipeOpener Place Policy Replay Retry Sample SampleError SampleInfo SchemeOpener
ShardWriter Sink Source SplitByNode SplitByNodeAndWorker SplitByWorker SplitError SplitExplicit Splitter StageTime
StaleIndexError StateError Stats StdioOpener TarFormatError TarSource TarWriter TenbinCodec TextCodec TorchCodec
UntrustedDataError UrlError Video VideoDecoder WebDataset WebdsError WorkerError WriteError base_plus_ext build_index
check checkcallable checkmember checknotnone checkrange checks checktype collate concat decode_buffer default_handlers
encode_buffer field from_hf gopen ignore_and_continue ignore_and_stop imagehandler load mix read reader replay
reraise_exception round_robin save scheme_to_command sctp_recv sctp_send tariterator tenbin to_hf warn_and_continue
warn_and_stop write zrecv_multipart zrecv_single zsend_multipart zsend_single
"""
NAMES: Final = tuple(PINNED.split())


def names_for_type_checkers() -> dict[str, str]:
    """Return name → module of what webds/__init__.py imports under ``if TYPE_CHECKING``."""
    tree = ast.parse(inspect.getsource(webds))
    guards = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    assert len(guards) == 1
    found: dict[str, str] = {}
    for statement in guards[0].body:
        assert isinstance(statement, ast.ImportFrom)
        for alias in statement.names:
            assert alias.asname == alias.name, f"{alias.name} is not marked as exported: import it as itself"
            assert alias.name not in found, f"{alias.name} is imported twice"
            found[alias.name] = statement.module or ""
    return found


def run(code: str) -> str:
    """Run code in a fresh process and return what it printed."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_40_the_public_names_are_these() -> None:
    assert sorted(webds.__all__) == sorted(NAMES)


def test_40_no_name_is_listed_twice() -> None:
    assert len(set(webds.__all__)) == len(webds.__all__)


def test_40_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    seen = names_for_type_checkers()
    assert sorted(seen) == sorted(webds.__all__)
    modules = dict.fromkeys(webds._MODULES, "webds")
    assert seen == webds._MODULE_OF | modules


def test_40_a_star_import_brings_all_of_them() -> None:
    namespace: dict[str, object] = {}
    exec("from webds import *", namespace)
    assert set(NAMES) <= set(namespace)


def test_40_dir_lists_all_of_them() -> None:
    assert set(NAMES) <= set(dir(webds))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_40_every_name_is_what_its_module_calls_so(name: str) -> None:
    value = getattr(webds, name)
    module = webds._MODULE_OF.get(name)
    expected = importlib.import_module(f"webds.{name}") if module is None else getattr(sys.modules[module], name)
    assert value is expected
    assert getattr(webds, name) is value


def test_40_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonesuch'"):
        getattr(webds, "nonesuch")  # noqa: B009  # type checkers know that it is not there
    assert not hasattr(webds, "nonesuch")


def test_40_the_version_is_that_of_the_package() -> None:
    assert webds.__version__.count(".") >= 2


def test_40_import_webds_brings_no_heavy_package() -> None:
    code = (
        "import sys, webds; dir(webds); webds.__version__; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = set(run(code).split())
    assert "webds" in loaded
    heavy = {"torch", "PIL", "numpy", "attrs", "attr", "urllib3", "fsspec", "bracex", "av", "soundfile", "msgpack"}
    assert not loaded & heavy


def test_40_what_needs_no_torch_or_pillow_brings_neither() -> None:
    names = (
        "WebdsError", "Opener", "Sink", "Source", "Splitter", "Codec", "TarWriter", "ShardWriter", "gopen",
        "scheme_to_command", "checks", "tenbin", "default_handlers", "Policy", "TarSource", "SplitByNode",
    )  # fmt: skip
    code = (
        f"import sys, webds; [getattr(webds, name) for name in {names!r}]; print({{'torch', 'PIL'}} & set(sys.modules))"
    )
    assert run(code).strip() == "set()"


def test_40_each_name_can_be_the_first_that_is_touched() -> None:
    """No name depends on another having been imported before: every module that holds one imports by itself."""
    modules = sorted({*webds._MODULE_OF.values(), *(f"webds.{name}" for name in webds._MODULES)})
    code = (
        "import importlib, sys\n"
        f"for module in {modules!r}:\n"
        "    for name in [name for name in sys.modules if name.partition('.')[0] == 'webds']:\n"
        "        del sys.modules[name]\n"
        "    importlib.import_module(module)\n"
        "    print(module)\n"
    )
    assert run(code).split() == modules
