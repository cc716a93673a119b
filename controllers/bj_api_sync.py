import dataclasses

from odoo import http
from odoo.http import request

from ..exceptions import DryRun
from ..models.bj_api_sync_config import ROUTE
from ..tools.body import read_limited


def is_read(_controller, *_rule_and_arguments):  # which 19.0 hands over as well
    """Let reads go to a read-only cursor, hence to a replica if there is one."""
    return request.httprequest.method in ("GET", "HEAD", "OPTIONS")


def read_body(limit):
    # Odoo's wrapper hides the stream, and its get_data() would take a chunked body of any
    # size into memory.
    wrapped = request.httprequest._HTTPRequest__wrapped
    length = wrapped.content_length
    if length is None and "HTTP_TRANSFER_ENCODING" not in wrapped.environ:
        return b""
    connection = wrapped.environ.get("werkzeug.socket") or wrapped.environ.get("socket")
    return read_limited(wrapped.stream, limit, length, connection)


class BjApiSyncConfigController(http.Controller):
    @http.route(
        [ROUTE, f"{ROUTE}/", f"{ROUTE}/<path:path>"],
        type="bj_api_sync",
        auth="bj_api_sync",
        methods=None,
        csrf=False,
        save_session=False,
        readonly=is_read,
    )
    def serve(self, path=""):
        dispatcher = request.dispatcher
        inbound = request.env["bj.api.sync.inbound"]
        # Odoo may repeat all of this: the call still counts once, and its stream is gone.
        if dispatcher.limits is None:
            dispatcher.limits = inbound._admit(dispatcher.endpoint, dispatcher.inbound)
        if dispatcher.body is None:
            dispatcher.body = read_body(dispatcher.endpoint.max_body_bytes)
        if dispatcher.body:
            dispatcher.inbound = dataclasses.replace(
                dispatcher.inbound, body=dispatcher.body
            )
        answer = inbound._handle(dispatcher.endpoint, dispatcher.inbound)
        inbound.env.flush_all()  # what fails only now fails before it is answered
        if answer.is_dry_run:
            raise DryRun(answer)
        return dispatcher.respond(answer)
