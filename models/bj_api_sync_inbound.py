import dataclasses

from odoo import api, models, tools
from odoo.tools import SQL

from ..compat import may_read
from ..exceptions import (
    BadRequest,
    Conflict,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    PayloadTooLarge,
    PreconditionFailed,
)
from ..tools import conditional, convert, dry_run, payload, query
from ..tools.message import ApiResponse, Call

API_VERSIONS = ("1", "1.0")
ALLOWED_HEADERS = (
    "Authorization, Content-Type, Accept, Accept-Language, If-Match, If-None-Match, "
    "Idempotency-Key, Prefer, X-API-Version, X-Request-ID"
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
        with dry_run.marked(request.is_dry_run):
            response = self._handle_method(endpoint, request)
            if response.is_dry_run:
                self.env.flush_all()  # what is computed only then is tried as well
        more = {}
        if response.is_dry_run:
            more["X-Dry-Run"] = "true"
        if "accept-language" in request.headers and self.env.lang:
            more["Content-Language"] = self.env.lang.replace("_", "-")
        if not more:
            return response
        return dataclasses.replace(response, headers={**response.headers, **more})

    @api.model
    def _handle_method(self, endpoint, request):
        if request.method == "OPTIONS":
            return self._handle_options(endpoint, request)
        self._check_headers(request)
        handle = getattr(self, f"_handle_{request.method.lower()}")
        if request.method in ("GET", "HEAD"):
            return handle(endpoint, request)
        return self.env["bj.api.sync.replay"]._once(
            endpoint.config_id, request, lambda: handle(endpoint, request)
        )

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
        wanted = None
        if request.query:
            listing = self._parse_query(endpoint, plan, request, only=("fields",))
            wanted = listing.fields
        reader = self.env["bj.api.sync.reader"]
        paths = reader._get_field_paths(plan, call)
        record = self._find_record(endpoint, plan, request, paths=paths)
        [value] = reader._read_payloads(plan, record, call, is_fetched=True)
        etag = self._get_etag(endpoint, record, value)
        headers = {"ETag": etag}
        if not endpoint.response_script and conditional.matches(
            request.headers.get("if-none-match"), etag
        ):  # a script may answer something else each time
            return ApiResponse(304, headers=headers, action="read", record_id=record.id)
        if wanted is not None:
            value = reader._pick(plan, value, wanted)
        value = self._run_response_script(endpoint, call, value, record)
        return ApiResponse(
            payload=value,
            headers=headers,
            action="read",
            record_id=record.id,
            record_count=1,
        )

    @api.model
    def _read_one(self, plan, record, call):
        [value] = self.env["bj.api.sync.reader"]._read_payloads(plan, record, call)
        return value

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
        if not (payload.accepts_json(accept) or self._wants_lines(request)):
            raise NotAcceptable(
                self.env._(
                    "Only application/json can be answered, not %s.", accept[:200]
                )
            )

    @api.model
    def _parse_flags(self, request):
        flags = query.parse_flags(request.query)
        if request.prefers("handling=lenient"):
            flags = dataclasses.replace(flags, partial=True)
        return flags

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
    def _get_int_parameter(self, name, default):
        value = self.env["ir.config_parameter"].sudo().get_param(name)
        return int(value) if value and value.isdigit() else default

    @api.model
    def _run_response_script(self, endpoint, call, value, records):
        if not endpoint.response_script:
            return value
        context = self._script_context(
            endpoint,
            call,
            records,
            request_data=call.request_data,
            response_data=value,
        )
        keep = convert.get_floats(value)
        self._run_script("response_script", endpoint.response_script, context)
        # A script may put anything into the answer; only JSON can be sent.
        return self.env["bj.api.sync.reader"]._to_jsonable(
            context["response_data"], self.env._("Response Script"), keep=keep
        )

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

    @api.model
    def _get_filter_domain(self, endpoint):
        if endpoint.filter_domain == "[]":
            return []
        return self.env["bj.api.sync.script"]._eval_domain_text(
            endpoint.filter_domain, self.env.user, endpoint.company_id
        )

    @api.model
    def _find_record(self, endpoint, plan, request, for_write=False, paths=()):
        """Return the one record that the path names, archived ones included.

        By identifier first, then by Odoo id, as Record ID in URL says. The id alone does
        not admit to a record that carries another identifier: it is somebody else's.

        :param paths: fields to fetch with it, and ``country_id.code`` of other records
        :raise NotFound: none, or none inside the Filter Domain and the user's rules
        :raise Conflict: more than one, or the wrong one for a write
        """
        key = request.record_key
        model = self.env[plan.model].with_context(active_test=False)
        domain = self._get_filter_domain(endpoint)
        rule = plan.identifier
        by_id = endpoint.record_id_match == "id" or not rule
        if not by_id:
            found = self._search_identifier(model, rule, key, domain, paths)
            if len(found) > 1:
                raise self._twins(rule, key, len(found))
            if found:
                return found.with_env(self.env)
        if (by_id or endpoint.record_id_match == "any") and is_id(key):
            named = [("id", "=", int(key)), *domain]
            found = self.env["bj.api.sync.preload"]._search_few(
                model, named, paths, limit=1
            )
            if found and for_write and not by_id:
                self._check_owner(rule, found, key)
            if found:
                return found.with_env(self.env)
        raise self._not_here(key)

    @api.model
    def _not_here(self, key):
        return NotFound(
            self.env._("There is no record %s here.", convert.describe(key))
        )

    @api.model
    def _twins(self, rule, key, count):
        return Conflict(
            self.env._(
                "%(count)s records have %(key)s %(value)s; it must name one.",
                count=count,
                key=rule.api_key,
                value=convert.describe(key),
            )
        )

    @api.model
    @tools.ormcache("self.env.uid", "model")
    def _get_prefetched(self, model):
        """Return the fields that the ORM reads of a record as soon as it needs one."""
        return [
            name
            for name, field in self.env[model]._fields.items()
            if field.prefetch is True and may_read(self.env[model], field)
        ]

    @api.model
    def _search_identifier(self, model, rule, key, domain, paths):
        if "\0" in key:
            return model
        try:
            value = convert.to_field(rule, key)
        except convert.ConvertError:
            return model
        domain = [(rule.field_path, "=", value), *domain]
        return self.env["bj.api.sync.preload"]._search_few(
            model, domain, paths, limit=2
        )

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


def is_id(text):
    """Tell whether a text is an Odoo id, in the range of PostgreSQL's integer."""
    digits = text.isascii() and text.isdigit() and len(text) <= 10
    return digits and int(text) < 2**31
