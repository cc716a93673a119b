import dataclasses
from urllib.parse import quote

from odoo import api, models, tools
from odoo.osv import expression
from odoo.tools import SQL

from ..exceptions import (
    BadRequest,
    Conflict,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    PayloadError,
    PayloadTooLarge,
    PreconditionFailed,
)
from ..tools import conditional, convert, mapping, payload, query
from ..tools.message import ApiResponse, Call
from .bj_api_sync_config import ROUTE
from .bj_api_sync_reader import to_jsonable

API_VERSIONS = ("1", "1.0")
NUMBERS = ("integer", "float", "monetary")
ALLOWED_HEADERS = (
    "Authorization, Content-Type, Accept, Accept-Language, If-Match, If-None-Match, "
    "Idempotency-Key, Prefer, X-API-Version, X-Request-ID"
)
ALWAYS_FILTERABLE = ("id", "active", "create_date", "write_date")
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
    """Serves a call: one method per verb, from the parsed request to the answer.

    Runs with the rights of the endpoint's user; only the configuration is read as
    superuser. Nothing here catches a database error, because Odoo repeats the whole
    request after a serialization failure.
    """

    _name = "bj.api.sync.inbound"
    _description = "API Inbound Service"

    @api.model
    def _admit(self, endpoint, request):
        """Check what can be checked before the body is read, and count the call.

        :return: the headers that tell the caller of his limits
        :raise MethodNotAllowed: with ``Allow``
        :raise RateLimited: with ``Retry-After``
        """
        self._check_method(endpoint, request)
        if request.method == "OPTIONS":
            return {}
        return self.env["bj.api.sync.gate"]._check_rate(endpoint, request)

    @api.model
    def _handle(self, endpoint, request):
        """Return the :class:`ApiResponse` to a call that has been admitted.

        :param Endpoint endpoint: configuration
        :param InboundRequest request: with its body
        """
        if request.method == "OPTIONS":
            response = self._handle_options(endpoint, request)
        else:
            self._check_headers(request)
            handle = getattr(self, f"_handle_{request.method.lower()}")
            if request.method in ("GET", "HEAD"):
                response = handle(endpoint, request)
            else:
                response = self.env["bj.api.sync.replay"]._once(
                    endpoint.config_id, request, lambda: handle(endpoint, request)
                )
        if "accept-language" in request.headers and self.env.lang:
            language = {"Content-Language": self.env.lang.replace("_", "-")}
            response = dataclasses.replace(
                response, headers={**response.headers, **language}
            )
        return response

    # -- verbs -----------------------------------------------------------------------

    @api.model
    def _handle_options(self, endpoint, request):
        allowed = ", ".join(self._get_allowed(endpoint, request))
        headers = {"Allow": allowed}
        origin = request.headers.get("origin", "")
        if origin in endpoint.cors_origins or "*" in endpoint.cors_origins:
            headers.update(
                {
                    "Access-Control-Allow-Methods": allowed,
                    "Access-Control-Allow-Headers": ", ".join(
                        [ALLOWED_HEADERS, *(name for name, _id in endpoint.headers)]
                    ),
                    "Access-Control-Max-Age": "600",
                }
            )
        return ApiResponse(204, headers=headers)

    @api.model
    def _handle_head(self, endpoint, request):
        return self._handle_get(endpoint, request)

    @api.model
    def _handle_get(self, endpoint, request):
        plan = self._get_plan(endpoint)
        call = self._make_call(endpoint, request)
        if request.record_key is None:
            return self._answer_list(endpoint, plan, call, request)
        listing = self._parse_query(endpoint, plan, request, only=("fields",))
        record = self._find_record(endpoint, plan, request)
        value = self._read_one(plan, record, call)
        etag = self._get_etag(endpoint, record, value)
        headers = {"ETag": etag}
        if not endpoint.response_script and conditional.matches(
            request.headers.get("if-none-match"), etag
        ):  # a script may answer something else each time
            return ApiResponse(304, headers=headers, action="read", record_id=record.id)
        if listing.fields is not None:
            value = {key: value[key] for key in listing.fields if key in value}
        value = self._run_response_script(endpoint, call, value, record)
        return ApiResponse(
            payload=value,
            headers=headers,
            action="read",
            record_id=record.id,
            record_count=1,
        )

    @api.model
    def _answer_list(self, endpoint, plan, call, request):
        listing = self._parse_query(endpoint, plan, request)
        domain = expression.AND([self._get_filter_domain(endpoint), listing.domain])
        find = self._find_page if listing.cursor is None else self._find_next
        records, headers, pagination = find(endpoint, plan, request, listing, domain)
        keys = None if listing.fields is None else set(listing.fields)
        value = self.env["bj.api.sync.reader"]._read_payloads(plan, records, call, keys)
        value = self._run_response_script(endpoint, call, value, records)
        return ApiResponse(
            payload=value,
            kind="list",
            headers=headers,
            pagination=pagination,
            action="list",
            record_count=len(records),
        )

    @api.model
    def _find_page(self, endpoint, plan, request, listing, domain):
        """Return ``(records, headers, pagination)`` of ``limit`` and ``offset``."""
        model = self.env[plan.model]
        records = model.search(
            domain,
            limit=listing.limit,
            offset=listing.offset,
            order=listing.order or self._get_default_order(model),
        )
        total = None
        if listing.count:
            total = self._count(model, domain, listing, len(records))
        url = f"{request.base_url}{ROUTE}/{endpoint.endpoint}"
        page = (url, request.query, listing.limit, listing.offset, total, len(records))
        headers = {"Link": conditional.link_header(*page)}
        if total is not None:
            headers["X-Total-Count"] = str(total)
        if not endpoint.is_paginated:
            return records, headers, None
        urls = conditional.page_urls(*page)
        pagination = {
            "total": total,
            "limit": listing.limit,
            "offset": listing.offset,
            "next": urls.get("next"),
            "previous": urls.get("prev"),
        }
        return records, headers, pagination

    @api.model
    def _count(self, model, domain, listing, found):
        """Return the rows in all, without asking when this page tells."""
        if found < listing.limit and (found or not listing.offset):
            return listing.offset + found
        return model.search_count(domain)

    @api.model
    def _find_next(self, endpoint, plan, request, listing, domain):
        """Return ``(records, headers, None)`` of a keyset walk: what comes after a row.

        Rows that are added or deleted meanwhile can neither shift nor repeat the others.
        """
        model = self.env[plan.model]
        terms = listing.order_terms
        order = ", ".join(map(str, terms))
        digest = query.digest(endpoint.config_id, listing.domain)
        key = self._get_cursor_key()
        if listing.cursor:
            values = query.decode_cursor(listing.cursor, order, digest, key)
            after = query.cursor_domain(terms, values)
            domain = expression.AND([domain, after])
        # One row more than asked for tells whether there is a next page.
        found = model.search(domain, limit=listing.limit + 1, order=order)
        records = found[: listing.limit]
        following = None
        if len(found) > listing.limit:
            values = self._get_place(records[-1], terms)
            following = query.encode_cursor(values, order, digest, key)
        url = f"{request.base_url}{ROUTE}/{endpoint.endpoint}"
        headers = {"Link": conditional.link_next(url, request.query, following)}
        if following:
            headers["X-Next-Cursor"] = following
        return records, headers, None

    @api.model
    def _get_place(self, record, terms):
        """Return the values of a row that the order goes by, ``None`` for NULL."""
        [row] = record.read([term.field for term in terms], load=None)
        values = []
        for term in terms:
            value = row[term.field]
            if value == 0 and term.nullable and term.field_type in NUMBERS:
                # The ORM reads an empty number as 0, the database sorts it elsewhere.
                null = query.null_term(term.field_type, term.field)
                if record.search_count([("id", "=", record.id), null]):
                    value = None
            values.append(value)
        return values

    @api.model
    def _handle_post(self, endpoint, request):
        operation = "upsert" if endpoint.upsert else "create"
        return self._handle_rows(endpoint, request, operation)

    @api.model
    def _handle_put(self, endpoint, request):
        operation = "upsert" if endpoint.upsert else "update"
        if request.record_key is None:
            return self._handle_rows(endpoint, request, operation)
        plan = self._get_plan(endpoint)
        flags = self._parse_flags(request)
        call = self._make_call(endpoint, request)
        row = self._parse_body(endpoint, request, call)
        if not isinstance(row, dict):
            raise BadRequest(
                self.env._("PUT of one record takes a JSON object, not an array.")
            )
        writer = self.env["bj.api.sync.writer"]
        try:
            record = self._find_record(endpoint, plan, request, for_write=True)
        except NotFound:
            if not endpoint.upsert or not plan.identifier:
                raise
            if "if-match" in request.headers:  # of a record that is not there
                raise self._precondition_failed() from None
            row = self._with_identifier(plan, row, request)
            [result] = writer._write_rows(
                plan,
                [row],
                call,
                operation="upsert",
                domain=self._get_filter_domain(endpoint),
            )
        else:
            self._check_preconditions(endpoint, plan, record, call, request)
            [result] = writer._write_rows(plan, [row], call, targets=[record])
        return self._answer_written(endpoint, plan, call, request, result, flags)

    @api.model
    def _handle_delete(self, endpoint, request):
        plan = self._get_plan(endpoint)
        call = self._make_call(endpoint, request)
        if request.record_key is None:
            return self._delete_many(endpoint, plan, call, request)
        flags = self._parse_flags(request)
        record = self._find_record(endpoint, plan, request, for_write=True)
        self._check_preconditions(endpoint, plan, record, call, request)
        [identifier] = self._read_identifier_values(plan, record, call)
        value = self._deleted_value(plan, record.id, identifier)
        self._delete(endpoint, record)
        value = self._run_response_script(endpoint, call, value, record.browse())
        return ApiResponse(
            payload=value,
            headers=dry_run_headers(flags),
            message=self.env._("Deleted"),
            action="archive" if endpoint.delete_mode == "archive" else "delete",
            record_id=record.id,
            record_count=1,
            is_dry_run=flags.dry_run,
        )

    @api.model
    def _delete_many(self, endpoint, plan, call, request):
        """Delete the records that ``?identifier__in=a,b`` names, all or none."""
        self._refuse_if_match(request)
        names = {"identifier__in"}
        if plan.identifier:
            names.add(f"{plan.identifier.api_key}__in")
        pairs = [(name, text) for name, text in request.query if name in names]
        flags = query.parse_flags(
            tuple(pair for pair in request.query if pair[0] not in names)
        )
        keys = list(
            dict.fromkeys(k for _n, text in pairs for k in text.split(",") if k)
        )
        if not keys:
            raise BadRequest(
                self.env._(
                    "Name the record in the path, or several by ?identifier__in=a,b."
                )
            )
        self._check_bulk(len(keys))
        records = self.env[plan.model]
        for key in keys:
            one = dataclasses.replace(request, record_key=key)
            records |= self._find_record(endpoint, plan, one, for_write=True)
        identifiers = self._read_identifier_values(plan, records, call)
        value = [
            self._deleted_value(plan, record.id, identifier)
            for record, identifier in zip(records, identifiers, strict=True)
        ]
        self._delete(endpoint, records)
        return ApiResponse(
            payload=value,
            kind="list",
            headers=dry_run_headers(flags),
            action="archive" if endpoint.delete_mode == "archive" else "delete",
            record_count=len(value),
            is_dry_run=flags.dry_run,
        )

    @api.model
    def _delete(self, endpoint, records):
        if endpoint.delete_mode == "archive":
            name = records._active_name
            if not name:
                raise Conflict(
                    self.env._(
                        "%s cannot be archived: it has no Active field.", endpoint.model
                    )
                )
            records.write({name: False})
        else:
            records.unlink()
        self.env.flush_all()

    @api.model
    def _read_identifier_values(self, plan, records, call):
        return self.env["bj.api.sync.reader"]._read_identifiers(plan, records, call)

    @api.model
    def _deleted_value(self, plan, record_id, identifier):
        value = {"id": record_id}
        if plan.identifier:
            [named] = mapping.assemble([plan.identifier.key_path], [[identifier]], 1)
            value = {**named, **({} if "id" in named else value)}
        return value

    # -- writing ---------------------------------------------------------------------

    @api.model
    def _handle_rows(self, endpoint, request, operation):
        """Handle POST, and PUT without a record in the path."""
        self._refuse_if_match(request)
        plan = self._get_plan(endpoint)
        flags = self._parse_flags(request)
        call = self._make_call(endpoint, request)
        body = self._parse_body(endpoint, request, call)
        rows = body if isinstance(body, list) else [body]
        for index, row in enumerate(rows):
            if not isinstance(row, dict):
                raise BadRequest(
                    self.env._(
                        "Row %(index)s: expected an object, got %(got)s.",
                        index=index,
                        got=convert.describe(row),
                    ),
                    details={"index": index},
                )
        if request.method == "PUT":
            self._check_identifiers(plan, rows)
        writer = self.env["bj.api.sync.writer"]
        results = writer._write_rows(
            plan,
            rows,
            call,
            operation=operation,
            partial=flags.partial and isinstance(body, list),
            domain=self._get_filter_domain(endpoint),
        )
        if not isinstance(body, list):
            return self._answer_written(
                endpoint, plan, call, request, results[0], flags
            )
        if flags.partial:
            return self._answer_partial(endpoint, call, results, flags)
        records = self.env[plan.model].browse([result.record_id for result in results])
        value = self._read_many(plan, records, call)
        value = self._run_response_script(endpoint, call, value, records)
        created = any(result.status == "created" for result in results)
        return ApiResponse(
            status=201 if created else 200,
            payload=value,
            kind="list",
            headers=dry_run_headers(flags),
            action="create" if created else "update",
            record_count=len(records),
            is_dry_run=flags.dry_run,
        )

    @api.model
    def _check_identifiers(self, plan, rows):
        """Refuse rows of a PUT that name no record, which POST would create.

        :raise PayloadError: with all of them
        """
        rule = plan.identifier
        errors = [
            {
                "index": index,
                "key": rule.api_key,
                "line_id": rule.line_id,
                "message": self.env._("%s must name the record to write.", rule.api_key),
            }
            for index, row in enumerate(rows)
            if mapping.take(row, rule.key_path) in (mapping.ABSENT, None, "")
        ]
        if errors:
            raise PayloadError(errors)

    @api.model
    def _answer_written(self, endpoint, plan, call, request, result, flags):
        record = self.env[plan.model].browse(result.record_id)
        value = self._read_one(plan, record, call)
        headers = {
            "ETag": self._get_etag(endpoint, record, value),
            **dry_run_headers(flags),
        }
        created = result.status == "created"
        if created:
            [key] = self._read_identifier_values(plan, record, call)
            if key is None or endpoint.record_id_match == "id":
                key = record.id
            url = f"{request.base_url}{ROUTE}/{endpoint.endpoint}"
            headers["Location"] = f"{url}/{quote(str(key), safe='')}"
        if not any(rule.key_path == ("id",) for rule in plan.readable):
            value["id"] = record.id
        value = self._run_response_script(endpoint, call, value, record)
        return ApiResponse(
            status=201 if created else 200,
            payload=value,
            headers=headers,
            message=self.env._("Created") if created else self.env._("Updated"),
            action="create" if created else "update",
            record_id=record.id,
            record_count=1,
            is_dry_run=flags.dry_run,
        )

    @api.model
    def _answer_partial(self, endpoint, call, results, flags):
        value = []
        for result in results:
            row = {
                "index": result.index,
                "status": result.status,
                "code": result.code,
                "id": result.record_id or None,
                "identifier": convert.to_json("", result.identifier),
                "message": result.message,
            }
            if result.errors:
                row["errors"] = result.errors
            value.append(row)
        value = self._run_response_script(endpoint, call, value, None)
        return ApiResponse(
            status=207,
            payload=value,
            kind="list",
            headers=dry_run_headers(flags),
            action="partial",
            record_count=sum(result.status != "error" for result in results),
            is_dry_run=flags.dry_run,
        )

    @api.model
    def _read_one(self, plan, record, call):
        [value] = self.env["bj.api.sync.reader"]._read_payloads(plan, record, call)
        return value

    @api.model
    def _read_many(self, plan, records, call):
        values = self.env["bj.api.sync.reader"]._read_payloads(plan, records, call)
        if not any(rule.key_path == ("id",) for rule in plan.readable):
            for record_id, value in zip(records._ids, values, strict=True):
                value["id"] = record_id
        return values

    @api.model
    def _with_identifier(self, plan, row, request):
        """Return the row of a PUT that creates, named as in the path.

        :raise Conflict: the body names another record than the path
        """
        rule = plan.identifier
        given = mapping.take(row, rule.key_path)
        key = request.record_key
        if given is mapping.ABSENT or given is None:
            [named] = mapping.assemble([rule.key_path], [[key]], 1)
            return merge(row, named)
        if str(given) != key:
            raise Conflict(
                self.env._(
                    "The path names %(path)s, but %(key)s in the body is %(body)s.",
                    path=key,
                    key=rule.api_key,
                    body=convert.describe(given),
                ),
                details={"key": rule.api_key},
            )
        return row

    @api.model
    def _check_preconditions(self, endpoint, plan, record, call, request):
        """Refuse to overwrite a record that is no longer what the caller has seen.

        The row is locked before it is compared: of two writers with the same tag the
        second one gets a serialization failure, is repeated by Odoo, and then sees it.

        :raise PreconditionFailed: the tags differ
        """
        wanted = request.headers.get("if-match")
        unwanted = request.headers.get("if-none-match")
        if wanted is None and unwanted is None:
            return
        self.env.cr.execute(
            SQL(
                "SELECT id FROM %s WHERE id = %s FOR NO KEY UPDATE",
                SQL.identifier(record._table),
                record.id,
            ),
            log_exceptions=False,
        )
        record.invalidate_recordset()
        etag = self._get_etag(endpoint, record, self._read_one(plan, record, call))
        if conditional.matches(unwanted, etag) or (
            wanted is not None and not conditional.strong_matches(wanted, etag)
        ):
            raise self._precondition_failed(ETag=etag)

    @api.model
    def _refuse_if_match(self, request):
        # To ignore it would overwrite what the caller wanted to keep.
        if "if-match" in request.headers:
            raise BadRequest(
                self.env._("If-Match needs the record in the path, as its ETag did.")
            )

    @api.model
    def _precondition_failed(self, **headers):
        return PreconditionFailed(
            self.env._("The record has changed: read it again before you write it."),
            headers=headers,
        )

    @api.model
    def _get_etag(self, endpoint, record, value):
        return conditional.etag(
            endpoint.config_id, record.id, self.env.lang, payload.dumps(value)
        )

    # -- request ---------------------------------------------------------------------

    @api.model
    def _get_plan(self, endpoint):
        return self.env["bj.api.sync.config"]._get_plan(endpoint.config_id)

    @api.model
    def _make_call(self, endpoint, request):
        return Call(
            config_id=endpoint.config_id,
            direction="in",
            method=request.method,
            params=dict(request.query),
            headers=dict(request.headers),
        )

    @api.model
    def _get_allowed(self, endpoint, request):
        methods = [
            method
            for method in endpoint.methods
            if not (method == "POST" and request.record_key is not None)
        ]
        if "GET" in methods:
            methods.insert(methods.index("GET") + 1, "HEAD")
        return [*methods, "OPTIONS"]

    @api.model
    def _check_method(self, endpoint, request):
        allowed = self._get_allowed(endpoint, request)
        if request.method not in allowed:
            raise MethodNotAllowed(
                self.env._(
                    "%(method)s is not allowed here; %(allowed)s are.",
                    method=request.method,
                    allowed=", ".join(allowed),
                ),
                headers={"Allow": ", ".join(allowed)},
            )

    @api.model
    def _check_headers(self, request):
        version = request.headers.get("x-api-version", "1").strip()
        if version not in API_VERSIONS:
            raise BadRequest(
                self.env._(
                    "X-API-Version %(version)s is not known; use %(known)s.",
                    version=version,
                    known=API_VERSIONS[0],
                )
            )
        accept = request.headers.get("accept", "")
        kinds = [part.split(";")[0].strip().lower() for part in accept.split(",")]
        if accept and not any(
            kind in ("*/*", "application/*")
            or (kind.startswith("application/") and kind.endswith(("/json", "+json")))
            for kind in kinds
        ):
            raise NotAcceptable(
                self.env._(
                    "Only application/json can be answered, not %s.", accept[:200]
                )
            )

    @api.model
    def _parse_flags(self, request):
        flags = query.parse_flags(request.query)
        preferences = request.headers.get("prefer", "").replace(" ", "").lower()
        if "handling=lenient" in preferences.split(","):
            flags = dataclasses.replace(flags, partial=True)
        return flags

    @api.model
    def _parse_body(self, endpoint, request, call):
        """Return the body as its request script leaves it: an object or a list."""
        kind = payload.check_content_type(
            request.headers.get("content-type"), bool(request.body)
        )
        if not request.body.strip():
            raise BadRequest(self.env._("The body is empty: send a JSON object."))
        loads = payload.loads_ndjson if kind == "ndjson" else payload.loads
        body = loads(request.body)
        if not isinstance(body, dict | list):
            raise BadRequest(
                self.env._(
                    "The body must be a JSON object or an array of objects, not %s.",
                    convert.describe(body),
                )
            )
        if isinstance(body, list):
            if not body:
                raise BadRequest(
                    self.env._("The array is empty: send one row at least.")
                )
            self._check_bulk(len(body))
        if endpoint.request_script:
            body = self._run_request_script(endpoint, call, body)
        return body

    @api.model
    def _check_bulk(self, count):
        limit = self._get_int_parameter("bj_api_sync.max_bulk", 1000)
        if count > limit:
            raise PayloadTooLarge(
                self.env._(
                    "%(count)s rows are more than %(limit)s a call: send them in parts.",
                    count=count,
                    limit=limit,
                )
            )

    @api.model
    def _get_max_body_bytes(self):
        return self._get_int_parameter("bj_api_sync.max_body_bytes", 10 * 1024 * 1024)

    @api.model
    def _get_int_parameter(self, name, default):
        value = self.env["ir.config_parameter"].sudo().get_param(name)
        return int(value) if value and value.isdigit() else default

    @api.model
    def _run_request_script(self, endpoint, call, body):
        context = self._script_context(endpoint, call, None, request_data=body)
        self._run_script("request_script", endpoint.request_script, context)
        body = context["request_data"]
        if not isinstance(body, dict | list):
            raise BadRequest(
                self.env._("The request script left no object in request_data.")
            )
        return body

    @api.model
    def _run_response_script(self, endpoint, call, value, records):
        if not endpoint.response_script:
            return value
        context = self._script_context(endpoint, call, records, response_data=value)
        self._run_script("response_script", endpoint.response_script, context)
        # A script may put anything into the answer; only JSON can be sent.
        return to_jsonable(context["response_data"])

    @api.model
    def _script_context(self, endpoint, call, records, **more):
        config = self.env["bj.api.sync.config"].sudo().browse(endpoint.config_id)
        return self.env["bj.api.sync.script"]._make_context(
            config,
            direction="in",
            records=records,
            params=call.params,
            headers=call.headers,
            method=call.method,
            **more,
        )

    @api.model
    def _run_script(self, name, source, context):
        script = self.env["bj.api.sync.script"]
        return script._run(source, "execute", context, name=name)

    # -- finding ---------------------------------------------------------------------

    @api.model
    def _get_filter_domain(self, endpoint):
        return self.env["bj.api.sync.script"]._eval_domain_text(
            endpoint.filter_domain, self.env.user, endpoint.company_id
        )

    @api.model
    def _find_record(self, endpoint, plan, request, for_write=False):
        """Return the one record that the path names, archived ones included.

        By identifier first, then by Odoo id, as Record ID in URL says. The id alone does
        not admit to a record that carries another identifier: it is somebody else's.

        :raise NotFound: none, or none inside the Filter Domain and the user's rules
        :raise Conflict: more than one, or the wrong one for a write
        """
        key = request.record_key
        model = self.env[plan.model].with_context(active_test=False)
        domain = self._get_filter_domain(endpoint)
        rule = plan.identifier
        by_id = endpoint.record_id_match == "id" or not rule
        if not by_id:
            found = self._search_identifier(model, rule, key, domain)
            if len(found) > 1:
                raise Conflict(
                    self.env._(
                        "%(count)s records have %(key)s %(value)s; it must name one.",
                        count=len(found),
                        key=rule.api_key,
                        value=convert.describe(key),
                    )
                )
            if found:
                return found.with_env(self.env)
        if (by_id or endpoint.record_id_match == "any") and is_id(key):
            found = model.search([("id", "=", int(key)), *domain], limit=1)
            if found and for_write and not by_id:
                self._check_owner(rule, found, key)
            if found:
                return found.with_env(self.env)
        raise NotFound(self.env._("There is no record %s here.", convert.describe(key)))

    @api.model
    def _search_identifier(self, model, rule, key, domain):
        if "\0" in key:
            return model
        try:
            value = convert.to_field(rule, key)
        except convert.ConvertError:
            return model
        return model.search([(rule.field_path, "=", value), *domain], limit=2)

    @api.model
    def _check_owner(self, rule, record, key):
        value = record[rule.field_path]
        if isinstance(value, models.BaseModel):
            value = value.id
        if value and str(value) != key:
            raise Conflict(
                self.env._(
                    "Record %(id)s is known as %(key)s %(value)s: use that in the path.",
                    id=key,
                    key=rule.api_key,
                    value=convert.describe(value),
                )
            )

    # -- lists -----------------------------------------------------------------------

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
        return query.parse(
            request.query,
            fields,
            params,
            keys,
            orders,
            query.Paging(min(endpoint.limit, endpoint.max_limit), endpoint.max_limit),
            convert.to_domain_value,
        )

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
                value=param.value or "",
                selection=tuple(param._get_field().get_values(self.env))
                if param._get_field().type == "selection"
                else (),
            )
            for param in config_sudo.param_ids
        )
        keys = tuple(dict.fromkeys(rule.key_path[0] for rule in plan.readable))
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
        owner = model
        for step in rule.path:
            field = owner._fields[step]
            if not (field.store or field.search) or (
                owner is not model and field.groups
            ):
                return None
            owner = self.env[field.comodel_name] if field.comodel_name else owner
        if rule.is_relational:
            # {"country": {"code": "UA"}} is filtered as ?country=UA.
            nested = self.env["bj.api.sync.config"]._get_plan(rule.mapping_config_id)
            identifier = nested.identifier
            if not identifier:
                return None
            path = f"{path}.{identifier.field_path}"
            field_type, selection = identifier.field_type, identifier.selection
        return query.FilterField(rule.field_path, path, field_type, selection)

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


def is_id(text):
    """Tell whether a text is an Odoo id, in the range of PostgreSQL's integer."""
    return text.isascii() and text.isdigit() and int(text[:11]) < 2**31


def dry_run_headers(flags):
    return {"X-Dry-Run": "true"} if flags.dry_run else {}


def merge(row, other):
    """Return ``row`` with the keys of ``other``, nested objects merged."""
    merged = dict(row)
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged
