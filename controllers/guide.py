from odoo import http
from odoo.http import request
from werkzeug.exceptions import NotFound

from ..models.bj_api_sync_guide import ROUTE


class BjApiSyncGuideController(http.Controller):
    """Shows the addon's documentation, which needs no way to the internet."""

    @http.route(
        [ROUTE, f"{ROUTE}/<string:page>", f"{ROUTE}/<any(en,uk):lang>/<string:page>"],
        type="http",
        auth="user",
        methods=["GET"],
        readonly=True,
    )
    def show(self, page="readme", lang=None):
        user = request.env.user
        if not user.has_group("bj_api_sync.group_bj_api_user"):
            raise NotFound
        values = request.env["bj.api.sync.guide"]._get_page(page, lang)
        if not values:
            raise NotFound
        return request.render("bj_api_sync.guide_page", values)
