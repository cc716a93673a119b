import io
import socket
import threading
import time
from types import SimpleNamespace
from unittest.mock import patch

from werkzeug.serving import DechunkedInput

from ..exceptions import BadRequest, PayloadTooLarge, RequestTimeout
from ..tools import body
from .pure_case import PureCase

KIB = 1024


class TestReadLimited(PureCase):
    def test_a_body_up_to_the_limit_is_read_whole(self):
        for size in (0, 1, body.CHUNK, body.CHUNK * 2 + 1):
            for length in (size, None):
                with self.subTest(size=size, length=length):
                    whole = b"x" * size
                    stream = io.BytesIO(whole)
                    self.assertEqual(body.read_limited(stream, size, length), whole)

    def test_a_larger_body_is_refused_having_read_little_more_than_the_limit(self):
        for length in (11, None):
            stream = io.BytesIO(b"x" * 10**6)
            with self.subTest(length=length):
                with self.assertRaisesRegex(PayloadTooLarge, "10 bytes"):
                    body.read_limited(stream, 10, length)
                self.assertLessEqual(stream.tell(), 11)

    def test_bytes_after_the_announced_length_stay_unread(self):
        stream = io.BytesIO(b"abcdef")
        self.assertEqual(body.read_limited(stream, 100, 3), b"abc")

    def test_a_body_that_ends_early_is_refused(self):
        with self.assertRaisesRegex(BadRequest, "after 3 of 9 bytes"):
            body.read_limited(io.BytesIO(b"abc"), 100, 9)


class Clock:
    """A clock that goes on by itself as bytes are read, at a given speed."""

    def __init__(self, size, speed):
        self.left, self.speed, self.now = size, speed, 0.0

    def __call__(self):
        return self.now

    def read(self, size):  # pylint: disable=method-required-super
        size = min(size, self.left)
        self.left -= size
        self.now += size / self.speed
        return b"x" * size


class TestDeadline(PureCase):
    """How long a body may take in all."""

    def _read(self, size, speed, length=...):
        stream = Clock(size, speed)
        length = size if length is ... else length
        with patch.object(body, "time", SimpleNamespace(monotonic=stream)):
            return len(body.read_limited(stream, 20 * KIB * KIB, length)), stream.now

    def test_a_slow_but_honest_upload_passes(self):
        for size, speed in (
            (10 * KIB * KIB, 50 * KIB),
            (10 * KIB * KIB, 33 * KIB),
            (10 * KIB, KIB),
            (1, 0.2),
        ):
            for length in (size, None):
                with self.subTest(size=size, speed=speed, length=length):
                    self.assertEqual(self._read(size, speed, length)[0], size)

    def test_a_slower_one_ends_as_a_timeout(self):
        for size in (KIB * KIB, 10 * KIB * KIB):
            for length in (size, None):
                with self.subTest(size=size, length=length):
                    with self.assertRaises(RequestTimeout) as caught:
                        self._read(size, 20 * KIB, length)
                    self.assertEqual(caught.exception.code, 408)
                    headers = caught.exception.extra_headers
                    self.assertEqual(headers, {"Connection": "close"})

    def _trickle(self, sending, reads, length, first=b""):
        """Read from a socket into which ``sending`` goes byte by byte."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        is_over = threading.Event()

        def send():
            theirs.sendall(first)
            for number in range(400):
                if is_over.wait(0.02):
                    return
                try:
                    theirs.sendall(sending[number % len(sending)])
                except OSError:
                    return
            theirs.shutdown(socket.SHUT_WR)  # in vain: the test must end all the same

        sender = threading.Thread(target=send)
        sender.start()
        begun = time.monotonic()
        try:
            with self.assertRaises(RequestTimeout):
                body.read_limited(reads(ours), 10**6, length, connection=ours)
        finally:
            is_over.set()
            sender.join(10)
        self.assertLess(time.monotonic() - begun, 7)  # of the 8 that it would go on

    def test_bytes_that_come_one_by_one_hold_nobody_up(self):
        self.enterContext(patch.object(body, "GRACE", 0.5))
        plain = lambda sock: sock.makefile("rb")  # noqa: E731
        chunked = lambda sock: DechunkedInput(sock.makefile("rb"))  # noqa: E731
        for name, sending, reads, length, first in (
            ("length", [b"x"], plain, 10**6, b""),
            ("one large chunk", [b"x"], chunked, None, b"ffff\r\n"),
            ("small chunks", [b"1\r\n", b"x\r\n"], chunked, None, b""),
            ("the header of a chunk", [b" "], chunked, None, b"1"),
        ):
            with self.subTest(name):
                self._trickle(sending, reads, length, first)

    def test_a_body_that_stops_entirely_ends_without_a_timeout_of_the_server(self):
        self.enterContext(patch.object(body, "GRACE", 0.3))
        for length, reads in (
            (100, lambda sock: sock.makefile("rb")),
            (None, lambda sock: DechunkedInput(sock.makefile("rb"))),
        ):
            with self.subTest(length=length):
                ours, theirs = socket.socketpair()
                self.addCleanup(ours.close)
                self.addCleanup(theirs.close)
                theirs.sendall(b"5\r\nhello\r\n")
                end = threading.Timer(8, theirs.shutdown, [socket.SHUT_WR])
                end.start()
                self.addCleanup(end.cancel)
                with self.assertRaises(RequestTimeout):
                    body.read_limited(reads(ours), 1000, length, connection=ours)
                ours.sendall(b"an answer can still be sent")
                self.assertTrue(theirs.recv(100))
