"""Arrays over ZeroMQ sockets, in process and over TCP, and over SCTP."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
import zmq

from webds import tenbin
from webds.errors import DecodeError, EncodeError, OpenError
from webds.tenbin import sockets as module

Array = npt.NDArray[Any]
Pair: TypeAlias = tuple[zmq.Socket[bytes], zmq.Socket[bytes]]


def example() -> list[Array]:
    return [
        np.arange(12, dtype="f4").reshape(3, 4).T,
        np.array(5, "i8"),
        np.zeros((0, 2), "u1"),
        np.arange(100_000, dtype="u4"),
    ]


def same(got: list[Array], expected: list[Array]) -> bool:
    return [(a.dtype, a.shape, a.tobytes()) for a in got] == [(a.dtype, a.shape, a.tobytes()) for a in expected]


@pytest.fixture(params=["inproc://here", "tcp://127.0.0.1:*"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A PUSH and a PULL socket, connected."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as push, context.socket(zmq.PULL) as pull:
        for each in (push, pull):
            each.setsockopt(zmq.LINGER, 0)
            each.setsockopt(zmq.RCVTIMEO, 20_000)
            each.setsockopt(zmq.SNDTIMEO, 20_000)
        push.bind(request.param)
        pull.connect(push.getsockopt_string(zmq.LAST_ENDPOINT))
        yield push, pull


# --- ZeroMQ, one frame -------------------------------------------------------------------------------------


def test_a_message_of_one_frame_is_a_buffer(pair: Pair) -> None:
    push, pull = pair
    tenbin.zsend_single(push, example(), list("abcd"))
    assert pull.recv_multipart() == [tenbin.encode_buffer(example(), list("abcd"))]
    push.send(tenbin.encode_buffer(example(), list("abcd")))
    arrays, infos = tenbin.zrecv_single(pull, infos=True)
    assert same(arrays, example())
    assert infos == list("abcd")


def test_infos_of_messages_are_compared(pair: Pair) -> None:
    push, pull = pair
    for send, receive in (
        (tenbin.zsend_single, tenbin.zrecv_single),
        (tenbin.zsend_multipart, tenbin.zrecv_multipart),
    ):
        for _ in range(2):
            send(push, [np.zeros(1)], ["a"])
        assert same(receive(pull, ["a"]), [np.zeros(1)])
        with pytest.raises(DecodeError, match="info of array 0 is 'a': expected 'b'"):
            receive(pull, ["b"])


def test_no_arrays_make_an_empty_message(pair: Pair) -> None:
    push, pull = pair
    tenbin.zsend_single(push, [])
    assert tenbin.zrecv_single(pull) == []


def test_sent_arrays_may_be_changed_at_once(pair: Pair) -> None:
    push, pull = pair
    array = np.zeros(200_000)
    tenbin.zsend_single(push, [array])
    array[:] = 1
    tenbin.zsend_multipart(push, [array])
    array[:] = 2
    assert not tenbin.zrecv_single(pull)[0].any()
    assert (tenbin.zrecv_multipart(pull)[0] == 1).all()


def test_received_arrays_are_read_only_and_outlive_the_sockets(pair: Pair) -> None:
    push, pull = pair
    tenbin.zsend_single(push, example())
    tenbin.zsend_multipart(push, example())
    single, several = tenbin.zrecv_single(pull), tenbin.zrecv_multipart(pull)
    push.close()
    pull.close()
    for arrays in (single, several):
        assert same(arrays, example())
        assert not any(array.flags.writeable for array in arrays)
        assert all(array.flags.aligned for array in arrays)


def test_a_bad_message_is_refused_and_the_next_one_received(pair: Pair) -> None:
    push, pull = pair
    good = tenbin.encode_buffer(example())
    for frames, words in (
        ([good[:-1]], "cut short"),
        ([b"x" * 100], "in place of"),
        ([good, good], "a message of 2 frames: expected one"),
    ):
        push.send_multipart(frames)
        tenbin.zsend_single(push, example())
        with pytest.raises(DecodeError, match=words):
            tenbin.zrecv_single(pull)
        assert same(tenbin.zrecv_single(pull), example())


def test_nothing_is_sent_of_what_cannot_be_encoded(pair: Pair) -> None:
    push, pull = pair
    for send in (tenbin.zsend_single, tenbin.zsend_multipart):
        with pytest.raises(EncodeError, match="array 1 has dtype bool"):
            send(push, [np.zeros(1), np.zeros(1, bool)])
    push.send(b"the next message")
    assert pull.recv() == b"the next message"


# --- ZeroMQ, two frames an array ---------------------------------------------------------------------------


def test_a_message_of_several_frames_holds_the_payloads_alone(pair: Pair) -> None:
    push, pull = pair
    array = np.array([[1, 2, 3]], ">u2")
    tenbin.zsend_multipart(push, [array, np.array(7, "i1")], ["first", "2"])
    assert pull.recv_multipart() == [
        b"u2\0\0\0\0\0\0first\0\0\0" + struct.pack("<3q", 2, 1, 3),
        struct.pack("<3H", 1, 2, 3),
        b"i1\0\0\0\0\0\0" + b"2\0\0\0\0\0\0\0" + struct.pack("<q", 0),
        b"\7",
    ]


def test_messages_of_several_frames_round_trip(pair: Pair) -> None:
    push, pull = pair
    tenbin.zsend_multipart(push, example(), list("abcd"))
    arrays, infos = tenbin.zrecv_multipart(pull, infos=True)
    assert same(arrays, example())
    assert infos == list("abcd")


def test_there_is_no_message_without_frames(pair: Pair) -> None:
    with pytest.raises(EncodeError, match="one array at least"):
        tenbin.zsend_multipart(pair[0], [])


HEADER = b"f4\0\0\0\0\0\0" + bytes(8) + struct.pack("<2q", 1, 3)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([HEADER], "a message of 1 frames: expected header, data"),
        ([HEADER, bytes(12), HEADER], "a message of 3 frames"),
        ([HEADER, bytes(11)], "frames of array 0: 11 bytes of data.*has 12"),
        ([HEADER, bytes(64)], "frames of array 0: 64 bytes of data.*has 12"),
        ([HEADER, bytes(12), HEADER, b""], "frames of array 1: 0 bytes of data"),
        ([b"", bytes(12)], "frames of array 0: a header of 0 bytes"),
        ([HEADER.ljust(64, b"\0"), bytes(12)], "a header of 64 bytes for 1 dimensions"),
        ([bytes(1 << 20), bytes(12)], "a header of 1048576 bytes"),
        ([HEADER[:24] + struct.pack("<q", 2**62), bytes(12)], "impossible shape"),
        ([HEADER[:24] + struct.pack("<q", 2**60), bytes(12)], f"12 bytes of data.*has {2**62}"),
        ([b"O8" + HEADER[2:], bytes(12)], "unknown dtype"),
    ],
)
def test_hostile_frames_are_refused_and_the_next_message_received(pair: Pair, frames: list[bytes], words: str) -> None:
    push, pull = pair
    push.send_multipart(frames)
    tenbin.zsend_multipart(push, example())
    with pytest.raises(DecodeError, match=words):
        tenbin.zrecv_multipart(pull)
    assert same(tenbin.zrecv_multipart(pull), example())


def test_a_request_and_its_reply() -> None:
    """Sockets that keep an envelope of their own."""
    with zmq.Context() as context, context.socket(zmq.REP) as server, context.socket(zmq.REQ) as client:
        port = server.bind_to_random_port("tcp://127.0.0.1")
        client.connect(f"tcp://127.0.0.1:{port}")
        tenbin.zsend_multipart(client, example())
        tenbin.zsend_single(server, [array + 1 for array in tenbin.zrecv_multipart(server)[:2]])
        assert same(tenbin.zrecv_single(client), [array + 1 for array in example()[:2]])


# --- SCTP --------------------------------------------------------------------------------------------------


class Association:
    """Pysctp's two methods over a pair of local sockets that keep message boundaries.

    Many kernels have no SCTP. What one would add to a message, its flags, travels in front of it here.
    """

    def __init__(self, connection: socket.socket, part: int = 1 << 30) -> None:
        self.connection = connection
        self.part = part
        self.destinations: list[object] = []
        self.rest: tuple[int, bytes] | None = None

    def deliver(self, message: bytes, flags: int) -> None:
        self.connection.sendall(struct.pack("<i", flags) + message)

    def sctp_send(self, msg: bytes, to: object = ("", 0)) -> int:
        self.destinations.append(to)
        parts = [msg[start : start + self.part] for start in range(0, len(msg), self.part)]
        for number, part in enumerate(parts, 1):
            self.deliver(part, module._END_OF_RECORD if number == len(parts) else 0)
        return len(msg)

    def sctp_recv(self, maxlen: int) -> tuple[tuple[str, int], int, bytes | None, object]:
        if self.rest is None:
            data = self.connection.recv(1 << 20)
            self.rest = (struct.unpack("<i", data[:4])[0], data[4:]) if data else (0, b"")
        flags, message = self.rest
        cut = len(message) > maxlen
        self.rest = (flags, message[maxlen:]) if cut else None
        if cut:
            flags &= ~module._END_OF_RECORD
        event = flags & module._NOTIFICATION
        return ("127.0.0.1", 1), flags, None if event else message[:maxlen], "what pysctp knows of it"


@pytest.fixture
def association() -> Iterator[tuple[Association, Association]]:
    if not hasattr(socket, "SOCK_SEQPACKET"):
        pytest.skip("needs local sockets that keep message boundaries")
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, other:
        for each in (one, other):
            each.settimeout(20)
        yield Association(one), Association(other)


Associated: TypeAlias = tuple[Association, Association]
SMALL: list[Array] = [np.arange(1000.0), np.zeros((0, 2), "u1")]


def test_an_sctp_message_is_a_buffer(association: Associated) -> None:
    one, other = association
    tenbin.sctp_send(one, ("localhost", 99), SMALL, ["a", "b"])
    assert one.destinations == [("localhost", 99)]
    arrays, infos = tenbin.sctp_recv(other, True)
    assert same(arrays, SMALL)
    assert infos == ["a", "b"]
    one.deliver(tenbin.encode_buffer(SMALL), module._END_OF_RECORD)
    assert same(tenbin.sctp_recv(other), SMALL)


def test_over_a_connected_socket_there_is_no_destination(association: Associated) -> None:
    one, other = association
    tenbin.sctp_send(one, None, SMALL)
    assert one.destinations == [("", 0)]
    assert same(tenbin.sctp_recv(other, ["", ""]), SMALL)


@pytest.mark.parametrize("part", [1000, 96, 8192])
def test_a_message_delivered_in_parts_is_put_together(association: Associated, part: int) -> None:
    """Also where a part ends between two arrays, and would pass for a whole message."""
    one, other = association
    one.part = part
    arrays = [np.arange(4, dtype="f8"), np.arange(3, dtype="u1"), np.arange(200.0)]
    tenbin.sctp_send(one, None, arrays)
    assert same(tenbin.sctp_recv(other), arrays)
    tenbin.sctp_send(one, None, arrays)
    assert same(tenbin.sctp_recv(other), arrays)


def test_events_are_passed_over(association: Associated) -> None:
    one, other = association
    one.deliver(b"event", module._NOTIFICATION)
    tenbin.sctp_send(one, None, SMALL)
    assert same(tenbin.sctp_recv(other), SMALL)


@pytest.mark.parametrize("part", [500, 1 << 30])
def test_a_message_beyond_maxsize_is_refused_and_the_next_one_received(association: Associated, part: int) -> None:
    one, other = association
    one.part = part
    tenbin.sctp_send(one, None, [np.zeros(1000)])
    tenbin.sctp_send(one, None, [np.zeros(3)])
    with pytest.raises(DecodeError, match="a message of 8096 bytes: expected 5000 at most"):
        tenbin.sctp_recv(other, maxsize=5000)
    assert same(tenbin.sctp_recv(other, maxsize=5000), [np.zeros(3)])


def test_a_closed_association_is_an_error(association: Associated) -> None:
    one, other = association
    one.connection.close()
    with pytest.raises(OpenError, match="closed"):
        tenbin.sctp_recv(other)


def test_sctp_has_no_empty_messages(association: Associated) -> None:
    with pytest.raises(EncodeError, match="one array at least"):
        tenbin.sctp_send(association[0], None, [])


def test_an_sctp_message_that_is_no_buffer_is_refused(association: Associated) -> None:
    one, other = association
    one.deliver(b"hello", module._END_OF_RECORD)
    with pytest.raises(DecodeError, match="starts with b'hello'"):
        tenbin.sctp_recv(other)


def test_a_message_taken_in_part_only_is_an_error() -> None:
    class Full:
        def sctp_send(self, msg: bytes, to: object = ("", 0)) -> int:
            return len(msg) - 1

        def sctp_recv(self, maxlen: int) -> Any:
            raise NotImplementedError

    with pytest.raises(OpenError, match="took 159 of 160 bytes"):
        tenbin.sctp_send(Full(), ("", 1), [np.zeros(3)])


def test_objects_without_flags_deliver_whole_messages() -> None:
    class Plain:
        def __init__(self) -> None:
            self.messages: list[bytes] = []

        def sctp_send(self, msg: bytes, to: object = ("", 0)) -> None:
            self.messages.append(msg)

        def sctp_recv(self, maxlen: int) -> tuple[None, int, bytes, None]:
            return None, 0, self.messages.pop(0)[:maxlen], None

    plain = Plain()
    tenbin.sctp_send(plain, ("", 1), SMALL)
    assert same(tenbin.sctp_recv(plain), SMALL)
