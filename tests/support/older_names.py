"""The names of the older system and their signatures, as its documentation writes them."""

from __future__ import annotations

from typing import Final

__all__ = ["CHECKS", "CLASSES", "FUNCTIONS", "HANDLERS", "METHODS", "TABLES", "TENBIN", "lines", "named"]

HANDLERS: Final = (
    "reraise_exception",
    "ignore_and_continue",
    "warn_and_continue",
    "ignore_and_stop",
    "warn_and_stop",
)
CLASSES: Final = """
Dataset(urls, *, keys=base_plus_ext, suffixes=None, length=None, epochs=1, opener=reader, handler=reraise_exception,
    shuffle=False, prepare_for_worker=True, initial_pipeline=None)
WebDataset(urls, *, extensions=None, decoder="rgb", transforms=None, pipeline=None, epochs=1, keys=base_plus_ext,
    opener=reader, verbose=False, shuffle=0, associate=None, prepare_for_worker=True, length=None,
    handler=reraise_exception)
TarWriter(fileobj, user="bigdata", group="bigdata", mode=0o444, compress=None, encoder=True, keep_meta=False)
ShardWriter(pattern, maxcount=100000, maxsize=3e9, post=None, **kw)
"""
FUNCTIONS: Final = """
tariterator(fileobj, keys=base_plus_ext, decoder=True, suffixes=None, tar_errors=reraise_exception,
    decode_errors=reraise_exception)
reraise_exception(exn)
ignore_and_continue(exn)
warn_and_continue(exn)
ignore_and_stop(exn)
warn_and_stop(exn)
imagehandler(data, imagespec)
gopen(url, mode="rb", bufsize=8192)
reader(url)
base_plus_ext(path)
"""
METHODS: Final = """
Dataset.decode(self, decoder="rgb", handler=reraise_exception)
Dataset.map(self, f, handler=reraise_exception)
Dataset.map_dict(self, handler=reraise_exception, **fns)
Dataset.map_tuple(self, *fns, handler=reraise_exception)
Dataset.pipe(self, stage)
Dataset.rename(self, handler=reraise_exception, **new_old)
Dataset.shuffle(self, size)
Dataset.to_tuple(self, *fields, handler=reraise_exception)
Dataset.raw_iter(self)
Dataset.shard_selection(self)
Dataset.__len__(self)
Dataset.__iter__(self)
TarWriter.write(self, obj)
TarWriter.dwrite(self, key, **kw)
TarWriter.close(self)
ShardWriter.write(self, obj)
ShardWriter.next_stream(self)
ShardWriter.finish(self)
ShardWriter.close(self)
"""
TENBIN: Final = """
load(fname, infos=False, nocheck=False)
save(fname, *args, infos=None, nocheck=False)
read(stream, n=999999, infos=False)
write(stream, l, infos=None)
encode_buffer(l, infos=None)
decode_buffer(buf, infos=False)
zsend_single(socket, l, infos=None)
zrecv_single(socket, infos=False)
zsend_multipart(socket, l, infos=None)
zrecv_multipart(socket, infos=False)
sctp_send(socket, dest, l, infos=None)
sctp_recv(socket, infos=False, maxsize=100000000)
"""
CHECKS: Final = """
check(value, msg="")
checkcallable(value, msg="")
checkmember(value, values, msg="")
checknotnone(value, msg="")
checkrange(value, lo, hi, msg="")
checktype(value, types, msg="")
"""
TABLES: Final = ("default_handlers", "scheme_to_command")


def lines(text: str) -> list[str]:
    """Return one signature each; a line that begins with a space goes on with the one before."""
    return text.replace("\n    ", " ").strip().split("\n")


def named(signature: str) -> str:
    return signature.partition("(")[0]
