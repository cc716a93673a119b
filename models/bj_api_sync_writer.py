import copy
import hashlib
from dataclasses import dataclass
from graphlib import CycleError

from odoo import api, models
from odoo.exceptions import AccessError, MissingError, RedirectWarning, UserError
from psycopg2 import DataError, IntegrityError
from psycopg2.errorcodes import NOT_NULL_VIOLATION

from ..compat import integrity_message
from ..exceptions import (
    ACCESS_REFUSED,
    CONFLICT_CODES,
    ApiError,
    Conflict,
    Forbidden,
    NotFound,
    PayloadError,
)
from ..tools import collector, convert, mapping
from ..tools.message import Call, Plan, RowResult
from ..tools.node import Errors, Node, by_plan, layers
from .bj_api_sync_relation import EMPTY, has_identifier

UNSAID = (mapping.ABSENT, None, "")
# What a row may do wrong. Serialization failures are not among them: Odoo repeats the
# whole request then.
ROW_FAILURES = (
    UserError,
    RedirectWarning,
    ApiError,
    IntegrityError,
    DataError,
    ValueError,
)


@dataclass(frozen=True)
class Job:
    """The rows of one call and what is to be done with them."""

    plan: Plan
    rows: list
    call: Call
    operation: str
    domain: list


class RowsRefused(Exception):
    """Rows that are wrong before anything is saved; undoes what their scripts did."""

    def __init__(self, errors):
        super().__init__()
        self.errors = errors


