"""Arrays as messages over ZeroMQ and SCTP sockets, which the caller opens: nothing is imported for them here."""

from __future__ import annotations

import socket as socket_module
from collections.abc import Sequence
from typing import Any, Final, Literal, Protocol, overload

import numpy as np

from webds.errors import DecodeError, EncodeError, OpenError
from webds.tenbin.format import (
    AnyArray,
    Arrays,
    Infos,
    answer,
    check_data_length,
    check_header_length,
    decode_buffer,
    encode_arrays,
    encode_buffer,
    parse_header,
)
from webds.typing import Buffer

__all__ = [
    "sctp_recv",
    "sctp_send",
    "zrecv_multipart",
    "zrecv_single",
    "zsend_multipart",
    "zsend_single",
]

_SMALL: Final = 1 << 16

# Flags of pysctp's messages. Where the module socket lacks one, its value on Linux.
_END_OF_RECORD: Final[int] = getattr(socket_module, "MSG_EOR", 0x80)
_NOTIFICATION: Final[int] = getattr(socket_module, "MSG_NOTIFICATION", 0x8000)


class _ZmqSocket(Protocol):
    """What is used of a ``zmq.Socket``."""

    def send(self, data: Any, /, *, copy: Any = ...) -> Any: ...

    def send_multipart(self, msg_parts: Any, /) -> Any: ...

    def recv_multipart(self, *, copy: Any = ...) -> Any: ...


class _SctpSocket(Protocol):
    """What is used of pysctp's sockets."""

    def sctp_send(self, msg: Any, /, *, to: Any = ...) -> Any: ...

    def sctp_recv(self, maxlen: Any, /) -> Any: ...


def _frames(socket: _ZmqSocket) -> list[memoryview]:
    """Receive a message: its frames, read-only.

    A large frame is handed on as it is, a small one copied, since it may be part of a larger buffer and lie
    anywhere in it. Read-only, since several receivers in one process may share the memory.
    """
    frames: list[memoryview] = []
    for frame in socket.recv_multipart(copy=False):
        view = memoryview(getattr(frame, "buffer", frame))
        frames.append(memoryview(view.tobytes()) if view.nbytes < _SMALL else view.toreadonly())
    return frames


def zsend_single(socket: _ZmqSocket, l: Sequence[AnyArray], infos: Sequence[str] | None = None) -> None:  # noqa: E741  the older API's name
    """Send arrays as one message of one frame, in the form of `encode_buffer`.

    The arrays may be changed as soon as this returns.

    Args:
        socket: a ``zmq.Socket``.
        l: the arrays, as in `encode_buffer`.
        infos: a name for each array, at most 8 ASCII characters; None for no names.

    Raises:
        EncodeError: an array or an info has no form in tenbin; then nothing was sent.
    """
    socket.send(encode_buffer(l, infos), copy=False)


@overload
def zrecv_single(socket: _ZmqSocket, infos: Literal[False] | Sequence[str] = False) -> Arrays: ...
@overload
def zrecv_single(socket: _ZmqSocket, infos: Literal[True]) -> tuple[Arrays, list[str]]: ...
@overload
def zrecv_single(socket: _ZmqSocket, infos: Infos) -> Arrays | tuple[Arrays, list[str]]: ...
def zrecv_single(socket: _ZmqSocket, infos: Infos = False) -> Arrays | tuple[Arrays, list[str]]:
    """Receive the arrays that `zsend_single` sent.

    A socket takes messages of any size unless ``zmq.MAXMSGSIZE`` was set on it.

    Args:
        socket: a ``zmq.Socket``.
        infos: True to get the infos too; a list to be sure that the infos are these.

    Returns:
        The arrays, little-endian and read-only, views of the message; with ``infos=True`` (arrays, infos).

    Raises:
        DecodeError: the message is not one frame of arrays in tenbin form, or the infos differ. The message
            is gone, and the socket ready for the next.
    """
    frames = _frames(socket)
    if len(frames) != 1:
        raise DecodeError(f"a message of {len(frames)} frames: expected one (zrecv_multipart takes several)")
    return decode_buffer(frames[0], infos)


def zsend_multipart(socket: _ZmqSocket, l: Sequence[AnyArray], infos: Sequence[str] | None = None) -> None:  # noqa: E741  the older API's name
    """Send arrays as one message of two frames for each: the payloads of its header and of its data.

    The arrays may be changed as soon as this returns.

    Args:
        socket: a ``zmq.Socket``.
        l: one array at least, as in `encode_buffer`.
        infos: a name for each array, at most 8 ASCII characters; None for no names.

    Raises:
        EncodeError: an array or an info has no form in tenbin, or there is no array, since there are no
            messages without frames; then nothing was sent.
    """
    encoded = encode_arrays(l, infos)
    if not encoded:
        raise EncodeError("a multipart message holds one array at least")
    # ZeroMQ copies them: what it only refers to could be changed before it is sent.
    socket.send_multipart([frame for one in encoded for frame in (one.header, one.data())])


