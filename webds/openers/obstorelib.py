"""The library obstore, also in a process that was forked after it was loaded.

The runtime of obstore has threads, which a forked process does not inherit: there, every call would wait forever, and
DataLoader workers are forked where nobody says otherwise. The library offers no way to begin anew. What helps is a
second copy of it, which knows nothing of the first: its code is loaded from a copy of its file, since the system
gives the same file out once only.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Generator
from importlib.machinery import ExtensionFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from typing import Final, Generic, final

from typing_extensions import TypeVar

from webds.errors import MissingExtraError, OpenError

__all__ = ["Owned", "ensure", "is_installed"]

T = TypeVar("T")
_NAME: Final = "obstore"
_EXTENSION: Final = "obstore._obstore"


@final
class _State:
    """What is known of this process.

    Attributes:
        generation: how many forks it is away from the process that loaded this module.
        stale: whether obstore was loaded by the process that this one was forked from.
        kept: what belongs to that process. To release it here would end connections there, which share the
            system's objects with the copies here.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.stale = False
        self.kept: list[object] = []
        self.lock = threading.Lock()

    def after_fork(self) -> None:
        self.generation += 1
        self.stale = _NAME in sys.modules
        self.lock = threading.Lock()


_state: Final = _State()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_state.after_fork)


def is_installed() -> bool:
    """Return whether obstore is there to be loaded."""
    return find_spec(_NAME) is not None


def ensure() -> None:
    """See to it that ``import obstore`` gives a library that this process can use.

    Raises:
        MissingExtraError: it is not installed.
        OpenError: it was loaded before this process was forked, and cannot be loaded again.
    """
    with _state.lock:
        if _state.stale:
            _load_again()
            _state.stale = False
        try:
            importlib.import_module("obstore.store")
        except ImportError as error:
            raise MissingExtraError("object stores need the package obstore: pip install 'webds[cloud]'") from error


def _load_again() -> None:
    """Put a second copy of obstore into the place of the first."""
    old = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == _NAME}
    _state.kept.append(old)
    for name in old:
        del sys.modules[name]
    try:
        with _copy(str(old[_EXTENSION].__file__)) as path:
            _load_extension(path)
        importlib.import_module("obstore.store")
    except Exception as error:
        sys.modules.update(old)
        raise OpenError(
            "obstore was loaded before this process was forked, and cannot be loaded again here; start workers with "
            f'multiprocessing_context="spawn" or "forkserver" ({type(error).__name__}: {error})'
        ) from error


def _load_extension(path: str) -> None:
    spec = spec_from_file_location(_EXTENSION, path, loader=ExtensionFileLoader(_EXTENSION, path))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[_EXTENSION] = module
    spec.loader.exec_module(module)


@contextlib.contextmanager
def _copy(path: str) -> Generator[str]:
    """Make a copy of a file, in memory where the system can, and remove it again; what was loaded stays."""
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open(path, "rb"))
        if sys.platform == "linux":
            target = stack.enter_context(open(os.memfd_create(_EXTENSION), "wb"))
            name = f"/proc/self/fd/{target.fileno()}"
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="webds-"))
            target = stack.enter_context(open(os.path.join(folder, os.path.basename(path)), "wb"))
            name = target.name
        shutil.copyfileobj(source, target, 1 << 20)
        target.flush()
        yield name


@final
class Owned(Generic[T]):
    """Something that obstore made, to be used and released by the process that got it, and by no other.

    Args:
        value: what it is.
    """

    def __init__(self, value: T) -> None:
        self.value: T = value
        self._generation = _state.generation

    @property
    def is_ours(self) -> bool:
        """Whether this process got it."""
        return self._generation == _state.generation

    def __del__(self) -> None:
        if not self.is_ours:
            _state.kept.append(self.value)
