"""Samples out of an object store: moto's S3 server, in a process of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, final

import attrs
from typing_extensions import override

from tests.benchmarks.contest import Contents, Contestant, Facts, Job, Task, peer
from tests.benchmarks.contestants import raw

__all__ = ["obstore", "webds"]

_BUCKET: Final = "benchmark"
_SIGNATURE: Final = "AWS4-HMAC-SHA256 Credential=x/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"


def _put(url: str, body: bytes | None = None) -> None:
    headers = {"Content-Type": "application/octet-stream", "Authorization": _SIGNATURE}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, body, headers, method="PUT")):
        pass


@contextlib.contextmanager
def _server() -> Generator[str]:
    """Run a server, tell the environment of it, and give its URL."""
    peer("moto.server")
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(600):
                with contextlib.suppress(OSError):
                    _put(f"{url}/{_BUCKET}")
                    break
                time.sleep(0.1)
            os.environ |= {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
            os.environ |= {"AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true"}
            yield url
        finally:
            process.kill()


def _stored(job: Job, url: str) -> Job:
    """Store the shards of a job, and return it with their URLs."""
    for path in job.shards:
        with open(path, "rb") as stream:
            _put(f"{url}/{_BUCKET}/{os.path.basename(path)}", stream.read())
    return attrs.evolve(job, shards=tuple(f"s3://{_BUCKET}/{os.path.basename(path)}" for path in job.shards))


@final
@attrs.frozen
class FromStore(Contestant):
    """Another contestant, whose shards are in the store.

    Attributes:
        other: does the work.
    """

    other: Contestant

    @override
    def measure(self, warm: Job, job: Job, seconds: float) -> Facts:
        with _server() as url:
            return self.other.measure(_stored(warm, url), _stored(job, url), seconds)

    @override
    def contents(self, job: Job) -> Iterator[Contents]:
        with _server() as url:
            yield from self.other.contents(_stored(job, url))


def _drain(job: Job) -> Callable[[], int]:
    store: Any = peer("obstore.store").S3Store(_BUCKET)
    keys = [shard.rpartition("/")[2] for shard in job.shards]

    def run() -> int:
        for key in keys:
            for _ in store.get(key).stream():
                pass
        return job.samples

    return run


webds = FromStore("webds", raw.webds, needs=("obstore", "moto"))
obstore = FromStore("obstore's stream", Task("obstore's stream", _drain), needs=("obstore", "moto"))
