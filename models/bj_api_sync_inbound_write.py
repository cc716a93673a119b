from urllib.parse import quote

from odoo import api, models

from ..exceptions import BadRequest, Conflict, NotFound, PayloadTooLarge
from ..tools import collector, convert, mapping, payload
from ..tools.message import ApiResponse
from .bj_api_sync_config import ROUTE
from .bj_api_sync_phrase import translate

RELATED = 10  # times bj_api_sync.max_bulk: objects inside the rows of a call
MAX_LOCATION = 2000  # characters; clients and proxies refuse much longer headers


class BjApiSyncInbound(models.AbstractModel):
    """POST and PUT: the rows of a body, and the answer that tells what became of them."""

    _inherit = "bj.api.sync.inbound"

    @api.model
    def _handle_post(self, endpoint, request):
        operation = "upsert" if endpoint.upsert else "create"
        return self._handle_rows(endpoint, request, operation)

    @api.model
    def _handle_put(self, endpoint, request):
        if request.record_key is None:
            operation = "put" if endpoint.upsert else "update"
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
            names = self._get_prefetched(plan.model)
            record = self._find_record(
                endpoint, plan, request, for_write=True, paths=names
            )
        except NotFound:
            # An Odoo id that is not there names nothing that could be made, and no text
            # of PostgreSQL holds a NUL.
            by_id = endpoint.record_id_match == "id"
            if not endpoint.upsert or by_id or "\0" in request.record_key:
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
    def _handle_rows(self, endpoint, request, operation):
        """Handle POST, and PUT without a record in the path."""
        self._refuse_if_match(request)
        plan = self._get_plan(endpoint)
        flags = self._parse_flags(request)
        call = self._make_call(endpoint, request)
        body = self._parse_body(endpoint, request, call)
        rows = body if isinstance(body, list) else [body]
        writer = self.env["bj.api.sync.writer"]
        results = writer._write_rows(
            plan,
            rows,
            call,
            operation=operation,
            partial=flags.partial and isinstance(body, list),
            bulk=isinstance(body, list),
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
            action="create" if created else "update",
            record_count=len(records),
            is_dry_run=flags.dry_run,
        )

    @api.model
    def _answer_written(self, endpoint, plan, call, request, result, flags):
        record = self.env[plan.model].browse(result.record_id)
        value = self._read_one(plan, record, call)
        headers = {"ETag": self._get_etag(endpoint, record, value)}
        created = result.status == "created"
        if created:
            reader = self.env["bj.api.sync.reader"]
            [key] = reader._read_identifiers(plan, record, call, is_fetched=True)
            if key is None or endpoint.record_id_match == "id":
                key = record.id
            name = quote(str(key), safe="")
            if len(name) <= MAX_LOCATION:
                url = f"{request.base_url}{ROUTE}/{endpoint.endpoint}"
                headers["Location"] = f"{url}/{name}"
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
            action="partial",
            record_count=sum(result.status != "error" for result in results),
            is_dry_run=flags.dry_run,
        )

    @api.model
    def _read_many(self, plan, records, call):
        with collector.paused():
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
                    body=translate(self.env, convert.describe(given)),
                ),
                details={"key": rule.api_key},
            )
        return row

    @api.model
    def _parse_body(self, endpoint, request, call):
        """Return the body as its request script leaves it: an object or a list."""
        kind = payload.check_content_type(
            request.headers.get("content-type"),
            bool(request.body),
            request.headers.get("content-encoding"),
        )
        if not request.body.strip():
            raise BadRequest(self.env._("The body is empty: send a JSON object."))
        loads = payload.loads_ndjson if kind == "ndjson" else payload.loads
        body = loads(request.body)
        if not isinstance(body, dict | list):
            raise BadRequest(
                self.env._(
                    "The body must be a JSON object or an array of objects, not %s.",
                    translate(self.env, convert.describe(body)),
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
        self._check_related(self._get_plan(endpoint), body)
        call.request_data = body
        return body

    @api.model
    def _check_related(self, plan, body):
        """Refuse more objects inside rows than one call may take the time for.

        The limit on rows does not count them, and each is a record to be looked up, made
        or written.

        :raise PayloadTooLarge: with the number and the limit
        """
        limit = self._get_int_parameter("bj_api_sync.max_bulk", 1000)
        limit = self._get_int_parameter("bj_api_sync.max_related", RELATED * limit)
        get_plan = self.env["bj.api.sync.config"]._get_plan
        rows = body if isinstance(body, list) else [body]
        count = sum(mapping.count_related(plan, row, get_plan) for row in rows)
        if count > limit:
            raise PayloadTooLarge(
                self.env._(
                    "%(count)s objects and list items inside the rows are more than "
                    "%(limit)s a call: send them in parts.",
                    count=count,
                    limit=limit,
                ),
                details={"count": count, "limit": limit},
            )

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


def merge(row, other):
    """Return ``row`` with the keys of ``other``, nested objects merged."""
    merged = dict(row)
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged
