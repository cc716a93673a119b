"""Guesses for a new mapping: external keys from fields, and fields from a payload.

A guess is a proposal that a person sees and mends, so what is unsure is left empty.
"""

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

# Fields that identify records for other systems, the best first.
IDENTIFIERS = ("ref", "default_code", "code", "barcode", "login", "client_order_ref")
# External keys that name a record, whatever field they are mapped to.
IDENTIFYING_KEYS = (
    "id",
    "external_id",
    "uuid",
    "guid",
    "uid",
    "ref",
    "reference",
    "code",
    "sku",
    "key",
    "slug",
)
# Models whose name is unique or as good as that.
NAMED_BY_NAME = (
    "account.move",
    "purchase.order",
    "res.currency",
    "sale.order",
    "stock.picking",
)
# What nobody means by "all fields": bookkeeping of Odoo itself.
NOISE = re.compile(
    r"""^(?:message_.*|activity_.*|website_message_ids|rating_.*|access_.*|my_.*
    |create_uid|write_uid|display_name|has_message|avatar_.*|image_\d+|.*_properties
    |properties|__last_update|can_.*|is_.*_visible|.*_html_frame)$""",
    re.VERBOSE,
)
NUMERIC = ("float", "integer", "monetary")
X2MANY = ("many2many", "one2many")
# Words of other systems -> names of fields, the best first.
SYNONYMS = {
    "addresses": ("child_ids",),
    "amount": ("amount_total", "price_subtotal", "amount"),
    "categories": ("category_id", "categ_ids"),
    "category": ("categ_id", "category_id"),
    "children": ("child_ids",),
    "client": ("partner_id",),
    "client_id": ("partner_id", "ref"),
    "company": ("parent_id", "company_name"),
    "contact": ("partner_id",),
    "contact_email": ("email",),
    "contacts": ("child_ids",),
    "contact_phone": ("phone",),
    "country_code": ("country_id",),
    "created_at": ("create_date",),
    "customer": ("partner_id",),
    "customer_id": ("ref", "partner_id"),
    "date": ("date_order", "invoice_date", "scheduled_date", "date"),
    "email_address": ("email",),
    "external_id": ("ref", "client_order_ref", "default_code"),
    "first_line": ("street",),
    "items": ("order_line", "invoice_line_ids", "move_ids"),
    "lines": ("order_line", "invoice_line_ids", "move_ids"),
    "mail": ("email",),
    "mobile_phone": ("mobile",),
    "notes": ("note", "comment", "narration"),
    "number": ("name", "ref"),
    "order_items": ("order_line",),
    "order_lines": ("order_line",),
    "order_number": ("name", "client_order_ref"),
    "postal_code": ("zip",),
    "postcode": ("zip",),
    "price": ("list_price", "price_unit"),
    "product_code": ("default_code",),
    "province": ("state_id",),
    "qty": ("product_uom_qty", "quantity", "product_qty"),
    "quantity": ("product_uom_qty", "quantity", "product_qty"),
    "reference": ("ref", "client_order_ref", "default_code"),
    "region": ("state_id",),
    "sku": ("default_code",),
    "tags": ("category_id", "tag_ids", "product_tag_ids"),
    "tax_id": ("vat",),
    "tax_number": ("vat",),
    "telephone": ("phone",),
    "title": ("name",),
    "total": ("amount_total",),
    "unit_price": ("price_unit", "list_price"),
    "updated_at": ("write_date",),
    "vat_number": ("vat",),
    "zip_code": ("zip",),
    "zipcode": ("zip",),
}
MIN_LIKENESS = 0.84  # of two names that are not the same


@dataclass(frozen=True)
class Field:
    """What a guess needs of a field of the model."""

    name: str
    label: str
    type: str
    relation: str = ""
    is_stored: bool = True
    is_required: bool = False


def to_key(field):
    """Return a snake_case key for a field.

    >>> to_key(Field("country_id", "Country", "many2one", "res.country"))
    'country'
    >>> to_key(Field("tag_ids", "Tags", "many2many", "x.tag"))
    'tags'
    """
    name = re.sub(r"^x_(studio_)?", "", field.name) or field.name
    name = re.sub(r"^categ_", "category_", name)
    if field.type == "many2one" and name.endswith("_id"):
        return name[:-3]
    if field.type in X2MANY:
        # The label says more than "category_id" does of many tags.
        if name.endswith("_id"):
            return to_snake(field.label) or name[:-3]
        if name == "child_ids":
            return "children"
        if name.endswith("_ids"):
            return plural(name[:-4])
    return name


