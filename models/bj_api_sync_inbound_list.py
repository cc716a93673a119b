import dataclasses

from odoo import api, models, tools

from ..compat import all_of
from ..exceptions import BadRequest
from ..tools import conditional, convert, cursor, query
from ..tools.message import ApiResponse
from .bj_api_sync_config import ROUTE
from .bj_api_sync_relation import has_domain

ALWAYS_FILTERABLE = ("id", "active", "create_date", "write_date")
X2MANY = frozenset(("one2many", "many2many"))
NUMBERS = ("integer", "float", "monetary")
UNSORTABLE = (
    "one2many",
    "many2many",
    "many2one",
    "binary",
    "html",
    "json",
    "properties",
)


class BjApiSyncInbound(models.AbstractModel):
    """Lists: what a caller may filter and order by, and the pages of the answer."""

    _inherit = "bj.api.sync.inbound"

    @api.model
    def _answer_list(self, endpoint, plan, call, request):
        listing = self._parse_query(endpoint, plan, request)
        if self._is_streamed(endpoint, request, listing):
            return self._answer_stream(endpoint, plan, call, request, listing)
        domain = all_of(self._get_filter_domain(endpoint), listing.domain)
        keys = None if listing.fields is None else set(listing.fields)
        reader = self.env["bj.api.sync.reader"]
        names = reader._get_field_names(plan, call, keys)
        find = self._find_page if listing.cursor is None else self._find_next
        records, headers, pagination = find(
            endpoint, plan, request, listing, domain, names
        )
        value = reader._read_payloads(plan, records, call, keys, is_fetched=True)
        value = self._run_response_script(endpoint, call, value, records)
        answer = ApiResponse(
            payload=value,
            kind="list",
            headers=headers,
            pagination=pagination,
            action="list",
            record_count=len(records),
        )
        if not self._wants_lines(request):
            return answer
        # A script may have left something else than a list: that is one line then.
        rows = value if isinstance(value, list) else [value]
        return dataclasses.replace(
            answer, kind="lines", chunks=(chunk for chunk in [rows])
        )

    @api.model
    def _find_page(self, endpoint, plan, request, listing, domain, names):
        """Return ``(records, headers, pagination)`` of ``limit`` and ``offset``.

        :param names: fields to fetch with the records
        """
        model = self.env[plan.model]
        records = model.search_fetch(
            domain,
            names,
            limit=listing.limit,
            offset=listing.offset,
            order=listing.order or self._get_default_order(model),
        )
        total = None
        if listing.count:
            total = self._count(model, domain, listing, len(records))
        described = self._describe_page(endpoint, request, listing, total, len(records))
        return records, *described

    @api.model
    def _describe_page(self, endpoint, request, listing, total, found):
        """Return ``(headers, pagination)`` of a page with ``found`` of ``total`` rows."""
        url = f"{request.base_url}{ROUTE}/{endpoint.endpoint}"
        page = (url, request.query, listing.limit, listing.offset, total, found)
        headers = {"Link": conditional.link_header(*page)}
        if total is not None:
            headers["X-Total-Count"] = str(total)
        if not endpoint.is_paginated:
            return headers, None
        urls = conditional.page_urls(*page)
        pagination = {
            "total": total,
            "limit": listing.limit,
            "offset": listing.offset,
            "next": urls.get("next"),
            "previous": urls.get("prev"),
        }
        return headers, pagination

    @api.model
    def _count(self, model, domain, listing, found):
        """Return the rows in all, without asking when this page tells."""
        if found < listing.limit and (found or not listing.offset):
            return listing.offset + found
        return model.search_count(domain)

    @api.model
    def _find_next(self, endpoint, plan, request, listing, domain, names):
        """Return ``(records, headers, pagination)`` of a keyset walk: what comes after a
        row.

        Rows that are added or deleted meanwhile can neither shift nor repeat the others.
        """
        model = self.env[plan.model]
        order = ", ".join(map(str, listing.order_terms))
        domain = self._continue_domain(endpoint, listing, domain)
        # One row more than asked for tells whether there is a next page.
        found = model.search_fetch(domain, names, limit=listing.limit + 1, order=order)
        records = found[: listing.limit]
        following = None
        if len(found) > listing.limit:
            following = self._encode_place(endpoint, listing, records[-1])
        return records, *self._describe_walk(endpoint, request, listing, following)

    @api.model
    def _continue_domain(self, endpoint, listing, domain):
        """Return ``domain``, cut to what comes after the row that the cursor names."""
        if not listing.cursor:
            return domain
        order = ", ".join(map(str, listing.order_terms))
        digest = cursor.digest(endpoint.config_id, listing.domain)
        key = self._get_cursor_key()
        values = cursor.decode_cursor(listing.cursor, order, digest, key)
        after = cursor.cursor_domain(listing.order_terms, values)
        return all_of(domain, after)

    @api.model
    def _encode_place(self, endpoint, listing, record):
        """Return the cursor of the page that begins after ``record``."""
        order = ", ".join(map(str, listing.order_terms))
        digest = cursor.digest(endpoint.config_id, listing.domain)
        values = self._get_place(record, listing.order_terms)
        return cursor.encode_cursor(values, order, digest, self._get_cursor_key())

    @api.model
    def _describe_walk(self, endpoint, request, listing, following):
        """Return ``(headers, pagination)`` of a page; a walk counts nothing."""
        url = f"{request.base_url}{ROUTE}/{endpoint.endpoint}"
        walk = (url, request.query, following)
        headers = {"Link": conditional.link_next(*walk)}
        if following:
            headers["X-Next-Cursor"] = following
        if not endpoint.is_paginated:
            return headers, None
        pagination = {
            "total": None,
            "limit": listing.limit,
            "offset": None,
            "next": conditional.walk_urls(*walk).get("next"),
            "previous": None,
        }
        return headers, pagination

    @api.model
    def _get_place(self, record, terms):
        """Return the values of a row that the order goes by, ``None`` for NULL."""
        [row] = record.read([term.field for term in terms], load=None)
        values = []
        for term in terms:
            value = row[term.field]
            if value == 0 and term.nullable and term.field_type in NUMBERS:
                # The ORM reads an empty number as 0, the database sorts it elsewhere.
                null = cursor.null_term(term.field_type, term.field)
                if record.search_count([("id", "=", record.id), null]):
                    value = None
            values.append(value)
        return values

    @api.model
    def _parse_query(self, endpoint, plan, request, only=None):
        """Return the :class:`~..tools.query.ListQuery` of a GET."""
        if only is not None:
            unknown = [name for name, _value in request.query if name not in only]
            if unknown:
                raise BadRequest(
                    self.env._(
                        'Unknown query parameter "%(name)s". Allowed: %(allowed)s.',
                        name=unknown[0],
                        allowed=", ".join(only),
                    ),
                    details={"key": unknown[0], "allowed": list(only)},
                )
        fields, orders, params, keys = self._get_query_spec(endpoint.config_id)
        closed = self._get_closed_names(plan)
        if closed:
            fields = {
                n: f for n, f in fields.items() if f.path.split(".")[0] not in closed
            }
            orders = {n: f for n, f in orders.items() if f not in closed}
        fields = self._guard(fields)
        limit = min(endpoint.limit, endpoint.max_limit)
        if self._wants_lines(request):
            limit = endpoint.max_limit
        return query.parse(
            request.query,
            fields,
            params,
            keys,
            orders,
            query.Paging(limit, endpoint.max_limit),
            convert.to_domain_value,
        )

    @api.model
    def _guard(self, fields):
        """Return filter fields that find no record which a nested read does not show."""
        relation = self.env["bj.api.sync.relation"]
        guards = {
            mapping_id: tuple(relation._get_mapping_domain(mapping_id))
            for mapping_id in {field.mapping_id for field in fields.values()}
            if mapping_id
        }
        return {
            name: dataclasses.replace(field, guard=guards[field.mapping_id])
            if field.mapping_id
            else field
            for name, field in fields.items()
        }

    @api.model
    def _get_closed_names(self, plan):
        """Return the fields that the user's groups do not open to him."""
        model_fields = self.env[plan.model]._fields
        return {
            rule.path[0]
            for rule in plan.readable
            if rule.path
            and (groups := model_fields[rule.path[0]].groups)
            and not self.env.user.has_groups(groups)
        }

    @api.model
    @tools.ormcache("config_id")
    def _get_query_spec(self, config_id):
        """Return ``(filter fields, order fields, parameter rules, keys)`` of a GET."""
        config_sudo = self.env["bj.api.sync.config"].sudo().browse(config_id)
        plan = config_sudo._get_plan(config_id)
        model = self.env[plan.model]
        fields, orders = {}, {}
        for name in ALWAYS_FILTERABLE:
            if name in model._fields:
                field = model._fields[name]
                fields[name] = query.FilterField(
                    name, name, field.type, nullable=name != "id"
                )
                orders[name] = name
        for rule in plan.readable:
            filtered = self._get_filter_field(model, rule)
            if filtered:
                fields.setdefault(rule.field_path, filtered)
                fields[rule.api_key] = dataclasses.replace(filtered, name=rule.api_key)
            if is_sortable(model, rule):
                orders[rule.api_key] = rule.field_path
                orders.setdefault(rule.field_path, rule.field_path)
        params = tuple(
            query.ParamRule(
                name=param.name,
                path=param.field_path,
                operator=param.operator,
                field_type=param._get_field().type,
                value=param.value_clear or "",
                selection=tuple(param._get_field().get_values(self.env))
                if param._get_field().type == "selection"
                else (),
            )
            for param in config_sudo.param_ids
        )
        # Of address.city, fields= may name the whole or its first part.
        keys = tuple(
            dict.fromkeys(
                key
                for rule in plan.readable
                for key in (rule.key_path[0], rule.api_key)
            )
        )
        return fields, orders, params, keys

    @api.model
    def _get_filter_field(self, model, rule):
        """Return how a line's key can be filtered by, ``None`` if it cannot."""
        if not rule.path or rule.value_type in (
            "python_plain",
            "python_relational",
            "constant",
        ):
            return None
        path, field_type, selection = rule.field_path, rule.field_type, rule.selection
        owner, mapping_id, types = model, 0, []
        for step in rule.path:
            field = owner._fields[step]
            if not (field.store or field.search) or (
                owner is not model and field.groups
            ):
                return None
            types.append(field.type)
            owner = self.env[field.comodel_name] if field.comodel_name else owner
        if rule.is_relational:
            # {"country": {"code": "UA"}} is filtered as ?country=UA.
            nested = self.env["bj.api.sync.config"]._get_plan(rule.mapping_config_id)
            identifier = nested.identifier
            if not identifier:
                return None
            path = f"{path}.{identifier.field_path}"
            field_type, selection = identifier.field_type, identifier.selection
            mapping_id = rule.mapping_config_id if has_domain(nested) else 0
        else:
            types.pop()  # of the column at the end
        return query.FilterField(
            rule.field_path,
            path,
            field_type,
            selection,
            is_single=not X2MANY.intersection(types),
            mapping_id=mapping_id,
        )

    @api.model
    def _get_default_order(self, model):
        """Return the model's own order, made total so that pages cannot overlap."""
        order = model._order
        names = [term.split()[0] for term in order.split(",") if term.strip()]
        return order if "id" in names else f"{order}, id"

    @api.model
    def _get_cursor_key(self):
        secret = self.env["ir.config_parameter"].sudo().get_param("database.secret")
        return f"bj_api_sync/{secret}".encode()


def is_sortable(model, rule):
    if len(rule.path) != 1 or rule.value_type != "plain":
        return False
    field = model._fields[rule.path[0]]
    return field.store and field.column_type and field.type not in UNSORTABLE