@overload
def zrecv_multipart(socket: _ZmqSocket, infos: Literal[False] | Sequence[str] = False) -> Arrays: ...
@overload
def zrecv_multipart(socket: _ZmqSocket, infos: Literal[True]) -> tuple[Arrays, list[str]]: ...
@overload
def zrecv_multipart(socket: _ZmqSocket, infos: Infos) -> Arrays | tuple[Arrays, list[str]]: ...
def zrecv_multipart(socket: _ZmqSocket, infos: Infos = False) -> Arrays | tuple[Arrays, list[str]]:
    """Receive the arrays that `zsend_multipart` sent.

    A socket takes messages of any size unless ``zmq.MAXMSGSIZE`` was set on it.

    Args:
        socket: a ``zmq.Socket``.
        infos: True to get the infos too; a list to be sure that the infos are these.

    Returns:
        The arrays, little-endian and read-only, views of the frames; with ``infos=True`` (arrays, infos).

    Raises:
        DecodeError: the frames are no headers and data of tenbin, or the infos differ. The message is gone,
            and the socket ready for the next.
    """
    frames = _frames(socket)
    if len(frames) % 2:
        raise DecodeError(f"a message of {len(frames)} frames: expected header, data, header, data, …")
    arrays: Arrays = []
    names: list[str] = []
    for index, (head, data) in enumerate(zip(frames[::2], frames[1::2], strict=True)):
        try:
            check_header_length(head.nbytes)
            header = parse_header(bytes(head))
            check_data_length(data.nbytes, header)
        except DecodeError as error:
            raise DecodeError(f"frames of array {index}: {error.message}") from None
        arrays.append(np.ndarray(header.shape, header.dtype, data))
        names.append(header.info)
    return answer(arrays, names, infos)


def sctp_send(socket: _SctpSocket, dest: Any, l: Sequence[AnyArray], infos: Sequence[str] | None = None) -> None:  # noqa: E741  the older API's name
    """Send arrays as one SCTP message, in the form of `encode_buffer`.

    Args:
        socket: an object with pysctp's ``sctp_send``.
        dest: (address, port) of the receiver; None over a connected (TCP-style) socket.
        l: one array at least, as in `encode_buffer`; together not longer than the socket's send buffer.
        infos: a name for each array, at most 8 ASCII characters; None for no names.

    Raises:
        EncodeError: an array or an info has no form in tenbin, or there is no array, since SCTP has no empty
            messages; then nothing was sent.
        OpenError: the socket took only a part of the message.
    """
    message = encode_buffer(l, infos)
    if not message:
        raise EncodeError("an SCTP message holds one array at least")
    sent = socket.sctp_send(message) if dest is None else socket.sctp_send(message, to=dest)
    if isinstance(sent, int) and sent != len(message):
        raise OpenError(f"the socket took {sent} of {len(message)} bytes of a message")


def _sctp_message(socket: _SctpSocket, maxsize: int) -> Buffer:
    """Receive one message, whose parts the kernel may hand over one by one, passing over events."""
    message = bytearray()
    dropped = 0
    part: bytes | None
    while True:
        _, flags, part, info = socket.sctp_recv(maxsize - len(message) or maxsize)
        flags = flags or 0
        if flags & _NOTIFICATION:
            continue
        if not part:
            raise OpenError("the association was closed in place of a message")
        # pysctp gives an info with all data; an object without one hands over whole messages.
        whole = bool(flags & _END_OF_RECORD) or info is None
        if whole and not message:
            return part
        if len(message) + len(part) <= maxsize and not dropped:
            message += part
        else:
            dropped += len(part)
        if whole:
            break
    if dropped:
        raise DecodeError(f"a message of {len(message) + dropped} bytes: expected {maxsize} at most (maxsize)")
    return message


@overload
def sctp_recv(
    socket: _SctpSocket, infos: Literal[False] | Sequence[str] = False, maxsize: int = 100000000
) -> Arrays: ...
@overload
def sctp_recv(socket: _SctpSocket, infos: Literal[True], maxsize: int = 100000000) -> tuple[Arrays, list[str]]: ...
@overload
def sctp_recv(socket: _SctpSocket, infos: Infos, maxsize: int = 100000000) -> Arrays | tuple[Arrays, list[str]]: ...
def sctp_recv(socket: _SctpSocket, infos: Infos = False, maxsize: int = 100000000) -> Arrays | tuple[Arrays, list[str]]:
    """Receive the arrays that `sctp_send` sent.

    Events are passed over, and the parts of a message put together up to the one with the end-of-record flag.

    Args:
        socket: an object with pysctp's ``sctp_recv``.
        infos: True to get the infos too; a list to be sure that the infos are these.
        maxsize: the longest message to take, in bytes.

    Returns:
        The arrays, little-endian, views of the message; with ``infos=True`` (arrays, infos).

    Raises:
        DecodeError: the message is longer than ``maxsize`` or no arrays in tenbin form, or the infos differ.
            The message is gone, and the socket ready for the next.
        OpenError: the other side closed the association.
    """
    return decode_buffer(_sctp_message(socket, maxsize), infos)
