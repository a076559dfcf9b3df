"""How much memory and time a shuffle of 2 GB takes: ``python -m tests.benchmarks.reshard [FOLDER] [MEGABYTES]``.

Shards of random bytes are written to a new folder in FOLDER, shuffled by the command line in a process of its own, and
removed. Printed are the highest resident memory of that process, its time, and whether every sample came out once.
"""

from __future__ import annotations

import collections
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from webds.sinks import ShardWriter
from webds.tools.reading import source_of


def write(folder: Path, megabytes: int) -> None:
    """Write samples of some 100 kB each."""
    with ShardWriter(folder / "in-%04d.tar", maxsize=256e6) as sink:
        for number in range(megabytes * 10):
            sink.write({"__key__": f"{number:09d}", "bin": os.urandom(99_000), "cls": number})


def contents(pattern: str) -> collections.Counter[str]:
    """Return the hashes of all samples."""
    source = source_of(pattern)
    return collections.Counter(
        hashlib.sha256(b"".join([sample["__key__"].encode(), sample["cls"], sample["bin"]])).hexdigest()
        for shard in source.shards()
        for sample in source.read(shard)
    )


def main() -> None:
    """Measure, and print JSON."""
    parent = sys.argv[1] if len(sys.argv) > 1 else None
    megabytes = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = Path(name)
        write(folder, megabytes)
        command = [sys.executable, "-m", "webds", "reshard", f"{name}/in-*.tar", "-o", f"{name}/out-%04d.tar"]
        start = time.perf_counter()
        subprocess.run([*command, "--shuffle", "--maxsize", "256MB"], check=True)
        seconds = time.perf_counter() - start
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        same = contents(f"{name}/in-*.tar") == contents(f"{name}/out-*.tar")
        result = {"megabytes": megabytes, "peak_MiB": round(memory), "seconds": round(seconds, 1), "same": same}
        print(json.dumps(result))


if __name__ == "__main__":
    main()
