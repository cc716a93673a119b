import logging
import time
from dataclasses import replace

import psycopg2
from odoo import SUPERUSER_ID, api, models
from odoo.tools import SQL

from .bj_api_sync_outbound import describe, get_failure
from .bj_api_sync_pull import PullStop
from .bj_api_sync_secret import SecretUnavailable
from .bj_api_sync_transaction import LOST, Busy, in_own_cursor, lock_timeout

_logger = logging.getLogger("bj.api.sender")

LOCK_SECONDS = 0.5  # that settling waits for a row which somebody else holds
TELL_SECONDS = 0.2  # ... and for one of a configuration, to tell administrators


class BjApiSyncSender(models.AbstractModel):
    """What becomes of the answers: deliveries settled, answers used, people told.

    Nothing here waits for long for a row that somebody else holds: a user's import may
    hold it for minutes, and all other deliveries would stand still meanwhile. What cannot
    be settled now is settled later, and an answer that cannot be used now is kept with
    its delivery, so that it is used even if this process dies.
    """

    _inherit = "bj.api.sync.sender"

    @api.model
    def _settle_results(self, run, results):
        """Settle what threads have brought, with one transaction for the plain ones."""
        run.settled_at = time.monotonic()
        if not results:
            return
        outbound = self.env["bj.api.sync.outbound"]
        plain, special, released = [], [], []
        for job, response in results:
            host = job.claim.destination
            run.in_hand[host] -= 1
            if response is None:
                released.append(job.claim)
                continue
            settlement = outbound._judge(job.claim, job.target, job.request, response)
            of_its_kind = special if settlement.is_used else plain
            of_its_kind.append((settlement, response))
        if plain or released:
            self._settle_plain(run, plain, released)
        if special:
            self._is_current(run)  # answers are written by the mapping of now
        for settlement, response in special:
            self._settle_answer(run, settlement, response)
        run.done += len(plain) + len(special)
        self._measure(run, results)

    @api.model
    def _settle_plain(self, run, plain, released=()):
        """Settle together, and one by one if there is one among them that cannot be."""
        reason = ""
        try:
            untold = in_own_cursor(
                self, self._settle, plain, released, lock_timeout=LOCK_SECONDS
            )
            run.untold.update(untold)
            return
        except LOST as error:
            # The database has gone for longer than a moment. It is tried once more at
            # the end of the pass; then what is in hand comes due again.
            _logger.error("%s answers could not be settled: %s", len(plain), error)
            run.aside += plain
            return
        except Busy:
            if len(plain) == 1 and not released:
                run.aside += plain
                return
        except Exception as error:
            _logger.exception("%s answers could not be settled", len(plain))
            reason = type(error).__name__
        if len(plain) > 1 or released:
            for claim in released:
                self._settle_released(claim)
            for result in plain:
                self._settle_plain(run, [result])
            return
        # Without what came with the answer: it would stand in the way for ever.
        ((settlement, response),) = plain
        bare = replace(settlement, error=settlement.error and reason, log={})
        in_own_cursor(self, self._settle, [(bare, response)])

    @api.model
    def _settle_released(self, claim):
        try:
            in_own_cursor(self, self._settle, (), [claim], lock_timeout=LOCK_SECONDS)
        except Busy:
            _logger.info("Delivery %s is held, it comes due by itself", claim.id)

    @api.model
    def _settle_aside(self, run):
        """Try again what could not be settled, or told, because somebody held a row."""
        aside, run.aside = run.aside, []
        for settlement, response in aside:
            if settlement.is_used:
                self._settle_answer(run, settlement, response)
            else:
                self._settle_plain(run, [(settlement, response)])
        untold, run.untold = run.untold, {}
        if untold:
            run.untold.update(in_own_cursor(self, self._tell, untold))

    @api.model
    def _measure(self, run, results):
        """Keep the speed of each host, by which claims are sized."""
        counts = {}
        for job, _response in results:
            counts[job.claim.destination] = counts.get(job.claim.destination, 0) + 1
        elapsed = max(run.settled_at - getattr(run, "measured_at", run.start), 0.01)
        run.measured_at = run.settled_at
        for host, count in counts.items():
            before = run.speed.get(host, 0)
            run.speed[host] = before + 0.3 * (count / elapsed - before)

    @api.model
    def _settle(self, settled, released=()):
        """Settle in this cursor's transaction.

        :param list settled: of ``(settlement, response)``
        :param released: claims that were not begun
        :return: what administrators could not be told, see :meth:`_tell`
        """
        deliveries = self.env["bj.api.sync.delivery"]
        outbound = self.env["bj.api.sync.outbound"]
        # Losing the last of these in a crash of PostgreSQL sends something twice, under
        # the same Idempotency-Key; waiting for the disk would slow all of them down.
        self.env.cr.execute("SET LOCAL synchronous_commit TO OFF")
        deliveries._release(released)
        if not settled:
            return {}
        changed = deliveries._settle([settlement for settlement, _response in settled])
        for settlement, _response in settled:
            if settlement.state == "failed" and settlement.claim.id in changed:
                outbound._log_pull_end(settlement.claim, error=settlement.error)
        outcomes = {}
        for settlement, response in settled:
            key = settlement.claim.destination, settlement.credential
            outcomes.setdefault(key, []).append(
                outbound._get_outcome(settlement, response)
            )
        destinations = self.env["bj.api.sync.destination"]
        for key in sorted(outcomes):  # the same order everywhere: no deadlock
            destinations._record_outcomes(*key, outcomes[key])
        return self._tell(get_news(settled))

    @api.model
    def _tell(self, news):
        """Pause configurations that are to be paused, tell administrators of failures.

        :param dict news: ``{config id: (error, whether it is to be paused)}``
        :return: those whose configuration somebody else holds, as a long import does that
            changes it; they are to be told later
        """
        untold = {}
        for config_id, (error, is_gone) in sorted(news.items()):
            config = self.env["bj.api.sync.config"].browse(config_id)
            try:
                with (
                    self.env.cr.savepoint(flush=False),
                    lock_timeout(self.env.cr, TELL_SECONDS),
                ):
                    if is_gone:
                        config._pause(error)
                    else:
                        config._tell_failure(error)
                    self.env.flush_all()
            except psycopg2.errors.LockNotAvailable:
                self.env.transaction.clear()
                untold[config_id] = error, is_gone
        return untold

    @api.model
    def _settle_answer(self, run, settlement, response):
        """Settle a delivery whose answer is used, in one transaction with that use.

        What fails there fails the delivery: it is not sent again by itself, because the
        other side has it.
        """
        try:
            untold = in_own_cursor(
                self,
                self._settle_with_answer,
                settlement,
                response,
                lock_timeout=LOCK_SECONDS,
            )
            run.untold.update(untold)
        except Busy:
            self._keep_answer(run, settlement, response)
        except LOST as error:
            _logger.error("Delivery %s: %s", settlement.claim.id, error)
            run.aside.append((settlement, response))
        except Exception as error:
            _logger.warning(
                "Delivery %s: its answer could not be used",
                settlement.claim.id,
                exc_info=True,
            )
            failed = get_failed(settlement, error)
            self._settle_plain(run, [(failed, response)])

    @api.model
    def _keep_answer(self, run, settlement, response):
        deliveries = self.env["bj.api.sync.delivery"]
        try:
            in_own_cursor(deliveries, deliveries._keep_answer, settlement, response)
        except SecretUnavailable as error:
            # Without a key nothing can be sealed: it is kept as long as this pass lasts.
            _logger.error("Delivery %s: %s", settlement.claim.id, error)
            run.aside.append((settlement, response))

    @api.model
    def _settle_with_answer(self, settlement, response):
        claim = settlement.claim
        languages = dict(self.env["res.lang"].get_installed())
        context = {"lang": claim.lang in languages and claim.lang, "tz": claim.tz}
        company = self.env["res.company"].browse(claim.company_id).exists()
        if company:
            context["allowed_company_ids"] = company.ids
        user = self.env["res.users"].browse(claim.user_id).exists()
        env = api.Environment(self.env.cr, user.id or SUPERUSER_ID, context, su=True)
        config = env["bj.api.sync.config"].browse(claim.config_id)
        outbound = env["bj.api.sync.outbound"]
        self._check_is_free(claim, config)
        next_row = outbound._handle_answer(claim, config, response)
        if isinstance(next_row, PullStop):
            settlement = next_row.fail(settlement)
        elif next_row:
            env["bj.api.sync.delivery"]._insert_rows(config, env, "pull", [next_row])
        return self._settle([(settlement, response)])

    @api.model
    def _check_is_free(self, claim, config):
        """Find out at once, and not by waiting, that a record to write to is held.

        A mass update of users may hold hundreds of them.

        :raise Busy: it is
        """
        model = self.env.get(claim.model)
        if model is None or not config.response_field_path or not model._auto:
            return
        table = SQL.identifier(model._table)
        self.env.cr.execute(
            SQL(
                """SELECT (SELECT count(*) FROM %(table)s WHERE id = ANY(%(ids)s)),
                          (SELECT count(*) FROM (
                               SELECT FROM %(table)s WHERE id = ANY(%(ids)s)
                               FOR NO KEY UPDATE SKIP LOCKED) AS free)""",
                table=table,
                ids=list(claim.res_ids),
            ),
            log_exceptions=False,
        )
        there, free = self.env.cr.fetchone()
        if free < there:
            raise Busy


def get_news(settled):
    """Return what administrators have to know, ``{config id: (error, is_gone)}``."""
    news = {}
    for settlement, _response in settled:
        config_id = settlement.claim.config_id
        if settlement.state != "failed":
            continue
        is_gone = settlement.status_code == 410
        if is_gone or not news.get(config_id, ("", False))[1]:
            news[config_id] = settlement.error, is_gone
    return news


def get_failed(settlement, error):
    """Return the settlement of a delivery whose answer could not be used."""
    message = describe(error)
    log = {
        **settlement.log,
        **get_failure(error),
        "status": "error",
        "error_message": message,
    }
    return replace(settlement, state="failed", error=message, log=log, is_used=False)
