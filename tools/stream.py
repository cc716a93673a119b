import logging
import os
import socket
import struct

_logger = logging.getLogger("bj.api.http")


class Stream:
    """The body of a long list: encodes chunks of rows while the server sends them.

    The first chunk is read at once: what fails there is answered as any other error.
    What fails later comes after status 200, so NDJSON ends with a line that tells it,
    and the connection of an array is reset: neither can be taken for a whole list. What
    a killed process has left shows by its framing, or by the last line that it lacks.

    :param chunks: generator of lists of rows
    :param encode: ``function(rows)`` that gives their bytes
    :param tuple frame: bytes before the rows, between two chunks and after the rows
    :param report: ``function(error)`` that gives the last line of NDJSON that breaks
        off, ``None`` for an array
    :param finish: ``function(rows)`` that gives the last line of whole NDJSON, ``None``
        for none
    :param connection: socket of the caller, ``None`` if the server does not tell
    :param on_close: ``function(stream)`` that is called once, however it ended
    """

    def __init__(
        self, chunks, encode, frame, report, connection, on_close, finish=None
    ):
        self.chunks = chunks
        self.encode = encode
        self.frame = frame
        self.report = report
        self.finish = finish
        self.connection = connection
        self.on_close = on_close
        self.rows = 0  # that were handed to the server
        self.size = 0  # in bytes
        self.error = None
        self.is_whole = False
        self._first = next(chunks, [])
        self._start = encode(self._first)

    def __iter__(self):
        start, between, end = self.frame
        rows = self._first
        try:
            yield self._count(start + self._start, rows)
            for rows in self.chunks:
                yield self._count(between + self.encode(rows), rows)
        except Exception as error:
            self.error = error
            _logger.exception("A list broke off after %s rows", self.rows)
            if not self.report:
                reset(self.connection)
                raise
            end = self.report(error)
        else:
            self.is_whole = True
            end = self.finish(self.rows) if self.finish else end
        yield self._count(end, [])

    @property
    def beginning(self):
        """The answer as it would be with the first chunk only, to be logged."""
        start, _between, end = self.frame
        return start + self._start + end

    def close(self):
        """Give the cursor back and log; werkzeug calls it when all is over."""
        self.chunks.close()
        if self.on_close:
            on_close, self.on_close = self.on_close, None
            on_close(self)

    def drop(self):
        """Give the cursor back of one that is never sent; nothing is logged of it."""
        self.on_close = None
        self.close()

    def _count(self, data, rows):
        self.rows += len(rows)
        self.size += len(data)
        return data


def reset(connection):
    """Close a connection so that the other side sees an error instead of its end.

    HTTP/1.0, which Odoo speaks, has no other mark for an answer that is not whole. The
    socket itself stays usable, as one that nobody listens to: werkzeug still reads what
    may be left of the request before it closes the answer.
    """
    if connection is None:
        return
    try:
        connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        # Its files are still open, so close() would only close it later, and cleanly.
        nobody, other = socket.socketpair()
        with nobody, other:
            os.dup2(nobody.fileno(), connection.fileno(), inheritable=False)
    except OSError:
        _logger.debug("The connection was closed already")
