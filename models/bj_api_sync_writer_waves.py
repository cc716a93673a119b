import copy

from odoo import api, models

from ..tools import convert, mapping
from ..tools.node import Errors, Node
from ..tools.search import Search
from .bj_api_sync_refusal import (
    DATA_FAILURES,
    ROW_FAILURES,
    describe_error,
    refused_result,
)
from .bj_api_sync_relation import EMPTY


class RowsRefused(Exception):
    """Rows that are wrong before anything is saved; undoes what their scripts did."""

    def __init__(self, errors):
        super().__init__()
        self.errors = errors


class BjApiSyncWriter(models.AbstractModel):
    """Many rows: saved together, and those that cannot be are found."""

    _inherit = "bj.api.sync.writer"

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
        refuses, it does not say which row it was: :class:`~..tools.search.Search` does.
        """
        get_plan = self.env["bj.api.sync.config"]._get_plan
        search = Search(
            indexes,
            lambda i: 1 + mapping.count_related(job.plan, job.rows[i], get_plan),
        )
        while search.parts:
            part = search.parts.pop()
            # Copies, because a script may change a row and the next try must not see it.
            nodes = [Node(job.plan, copy.deepcopy(job.rows[i]), i) for i in part]
            try:
                with self.env.cr.savepoint():
                    found = self._try_rows(job, nodes)
            except RowsRefused as refused:
                by_index, causes = refused.errors.by_index, refused.errors.causes
                for index, errors in by_index.items():
                    results[index] = refused_result(index, errors, causes.get(index))
                search.repeat([index for index in part if index not in by_index])
            except ROW_FAILURES as error:
                if len(part) == 1:
                    [index] = part
                    results[index] = self._failure(job, index, error, nodes[0])
                else:
                    search.divide(part)
            else:
                results.update(found)

    @api.model
    def _try_rows(self, job, nodes):
        """Return ``{row: RowResult}`` of rows that are all saved.

        :raise RowsRefused: some cannot be
        """
        errors = self._prepare(nodes, job.call, job.operation, job.domain)
        if errors.by_index:
            raise RowsRefused(errors)
        new = {node for node in nodes if not node.record}
        self._save(nodes)
        return {node.index: self._success(node, node in new) for node in nodes}

    @api.model
    def _failure(self, job, index, error, node):
        """Return the result of a row that the ORM or the database refused."""
        blame = self.env["bj.api.sync.blame"]
        if isinstance(error, DATA_FAILURES):
            errors = blame._get_blamed(node, error)
            if errors.by_index:
                return refused_result(index, errors.by_index[index], error)
        code, message = describe_error(self.env, error)
        found = {"index": index, "message": message}
        if rule := blame._get_blamed_rule(job.plan, error):
            found.update(key=rule.api_key, line_id=rule.line_id)
        if getattr(error, "line_id", None):
            found["line_id"] = error.line_id
        return refused_result(index, [(code, found)], error)
