"""Chunked framing for answers of a length that is not known before.

Odoo's servers of threads and processes speak HTTP/1.0, whose answers without a length end
where the connection does: one whose worker was killed looks whole. werkzeug frames them if
it is told that HTTP/1.1 is spoken. The port for long polling does by itself.
"""

from werkzeug.serving import WSGIRequestHandler

HANDLER = "bj_api_sync.handler"  # in the environment of WSGI

_make_environ = WSGIRequestHandler.make_environ


def make_environ(self):
    return {**_make_environ(self), HANDLER: self}


# The one that both servers of Odoo go by, or extend.
WSGIRequestHandler.make_environ = make_environ


def frame(environ):
    """Have the answer to this call framed, if its caller knows how; before it begins."""
    handler = environ.get(HANDLER)
    # Each connection takes one call only, so that no other one notices.
    if handler is not None and handler.request_version == "HTTP/1.1":
        handler.protocol_version = "HTTP/1.1"
