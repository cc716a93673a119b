import hashlib
from dataclasses import dataclass
from graphlib import CycleError

from odoo import api, models
from odoo.exceptions import RedirectWarning
from psycopg2 import IntegrityError

from ..exceptions import PayloadError
from ..tools import collector, convert
from ..tools.message import Call, Plan, RowResult
from ..tools.node import Errors, Node, by_plan, layers
from .bj_api_sync_refusal import DATA_FAILURES, describe_error, raise_refused
from .bj_api_sync_relation import has_identifier


@dataclass(frozen=True)
class Job:
    """The rows of one call and what is to be done with them."""

    plan: Plan
    rows: list
    call: Call
    operation: str
    domain: list


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
        except (ValueError, RedirectWarning, IntegrityError, *DATA_FAILURES) as error:
            errors = self.env["bj.api.sync.blame"]._get_blamed(node, error)
            if not errors.by_index and isinstance(error, IntegrityError):
                raise
            found = errors.by_index.get(0)
            if not found:
                code, message = describe_error(self.env, error)
                found = [(code, {"index": 0, "message": message})]
            raise_refused(found, error)
        return self._success(node, is_new)

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
            if node.identifier in hidden:
                # It says no more about a record that this user may not know.
                message = self.env._(
                    "%s belongs to a record that Run As may not use.",
                    convert.describe(node.identifier),
                )
                errors.add(node, plan.identifier, message, code=409)
            elif node.record:
                self._check_rename(node, records, errors)
            elif len(records) > 1:
                message = relation._twins_message(node, len(records))
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


def claim_key(model, name, value):
    """Return the name under which an identifier is claimed: short and index-friendly."""
    return hashlib.sha256(f"{model}\0{name}\0{value}".encode()).hexdigest()[:32]
