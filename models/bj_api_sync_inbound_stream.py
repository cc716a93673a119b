from odoo import api, models
from odoo.tools import SQL

from ..compat import all_of
from ..tools import payload
from ..tools.message import ApiResponse

STREAM_ROWS = 1000  # a longer list is streamed, unless bj_api_sync.stream_rows differs
CHUNK = 500  # rows that are read, encoded and sent at a time


class BjApiSyncInbound(models.AbstractModel):
    """Long lists: read while they are sent, so that memory does not grow with them."""

    _inherit = "bj.api.sync.inbound"

    @api.model
    def _wants_lines(self, request):
        """Tell whether a list is wanted as NDJSON, one object a line."""
        is_list = request.method in ("GET", "HEAD") and request.record_key is None
        return is_list and payload.wants_lines(request.headers.get("accept"))

    @api.model
    def _is_streamed(self, endpoint, request, listing):
        # A response script has to see the whole answer.
        if endpoint.response_script:
            return False
        limit = self._get_int_parameter("bj_api_sync.stream_rows", STREAM_ROWS)
        return listing.limit > limit or self._wants_lines(request)

    @api.model
    def _answer_stream(self, endpoint, plan, call, request, listing):
        chunks = self._read_stream(endpoint, plan, call, request, listing)
        headers, pagination = next(chunks)
        return ApiResponse(
            chunks=chunks,
            kind="lines" if self._wants_lines(request) else "list",
            headers=headers,
            pagination=pagination,
            action="list",
        )

    @api.model
    def _read_stream(self, endpoint, plan, call, request, listing):
        """Yield ``(headers, pagination)``, then lists of payloads.

        The cursor of the request is closed before the first byte is sent. This one lives
        as long as the stream, in one snapshot: what others add or delete meanwhile can
        neither shift nor repeat a row.
        """
        with self.env.registry.cursor(readonly=self.env.cr.readonly) as cr:
            inbound = self.with_env(self.env(cr=cr))
            inbound.env["bj.api.sync.gate"]._spare_company(endpoint)
            yield from inbound._read_chunks(endpoint, plan, call, request, listing)

    @api.model
    def _read_chunks(self, endpoint, plan, call, request, listing):
        model = self.env[plan.model]
        domain = all_of(self._get_filter_domain(endpoint), listing.domain)
        order = listing.order or self._get_default_order(model)
        if listing.cursor is not None:
            domain = self._continue_domain(endpoint, listing, domain)
            order = ", ".join(map(str, listing.order_terms))
        yield self._describe_stream(endpoint, request, listing, model, domain, order)
        keys = None if listing.fields is None else set(listing.fields)
        rows = model._search(
            domain, offset=listing.offset, limit=listing.limit, order=order
        )
        if rows.is_empty():
            return
        self.env.cr.execute(
            SQL("DECLARE bj_api_sync_stream NO SCROLL CURSOR FOR %s", rows.select())
        )
        reader = self.env["bj.api.sync.reader"]
        while True:
            self.env.cr.execute(
                SQL("FETCH FORWARD %s FROM bj_api_sync_stream", CHUNK),
            )
            ids = [row[0] for row in self.env.cr.fetchall()]
            if ids:
                yield reader._read_payloads(plan, model.browse(ids), call, keys)
            if len(ids) < CHUNK:
                return
            self.env.invalidate_all()

    @api.model
    def _describe_stream(self, endpoint, request, listing, model, domain, order):
        """Return ``(headers, pagination)``, which are sent before any row is read."""
        if listing.cursor is None:
            total = model.search_count(domain) if listing.count else None
            found = listing.limit
            if total is not None:
                found = min(max(total - listing.offset, 0), listing.limit)
            return self._describe_page(endpoint, request, listing, total, found)
        edge = model.search(domain, offset=listing.limit - 1, limit=2, order=order)
        following = None
        if len(edge) > 1:
            following = self._encode_place(endpoint, listing, edge[0])
        return self._describe_walk(endpoint, request, listing, following)