class BjApiSyncWriter(models.AbstractModel):
    """Payloads to records along a plan, with the rights of the environment's user.

    1. *Identify*: which records do the rows name, may they be created or updated?
    2. *Expand* (``bj.api.sync.relation``): which records do the objects inside name?
    3. *Convert* (``bj.api.sync.converter``): keys to field values.
    4. *Save*: what others refer to first, one ``create`` for all new records of a
       mapping, and a ``write`` for what differs (``bj.api.sync.diff``).

    The first three gather everything that is wrong, in all rows, before the last begins.
    """

    _name = "bj.api.sync.writer"
    _description = "API Payload Writer"

    @api.model
    def _write_rows(
        self,
        plan,
        rows,
        call,
        *,
        operation="upsert",
        partial=False,
        bulk=None,
        targets=None,
        domain=(),
    ):
        """Create or update one record per row.

        :param list rows: parsed payloads, one ``dict`` per record
        :param str operation: ``create`` (an existing identifier is a conflict),
            ``update`` (a missing one is not found), ``upsert``, or ``put`` and ``pull``:
            ``upsert`` of rows that have to name their record
        :param bool partial: keep the rows that work when others do not
        :param bool bulk: answer as for many rows, as an array of one row asks for; by
            default when there are several
        :param targets: the record to update, in a list, when the caller knows it
        :param domain: records outside it can neither be updated nor made twice
        :return: list of :class:`RowResult`, one per row
        :raise ApiError: not ``partial`` and a row was refused; nothing is to be kept then
        """
        job = Job(plan, rows, call, operation, list(domain))
        if not (len(rows) > 1 or bulk or partial):
            return [self._write_row(job, targets[0] if targets else None)]
        results = self._refuse_misshapen(job)
        with collector.paused():
            for wave in self._split_waves(job, results):
                self._write_wave(job, wave, results)
        results = [results[index] for index in range(len(rows))]
        failed = [result for result in results if result.status == "error"]
        if failed and not partial:
            errors = [error for result in failed for error in result.errors]
            cause = next((result.cause for result in failed if result.cause), None)
            raise PayloadError(errors) from cause
        return results

    @api.model
    def _write_row(self, job, record):
        """Save the only row; what the ORM raises goes to the caller as it is."""
        node = Node(job.plan, job.rows[0], 0, record=record)
        errors = self._prepare([node], job.call, job.operation, job.domain)
        if errors.by_index:
            raise_refused(errors.by_index[0], errors.causes.get(0))
        is_new = not node.record
        try:
            self._save([node])
        except (ValueError, DataError, RedirectWarning) as error:
            _code, message = describe_error(self.env, error)
            raise PayloadError([{"index": 0, "message": message}]) from error
        except IntegrityError as error:
            errors = self._get_blamed(node, error)
            if not errors.by_index:
                raise
            raise_refused(errors.by_index[0], error)
        return self._success(node, is_new)

    @api.model
    def _refuse_misshapen(self, job):
        """Return the results of the rows that are no objects, ``{row: RowResult}``."""
        relation, errors = self.env["bj.api.sync.relation"], Errors()
        for index, row in enumerate(job.rows):
            if not isinstance(row, dict):
                node = Node(job.plan, row, index)
                expected, got = self.env._("an object"), convert.describe(row)
                relation._add_mismatch(node, None, expected, got, errors)
        return {
            index: refused_result(index, found)
            for index, found in errors.by_index.items()
        }

    @api.model
    def _split_waves(self, job, refused):
        """Return lists of row numbers in which no identifier comes twice.

        A second row with the same identifier has to see what the first one did.

        :param refused: rows to leave out
        """
        relation = self.env["bj.api.sync.relation"]
        waves, seen = [[]], {}
        for index, row in enumerate(job.rows):
            if index in refused:
                continue
            node = Node(job.plan, row, index)
            key = relation._get_identifier(node, job.call, Errors())
            wave = 0
            if key not in EMPTY:
                wave = seen[key] = seen.get(key, -1) + 1
            if wave == len(waves):
                waves.append([])
            waves[wave].append(index)
        return [wave for wave in waves if wave]

    @api.model
    def _write_wave(self, job, indexes, results):
        """Save rows together and fill ``results``; leave out those that cannot be.

        Rows that are refused are left out of a second try. When the ORM or the database
        refuses, it does not say which row it was: halves are tried, down to single rows,
        so that one bad row among a thousand costs some twenty tries and no more.
        """
        if not indexes:
            return
        try:
            with self.env.cr.savepoint():
                found = self._try_wave(job, indexes)
        except RowsRefused as refused:
            by_index, causes = refused.errors.by_index, refused.errors.causes
            for index, errors in by_index.items():
                results[index] = refused_result(index, errors, causes.get(index))
            rest = [index for index in indexes if index not in by_index]
            self._write_wave(job, rest, results)
        except ROW_FAILURES as error:
            if len(indexes) == 1:
                [index] = indexes
                results[index] = self._failure(job, index, error)
            else:
                half = len(indexes) // 2
                self._write_wave(job, indexes[:half], results)
                self._write_wave(job, indexes[half:], results)
        else:
            results.update(found)

    @api.model
    def _try_wave(self, job, indexes):
        """Return ``{row: RowResult}`` of rows that are all saved.

        :raise RowsRefused: some cannot be
        """
        # Copies, because a script may change a row and the next try must not see it.
        nodes = [
            Node(job.plan, copy.deepcopy(job.rows[index]), index) for index in indexes
        ]
        errors = self._prepare(nodes, job.call, job.operation, job.domain)
        if errors.by_index:
            raise RowsRefused(errors)
        new = {node for node in nodes if not node.record}
        self._save(nodes)
        return {node.index: self._success(node, node in new) for node in nodes}

    # -- identify, expand, convert ---------------------------------------------------

    @api.model
    def _prepare(self, nodes, call, operation, domain=()):
        """Find out all that is to be written, without writing it.

        :param list nodes: one per row, of one plan; a known record is kept
        :return: :class:`~..tools.node.Errors`
        """
        errors = Errors()
        self._identify_rows(nodes, call, operation, domain, errors)
        found = self.env["bj.api.sync.relation"]._expand(nodes, call, errors)
        for plan, group in by_plan(found):
            self.env["bj.api.sync.converter"]._convert(plan, group, call, errors)
        self.env["bj.api.sync.diff"]._match_equal_lines(found)
        self._check_references(nodes, errors)
        return errors

    @api.model
    def _identify_rows(self, nodes, call, operation, domain, errors):
        plan = nodes[0].plan
        relation = self.env["bj.api.sync.relation"]
        for node in nodes:
            node.identifier = relation._get_identifier(node, call, errors)
        found = {}
        if plan.identifier:
            found = relation._search_named(plan, [node.identifier for node in nodes])
        inside = self._get_inside(plan, found.values(), domain)
        hidden = self._get_hidden(nodes, found) if operation == "pull" else ()
        for node in nodes:
            records = found.get(node.identifier, self.env[plan.model])
            if node.record:
                self._check_rename(node, records, errors)
            elif len(records) > 1:
                message = relation._twins_message(node, len(records))
                errors.add(node, plan.identifier, message, code=409)
            elif node.identifier in hidden:
                # It says no more about a record that this user may not know.
                message = self.env._(
                    "%s belongs to a record that Run As may not use.",
                    convert.describe(node.identifier),
                )
                errors.add(node, plan.identifier, message, code=409)
            else:
                self._decide(node, records, operation, inside, errors)

    @api.model
    def _get_inside(self, plan, groups, domain):
        """Return the ids inside the Filter Domain, ``None`` for all."""
        ids = [record_id for records in groups for record_id in records._ids]
        if not domain or not ids:
            return None
        model = self.env[plan.model].with_context(active_test=False)
        return set(model.search([("id", "in", ids), *domain])._ids)

    @api.model
    def _get_hidden(self, nodes, found):
        """Return the identifiers of records that rules or companies keep from the user.

        A new record under one of them would be a twin. Looked for beyond the rights of
        the user, so nothing but the identifiers that were sent comes out of here.
        """
        plan = nodes[0].plan
        missing = [n.identifier for n in nodes if n.identifier not in found]
        if not plan.identifier or not missing:
            return ()
        return set(self.env["bj.api.sync.relation"].sudo()._search_named(plan, missing))

    @api.model
    def _check_rename(self, node, records, errors):
        """Refuse to give a known record the identifier of another one."""
        rule = node.plan.identifier
        if rule and rule.field_path == "id":
            is_other = has_identifier(node) and node.identifier != node.record.id
        else:
            is_other = bool(records - node.record)
        if is_other:
            message = self.env._(
                "%s belongs to another record.", convert.describe(node.identifier)
            )
            errors.add(node, rule, message, code=409)

    @api.model
    def _decide(self, node, record, operation, inside, errors):
        """Take the record that a row names, or refuse the row."""
        rule = node.plan.identifier
        value = convert.describe(node.identifier)
        is_outside = record and inside is not None and record.id not in inside
        if operation == "create" and record:
            message = self.env._("%s exists already.", value)
            errors.add(node, rule, message, code=409)
        elif operation in ("upsert", "put", "pull") and is_outside:
            message = self.env._("%s belongs to a record outside this endpoint.", value)
            errors.add(node, rule, message, code=409)
        elif record and not is_outside:
            node.record = record
        elif operation == "pull" and rule and not has_identifier(node):
            if not node.has_error:
                message = self.env._(
                    "does not say which record it is, so each pull would create it anew."
                )
                errors.add(node, rule, message)
        elif operation == "update" or (operation == "put" and not has_identifier(node)):
            node.may_create = False
            if node.has_error:
                return  # what was sent as identifier is none
            if has_identifier(node):
                message = self.env._("there is no record %s here.", value)
                errors.add(node, rule, message, code=404)
            elif rule:
                errors.add(node, rule, self.env._("name the record that you mean."))
            else:
                message = self.env._(
                    "%s has no record identifier to find it by.", node.plan.name
                )
                errors.add(node, None, message)
        elif rule and rule.field_path == "id" and has_identifier(node):
            message = self.env._(
                "there is no record %s; leave it out to create one.", value
            )
            errors.add(node, rule, message)

    @api.model
    def _check_references(self, nodes, errors):
        """Refuse new records that need each other, and rows that need a refused row."""
        try:
            ordered = layers(nodes)
        except CycleError as error:
            for node in error.args[1]:
                if not node.has_error:
                    message = self.env._("a new record cannot refer to itself.")
                    errors.add(node, None, message)
            return
        for node in (node for layer in ordered for node in layer):
            if node.index not in errors.by_index and any(
                other.is_row and other.index in errors.by_index
                for other in node.references()
            ):
                message = self.env._("refers to a row that cannot be saved.")
                errors.add(node, None, message)

    # -- save ------------------------------------------------------------------------

    @api.model
    def _save(self, nodes):
        # A user that only lends his rights to a sync follows nothing that it makes.
        self = self.with_context(mail_create_nosubscribe=True)
        for layer in layers(nodes):
            for _plan, group in by_plan(layer):
                new = [node for node in group if not node.record]
                self._update([node for node in group if node.record])
                self._create(new)
        # Constraints of the database speak now, not at some later row's expense.
        self.env.flush_all()

    @api.model
    def _create(self, nodes):
        if not nodes:
            return
        self._claim_identifiers(nodes)
        diff = self.env["bj.api.sync.diff"]
        model = self.env[nodes[0].plan.model]
        self.env["bj.api.sync.preload"]._read_for_chatter(model)
        records = model.create([diff._get_vals(node) for node in nodes])
        for node, record in zip(nodes, records, strict=True):
            node.record = record
            node.status = "created"

    @api.model
    def _update(self, nodes):
        """Write what differs; records that get the same values share one write."""
        groups = {}
        for node in nodes:
            vals = self.env["bj.api.sync.diff"]._get_changes(node)
            node.status = "updated" if vals else "unchanged"
            if vals:
                same = groups.setdefault(repr(sorted(vals.items())), (vals, []))
                same[1].append(node.record.id)
        if not groups:
            return
        records = self.env[nodes[0].plan.model].browse(
            record_id for _vals, ids in groups.values() for record_id in ids
        )
        preload = self.env["bj.api.sync.preload"]
        preload._read_for_chatter(records)
        preload._note_empty_lists(records)
        for vals, ids in groups.values():
            # What Odoo reads to write one of them it reads for all.
            records.browse(ids).with_prefetch(records._ids).write(vals)

    @api.model
    def _claim_identifiers(self, nodes):
        """Make two calls that create the same identifier at once meet each other.

        Neither sees the other's new record. Both write one row per identifier instead,
        so the later one gets a serialization failure; Odoo then repeats it, and it finds
        the record that the first has made.
        """
        rule = nodes[0].plan.identifier
        if rule and rule.field_path != "id":
            keys = {
                claim_key(node.plan.model, rule.field_path, node.identifier)
                for node in nodes
                if has_identifier(node)
            }
            if keys:
                self.env["bj.api.sync.claim"]._claim(sorted(keys))

    # -- results ---------------------------------------------------------------------

    @api.model
    def _success(self, node, is_new):
        status = node.status
        if status == "unchanged" and any(
            not other.is_row and other.status != "unchanged"
            for other in node.references()
        ):
            status = "updated"  # through an object inside
        record_id = node.record.id
        return RowResult(
            index=node.index,
            status=status,
            code=201 if is_new else 200,
            record_id=record_id,
            identifier=node.identifier if has_identifier(node) else record_id,
        )

    @api.model
    def _failure(self, job, index, error):
        """Return the result of a row that the ORM or the database refused."""
        code, message = describe_error(self.env, error)
        found = {"index": index, "message": message}
        if rule := self._get_blamed_rule(job.plan, error):
            found.update(key=rule.api_key, line_id=rule.line_id)
        if getattr(error, "line_id", None):
            found["line_id"] = error.line_id
        return refused_result(index, [(code, found)], error)

    @api.model
    def _get_blamed(self, node, error):
        """Return :class:`~..tools.node.Errors` that tell whose column is empty.

        Of the row and the objects inside, it is the first that says nothing for it.
        """
        errors = Errors()
        for place in node.walk():
            rule = self._get_blamed_rule(place.plan, error)
            if rule and mapping.take(place.row, rule.key_path) in UNSAID:
                errors.add(place, rule, self.env._("a value is required."))
                break
        return errors

    @api.model
    def _get_blamed_rule(self, plan, error):
        """Return the rule of the column that PostgreSQL found empty, if one is."""
        if not isinstance(error, IntegrityError) or error.pgcode != NOT_NULL_VIOLATION:
            return None
        if error.diag.table_name != self.env[plan.model]._table:
            return None
        column = error.diag.column_name
        return next((r for r in plan.writable if r.field_path == column), None)


