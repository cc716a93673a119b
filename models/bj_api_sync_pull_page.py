import logging
from dataclasses import dataclass, field, replace

from odoo import api, models
from odoo.exceptions import UserError

from ..tools import announced, lenient, mapping
from ..tools.message import Call, RowResult

_logger = logging.getLogger("bj.api.pull")

# Where an answer has its list when nobody says.
ROOTS = ("data", "items", "results", "records", "value")
MAX_REPORTED = 20  # failed items, or repairs, that a log row names
MAX_URL = 300  # characters of a URL in an error message
MAX_WORDS = 300  # of the other side


@dataclass(frozen=True)
class Page:
    """What an answer has: the items, and what has to be said about them.

    :param facts: :class:`~..tools.announced.Facts`
    :param dict faults: ``{index: [(key, kind)]}`` of items that cannot be written
    :param list repairs: ``(index or None, key, kind)`` of what was made right
    """

    items: list = field(default_factory=list)
    facts: object = announced.Facts()
    faults: dict = field(default_factory=dict)
    repairs: list = field(default_factory=list)


class BjApiSyncOutbound(models.AbstractModel):
    """One page of a pull: from the bytes to items, and from items to records."""

    _inherit = "bj.api.sync.outbound"

    # -- reading -----------------------------------------------------------------------

    @api.model
    def _read_page(self, claim, config, plan, response):
        """Return the :class:`Page` in an answer; without a body it is an empty one.

        :raise UserError: there is none in it, or the other side says that it failed
        """
        if response.truncated:
            raise UserError(
                self.env._("The answer is larger than 10 MiB: lower the Page Size.")
            )
        headers = {name.lower(): text for name, text in response.headers.items()}
        if not response.ok:
            return Page()
        if not response.body.strip():
            return Page(facts=announced.read(None, headers))
        try:
            answer, notes = lenient.loads(
                response.body, headers.get("content-type", "")
            )
        except lenient.Unreadable as error:
            raise UserError(
                self.env._("The answer is not JSON: %s", str(error))
            ) from error
        items, path, is_only = self._find_items(config, plan, answer, claim)
        if is_only and claim.res_ids:
            facts = announced.Facts()  # a record has no pages
        else:
            # What names no record may be an envelope that nobody has told us how to open.
            is_known = is_only and is_item(plan, items[0], claim)
            facts = announced.read(answer, headers, path, is_known)
        faults, repairs = self._place_notes(notes, path, is_only)
        return Page(items, facts, faults, repairs)

    @api.model
    def _find_items(self, config, plan, answer, claim):
        """Return the items of an answer, the path to them, and whether it is only one.

        They are at Response Root, else where lists usually are, else the answer is one.
        """
        path = ()
        found = answer
        if config.response_root:
            path = mapping.split_key(config.response_root)
            found = mapping.take_path(answer, config.response_root)
        elif isinstance(answer, dict):
            path = next(
                ((key,) for key in ROOTS if isinstance(answer.get(key), list)), ()
            )
            found = answer[path[0]] if path else answer
        if isinstance(found, list):
            if not found:
                self._check_failure(answer)
            return found, path, False
        if (
            found
            and found is not mapping.ABSENT
            and (path or is_item(plan, found, claim))
        ):
            return [found], path, True
        self._check_failure(answer, is_list=not claim.res_ids)
        if found is mapping.ABSENT and not says_empty(answer, path):
            raise UserError(
                self.env._(
                    "The answer has nothing at Response Root %s.", config.response_root
                )
            )
        if not found or found is mapping.ABSENT or says_empty(answer, path):
            return [], path, False
        return [found], path, True

    @api.model
    def _check_failure(self, answer, is_list=True):
        """Refuse an answer without items that says itself that it failed."""
        message = lenient.get_failure(answer, is_list)
        if message is None:
            return
        if not message:
            message = self.env._("without saying why")
        raise UserError(
            self.env._(
                "The other side answered that it failed: %s", message[:MAX_WORDS]
            )
        )

    @api.model
    def _place_notes(self, notes, path, is_only):
        """Return faults by item, and repairs with the item that they are in."""
        faults, repairs = {}, []
        for note in notes:
            steps = [str(step) for step in note.path]
            index, key = None, ".".join(steps)
            if steps[: len(path)] == list(path):
                rest = steps[len(path) :]
                if is_only:
                    index, key = 0, ".".join(rest)
                elif rest and rest[0].isdigit():
                    index, key = int(rest[0]), ".".join(rest[1:])
            if note.is_fault and index is not None:
                faults.setdefault(index, []).append((key, note.kind))
            else:
                repairs.append((index, key, note.kind))
        return faults, repairs

    @api.model
    def _describe_note(self, kind):
        return {
            lenient.SURROGATE: self.env._(
                "half of a surrogate pair, replaced by U+FFFD"
            ),
            lenient.NUL: self.env._("a NUL character, left out"),
            lenient.CONTROL: self.env._("a control character, taken as it is"),
            lenient.NAN: self.env._("not a number, taken as null"),
            lenient.TWICE: self.env._("there twice, the last one was taken"),
            lenient.BYTES: self.env._(
                "has bytes that are not UTF-8, and no other charset is declared"
            ),
            lenient.RANGE: self.env._("a number out of range"),
        }[kind]

    # -- writing -----------------------------------------------------------------------

    @api.model
    def _write_items(self, claim, config, plan, page):
        """Write items through the lines; those that fail do not keep back the others.

        :return: the result of each
        """
        call = Call(config.id, "out", "GET")
        asked_for = self.env[claim.model].browse(claim.res_ids).exists()
        if len(asked_for) == len(page.items) == 1 and not page.faults:
            # Known by the question, whatever identifier the answer has.
            self._check_inside(config, asked_for)
            writer = self.env["bj.api.sync.writer"]
            return writer._write_rows(
                plan, page.items, call, operation="pull", targets=[asked_for]
            )
        results = self._write_pulled_rows(config, plan, page.items, page.faults)
        failed = [result for result in results if result.status == "error"]
        self.env["bj.api.sync.event"]._keep(config, plan, claim, page.items, results)
        if failed:
            self._log_failed_items(claim, config, page, failed)
        return results

    @api.model
    def _write_pulled_rows(self, config, plan, items, faults=()):
        """Write items as a PUT of each would be written; return the result of each.

        :param faults: ``{index: [(key, kind)]}`` of items that are refused unseen
        """
        results = {
            index: self._refuse_item(
                index,
                "; ".join(f"{key}: {self._describe_note(kind)}" for key, kind in found),
            )
            for index, found in dict(faults).items()
        }
        rows = {i: item for i, item in enumerate(items) if i not in results}
        with self.env.cr.savepoint() as savepoint:
            written = self._write_some(config, plan, rows)
            outside = self._find_made_outside(config, written.values())
            if outside:
                savepoint.rollback()
                self.env.invalidate_all()
        if outside:
            message = self.env._(
                "The new record would be outside the Filter Domain, where the next pull "
                "does not find it: add a line, perhaps a Constant, that fills what the "
                "Filter Domain asks for."
            )
            results |= {index: self._refuse_item(index, message) for index in outside}
            rows = {i: item for i, item in rows.items() if i not in outside}
            written = self._write_some(config, plan, rows)
        results |= written
        return [results[index] for index in range(len(items))]

    @api.model
    def _write_some(self, config, plan, rows):
        """Write ``{index: item}``; return ``{index: result}``."""
        written = self.env["bj.api.sync.writer"]._write_rows(
            plan,
            list(rows.values()),
            Call(config.id, "out", "GET"),
            operation="pull",
            partial=True,
            domain=self._get_pull_domain(config),
        )
        return {
            index: replace(result, index=index)
            for index, result in zip(rows, written, strict=True)
        }

    @api.model
    def _find_made_outside(self, config, results):
        """Return the indexes of records that the Filter Domain leaves out, being new."""
        made = {
            result.record_id: result.index
            for result in results
            if result.status == "created"
        }
        domain = self._get_pull_domain(config) if made else []
        if not domain:
            return set()
        model = self.env[config.model_name].with_context(active_test=False)
        inside = model.search([("id", "in", list(made)), *domain])
        return {index for id_, index in made.items() if id_ not in inside._ids}

    @api.model
    def _refuse_item(self, index, message):
        return RowResult(index, status="error", code=400, message=message)

    @api.model
    def _get_pull_domain(self, config):
        """Return the Filter Domain with Run As as its user, and the Company's limits."""
        return config.sudo().with_env(self.env(su=True))._get_send_domain()

    @api.model
    def _check_inside(self, config, record):
        domain = self._get_pull_domain(config)
        model = self.env[record._name].with_context(active_test=False)
        if not model.search_count([("id", "=", record.id), *domain]):
            # Not inside _(): Odoo stops looking for terms at an f-string there.
            name = f"{record._name},{record.id}"
            raise UserError(
                self.env._(
                    "%(record)s is outside the Filter Domain, or Run As may not see it, "
                    "so nothing was written.",
                    record=name,
                )
            )

    # -- telling -----------------------------------------------------------------------

    @api.model
    def _log_failed_items(self, claim, config, page, failed):
        _logger.warning(
            "Configuration %s: %s of %s items could not be written",
            config.id,
            len(failed),
            len(page.items),
        )
        messages = [
            f"[{result.index}] {result.message}" for result in failed[:MAX_REPORTED]
        ]
        self._log_page(
            claim,
            config,
            name=self.env._("Pulled items that could not be written"),
            status="error",
            record_count=len(failed),
            error_message="\n".join(messages),
            line_id=failed[0].line_id,
        )

    @api.model
    def _log_repairs(self, claim, config, page, counts):
        """Say what was made right in a page: nothing is altered in silence.

        The report of the pull names the first ones too.
        """
        if not page.repairs:
            return
        texts = []
        for index, key, kind in page.repairs:
            place = key if index is None else f"[{index}] {key}"
            texts.append(f"{place[:MAX_WORDS]}: {self._describe_note(kind)}")
        self._log_page(
            claim,
            config,
            name=self.env._("Pulled values that were repaired"),
            status="success",
            record_count=len({index for index, _key, _kind in page.repairs}),
            error_message="\n".join(texts),
        )
        known = counts.setdefault("repairs", [])
        room = max(MAX_REPORTED - len(known), 0)
        known += [f"{counts['pages']}: {text}" for text in texts[:room]]

    @api.model
    def _log_page(self, claim, config, **vals):
        self.env["bj.api.log"]._record(
            config.log_level,
            {
                "config_id": config.id,
                "company_id": claim.company_id,
                "direction": "out",
                "method": "GET",
                "url": claim.url,
                "model": config.model_name,
                "user_id": self.env.uid,
                "delivery_id": self._get_delivery_id(claim),
                "action": "pull",
                **vals,
            },
        )

    @api.model
    def _get_delivery_id(self, claim):
        """Return the delivery of a claim for rows that refer to it, ``None`` if they
        cannot.

        One that is sent at once is committed apart, so the transaction of its caller,
        which keeps its snapshot, does not see it, and neither does a foreign key in it.
        """
        self.env.cr.execute(
            "SELECT id FROM bj_api_sync_delivery WHERE id = %s", [claim.id]
        )
        return claim.id if self.env.cr.rowcount else None

    @api.model
    def _describe_step(self, step, counts):
        """Return the sentence that says why a pull cannot go on."""
        keys = ", ".join(step.keys[:MAX_REPORTED])
        page = counts["pages"]
        if step.error in ("missing", "pages"):
            return self._describe_shortage(step, keys, counts)
        if step.error == "origin":
            redactor, _limit = self.env["bj.api.log"]._get_redactor()
            return self.env._(
                "The next page, under %(key)s, is on another host, port or scheme, which "
                "is not asked, because credentials go only where the Request URL says: "
                "%(url)s",
                key=keys,
                url=redactor.query(step.token)[:MAX_URL],
            )
        if step.error == "circle":
            return self.env._(
                "The pages go round in a circle: page %(page)s is, or leads to, one that "
                "was there before (%(keys)s).",
                page=page,
                keys=keys or self.env._("the same items"),
            )
        if step.error == "unfollowed":
            return self.env._(
                "The answer announces more under %(keys)s, which this Pagination Style "
                "cannot follow, so the list is not complete.",
                keys=keys,
            )
        message = self.env._(
            "Page %(page)s is the same as the one before, so the other side does not know "
            "the parameters that ask for a page. Check Pagination Style and Parameters.",
            page=page,
        )
        if not keys:
            return message
        announced = self.env._("The answer announces more under %(keys)s.", keys=keys)
        return f"{message} {announced}"

    @api.model
    def _describe_shortage(self, step, keys, counts):
        values = {"key": keys, "expected": step.expected, "came": step.came}
        if step.error == "missing":
            message = self.env._(
                "The answer says under %(key)s that there are %(expected)s items, but only "
                "%(came)s came. Check Pagination Style and Parameters.",
                **values,
            )
        else:
            message = self.env._(
                "The answer says under %(key)s that there are %(expected)s pages, but only "
                "%(came)s came. Check Pagination Style and Parameters.",
                **values,
            )
        if not (counts.get("walk") or {}).get("zero"):
            return message
        asked = self.env._("A page 0 was asked for as well and brought nothing more.")
        return f"{message} {asked}"


def is_item(plan, answer, claim):
    """Tell whether an answer without a list is one item, and not an envelope.

    It is if it names its record, or when the question was about a record.
    """
    if not isinstance(answer, dict):
        return True
    named = (
        [plan.identifier] if plan.identifier and not claim.res_ids else plan.writable
    )
    return any(
        mapping.take(answer, rule.key_path) not in (mapping.ABSENT, None)
        for rule in named
    )


def says_empty(answer, path=()):
    """Tell whether an answer without items says that there are none.

    ``{"data": null}``, ``{"orders": [], "page": 1}``, ``{"total": 0}``, or null on the way
    to the list.
    """
    if not isinstance(answer, dict):
        return False
    if any(key in answer and not answer[key] for key in ROOTS):
        return True
    lists = [value for value in answer.values() if isinstance(value, list)]
    if lists and not any(lists):
        return True
    facts = announced.read(answer)
    if facts.total and facts.total[1] == 0:
        return True
    return bool(path) and mapping.take(answer, path) is None