def plural(word):
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return f"{word[:-1]}ies"
    return word if word.endswith("s") else f"{word}s"


def to_snake(text):
    """Return ``firstName``, ``First Name`` and ``first-name`` as ``first_name``."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text)
    return re.sub(r"[^0-9a-z]+", "_", text.lower()).strip("_")


def identifier(model, fields):
    """Return the name of the field that tells records apart for others.

    :param fields: of :class:`Field`
    """
    known = {field.name: field for field in fields if field.is_stored}
    for name in IDENTIFIERS:
        if name in known and known[name].type == "char":
            return name
    if model in NAMED_BY_NAME and "name" in known:
        return "name"
    return "id"


def pick_identifier(model, fields, chosen, names=()):
    """Return which of the fields chosen for an object tells its records apart.

    The model's own identifier, else what is under a key like "id" or "code", else a
    name.

    :param fields: of :class:`Field`, all that the model has
    :param dict chosen: {field name: external key}
    :param names: fields that name a record well enough, the best first
    :return: field name, ``None`` if no field does
    """
    able = {f.name for f in fields if f.is_stored and f.type in ("char", "integer")}
    by_key = {to_snake(key): name for name, key in chosen.items()}
    wanted = (
        identifier(model, fields),
        *IDENTIFIERS,
        *(("name",) if model in NAMED_BY_NAME else ()),
        "id",
        *(by_key.get(key) for key in IDENTIFYING_KEYS),
        *names,
    )
    return next((name for name in wanted if name in chosen and name in able), None)


def find(fields, key, value):
    """Return the field that a payload's key means, ``None`` when that is not clear.

    :param fields: of :class:`Field`
    :param str key: one step of an external key
    :param value: the sample's value, whose type must fit
    """
    name = to_snake(key)
    fitting = {field.name: field for field in fields if fits(field, value)}
    singular = name[:-3] + "y" if name.endswith("ies") else name.removesuffix("s")
    for guess in (
        name,
        f"{name}_id",
        f"{singular}_ids",
        *SYNONYMS.get(name, ()),
        f"{name.removesuffix('_id')}_id",
    ):
        if guess in fitting:
            return fitting[guess]
    by_label = [f for f in fitting.values() if to_snake(f.label) == name]
    if len(by_label) == 1:
        return by_label[0]
    if isinstance(value, dict | list) and "_" in name:
        # "deliveryAddresses" are addresses, whatever they are for.
        found = find(list(fitting.values()), name.rpartition("_")[2], value)
        if found:
            return found
    likeness = {
        field.name: SequenceMatcher(None, name, field.name).ratio()
        for field in fitting.values()
    }
    best = max(likeness, key=likeness.get, default=None)
    return fitting[best] if best and likeness[best] >= MIN_LIKENESS else None


def fits(field, value):
    """Tell whether a sample's value could belong to a field."""
    if NOISE.match(field.name):
        return False
    if value is None:
        return True
    if isinstance(value, dict):
        return field.type == "many2one"
    if isinstance(value, list):
        return field.type in X2MANY
    if isinstance(value, bool):
        return field.type == "boolean"
    if isinstance(value, int | float):
        return field.type in (*NUMERIC, "many2one", "char")
    if field.type in NUMERIC and value:
        return is_number(value)
    return field.type not in (*X2MANY, "boolean", "json")


def is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def merge_objects(rows):
    """Return one object with all keys of a list's objects, a value for each if any.

    Objects and lists under one key are merged as well: a later row may have a key that
    the first lacks.
    """
    merged = {}
    for row in rows:
        for key, value in row.items():
            known = merged.get(key)
            if isinstance(known, dict) and isinstance(value, dict):
                merged[key] = merge_objects([known, value])
            elif isinstance(known, list) and isinstance(value, list):
                merged[key] = known + value
            elif known is None:
                merged[key] = value
    return merged