def claim_key(model, name, value):
    """Return the name under which an identifier is claimed: short and index-friendly."""
    return hashlib.sha256(f"{model}\0{name}\0{value}".encode()).hexdigest()[:32]


def describe_error(env, error):
    """Return ``(status, sentence)`` of what a save raised."""
    if isinstance(error, ApiError):
        return error.code, error.description
    if isinstance(error, IntegrityError):
        code = 409 if error.pgcode in CONFLICT_CODES else 400
        return code, integrity_message(env, error)
    code = 400
    if isinstance(error, AccessError):  # whose text names rules and hidden records
        return 403, ACCESS_REFUSED
    if isinstance(error, MissingError):
        code = 404
    return code, str(error.args[0] if error.args else error)


def refused_result(index, found, cause=None):
    """Return the result of a row from what is wrong, ``[(status, error)]``."""
    code, first = found[0]
    return RowResult(
        index=index,
        status="error",
        code=code,
        message=first["message"],
        line_id=first.get("line_id"),
        errors=[error for _code, error in found],
        cause=cause,
    )


def raise_refused(found, cause):
    """Raise what is wrong with the only row of a call: ``[(status, error)]``."""
    code, _first = found[0]
    raise refusal(code, [error for _code, error in found]) from cause


def refusal(code, errors):
    """Return the exception of a status for errors of rows."""
    error = PayloadError(errors)
    family = {403: Forbidden, 404: NotFound, 409: Conflict}.get(code)
    return family(error.description, details=error.details) if family else error
