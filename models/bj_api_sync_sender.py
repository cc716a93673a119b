import contextlib
import logging
import queue
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import psycopg2
from odoo import SUPERUSER_ID, api, models, tools
from odoo.exceptions import UserError
from odoo.service.server import CommonServer
from psycopg2 import errorcodes

from ..tools import transport
from ..tools.message import OutboundRequest, OutboundResponse
from .bj_api_sync_delivery import (
    QUEUE_SECONDS,
    TRICKLE_SECONDS,
    commit_unless_testing,
)
from .bj_api_sync_outbound import OutboundResult, describe, get_failure, parse_json
from .bj_api_sync_pull import PullStop
from .bj_api_sync_secret import SecretUnavailable

_logger = logging.getLogger("bj.api.sender")

PASS_SECONDS = 30  # no request is begun later in a pass
# A cron worker tells its watchdog that it is alive before it sleeps, for up to 69 s.
WATCHDOG_MARGIN = 70
LINGER_SECONDS = 6  # wait so long for the first retry, which is due after 5 s
THREADS = 32
PER_HOST = 24  # of the threads, so that one slow host leaves some to the others
MAX_AHEAD = 200  # deliveries claimed at once for a fast host
AHEAD_SECONDS = 0.5  # of work claimed ahead, by the speed seen so far
SETTLE_COUNT = 100  # results that are settled together ...
SETTLE_SECONDS = 0.2  # ... or all there are after this time
STOP_SECONDS = 15  # that a server which stops waits for answers
CLAIM_SECONDS = 0.25  # between two claims that find nothing
PROGRESS_SECONDS = 2
KEYLESS_SECONDS = (
    300  # until a delivery that lacks its encryption key is looked at again
)
RETRIED = (
    errorcodes.SERIALIZATION_FAILURE,
    errorcodes.DEADLOCK_DETECTED,
    errorcodes.LOCK_NOT_AVAILABLE,
    errorcodes.FOREIGN_KEY_VIOLATION,  # a configuration was deleted meanwhile
)
MAX_TRIES = 10
LOST = (psycopg2.OperationalError, psycopg2.InterfaceError)  # also: overtaken too often


@dataclass(frozen=True)
class Job:
    """One attempt under way."""

    claim: object
    target: object
    request: object
    begun: float = 0.0  # monotonic; when it was claimed


class Pass:
    """One run of a sender: the threads, and what they have in hand. No ORM in here.

    ``begin_until`` and ``end`` are seconds from its start: no request is begun after the
    first, none may last beyond the second.
    """

    def __init__(self, threads, begin_until, end):
        self.begin_until = begin_until
        self.end = end
        self.has_left_over = False  # something was due that did not fit any more
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="bj.api.send")
        self.results = queue.SimpleQueue()
        self.in_hand = {}  # host: attempts claimed and not settled
        self.speed = {}  # host: deliveries a second, a moving average
        self.targets = {}  # config id: (target or error, monotonic)
        self.done = 0
        self.start = time.monotonic()
        self.settled_at = self.start

    @property
    def seconds(self):
        return time.monotonic() - self.start

    @property
    def count(self):
        return sum(self.in_hand.values())

    def submit(self, job):
        host = job.claim.destination
        self.in_hand[host] = self.in_hand.get(host, 0) + 1
        self.pool.submit(self._send, job)

    def fail(self, job, error):
        """Put down an attempt that cannot even be made."""
        host = job.claim.destination
        self.in_hand[host] = self.in_hand.get(host, 0) + 1
        response = OutboundResponse(error_kind="invalid", error=describe(error))
        self.results.put((job, response))

    def fits(self, target):
        """Tell whether an attempt begun now is over in time."""
        return self.seconds < 1 or self.seconds + target.total_timeout <= self.end

    def _send(self, job):
        """Send one request; runs in a thread and touches nothing of Odoo."""
        try:
            if time.monotonic() - job.begun > QUEUE_SECONDS:
                response = None  # no thread was free in time; it goes back
            else:
                response = transport.send(job.request)
        except Exception as error:
            _logger.exception("Delivery %s: the transport failed", job.claim.id)
            response = OutboundResponse(error_kind="invalid", error=describe(error))
        self.results.put((job, response))

    def take(self, timeout):
        """Return the results there are, waiting up to ``timeout`` seconds for one."""
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self.results.get(timeout=timeout))
            while len(found) < SETTLE_COUNT:
                found.append(self.results.get_nowait())
        return found

    def room(self, host):
        """Return how many more deliveries to claim for a host."""
        ahead = min(self.speed.get(host, 0) * AHEAD_SECONDS, MAX_AHEAD)
        limit = max(PER_HOST, int(ahead))
        held = self.in_hand.get(host, 0)
        # Not one by one: a claim costs a transaction.
        return limit - held if held <= limit // 2 else 0

    def close(self):
        self.pool.shutdown(wait=True)


