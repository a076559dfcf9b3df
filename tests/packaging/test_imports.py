"""What importing the package loads."""

from __future__ import annotations

import subprocess
import sys

LAZY = {
    "torch", "PIL", "av", "fsspec", "jinja2", "msgpack", "pytest", "ray", "soundfile", "urllib3", "zmq", "zstandard",
}  # fmt: skip
WITH_TORCH = (
    "webds.testing", "webds.datasets", "webds.plans.resuming",
    "webds.tools.bench", "webds.cli.bench", "webds.tools.planning", "webds.cli.plan", "webds.ray",
)  # fmt: skip
LOADED = f"import sys; print(*({LAZY} & sys.modules.keys()))"
EVERY_LOWER_MODULE = f"""
import importlib, pathlib, webds
folder = pathlib.Path(webds.__file__).parent
names = [".".join(("webds", *path.relative_to(folder).with_suffix("").parts)) for path in folder.rglob("*.py")]
for name in names:
    if not name.startswith({WITH_TORCH}) and not name.endswith("__"):
        importlib.import_module(name)
"""


def loaded_by(code: str) -> set[str]:
    """Return which of the lazy packages a new process has loaded after ``code``."""
    run = subprocess.run([sys.executable, "-c", f"{code}\n{LOADED}"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_importing_the_package_loads_nothing_heavy_or_optional() -> None:
    assert loaded_by("import webds") == set()


def test_importing_any_module_below_the_dataset_loads_nothing_heavy_or_optional() -> None:
    assert loaded_by(EVERY_LOWER_MODULE) == set()


def test_the_test_would_notice() -> None:
    assert loaded_by("import PIL, pytest") == {"PIL", "pytest"}
