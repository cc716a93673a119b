from odoo import Command

from .facts import CONTACTS, LOGIN, PASSWORD, TAGS, TOKEN

FIELDS = ["ref", "name", "email", "phone", "street", "city", "zip", "country_id"]
KEYS = {  # external key -> field; written as well, but for the country
    "customer_id": "ref",
    "name": "name",
    "email": "email",
    "contact_phone": "phone",
    "street": "street",
    "town": "city",
    "postcode": "zip",
}


def post_init_hook(env):
    """Make a plain internal user, contacts, tags and the endpoints to measure."""
    users = env["res.users"]
    groups = "groups_id" if "groups_id" in users else "group_ids"  # 19.0's name
    user = users.create(
        {
            "name": "Benchmark",
            "login": LOGIN,
            "password": PASSWORD,
            groups: [
                Command.set(
                    [
                        env.ref("base.group_user").id,
                        # Internal users read contacts; this one lets them write.
                        env.ref("base.group_partner_manager").id,
                    ]
                )
            ],
        }
    )
    countries = env["res.country"].search([], limit=20)
    env["res.partner.category"].create(
        [{"name": f"Tag {number}"} for number in range(TAGS)]
    )
    partners = env["res.partner"].with_context(tracking_disable=True)
    for start in range(0, CONTACTS, 1000):
        partners.create(
            [
                {
                    "ref": f"K{number:06}",
                    "name": f"Contact {number}",
                    "email": f"contact{number}@example.com",
                    "phone": f"+380 44 {number:07}",
                    "street": f"{number % 200} Main Street",
                    "city": f"Town {number % 500}",
                    "zip": f"{number % 90000 + 10000}",
                    "country_id": countries[number % len(countries)].id,
                }
                for number in range(start, start + 1000)
            ]
        )
    make_endpoints(env, user)


def make_endpoints(env, user):
    country = env["bj.api.sync.config"].create(
        mapping_values(env, "res.country", [line("code", "code", identifier=True)])
    )
    tag = env["bj.api.sync.config"].create(
        mapping_values(
            env, "res.partner.category", [line("name", "name", identifier=True)]
        )
    )
    plain = [
        line(field, key, identifier=key == "customer_id") for key, field in KEYS.items()
    ]
    read_country = {**line("country_id.name", "country"), "access": "read"}
    nested = [
        {
            **line("country_id", "country"),
            "value_type": "relational_mapping",
            "mapping_config_id": country.id,
            "nested_format": "identifier",
        },
        {
            **line("category_id", "tags"),
            "value_type": "relational_mapping",
            "mapping_config_id": tag.id,
            "nested_format": "identifier",
        },
    ]
    for name, log_level, lines in [
        ("bench", "full", [*plain, read_country]),
        ("bench-nolog", "none", [*plain, read_country]),
        ("bench-nested", "full", [*plain, *nested]),
        ("bench-nested-nolog", "none", [*plain, *nested]),
    ]:
        env["bj.api.sync.config"].create(
            {
                **mapping_values(env, "res.partner", lines),
                "name": name,
                "endpoint": name,
                "log_level": log_level,
                "user_id": user.id,
                "auth_type": "bearer",
                "bearer_token": TOKEN,
                "http_method_ids": [Command.set(env["bj.http.method"].search([]).ids)],
            }
        )


def mapping_values(env, model, lines):
    return {
        "name": f"Mapping of {model}",
        "request_type": "in",
        "model_id": env["ir.model"]._get_id(model),
        "line_ids": [
            Command.create({"sequence": position, **values})
            for position, values in enumerate(lines)
        ],
    }


def line(field_path, api_key, identifier=False):
    return {
        "field_path": field_path,
        "api_key": api_key,
        "is_record_identifier": identifier,
    }