RUNNING = set()  # the passes of this process


def end_passes():
    """Have what is on its way settled before Odoo stops: else it is sent once more.

    For a server of threads, whose scheduled actions are dropped. Of one with processes
    the master lets its workers end their pass.
    """
    deadline = time.monotonic() + STOP_SECONDS
    for run in list(RUNNING):
        run.begin_until = 0
    while RUNNING and time.monotonic() < deadline:
        time.sleep(0.05)


CommonServer.on_stop(end_passes)


class BjApiSyncSender(models.AbstractModel):
    """Empties the outbox: claim, send, settle, over and over, for the length of a pass.

    The main thread has the ORM and short transactions of its own, other threads send. A
    claim is committed before anything is sent: it counts the attempt and makes the row
    due again after the lease, so a sender that dies here loses nothing but time.
    """

    _name = "bj.api.sync.sender"
    _description = "API Sender"

    @api.model
    def _cron_send(self, is_second=False):
        """Send what is due until nothing is, or the pass is over.

        Two scheduled actions call this, so that two workers can send. The second one
        only runs while there is a backlog: the first wakes it.
        """
        # The snapshot of this transaction would keep PostgreSQL from cleaning up behind
        # us, and the queue would slow down with every row that has left it.
        commit_unless_testing(self.env.cr)
        self._send_due(linger=0 if is_second else LINGER_SECONDS, is_second=is_second)

    @api.model
    def _send_due(self, seconds=PASS_SECONDS, linger=0, is_second=False):
        """Send what is due for at most ``seconds``, and return how many were settled.

        :param float linger: seconds to wait for what becomes due that soon
        """
        if self.env["bj.api.sync.delivery"]._is_neutralized():
            _logger.info("This database is a neutralized copy: nothing is sent")
            return 0
        run = Pass(THREADS, seconds, self._get_end())
        RUNNING.add(run)
        try:
            self._run_pass(run, linger, is_second)
        finally:
            try:
                run.close()
                while results := run.take(0):
                    self._settle_results(run, results)
            finally:
                RUNNING.discard(run)
        return run.done

    @api.model
    def _run_pass(self, run, linger, is_second):
        waiting = []  # results to be settled
        idle_since = None
        progress_at = claim_at = 0
        is_woken = is_second
        while True:
            count = 0
            if claim_at <= run.seconds < run.begin_until:
                count, is_backlog = self._claim_jobs(run)
                # Each host has all now that it may have or that there is: looking for more
                # is useless until something has come back.
                claim_at = run.seconds + CLAIM_SECONDS if run.count else 0
                if is_backlog and not is_woken:
                    is_woken = True
                    self._wake_second()
            if run.seconds - progress_at > PROGRESS_SECONDS:
                progress_at = run.seconds
                self._notify_progress(run)
            if run.count or count:
                idle_since = None
                waiting += run.take(0.05)
                age = time.monotonic() - run.settled_at
                is_time = age >= SETTLE_SECONDS or len(waiting) >= run.count
                if waiting and (is_time or len(waiting) >= SETTLE_COUNT):
                    self._settle_results(run, waiting)
                    waiting = []
                    claim_at = 0
                continue
            idle_since = idle_since or run.seconds
            if run.has_left_over or run.seconds >= run.begin_until:
                self._wake_again()
                break
            left = linger - (run.seconds - idle_since)
            if left <= 0 or not self._is_soon_due(left):
                break
            time.sleep(CLAIM_SECONDS)
        self._notify_progress(run, is_over=True)

    @api.model
    def _get_end(self):
        """Return after how many seconds of a pass the last request has to be over."""
        limit = tools.config["limit_time_real_cron"]
        if limit is None or limit < 0:
            limit = tools.config["limit_time_real"]
        return max(limit - WATCHDOG_MARGIN, PASS_SECONDS) if limit else float("inf")

    # -- claim -------------------------------------------------------------------------

    @api.model
    def _claim_jobs(self, run):
        """Claim what there is room for and hand it to the threads.

        :return: how many, and whether there was more than one claim could take
        """
        claims, is_backlog = in_own_cursor(self, self._claim, run)
        claimed_at = time.monotonic()
        for claim in claims:
            target = run.targets[claim.config_id][0]
            try:
                request = self._prepare_request(run, claim, target)
            except SecretUnavailable as error:
                # Of headers that a script has set; as with those of the configuration.
                _logger.error("Nothing is sent: %s", error)
                in_own_cursor(self, self._return_keyless, claim, str(error))
            except (UserError, ValueError) as error:
                # A signing secret that is none, headers sealed with another key.
                run.fail(
                    Job(claim, target, OutboundRequest(claim.method, claim.url)), error
                )
            else:
                run.submit(Job(claim, target, request, claimed_at))
        return len(claims), is_backlog

    @api.model
    def _prepare_request(self, run, claim, target):
        timeouts = None
        if target.total_timeout > run.end:
            # Rather an answer that is given up than a worker that is killed.
            timeouts = (target.connect_timeout, run.end - target.connect_timeout - 15)
            _logger.warning(
                "Configuration %s: the read timeout is cut to %s s, because "
                "limit_time_real_cron is too low for more",
                target.config_id,
                timeouts[1],
            )
        return self.env["bj.api.sync.outbound"]._prepare_request(
            claim, target, timeouts
        )

    @api.model
    def _claim(self, run):
        """Claim in this cursor's transaction; see ``_choose_due`` for the rules."""
        deliveries = self.env["bj.api.sync.delivery"]
        destinations = self.env["bj.api.sync.destination"]
        hosts = deliveries._get_due_destinations()
        gates = destinations._get_gates(hosts) if hosts else {}
        claims = []
        is_backlog = False
        for host in hosts:
            gate = gates.get(host, "yes")
            room = run.room(host) if gate == "yes" else int(gate == "probe")
            if not room:
                is_backlog |= gate == "yes"
                continue
            ids, superseded = deliveries._choose_due(
                host, room, partial(self._check_targets, run)
            )
            is_backlog |= gate == "yes" and len(ids) == room
            taken = deliveries._take(ids, superseded) if ids or superseded else []
            if taken and gate == "probe":
                target = run.targets[taken[0].config_id][0]
                destinations._begin_probe(host, target.total_timeout + QUEUE_SECONDS)
            claims += taken
        return claims, is_backlog

    @api.model
    def _check_targets(self, run, found):
        """Return the ids of those whose configuration can be sent with.

        A missing encryption key stops sending before an attempt is counted.
        """
        ready, broken = [], {}
        for row_id, config_id in found:
            target, error = self._get_target(run, config_id)
            if target and not run.fits(target):
                run.has_left_over = True
            elif target:
                ready.append(row_id)
            else:
                broken.setdefault(error, []).append(row_id)
        for error, ids in broken.items():
            _logger.error("Nothing is sent: %s", error)
            self.env["bj.api.sync.delivery"]._postpone(ids, KEYLESS_SECONDS, error)
        return ready

    @api.model
    def _return_keyless(self, claim, error):
        deliveries = self.env["bj.api.sync.delivery"]
        deliveries._release([claim])
        deliveries._postpone([claim.id], KEYLESS_SECONDS, error)

    @api.model
    def _get_target(self, run, config_id):
        """Return ``(target, "")`` or ``(None, error)``; read anew every second."""
        now = time.monotonic()
        target, error, since = run.targets.get(config_id, (None, "", 0))
        if not since or now - since > 1:
            config = self.env["bj.api.sync.config"].browse(config_id)
            try:
                target = self.env["bj.api.sync.outbound"]._get_target(config)
                error = ""
            except UserError as raised:
                target, error = None, str(raised)
            run.targets[config_id] = (target, error, now)
        return target, error

    # -- settle ------------------------------------------------------------------------

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
            if settlement.state == "delivered" and job.target.handles_answer:
                special.append((settlement, response))
            else:
                plain.append((settlement, response))
        if plain or released:
            self._settle_plain(plain, released)
        for settlement, response in special:
            self._settle_answer(settlement, response)
        run.done += len(plain) + len(special)
        self._measure(run, results)

    @api.model
    def _settle_plain(self, plain, released=()):
        """Settle together, and one by one if there is one among them that cannot be."""
        try:
            in_own_cursor(self, self._settle, plain, released)
            return
        except LOST:
            raise  # the database is gone; what is in hand comes due again
        except Exception as error:
            _logger.exception("%s answers could not be settled", len(plain))
            reason = type(error).__name__
        if len(plain) > 1 or released:
            in_own_cursor(self, self._settle, (), released)
            for result in plain:
                self._settle_plain([result])
            return
        # Without what came with the answer: it would stand in the way for ever.
        ((settlement, response),) = plain
        bare = replace(settlement, error=settlement.error and reason, log={})
        in_own_cursor(self, self._settle, [(bare, response)])

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
        """Settle in this cursor's transaction."""
        deliveries = self.env["bj.api.sync.delivery"]
        outbound = self.env["bj.api.sync.outbound"]
        # Losing the last of these in a crash of PostgreSQL sends something twice, under
        # the same Idempotency-Key; waiting for the disk would slow all of them down.
        self.env.cr.execute("SET LOCAL synchronous_commit TO OFF")
        deliveries._release(released)
        if not settled:
            return
        changed = deliveries._settle([settlement for settlement, _response in settled])
        for settlement, _response in settled:
            if settlement.state == "failed" and settlement.claim.id in changed:
                outbound._log_pull_end(settlement.claim, error=settlement.error)
        outcomes = {}
        for settlement, response in settled:
            outcomes.setdefault(settlement.claim.destination, []).append(
                outbound._get_outcome(settlement, response)
            )
        destinations = self.env["bj.api.sync.destination"]
        for host in sorted(outcomes):  # the same order everywhere: no deadlock
            destinations._record_outcomes(host, outcomes[host])
        configs = self.env["bj.api.sync.config"]
        failed = {}
        for settlement, _response in settled:
            if settlement.status_code == 410 and settlement.state == "failed":
                configs.browse(settlement.claim.config_id)._pause(settlement.error)
            elif settlement.state == "failed":
                failed[settlement.claim.config_id] = settlement.error
        for config_id in sorted(failed):
            configs.browse(config_id)._tell_failure(failed[config_id])

    @api.model
    def _settle_answer(self, settlement, response):
        """Settle a delivery whose answer is used, in one transaction with that use.

        What fails there fails the delivery: it is not sent again by itself, because the
        other side has it.
        """
        try:
            in_own_cursor(self, self._settle_with_answer, settlement, response)
        except LOST:
            raise
        except Exception as error:
            _logger.warning(
                "Delivery %s: its answer could not be used",
                settlement.claim.id,
                exc_info=True,
            )
            failed = get_failed(settlement, error)
            in_own_cursor(self, self._settle, [(failed, response)])

    @api.model
    def _settle_with_answer(self, settlement, response):
        claim = settlement.claim
        context = {"lang": claim.lang, "tz": claim.tz}
        company = self.env["res.company"].browse(claim.company_id).exists()
        if company:
            context["allowed_company_ids"] = company.ids
        user = self.env["res.users"].browse(claim.user_id).exists()
        env = api.Environment(self.env.cr, user.id or SUPERUSER_ID, context, su=True)
        config = env["bj.api.sync.config"].browse(claim.config_id)
        outbound = env["bj.api.sync.outbound"]
        next_row = outbound._handle_answer(claim, config, response)
        if isinstance(next_row, PullStop):
            settlement = next_row.fail(settlement)
        elif next_row:
            env["bj.api.sync.delivery"]._insert_rows(config, env, "pull", [next_row])
        self._settle([(settlement, response)])

    # -- at once -----------------------------------------------------------------------

    @api.model
    def _send_now(self, config, records, timeout=None):
        """Send records while the caller waits; see ``_make_outbound_http_request``.

        The delivery is committed, claimed, before it is sent: whatever becomes of the
        caller's transaction, the delivery and its log row stay as evidence, and nobody
        else sends it meanwhile. The payload is read in the caller's transaction, so it
        may tell about records that are not committed yet. If that transaction is rolled
        back, a delivery that still waits for another attempt is cancelled.
        """
        outbound = self.env["bj.api.sync.outbound"]._for_config(config)
        self = self.with_env(outbound.env)
        config = config.with_env(self.env)
        outbound._check_records(config, records)
        target = outbound._get_target(config)
        records = records.with_env(self.env)
        event = "manual"
        if records:
            rows = outbound._build_rows(
                config, outbound._filter_records(config, records)
            )
        elif target.method == "GET":
            event = "pull"
            rows = [outbound._build_pull_row(config, outbound._get_draft(config))]
        else:
            raise UserError(
                self.env._("%s: say which records are to be sent.", config.name)
            )
        result = OutboundResult(
            success=True,
            status_code=None,
            message=self.env._("Nothing to send."),
            data=None,
            delivery_ids=[],
        )
        is_complete = True
        while rows:
            row = rows.pop(0)
            delivery_id, response, error, next_row = self._send_row(
                config, target, row, event, timeout
            )
            if next_row:
                rows.insert(0, next_row)
            is_complete = is_complete and not error
            result = OutboundResult(
                response,
                success=is_complete,
                status_code=response.status if response else None,
                message=error or self.env._("Delivered."),
                data=parse_json(response.text) if response else None,
                delivery_ids=[*result["delivery_ids"], delivery_id],
            )
        return result

    @api.model
    def _send_row(self, config, target, row, event, timeout):
        """Send one row, and return ``(delivery id, response, error, next row)``."""
        outbound = self.env["bj.api.sync.outbound"]
        obstacle = row.error or self._get_obstacle(config, row)
        if obstacle:
            ids = self.env["bj.api.sync.delivery"]._insert_rows(
                config, self.env, event, [row]
            )
            outbound._wake_senders()
            return ids[0], None, obstacle, None
        timeouts = get_timeouts(timeout)
        seconds = sum(timeouts) + TRICKLE_SECONDS if timeouts else target.total_timeout
        claim, is_apart = self._insert_claimed(config, row, event, seconds + 30)
        request = outbound._prepare_request(claim, target, timeouts)
        response = transport.send(request)
        settlement = outbound._judge(claim, target, request, response)
        settle = partial(in_own_cursor, self) if is_apart else run_here
        settle(self._settle, [(settlement, response)])
        error, next_row = settlement.error, None
        if settlement.state == "delivered" and target.handles_answer:
            try:
                with self.env.cr.savepoint():
                    next_row = outbound._handle_answer(claim, config, response)
            except psycopg2.OperationalError:
                raise
            except Exception as raised:
                error = describe(raised)
                _logger.warning("Delivery %s: %s", claim.id, error, exc_info=True)
                settle(self._fail_delivered, get_failed(settlement, raised))
            if isinstance(next_row, PullStop):
                failed, next_row = next_row.fail(settlement), None
                error = failed.error
                settle(self._fail_delivered, failed)
        if settlement.state == "pending":
            outbound._wake_senders()
            if is_apart:
                self.env.cr.postrollback.add(
                    partial(cancel_rolled_back, self.env.registry, claim.id)
                )
        return claim.id, response, error, next_row

    @api.model
    def _get_obstacle(self, config, row):
        """Return why nothing can be sent at this moment, or ``""``."""
        if self.env["bj.api.sync.delivery"]._is_neutralized():
            return self.env._("This database is a neutralized copy: nothing is sent.")
        if config.is_paused:
            return self.env._("%s is paused; it will be sent later.", config.name)
        gates = self.env["bj.api.sync.destination"]._get_gates([row.destination])
        if gates.get(row.destination) == "no":
            return self.env._(
                "%s has failed or has asked to wait; it will be sent later.",
                row.destination,
            )
        return ""

    @api.model
    def _insert_claimed(self, config, row, event, lease):
        """Write a row that is ours to send, in a transaction of its own if possible.

        It is not when the configuration or the user are as yet unknown to others.

        :return: the claim, and whether it is committed
        """
        outbound = self.env["bj.api.sync.outbound"]
        env = self.env
        try:
            with env.registry.cursor() as cr:
                # The caller may have locked what our foreign keys refer to, and would
                # wait for us for ever.
                cr.execute("SET LOCAL lock_timeout TO '2s'")
                own = api.Environment(cr, SUPERUSER_ID, {})
                deliveries = own["bj.api.sync.delivery"]
                (row_id,) = deliveries._insert_rows(
                    config, env, event, [row], claimed=lease
                )
                deliveries._supersede(
                    deliveries._get_superseded(row_id, row.destination)
                )
            is_apart = True
        except (psycopg2.OperationalError, psycopg2.IntegrityError) as error:
            if error.pgcode not in RETRIED:
                raise
            (row_id,) = env["bj.api.sync.delivery"]._insert_rows(
                config, env, event, [row], claimed=lease
            )
            is_apart = False
        return outbound._make_claim(config, row, event, row_id), is_apart

    @api.model
    def _fail_delivered(self, settlement):
        claim, error = settlement.claim, settlement.error
        self.env.cr.execute(
            """UPDATE bj_api_sync_delivery SET state = 'failed', last_error = %s
               WHERE id = %s AND state = 'delivered' RETURNING config_id""",
            [error, claim.id],
        )
        for (config_id,) in self.env.cr.fetchall():
            self.env["bj.api.sync.config"].browse(config_id)._tell_failure(error)
            self.env["bj.api.log"]._record_attempts([settlement])
            self.env["bj.api.sync.outbound"]._log_pull_end(claim, error=error)

    # -- cron --------------------------------------------------------------------------

    @api.model
    def _is_soon_due(self, seconds):
        """Tell whether something becomes due within ``seconds``."""
        return in_own_cursor(self, self._count_due, seconds) > 0

    @api.model
    def _count_due(self, seconds=0):
        self.env.cr.execute(
            """SELECT count(*) FROM (
                   SELECT FROM bj_api_sync_delivery
                   WHERE state = 'pending' AND next_attempt_date
                       <= timezone('UTC', clock_timestamp()) + make_interval(secs => %s)
                   LIMIT 10000) AS due""",
            [seconds],
        )
        return self.env.cr.fetchone()[0]

    @api.model
    def _notify_progress(self, run, is_over=False):
        if not self.env.context.get("ir_cron_progress_id"):
            return
        # Once it is over, nothing "remains" even if something does: Odoo would call this
        # up to ten times in a row, longer than its watchdog waits. It is woken instead.
        remaining = 0 if is_over else in_own_cursor(self, self._count_due)
        self.env["ir.cron"]._notify_progress(done=run.done, remaining=remaining)
        commit_unless_testing(self.env.cr)

    @api.model
    def _wake_again(self):
        self.env["bj.api.sync.outbound"]._wake_senders()
        commit_unless_testing(self.env.cr)

    @api.model
    def _wake_second(self):
        cron = self.env.ref("bj_api_sync.ir_cron_send_second", raise_if_not_found=False)
        if cron:
            cron.sudo()._trigger()
            commit_unless_testing(self.env.cr)


