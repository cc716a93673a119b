import contextlib
import logging
import queue
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import psycopg2
from odoo import SUPERUSER_ID, api, models, tools
from odoo.exceptions import UserError
from odoo.modules import module
from odoo.modules.registry import Registry
from odoo.service.server import CommonServer

from .. import compat
from ..tools import dry_run, transport
from ..tools.message import OutboundRequest, OutboundResponse
from .bj_api_sync_delivery import QUEUE_SECONDS, commit_unless_testing
from .bj_api_sync_give_way import is_asked
from .bj_api_sync_outbound import describe
from .bj_api_sync_secret import SecretUnavailable
from .bj_api_sync_transaction import LOST, in_own_cursor, open_cursor

_logger = logging.getLogger("bj.api.sender")

PASS_SECONDS = 30  # no request is begun later in a pass
# A cron worker tells its watchdog that it is alive before it sleeps, for up to 69 s.
WATCHDOG_MARGIN = 70
THREADS = 32
PER_HOST = 24  # of the threads, so that one slow host leaves some to the others
MAX_AHEAD = 200  # deliveries claimed at once for a fast host
AHEAD_SECONDS = 0.5  # of work claimed ahead, by the speed seen so far
SETTLE_COUNT = 100  # results that are settled together ...
SETTLE_SECONDS = 0.2  # ... or all there are after this time
STOP_SECONDS = 15  # that a server which stops waits for answers
CLAIM_SECONDS = 0.25  # between two claims that find nothing
PROGRESS_SECONDS = 2
POSTPONED_SECONDS = 60  # until what could not be replaced is looked at again
KEYLESS_SECONDS = (
    300  # until a delivery that lacks its encryption key is looked at again
)
REST_SECONDS = 10  # that the end of a pass waits for a connection to settle the rest by
ASIDE_SECONDS = 1  # until what could not be settled is tried again in the same pass


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
        self.gives_way = False  # to somebody who needs the scheduled action's row
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="bj.api.send")
        self.results = queue.SimpleQueue()
        self.in_hand = {}  # host: attempts claimed and not settled
        self.speed = {}  # host: deliveries a second, a moving average
        self.targets = {}  # config id: (target or error, monotonic)
        self.waiting = []  # results to be settled
        self.aside = []  # (settlement, response) that wait for rows of others
        self.untold = {}  # config id: what administrators could not be told yet
        self.arrived = set()  # ids that are not sent any more, see `_find_arrived`
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
        self.hand_in(job, OutboundResponse(error_kind="invalid", error=describe(error)))

    def hand_in(self, job, response):
        """Put down the response of a job for which nothing is sent."""
        host = job.claim.destination
        self.in_hand[host] = self.in_hand.get(host, 0) + 1
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
        self._send_due(is_second=is_second)

    @api.model
    def _send_due(self, seconds=PASS_SECONDS, is_second=False):
        """Send what is due for at most ``seconds``, and return how many were settled.

        It ends as soon as nothing is due and nothing on its way: nobody can change the
        scheduled action, or install an app, while it runs. The clock calls the next one.
        """
        if self.env["bj.api.sync.delivery"]._is_neutralized():
            _logger.info("This database is a neutralized copy: nothing is sent")
            return 0
        if dry_run.is_marked():
            _logger.info("Not sent: dry run")
            return 0
        run = Pass(THREADS, seconds, self._get_end())
        RUNNING.add(run)
        try:
            self._run_pass(run, is_second)
        finally:
            try:
                run.close()
                self._settle_rest(run)
            finally:
                RUNNING.discard(run)
        return run.done

    @api.model
    def _settle_rest(self, run):
        """Settle what is in hand at the end of a pass, whatever has ended it.

        Over a connection of its own: that of the pass may have been cut.
        """
        with open_cursor(Registry(self.env.cr.dbname), REST_SECONDS) as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            sender = env[self._name]
            results, run.waiting = run.waiting, []
            while results or (results := run.take(0)):
                sender._settle_results(run, results)
                results = []
            sender._settle_aside(run)
        if run.aside or run.untold:
            # The former come due again, under the same Idempotency-Key.
            _logger.warning(
                "%s answers could not be settled and %s failures not be told: another "
                "transaction holds rows that they need",
                len(run.aside),
                len(run.untold),
            )

    @api.model
    def _run_pass(self, run, is_second):
        progress_at = claim_at = aside_at = 0
        is_woken = is_second
        while True:
            count = 0
            if claim_at <= run.seconds < run.begin_until and self._is_current(run):
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
            if run.aside and run.seconds >= aside_at:
                self._settle_aside(run)
                aside_at = run.seconds + ASIDE_SECONDS
            if run.count or count:
                run.waiting += run.take(0.05)
                age = time.monotonic() - run.settled_at
                is_time = age >= SETTLE_SECONDS or len(run.waiting) >= run.count
                if run.waiting and (is_time or len(run.waiting) >= SETTLE_COUNT):
                    results, run.waiting = run.waiting, []
                    self._settle_results(run, results)
                    claim_at = 0
                continue
            if run.has_left_over or run.seconds >= run.begin_until:
                self._wake_again(run)
                break
            if not run.aside:
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
    def _is_current(self, run):
        """Tell whether Odoo is still as this pass knows it, as a request finds out.

        Compiled mappings and other caches that somebody has made invalid are dropped. New
        modules or fields make a new registry: this pass then ends, and is called again.
        """
        if module.current_test:  # in whose transaction nobody else changes anything
            return True
        try:
            registry = Registry(self.env.cr.dbname).check_signaling()
        except LOST:
            return True  # what follows finds out whether the database is back
        if registry is self.env.registry:
            return True
        run.begin_until = 0
        return False

    @api.model
    def _claim_jobs(self, run):
        """Claim what there is room for and hand it to the threads.

        :return: how many, and whether there was more than one claim could take
        """
        run.arrived.clear()
        claims, is_backlog = in_own_cursor(self, self._claim, run)
        claimed_at = time.monotonic()
        for claim in claims:
            target = run.targets[claim.config_id][0]
            try:
                request = self._prepare_request(run, claim, target)
                response = self.env["bj.api.sync.delivery"]._open_answer(claim)
            except SecretUnavailable as error:
                # Of headers that a script has set; as with those of the configuration.
                _logger.error("Nothing is sent: %s", error)
                in_own_cursor(self, self._return_keyless, claim, str(error))
                continue
            except (UserError, ValueError) as error:
                # A signing secret that is none, headers sealed with another key.
                run.fail(
                    Job(claim, target, OutboundRequest(claim.method, claim.url)), error
                )
                continue
            job = Job(claim, target, request, claimed_at)
            if response:
                run.hand_in(job, response)
            else:
                run.submit(job)
        if run.arrived:
            self._drop_arrived(list(run.arrived))
        return len(claims), is_backlog

    @api.model
    def _drop_arrived(self, row_ids):
        """Have POSTs that must not go replaced; if that fails, they say why they wait."""
        outbound = self.env["bj.api.sync.outbound"]
        try:
            in_own_cursor(outbound, outbound._drop_arrived, row_ids)
        except LOST:
            raise
        except Exception as error:
            _logger.warning("Deliveries %s: %s", row_ids, error, exc_info=True)
            deliveries = self.env["bj.api.sync.delivery"]
            in_own_cursor(
                deliveries,
                deliveries._postpone,
                row_ids,
                POSTPONED_SECONDS,
                describe(error),
            )

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
        if is_asked(self.env.cr):
            run.gives_way, run.begin_until = True, 0
            return [], False
        deliveries = self.env["bj.api.sync.delivery"]
        answered = deliveries._choose_answered(SETTLE_COUNT)
        claims = deliveries._take(answered, []) if answered else []
        for claim in claims:
            self._get_target(run, claim.config_id)
        claims = [claim for claim in claims if run.targets[claim.config_id][0]]
        is_backlog = False
        hosts = deliveries._get_due_destinations()
        gates = self.env["bj.api.sync.destination"]._get_gates(hosts) if hosts else {}
        for host in hosts:
            closed = {
                credential: gate
                for (name, credential), gate in gates.items()
                if name == host and gate != "yes"
            }
            by_credential = self._group_configs(run, host) if closed else {}
            open_ids = None
            if closed:
                open_ids = [
                    config_id
                    for credential, ids in by_credential.items()
                    if credential not in closed
                    for config_id in ids
                ]
            taken, is_full = self._claim_host(run, host, open_ids)
            claims += taken
            is_backlog |= is_full
            for credential, gate in sorted(closed.items()):
                if gate == "probe" and credential in by_credential:
                    claims += self._claim_probe(
                        run, host, credential, by_credential[credential]
                    )
        return claims, is_backlog

    @api.model
    def _group_configs(self, run, host):
        """Return ``{credential: config ids}`` of what is due at a host."""
        groups = {}
        for config_id in self.env["bj.api.sync.delivery"]._get_pending_configs(host):
            target, _error = self._get_target(run, config_id)
            credential = target.credential if target else ""
            groups.setdefault(credential, []).append(config_id)
        return groups

    @api.model
    def _claim_host(self, run, host, config_ids):
        """Claim for a host, of these configurations or of all.

        :return: claims, and whether there may be more than there is room for
        """
        if config_ids is not None and not config_ids:
            return [], False
        deliveries = self.env["bj.api.sync.delivery"]
        room = run.room(host)
        if not room:
            return [], True
        ids, superseded = deliveries._choose_due(
            host, room, partial(self._check_targets, run), config_ids
        )
        claims = deliveries._take(ids, superseded) if ids or superseded else []
        return claims, len(ids) == room

    @api.model
    def _claim_probe(self, run, host, credential, config_ids):
        """Claim the one delivery that finds out how a paused host does."""
        deliveries = self.env["bj.api.sync.delivery"]
        ids, superseded = deliveries._choose_due(
            host, 1, partial(self._check_targets, run), config_ids
        )
        claims = deliveries._take(ids, superseded) if ids or superseded else []
        if claims:
            target = run.targets[claims[0].config_id][0]
            self.env["bj.api.sync.destination"]._begin_probe(
                host, credential, target.total_timeout + QUEUE_SECONDS
            )
        return claims

    @api.model
    def _check_targets(self, run, found):
        """Return the ids of those whose configuration can be sent with.

        A missing encryption key stops sending before an attempt is counted.
        """
        ready, broken, watched = [], {}, {}
        for row_id, config_id in found:
            target, error = self._get_target(run, config_id)
            if target and not run.fits(target):
                run.has_left_over = True
            elif target and target.watches_arrival:
                watched.setdefault(config_id, []).append(row_id)
            elif target:
                ready.append(row_id)
            else:
                broken.setdefault(error, []).append(row_id)
        for error, ids in broken.items():
            _logger.error("Nothing is sent: %s", error)
            self.env["bj.api.sync.delivery"]._postpone(ids, KEYLESS_SECONDS, error)
        for config_id, ids in watched.items():
            arrived = self._find_arrived(config_id, ids)
            run.arrived |= arrived
            ready += [row_id for row_id in ids if row_id not in arrived]
        return ready

    @api.model
    def _find_arrived(self, config_id, row_ids):
        """Return the ids of POSTs that must not go; see ``_find_arrived`` of outbound.

        A Filter Domain that cannot be used any more, as after a field was removed, keeps
        nothing back: it would stop all sending.
        """
        config = self.env["bj.api.sync.config"].browse(config_id)
        try:
            return set(self.env["bj.api.sync.outbound"]._find_arrived(config, row_ids))
        except psycopg2.Error:
            raise
        except Exception as error:
            _logger.warning("Configuration %s: %s", config_id, describe(error))
            return set()

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

    # -- cron --------------------------------------------------------------------------

    @api.model
    def _count_due(self):
        self.env.cr.execute(
            """SELECT count(*) FROM (
                   SELECT FROM bj_api_sync_delivery
                   WHERE state = 'pending'
                     AND next_attempt_date <= timezone('UTC', clock_timestamp())
                   LIMIT 10000) AS due"""
        )
        return self.env.cr.fetchone()[0]

    @api.model
    def _notify_progress(self, run, is_over=False):
        if not self.env.context.get("ir_cron_progress_id"):
            return
        # Once it is over, nothing "remains" even if something does: Odoo would call this
        # up to ten times in a row, longer than its watchdog waits. It is woken instead.
        remaining = 0 if is_over else in_own_cursor(self, self._count_due)
        compat.notify_progress(self.env, run.done, remaining)
        commit_unless_testing(self.env.cr)

    @api.model
    def _wake_again(self, run):
        """Have the next pass called, which goes on with what this one has left."""
        self.env["bj.api.sync.outbound"]._wake_senders()
        commit_unless_testing(self.env.cr)

    @api.model
    def _wake_second(self):
        cron = self.env.ref("bj_api_sync.ir_cron_send_second", raise_if_not_found=False)
        if cron:
            cron.sudo()._trigger()
            commit_unless_testing(self.env.cr)
