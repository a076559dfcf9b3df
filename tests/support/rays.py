"""A Ray cluster for tests: two processors, in processes that are none of ours."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

import pytest

__all__ = ["connected", "killing", "serving_ray"]

_CLUSTER: Final = """
import sys, ray
ray.init(num_cpus=2, object_store_memory=100_000_000, include_dashboard=False, logging_level="error")
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def serving_ray() -> Generator[str]:
    """Run a cluster, and return its address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")  # or it leaves a token in the home folder
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or it warns
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # not the folder of this file: engines say it
        command = [sys.executable, "-c", _CLUSTER]
        # Not in the folder of the tests: tasks are to find relative paths all the same.
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/") as process:
            assert process.stdout is not None
            assert process.stdin is not None
            address = process.stdout.readline().strip()
            patch.undo()
            patch.setenv("RAY_AUTH_MODE", "disabled")
            yield address
            process.stdin.close()
            process.wait(60)


@contextlib.contextmanager
def connected(address: str) -> Generator[Any]:
    """Connect this process, and return the module ``ray``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Ray says of itself
        import ray
        import ray.data

        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    try:
        yield ray
    finally:
        ray.shutdown()


def killing(marker: Path) -> Callable[[Any], bytes]:
    """Return an encoder of text that kills its process at the text 7 the first time; pickled by its value."""
    path = str(marker)

    def encode(value: Any) -> bytes:
        text = value if isinstance(value, str) else value.decode()
        if text.endswith(" 7"):
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return text.upper().encode()

    return encode