def run_here(method, *args):
    return method(*args)


def get_timeouts(timeout):
    """Return ``(connect, read)`` seconds for what a script gives, or ``None``."""
    if not timeout:
        return None
    if isinstance(timeout, list | tuple):
        connect, read = timeout
        return float(connect), float(read)
    return float(timeout), float(timeout)


def cancel_rolled_back(registry, delivery_id):
    """Cancel what was to be sent again for a transaction that did not happen."""
    with registry.cursor() as cr:
        cr.execute(
            """UPDATE bj_api_sync_delivery
               SET state = 'cancelled', next_attempt_date = NULL,
                   last_error = 'The transaction that made it was rolled back. '
                                || COALESCE(last_error, '')
               WHERE id = %s AND state = 'pending' AND is_claimed IS NOT TRUE""",
            [delivery_id],
        )


def get_failed(settlement, error):
    """Return the settlement of a delivery whose answer could not be used."""
    message = describe(error)
    log = {
        **settlement.log,
        **get_failure(error),
        "status": "error",
        "error_message": message,
    }
    return replace(settlement, state="failed", error=message, log=log)


def in_own_cursor(service, method, *args):
    """Call a method of an Odoo service in a transaction of its own, and commit it.

    Repeated when PostgreSQL finds that it was overtaken, or has gone away for a moment,
    so the method must have no effect elsewhere.
    """
    registry = service.env.registry
    for attempt in range(1, MAX_TRIES + 1):
        try:
            with registry.cursor() as cr:
                # Kept in a variable: environments are only weakly known to their
                # transaction, and one that is gone is not flushed.
                env = api.Environment(cr, SUPERUSER_ID, {})
                return getattr(env[service._name], method.__name__)(*args)
        except (*LOST, psycopg2.IntegrityError) as error:
            is_repeated = error.pgcode in RETRIED or is_lost(error)
            if not is_repeated or attempt == MAX_TRIES:
                raise
            _logger.debug("%s is repeated: %s", method.__name__, error.pgcode)
            time.sleep(random.uniform(0, 0.01 * 2**attempt))


def is_lost(error):
    """Tell whether an error of psycopg2 says that the connection is gone."""
    # 08: connection exception; 57: operator intervention, such as a restart.
    return isinstance(error, LOST) and (error.pgcode or "08")[:2] in ("08", "57")
