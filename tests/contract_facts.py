"""A contract with a bit of everything, made without a database."""

from ..tools import example
from ..tools.message import Contract, Plan, Rule
from ..tools.query import STANDARD_FIELDS, FilterField, ParamRule


def rule(line_id, api_key, field_path="", field_type="char", **more):
    return Rule(
        line_id=line_id,
        api_key=api_key,
        key_path=tuple(api_key.split(".")),
        field_path=field_path,
        path=tuple(field_path.split(".")) if field_path else (),
        field_type=field_type,
        **more,
    )


COUNTRY = Plan(
    20,
    "Країна",
    "res.country",
    (code := rule(21, "code", "code", is_identifier=True), rule(22, "name", "name")),
    code,
)
LINE = Plan(
    30,
    "Order Line",
    "sale.order.line",
    (
        rule(31, "product", "name", required=True),
        rule(32, "price", "price_unit", "float"),
        # Read as an identifier only, so that the model may lead back to itself.
        rule(
            33,
            "parts",
            "line_ids",
            "one2many",
            value_type="relational_mapping",
            mapping_config_id=30,
            nested_format="identifier",
        ),
    ),
)
RULES = (
    number := rule(1, "number", "name", is_identifier=True, required=True, size=20),
    rule(2, "customer.name", "partner_id.name", access="read"),
    rule(3, "state", "state", "selection", selection=("draft", "sale")),
    rule(4, "total", "amount_total", "monetary", access="read"),
    rule(5, "ordered", "date_order", "datetime"),
    rule(
        6,
        "ship_to.country",
        "country_id",
        "many2one",
        value_type="relational_mapping",
        mapping_config_id=20,
        required=True,
    ),
    rule(
        7,
        "lines",
        "order_line",
        "one2many",
        value_type="relational_mapping",
        mapping_config_id=30,
    ),
    rule(8, "tags", "tag_ids", "many2many"),
    rule(9, "emails", "order_line.email", access="read"),
    rule(10, "source", value_type="constant", constant="odoo"),
    rule(11, "margin", value_type="python_plain", read_script="1", access="read"),
    rule(12, "secret", "note", access="write"),
    rule(13, "confirmed", "is_confirmed", "boolean"),
)


def make_contract(**vals):
    plan = Plan(1, "Orders", "sale.order", RULES, number)
    plans = {20: COUNTRY, 30: LINE}
    lists = frozenset({9})
    facts = {
        "endpoint": "sale-orders",
        "title": "Orders",
        "plan": plan,
        "plans": plans,
        "methods": ("GET", "POST", "PUT", "DELETE"),
        "auth_type": "bearer",
        "filters": (
            STANDARD_FIELDS["id"],
            FilterField("number", "name", "char"),
            FilterField("state", "state", "selection", ("draft", "sale")),
            FilterField("limit", "limit", "integer"),
        ),
        "params": (ParamRule("q", "name", "ilike", "char"),),
        "orders": ("id", "number"),
        "keys": ("number", "customer", "state"),
        "list_lines": lists,
        "read_example": example.read(plan, plans, lists),
        "create_example": example.create(plan, plans),
        "update_example": example.update(plan, plans),
    }
    return Contract(**{**facts, **vals})
