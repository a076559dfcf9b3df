"""How shards are got at: out of a cache, and from a server, which may take its time to answer."""

from __future__ import annotations

import functools
import http.server
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from typing_extensions import override

from tests.benchmarks.contest import Contents, Job, Reader, Task

__all__ = ["CACHE", "HTTP", "LATENCY"]

_LATENCY: Final = 0.05  # seconds before an answer
_TIMES: Final = 4  # how often each shard is asked for, under another URL
_PIECE: Final = 1 << 20  # bytes that the bare loop asks for at once; more or less is no quicker


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


class _Files(http.server.SimpleHTTPRequestHandler):
    """Sends files; if the query says so, after a while."""

    protocol_version = "HTTP/1.1"

    @override
    def do_GET(self) -> None:
        if "?slow" in self.path:
            time.sleep(_LATENCY)
        super().do_GET()

    @override
    def log_message(self, format: str, *args: object) -> None:
        pass


def _serve(ready: Any) -> None:
    handler = functools.partial(_Files, directory="/")
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


def _urls(job: Job) -> list[str]:
    os.environ["no_proxy"] = "127.0.0.1"
    return [f"http://127.0.0.1:{_port()}{os.path.abspath(path)}" for path in job.shards]


def _streamed(job: Job) -> Iterable[Any]:
    import webds

    return webds.DatasetBuilder(_urls(job)).build()


def _bare(job: Job) -> Callable[[], int]:
    """Read all that the server sends, and do nothing with it."""
    import urllib3

    pool, urls = urllib3.PoolManager(), _urls(job)

    def run() -> int:
        for url in urls:
            response = pool.request("GET", url, preload_content=False, decode_content=False)
            while response.read(_PIECE):
                pass
            response.release_conn()
        return job.samples

    return run


def _from_server(ahead: int, job: Job) -> Iterable[Any]:
    import webds

    urls = [f"{url}?slow{n}" for n in range(_TIMES) for url in _urls(job)]
    builder = webds.DatasetBuilder(urls)
    return (builder.prefetch(shards=ahead) if ahead else builder).build()


CACHE = (Reader("webds, a copy in the cache", _cached, _fields), Reader("webds, the local file", _local, _fields))
HTTP = (Reader("webds", _streamed, _fields), Task("urllib3", _bare))
LATENCY = (
    Reader("webds, 2 shards ahead", functools.partial(_from_server, 2), _fields),
    Reader("webds, nothing ahead", functools.partial(_from_server, 0), _fields),
)
