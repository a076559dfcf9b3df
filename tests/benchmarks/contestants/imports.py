"""How long ``import`` takes in a new interpreter, without the start of the interpreter; and whether it brings torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import attrs
from typing_extensions import override

from tests.benchmarks.contest import Contents, Contestant, Facts, Job

__all__ = ["IMPORTS"]

_PROGRAM: Final = """
import sys, time
before, start = time.process_time(), time.perf_counter()
import {module}
seconds = time.perf_counter() - start
worked = time.process_time() - before
print('{{"seconds": %r, "processor": %r, "torch": %d}}' % (seconds, worked, 'torch' in sys.modules))
"""


@attrs.frozen
class Import(Contestant):
    """Imports a module, in a process that has nothing else."""

    module: str

    def _once(self) -> Facts:
        command = [sys.executable, "-c", _PROGRAM.format(module=self.module)]
        ran = subprocess.run(command, check=True, capture_output=True, text=True)
        facts: Facts = json.loads(ran.stdout)
        return facts

    @override
    def measure(self, warm: Job, job: Job, seconds: float) -> Facts:
        self._once()  # the bytecode is there from then on
        return {**self._once(), "samples": 1}

    @override
    def contents(self, job: Job) -> Iterator[Contents]:
        return iter(())


IMPORTS = (
    Import("webds", "webds"),
    Import("webdataset", "webdataset", needs=("webdataset",)),
    Import("torch", "torch"),
)
