from odoo import http
from odoo.modules.registry import Registry

from ..exceptions import DATABASE_BUSY
from ..models.bj_api_sync_config import ROUTE
from ..models.bj_api_sync_transaction import is_busy
from ..models.ir_http import read_request_id
from ..tools import envelope, payload


class BusyDispatcher(http._dispatchers["http"]):
    """Answers our calls that get no connection to PostgreSQL before they are matched.

    Until then every request has the dispatcher of pages, whose answer is a page. All else
    that it does, and all paths of others, are left to the one that was there before.
    """

    routing_type = "http"

    def handle_error(self, exc):
        if not (self._is_api() and has_busy_cause(exc)):
            return super().handle_error(exc)
        request_id = read_request_id(self.request.httprequest)
        body = envelope.error(
            "bare",
            503,
            "INTERNAL_ERROR",
            DATABASE_BUSY % request_id,
            request_id=request_id,
        )
        return http.Response(
            payload.dumps(body),
            status=503,
            content_type="application/json; charset=utf-8",
            headers={
                "Retry-After": "1",
                "X-Request-ID": request_id,
                "Cache-Control": "no-store",
            },
        )

    def _is_api(self):
        """Tell whether the API is called, of a database that has it as far as we know."""
        if not f"{self.request.httprequest.path}/".startswith(f"{ROUTE}/"):
            return False
        dbname = getattr(self.request, "db", None)  # not even that is known at first
        registry = self.request.registry or Registry.registries.get(dbname)
        return registry is None or "bj.api.sync.config" in registry


def has_busy_cause(exc):
    """Tell it of an error or of what it was raised for.

    A database that cannot be reached is to Odoo one that is not there, so that its paths
    are not found.
    """
    while exc is not None:
        if is_busy(exc):
            return True
        exc = exc.__cause__ or exc.__context__
    return False
