"""How shards are got at: out of a cache, and from a server that takes its time to answer."""

from __future__ import annotations

import functools
import http.server
import multiprocessing
import os
import time
from collections.abc import Iterable
from typing import Any, Final

from typing_extensions import override

from tests.benchmarks.contest import Contents, Job, Reader

__all__ = ["CACHE", "LATENCY"]

_LATENCY: Final = 0.05  # seconds before an answer
_TIMES: Final = 4  # how often each shard is asked for, under another URL


def _fields(sample: Any) -> Contents:
    return [sample[field] for field in sorted(sample) if not field.startswith("__")]


def _local(job: Job) -> Iterable[Any]:
    import webds

    return webds.DatasetBuilder(list(job.shards)).build()


def _cached(job: Job) -> Iterable[Any]:
    """Return what reads copies, which are there."""
    import webds

    folder = os.path.join(os.path.dirname(job.shards[0]), "cache")
    dataset = webds.DatasetBuilder(list(job.shards)).cache(folder, local=True).build()
    for _ in dataset:
        pass
    return dataset


class _Slow(http.server.SimpleHTTPRequestHandler):
    """Sends files, after a while."""

    protocol_version = "HTTP/1.1"

    @override
    def do_GET(self) -> None:
        time.sleep(_LATENCY)
        super().do_GET()

    @override
    def log_message(self, format: str, *args: object) -> None:
        pass


def _serve(ready: Any) -> None:
    handler = functools.partial(_Slow, directory="/")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        ready.send(server.server_address[1])
        server.serve_forever()


@functools.cache
def _port() -> int:
    """Start a server in a process of its own, which ends with this one, and return its port."""
    here, there = multiprocessing.Pipe()
    multiprocessing.get_context("spawn").Process(target=_serve, args=(there,), daemon=True).start()
    port: int = here.recv()
    return port


def _from_server(ahead: int, job: Job) -> Iterable[Any]:
    import webds

    urls = [f"http://127.0.0.1:{_port()}{os.path.abspath(path)}?{n}" for n in range(_TIMES) for path in job.shards]
    builder = webds.DatasetBuilder(urls)
    return (builder.prefetch(shards=ahead) if ahead else builder).build()


CACHE = (Reader("webds, a copy in the cache", _cached, _fields), Reader("webds, the local file", _local, _fields))
LATENCY = (
    Reader("webds, 2 shards ahead", functools.partial(_from_server, 2), _fields),
    Reader("webds, nothing ahead", functools.partial(_from_server, 0), _fields),
)
