from odoo import http
from odoo.http import content_disposition, request

from ..exceptions import MethodNotAllowed
from ..models.bj_api_sync_config import ROUTE
from ..tools.message import ApiResponse

OPTIONS = {
    "type": "bj_api_sync",
    "auth": "bj_api_sync_contract",
    "methods": None,
    "csrf": False,
    "save_session": False,
    "readonly": True,
}


class BjApiSyncContractController(http.Controller):
    """Describes the API; the fixed paths win over the one that serves endpoints."""

    @http.route(f"{ROUTE}/openapi.json", **OPTIONS)
    def openapi(self):
        return self._answer("_get_document", "openapi")

    @http.route(f"{ROUTE}/postman.json", **OPTIONS)
    def postman(self):
        return self._answer("_get_document", "postman")

    @http.route(f"{ROUTE}/docs", **OPTIONS)
    def docs(self):
        return self._answer("_get_index")

    @http.route(f"{ROUTE}/health", **OPTIONS)
    def health(self):
        return self._answer("_get_health")

    @http.route(
        "/bj_api_sync/contract/<int:config_id>/<any(openapi,postman):kind>.json",
        type="http",
        auth="user",
        methods=["GET"],
        readonly=True,
    )
    def download(self, config_id, kind):
        config = request.env["bj.api.sync.config"].browse(config_id)
        name, document = config._get_contract_document(kind)
        return request.make_json_response(
            document, headers=[("Content-Disposition", content_disposition(name))]
        )

    def _answer(self, method, *args):
        inbound = request.dispatcher.inbound
        allowed = {"Allow": "GET, HEAD, OPTIONS"}
        if inbound.method == "OPTIONS":
            answer = ApiResponse(204, headers=allowed)
        elif inbound.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(
                request.env._(
                    "%(method)s is not allowed here; %(allowed)s are.",
                    method=inbound.method,
                    allowed=allowed["Allow"],
                ),
                headers=allowed,
            )
        else:
            contract = request.env["bj.api.sync.contract"]
            answer = getattr(contract, method)(*args, inbound)
        # A probe asks every few seconds: the log is for exchanges of data.
        return request.dispatcher.respond(answer, is_logged=False)
