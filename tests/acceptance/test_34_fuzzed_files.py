"""34: whatever a file says, reading it takes no absurd memory, ends, and raises nothing but our errors.

Each case runs in a child process whose memory is limited, with a time limit: a crash, a hang and a giant allocation
are failures, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = 400
SLOW = ("table", "stale", "copy")  # of which each case is a whole dataset

# Known good files of each kind are damaged: bytes changed, cut out, doubled and replaced by extreme numbers, so that
# most of what comes gets past the first check.
PROGRAM = r'''
import gzip, io, json, random, resource, shutil, sys
from pathlib import Path

import numpy as np

from webds.errors import WebdsError
from webds.index import parse_table, scan
from webds.policy.ledger import Ledger, Loss, Retry, read_ledger
from webds.index.manifest import read_list, read_manifest
from webds.tar import read_files, read_samples
from webds.tar.members import read_members
import webds
from shards import tar_bytes

kind, folder, cases = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
rng = random.Random(34)
archive = tar_bytes((f"{n}.{field}", bytes(n * 40)) for n in range(12) for field in ("jpg", "cls"))
EXTREME = [b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"77777777777\0", b"-0000000001\0", b"\x80" + b"\xff" * 11, b"9" * 20,
           b"1e999", b"null", b"[" * 50, b"\0" * 512, b"\x89PNG", b"{", b'"', b"\n", b"\r"]


def long_name() -> bytes:
    import tarfile
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=rng.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])) as tar:
        for n in range(4):
            info = tarfile.TarInfo(f"{'d' * 150}/{n}.txt")
            info.size, info.pax_headers = 700, {"GNU.sparse.major": "1", "x": "y" * 50} if n == 2 else {}
            tar.addfile(info, io.BytesIO(bytes(700)))
    return stream.getvalue()


def good() -> bytes:
    if kind in ("tar", "long", "copy", "stale"):
        return long_name() if kind == "long" else archive
    if kind == "gz":
        return gzip.compress(archive, rng.randrange(10))
    if kind in ("idx", "table"):
        return (folder / "good.idx").read_bytes()
    if kind == "tenbin":
        return webds.tenbin.encode_buffer([np.arange(12.0).reshape(3, 4), np.zeros(5, np.uint8)])
    if kind == "manifest":
        entries = [{"url": f"{n}.tar", "nsamples": n, "filesize": n, "md5sum": "0" * 32} for n in range(4)]
        return json.dumps({"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": entries}).encode()
    if kind == "list":
        return b"\xef\xbb\xbfa-{0..3}.tar\n# none\nhttp://h/x.tar\n"
    path = folder / "good.jsonl"
    if not path.exists():
        ledger = Ledger(str(path))
        ledger.record(Loss("decode", "a.tar", "1", "jpg", "DecodeError: x", 3))
        ledger.record_retry(Retry("http://h/a.tar", "gone", 2, 0.5, 7))
    return path.read_bytes()


def damaged(data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at, size = rng.randrange(len(changed) + 1), rng.choice([1, 4, 100])
        what = rng.randrange(5)
        if what == 0 and changed:
            changed[min(at, len(changed) - 1)] ^= 1 << rng.randrange(8)
        elif what == 1:
            extreme = rng.choice(EXTREME)
            changed[at : at + len(extreme)] = extreme
        elif what == 2:
            del changed[at : at + size]
        elif what == 3:
            changed[at:at] = changed[at : at + size]
        else:
            del changed[at:]
    return resummed(changed) if kind in ("tar", "long", "copy", "stale") and rng.random() < 0.7 else bytes(changed)


def resummed(data: bytearray) -> bytes:
    """Let the sums of the headers be right, so that what is in them counts."""
    for at in range(0, len(data) - 511, 512):
        if data[at + 257 : at + 262] == b"ustar":
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    return bytes(data)


def read(data: bytes) -> None:
    if kind in ("tar", "long"):
        if rng.random() < 0.5:
            list(read_samples(io.BytesIO(data), url="x.tar"))
        else:
            list(read_members(io.BytesIO(data), url="x.tar"))
            list(read_files(io.BytesIO(data), url="x.tar"))
            scan(io.BytesIO(data), url="x.tar")
    elif kind == "gz":
        list(read_samples(io.BytesIO(data), url="x.tar.gz"))
    elif kind == "copy":  # a file of a cache, under its final name
        cache = webds.DatasetBuilder(str(folder / "good.tar")).cache(folder / "cache", local=True)
        if not (folder / "cache").exists():
            list(cache.build())
        (copy,) = (folder / "cache").glob("*.shard")
        copy.write_bytes(data)
        copy.with_suffix(".part").write_bytes(data[:5000])
        list(cache.build())
    elif kind in ("table", "stale"):  # an index that is damaged, or a shard beside one that is not
        shutil.copy(folder / "good.tar", folder / "x.tar")
        shutil.copy(folder / "good.idx", folder / "x.idx")
        (folder / ("x.idx" if kind == "table" else "x.tar")).write_bytes(data)
        samples = webds.DatasetBuilder(str(folder / "x.tar")).indexed()
        if rng.random() < 0.5:
            list(samples.build())
        else:
            known = samples.map_style()
            [known[rng.randrange(len(known))] for _ in range(3) if len(known)]
    elif kind == "idx":
        parse_table(data, "x.idx", size=len(archive))
    elif kind == "tenbin":
        if rng.random() < 0.5:
            webds.tenbin.decode_buffer(data)
        else:
            path = folder / "x.ten"
            path.write_bytes(data)
            webds.tenbin.load(str(path))
    elif kind == "manifest":
        read_manifest(io.BytesIO(data), "x.json")
    elif kind == "list":
        path = folder / "x.txt"
        path.write_bytes(data)
        read_list(io.BytesIO(data), "x.txt")
        webds.DatasetBuilder(str(path)).explain()
    else:
        path = folder / "x.jsonl"
        path.write_bytes(data)
        list(read_ledger(path))


if kind in ("idx", "table", "stale", "copy"):
    (folder / "good.tar").write_bytes(archive)
    webds.build_index(str(folder / "good.tar"))
read(good())
now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (256 << 20), now + (256 << 20)))
refused = 0
for case in range(cases):
    data = damaged(good())
    try:
        read(data)
    except WebdsError:
        refused += 1
    except BaseException:
        print("case", case, data[:2000], file=sys.stderr)
        raise
print(refused)
'''


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process")
@pytest.mark.parametrize(
    "kind", ["tar", "long", "gz", "idx", "table", "stale", "copy", "tenbin", "manifest", "list", "ledger"]
)
def test_34_damaged_files_raise_nothing_but_our_errors(tmp_path: Path, kind: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    support = str(Path(__file__).parent.parent / "support")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), support])}
    cases = CASES // 4 if kind in SLOW else CASES
    command = [sys.executable, "-W", "ignore", str(program), kind, str(tmp_path), str(cases)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > cases // 20, "damage is noticed"
