import dataclasses

from odoo import api, models

from ..exceptions import BadRequest, Conflict
from ..tools import convert, mapping, query
from ..tools.message import ApiResponse, RowResult
from ..tools.search import Search
from .bj_api_sync_inbound import is_id
from .bj_api_sync_refusal import (
    ROW_FAILURES,
    describe_error,
    refusal,
    refused_result,
)


class BjApiSyncInbound(models.AbstractModel):
    """DELETE: the record of the path, or those that ``?identifier__in=`` names."""

    _inherit = "bj.api.sync.inbound"

    @api.model
    def _handle_delete(self, endpoint, request):
        plan = self._get_plan(endpoint)
        call = self._make_call(endpoint, request)
        if request.record_key is None:
            return self._delete_many(endpoint, plan, call, request)
        flags = self._parse_flags(request)
        # No more than the identifier: deleting empties the cache on the way.
        reader = self.env["bj.api.sync.reader"]
        names = reader._get_identifier_names(plan, call)
        record = self._find_record(endpoint, plan, request, for_write=True, paths=names)
        self._check_preconditions(endpoint, plan, record, call, request)
        [identifier] = reader._read_identifiers(plan, record, call, is_fetched=True)
        value = self._deleted_value(plan, record.id, identifier)
        self._delete(endpoint, record)
        value = self._run_response_script(endpoint, call, value, record.browse())
        return ApiResponse(
            payload=value,
            message=self.env._("Deleted"),
            action="archive" if endpoint.delete_mode == "archive" else "delete",
            record_id=record.id,
            record_count=1,
            is_dry_run=flags.dry_run,
        )

    @api.model
    def _delete_many(self, endpoint, plan, call, request):
        """Delete the records that ``?identifier__in=a,b`` names, all or none.

        With ``partial`` those that can be deleted are.
        """
        self._refuse_if_match(request)
        keys, flags = self._parse_named(plan, request)
        results = {}
        found = self._find_named(endpoint, plan, keys, results)
        records = self.env[plan.model].browse(found.values())
        named = self.env["bj.api.sync.reader"]._read_identifiers(plan, records, call)
        identifiers = dict(zip(records.ids, named, strict=True))
        if not results or flags.partial:
            self._delete_wave(endpoint, found, results)
        failed = [results[index] for index in sorted(results)]
        if failed and not flags.partial:
            # What is wrong with all of them is the status, as with one in the path.
            codes = {result.code for result in failed}
            code = codes.pop() if len(codes) == 1 else 400
            raise refusal(code, [error for row in failed for error in row.errors])
        action = "archive" if endpoint.delete_mode == "archive" else "delete"
        deleted = {i: rid for i, rid in found.items() if i not in results}
        if flags.partial:
            for index, record_id in deleted.items():
                results[index] = RowResult(
                    index=index,
                    status="deleted",
                    record_id=record_id,
                    identifier=identifiers[record_id],
                )
            rows = [results[index] for index in range(len(keys))]
            answer = self._answer_partial(endpoint, call, rows, flags)
            return dataclasses.replace(answer, action=action)
        value = [
            self._deleted_value(plan, record_id, identifiers[record_id])
            for record_id in dict.fromkeys(deleted.values())
        ]
        value = self._run_response_script(endpoint, call, value, records.browse())
        return ApiResponse(
            payload=value,
            kind="list",
            message=self.env._("Deleted"),
            action=action,
            record_count=len(value),
            is_dry_run=flags.dry_run,
        )

    @api.model
    def _parse_named(self, plan, request):
        """Return ``(keys, flags)`` of the query string, each key once.

        :raise BadRequest: no record is named, which must never mean all of them
        """
        names = {"identifier__in"}
        if plan.identifier:
            names.add(f"{plan.identifier.api_key}__in")
        pairs = [(name, text) for name, text in request.query if name in names]
        flags = self._parse_flags(
            dataclasses.replace(
                request,
                query=tuple(pair for pair in request.query if pair[0] not in names),
            )
        )
        texts = [text for _name, text in pairs]
        keys = list(dict.fromkeys(k for text in texts for k in query.split(text) if k))
        if not keys:
            raise BadRequest(
                self.env._(
                    "Name the record in the path, or several by ?identifier__in=a,b."
                )
            )
        self._check_bulk(len(keys))
        return keys, flags

    @api.model
    def _find_named(self, endpoint, plan, keys, results):
        """Return ``{index: record id}``, with one search; refused keys get a result.

        As :meth:`_find_record`, for many.
        """
        model = self.env[plan.model].with_context(active_test=False)
        domain = self._get_filter_domain(endpoint)
        rule = plan.identifier
        by_id = endpoint.record_id_match == "id" or not rule
        known = {} if by_id else self._search_identifiers(model, rule, keys, domain)
        rest = [k for k in keys if k not in known and is_id(k)]
        ids = set()
        if by_id or endpoint.record_id_match == "any":
            ids = set(
                model.search([("id", "in", [int(k) for k in rest]), *domain])._ids
            )
        found = {}
        for index, key in enumerate(keys):
            try:
                if key in known:
                    found[index] = self._take_only(rule, key, known[key])
                elif is_id(key) and int(key) in ids:
                    if not by_id:
                        self._check_owner(rule, model.browse(int(key)), key)
                    found[index] = int(key)
                else:
                    raise self._not_here(key)
            except ROW_FAILURES as error:
                results[index] = self._refuse(plan, index, error)
        return found

    @api.model
    def _search_identifiers(self, model, rule, keys, domain):
        """Return ``{key: records}`` of those keys that are identifiers."""
        values = {}
        for key in keys:
            try:
                if "\0" not in key:
                    values[key] = convert.to_field(rule, key)
            except convert.ConvertError:
                continue
        wanted = list(dict.fromkeys(values.values()))
        records = model.search_fetch(
            [(rule.field_path, "in", wanted), *domain], [rule.path[0]]
        )
        by_value = {}
        for record in records:
            value = record[rule.field_path]
            value = value.id if isinstance(value, models.BaseModel) else value
            by_value.setdefault(value, []).append(record.id)
        return {
            key: model.browse(by_value[value])
            for key, value in values.items()
            if value in by_value
        }

    @api.model
    def _take_only(self, rule, key, records):
        if len(records) > 1:
            raise self._twins(rule, key, len(records))
        return records.id

    @api.model
    def _delete_wave(self, endpoint, found, results):
        """Delete records together, and find those that cannot be.

        :param dict found: ``{index: record id}``
        """
        plan = self._get_plan(endpoint)
        search = Search(sorted(set(found.values())), lambda _id: 1)
        while search.parts:
            ids = search.parts.pop()
            try:
                with self.env.cr.savepoint():
                    self._delete(endpoint, self.env[plan.model].browse(ids))
            except ROW_FAILURES as error:
                if len(ids) > 1:
                    search.divide(ids)
                    continue
                for index, record_id in found.items():
                    if record_id == ids[0]:
                        results[index] = self._refuse(plan, index, error)

    @api.model
    def _refuse(self, plan, index, error):
        code, message = describe_error(self.env, error)
        found = {"index": index, "message": message}
        if plan.identifier:
            found.update(key=plan.identifier.api_key, line_id=plan.identifier.line_id)
        return refused_result(index, [(code, found)])

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
            records.with_context(bj_api_sync_preload=True).unlink()
        self.env.flush_all()

    @api.model
    def _deleted_value(self, plan, record_id, identifier):
        value = {"id": record_id}
        if plan.identifier:
            [named] = mapping.assemble([plan.identifier.key_path], [[identifier]], 1)
            value = {**named, **({} if "id" in named else value)}
        return value
