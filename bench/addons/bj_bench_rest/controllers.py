from odoo import models, tools
from odoo.addons.base_rest.controllers.main import RestController
from odoo.addons.bj_bench.hooks import LOGIN, TOKEN
from odoo.http import request
from odoo.tools import consteq
from werkzeug.exceptions import Unauthorized


class IrHttp(models.AbstractModel):
    _inherit = "ir.http"

    @classmethod
    def _auth_method_bj_bench(cls):
        """The cheapest key check there is, so that it does not count."""
        if not consteq(request.httprequest.headers.get("Api-Key", ""), TOKEN):
            raise Unauthorized()
        request.update_env(user=request.env["ir.http"]._get_bj_bench_user_id())

    @tools.ormcache()
    def _get_bj_bench_user_id(self):
        return self.env["res.users"].sudo().search([("login", "=", LOGIN)]).id


class BenchController(RestController):
    _root_path = "/bj_bench_rest/"
    _collection_name = "bj_bench.services"
    _default_auth = "bj_bench"
    _default_save_session = False
