from typing import Annotated

from fastapi import APIRouter, Depends, Header, HTTPException
from odoo import fields, models
from odoo.addons.bj_bench.hooks import FIELDS, LOGIN, TOKEN
from odoo.addons.fastapi.dependencies import odoo_env
from odoo.api import Environment
from odoo.tools import consteq
from pydantic import BaseModel


class Partner(BaseModel):
    ref: str | None = None
    name: str | None = None
    email: str | None = None
    phone: str | None = None
    street: str | None = None
    city: str | None = None
    zip: str | None = None


class PartnerRead(Partner):
    country: str | None = None

    @classmethod
    def from_record(cls, partner):
        values = {name: partner[name] or None for name in Partner.model_fields}
        return cls(**values, country=partner.country_id.name or None)


class PartnerNested(Partner):
    country_id: int
    category_ids: list[int]


def check_key(api_key: Annotated[str, Header()]):
    if not consteq(api_key, TOKEN):
        raise HTTPException(status_code=401)


router = APIRouter(dependencies=[Depends(check_key)])
Env = Annotated[Environment, Depends(odoo_env)]


@router.get("/partners")
def search(env: Env, limit: int = 100, offset: int = 0) -> list[PartnerRead]:
    partners = env["res.partner"].search_fetch(
        [], FIELDS, limit=limit, offset=offset, order="id"
    )
    return [PartnerRead.from_record(partner) for partner in partners]


@router.get("/partners/{partner_id}")
def get(env: Env, partner_id: int) -> PartnerRead:
    return PartnerRead.from_record(env["res.partner"].browse(partner_id))


@router.post("/partners", status_code=201)
def create(env: Env, partner: Partner) -> int:
    return env["res.partner"].create(partner.model_dump(exclude_unset=True)).id


@router.post("/bulk", status_code=201)
def create_many(env: Env, partners: list[Partner]) -> list[int]:
    rows = [partner.model_dump(exclude_unset=True) for partner in partners]
    return env["res.partner"].create(rows).ids


@router.post("/nested", status_code=201)
def create_nested(env: Env, partners: list[PartnerNested]) -> list[int]:
    rows = [partner.model_dump(exclude_unset=True) for partner in partners]
    for row in rows:
        row["category_id"] = [(6, 0, row.pop("category_ids"))]
    return env["res.partner"].create(rows).ids


@router.put("/partners/{partner_id}")
def write(env: Env, partner_id: int, partner: Partner) -> bool:
    values = partner.model_dump(exclude_unset=True)
    return env["res.partner"].browse(partner_id).write(values)


@router.delete("/partners/{partner_id}")
def unlink(env: Env, partner_id: int) -> bool:
    return env["res.partner"].browse(partner_id).unlink()


class FastapiEndpoint(models.Model):
    _inherit = "fastapi.endpoint"

    app = fields.Selection(
        selection_add=[("bj_bench", "Benchmark")], ondelete={"bj_bench": "cascade"}
    )

    def _get_fastapi_routers(self):
        if self.app == "bj_bench":
            return [router]
        return super()._get_fastapi_routers()


def post_init_hook(env):
    user = env["res.users"].search([("login", "=", LOGIN)])
    endpoint = env["fastapi.endpoint"].create(
        {
            "name": "Benchmark",
            "app": "bj_bench",
            "root_path": "/bj_bench_fastapi",
            "user_id": user.id,
            "save_http_session": False,
        }
    )
    endpoint.action_sync_registry()
