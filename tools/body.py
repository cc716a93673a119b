"""The body of a request, read within a size and a time.

A caller who sends a byte now and then holds a worker as long as he likes, whatever the
server's timeout, because that begins anew with each byte.
"""

import threading
import time
from contextlib import suppress

from werkzeug.exceptions import ClientDisconnected

from ..exceptions import BadRequest, PayloadTooLarge, RequestTimeout

CHUNK = 64 * 1024
SHUT_RD = 0  # of the module socket: this one opens no connection
GRACE = 10.0  # seconds that any body may take
RATE = 32 * 1024  # bytes a second that it has to come with beyond


class Deadline:
    """Ends a wait for bytes when the whole of a body comes too slowly.

    The wait may be deep inside the server, for the rest of a buffer or the header of a
    chunk, where nobody looks at a clock. So a thread does, and shuts the reading side of
    the connection, which wakes every kind of server; the answer can still be sent.

    :param connection: socket of the request; without one, time is only looked at between
        two reads
    """

    def __init__(self, connection=None):
        self.is_over = False
        self._connection = connection
        self._begun = time.monotonic()
        self._until = self._begun + GRACE
        self._done = threading.Event()

    def __enter__(self):
        if self._connection is not None:
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *exc_info):
        self._done.set()

    def extend(self, size):
        """Take note of how many bytes have come in all, which earn more time.

        :raise RequestTimeout: they should have come sooner
        """
        self._until = self._begun + GRACE + size / RATE
        if time.monotonic() > self._until:
            raise too_slow()

    def _watch(self):
        while not self._done.wait(max(self._until - time.monotonic(), 0)):
            if time.monotonic() >= self._until:
                self.is_over = True
                with suppress(OSError):  # it has gone by itself
                    self._connection.shutdown(SHUT_RD)
                return


def read_limited(stream, limit, content_length=None, connection=None):
    """Return the whole body of a WSGI input stream, never more than ``limit`` bytes.

    The length is not trusted and a chunked body has none, so the bytes are counted while
    they are read.

    :param int content_length: of the header, ``None`` for a chunked body
    :param connection: socket that the stream reads from, see :class:`Deadline`
    :raise PayloadTooLarge: naming the limit
    :raise BadRequest: the body ended before ``content_length`` bytes, or its chunks are
        malformed
    :raise RequestTimeout: the server has waited for more of it in vain
    """
    if content_length is not None and content_length > limit:
        raise _too_large(limit)
    wanted = limit + 1 if content_length is None else content_length
    chunks, size = [], 0
    with Deadline(connection if wanted else None) as deadline:
        while size < wanted and (
            chunk := _read(stream, min(CHUNK, wanted - size), deadline)
        ):
            chunks.append(chunk)
            size += len(chunk)
            if size < wanted:
                deadline.extend(size)
    if size > limit:
        raise _too_large(limit)
    if content_length is not None and size < content_length:
        if deadline.is_over:
            raise too_slow()
        raise BadRequest(
            f"The body ended after {size} of {content_length} bytes: send it again."
        )
    return b"".join(chunks)


def _read(stream, size, deadline):
    try:
        return stream.read(size)
    except (OSError, ClientDisconnected) as error:
        # Werkzeug hides the reason, but for the context, where it knows the length.
        is_late = TimeoutError in (type(error), type(error.__context__))
        if deadline.is_over or is_late:
            raise too_slow() from error
        raise BadRequest(f"The body cannot be read: {error}") from error


def too_slow():
    # What is left of the body would be taken for the next request.
    return RequestTimeout(
        "The body did not arrive in time: send it again, faster.",
        headers={"Connection": "close"},
    )


def _too_large(limit):
    return PayloadTooLarge(
        f"The body is larger than {limit} bytes: send less, or in several calls.",
        details={"limit": limit},
    )
