import time

from odoo import SUPERUSER_ID, Command, http
from odoo.http import request

from .facts import LOGIN
from .hooks import FIELDS

user_id = None  # kept by the process, so that finding it does not count


def route(path, method, **options):
    """Return the decorator of an action that nobody has to log in for."""
    return http.route(
        path,
        type="http",
        auth="none",
        methods=[method],
        csrf=False,
        save_session=False,
        **options,
    )


class BenchController(http.Controller):
    """The limit: what Odoo itself takes, as superuser, with no check and no log.

    With the header ``X-Bench-User`` as the plain user that the endpoints run as: then
    Odoo checks rights, and creates the author's followers, which OdooBot has none of.
    """

    def _partners(self):
        env = request.env(user=SUPERUSER_ID)
        if "X-Bench-User" in request.httprequest.headers:
            env = env(user=self._get_user_id(env))
        return env["res.partner"]

    def _get_user_id(self, env):
        global user_id
        if not user_id:
            user_id = env["res.users"].search([("login", "=", LOGIN)]).id
        return user_id

    def _rows(self, partners):
        rows = partners.read(FIELDS, load=None)
        countries = partners.env["res.country"].browse(
            {row["country_id"] for row in rows if row["country_id"]}
        )
        names = {country.id: country.name for country in countries}
        for row in rows:
            row["country"] = names.get(row.pop("country_id"))
        return rows

    @route("/bj_bench/partners", "GET", readonly=True)
    def search(self, limit=100, offset=0, total=None):
        partners = self._partners().search_fetch(
            [], FIELDS, limit=int(limit), offset=int(offset), order="id"
        )
        answer = self._rows(partners)
        if total:
            answer = {"rows": answer, "total": partners.search_count([])}
        return request.make_json_response(answer)

    @route("/bj_bench/partners/<int:partner_id>", "GET", readonly=True)
    def get(self, partner_id):
        return request.make_json_response(
            self._rows(self._partners().browse(partner_id))[0]
        )

    @route("/bj_bench/partners", "POST")
    def create(self):
        body = request.get_json_data()
        rows = body if isinstance(body, list) else [body]
        partners = self._partners().create(rows)
        return request.make_json_response(partners.ids, status=201)

    @route("/bj_bench/nested", "POST")
    def create_nested(self):
        rows = request.get_json_data()
        partners = self._partners()
        countries = partners.env["res.country"].search_fetch([], ["code"])
        country_ids = {country.code: country.id for country in countries}
        tags = partners.env["res.partner.category"].search_fetch([], ["name"])
        tag_ids = {tag.name: tag.id for tag in tags}
        for row in rows:
            row["country_id"] = country_ids[row.pop("country")]
            tags = [tag_ids[name] for name in row.pop("tags")]
            row["category_id"] = [Command.set(tags)]
        return request.make_json_response(partners.create(rows).ids, status=201)

    @route("/bj_bench/partners/<int:partner_id>", "PUT")
    def write(self, partner_id):
        self._partners().browse(partner_id).write(request.get_json_data())
        return request.make_json_response(True)

    @route("/bj_bench/partners", "PUT")
    def write_many(self):
        partners = self._partners()
        for partner_id, values in request.get_json_data():
            partners.browse(partner_id).write(values)
        return request.make_json_response(True)

    @route("/bj_bench/partners/<int:partner_id>", "DELETE")
    def unlink(self, partner_id):
        self._partners().browse(partner_id).unlink()
        return request.make_json_response(True)

    @route("/bj_bench/outbound", "POST")
    def outbound(self):
        """Run one way of sending; answer the seconds until all is flushed."""
        job = request.get_json_data()
        env = request.env(user=SUPERUSER_ID)
        ways = env["bj.bench.outbound"]
        start = time.perf_counter()
        if job["way"] == "set_up":
            ways._set_up(job["url"])
        elif job["way"] == "rule":
            ways._set_rule(job["active"])
        else:
            partners = env["res.partner"].search(
                [("ref", "like", "K%")], limit=job["count"], order="id"
            )
            getattr(ways, f"_run_{job['way']}")(partners, job["url"])
        env.flush_all()
        return request.make_json_response(time.perf_counter() - start)
