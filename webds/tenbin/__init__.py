"""tenbin: lists of arrays in an aligned binary format, in files, buffers and messages.

The format is described in `webds.tenbin.format`. Every function takes numpy arrays or CPU tensors and gives
numpy arrays back. ``infos`` are names of at most 8 ASCII characters, one an array.
"""

from __future__ import annotations

from webds.tenbin.files import load, read, save, write
from webds.tenbin.format import decode_buffer, encode_buffer
from webds.tenbin.sockets import sctp_recv, sctp_send, zrecv_multipart, zrecv_single, zsend_multipart, zsend_single

__all__ = [
    "decode_buffer",
    "encode_buffer",
    "load",
    "read",
    "save",
    "sctp_recv",
    "sctp_send",
    "write",
    "zrecv_multipart",
    "zrecv_single",
    "zsend_multipart",
    "zsend_single",
]
