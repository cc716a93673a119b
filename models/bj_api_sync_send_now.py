import logging
from functools import partial

import psycopg2
from odoo import SUPERUSER_ID, api, models
from odoo.exceptions import UserError
from psycopg2 import errorcodes

from ..tools import dry_run, transport
from ..tools.message import loads_foreign
from .bj_api_sync_delivery import TRICKLE_SECONDS
from .bj_api_sync_outbound import describe, parse_json
from .bj_api_sync_pull import PullStop
from .bj_api_sync_sender_settle import get_failed
from .bj_api_sync_transaction import (
    RETRIED,
    after_rollback,
    in_own_cursor,
    set_lock_timeout,
)

_logger = logging.getLogger("bj.api.sender")


class OutboundResult(dict):
    """What :meth:`_make_outbound_http_request` answers: a mapping and a response.

    Keys: ``success``, ``status_code``, ``message``, ``data`` (parsed JSON, else text),
    ``delivery_ids``. False in a condition unless it was a success, like the response of
    ``requests``.
    """

    def __init__(self, response=None, **values):
        super().__init__(values)
        self._response = response

    def __bool__(self):
        return bool(self["success"])

    @property
    def status_code(self):
        return self["status_code"]

    @property
    def ok(self):
        return bool(self["success"])

    @property
    def text(self):
        return self._response.text if self._response else ""

    @property
    def headers(self):
        return self._response.headers if self._response else {}

    def json(self):
        """Return the parsed answer; raise ``ValueError`` for anything but JSON."""
        return loads_foreign(self.text)


class BjApiSyncSender(models.AbstractModel):
    """Sending while the caller waits, for scripts and buttons."""

    _inherit = "bj.api.sync.sender"

    @api.model
    def _send_now(self, config, records, timeout=None):
        """Send records while the caller waits; see ``_make_outbound_http_request``.

        The delivery is committed, claimed, before it is sent: whatever becomes of the
        caller's transaction, the delivery and its log row stay as evidence, and nobody
        else sends it meanwhile. The payload is read in the caller's transaction, so it
        may tell about records that are not committed yet. If that transaction is rolled
        back, a delivery that still waits for another attempt is cancelled.

        In a dry run and in a preview there is neither a delivery nor a request.
        """
        outbound = self.env["bj.api.sync.outbound"]._for_config(config)
        self = self.with_env(outbound.env)
        config = config.with_env(self.env)
        outbound._check_records(config, records)
        target = outbound._get_target(config)
        records = records.with_env(self.env)
        event = "pull" if not records and target.method == "GET" else "manual"
        rows = self._build_rows_now(config, target, records)
        is_dry = dry_run.is_marked()
        result = OutboundResult(
            success=not is_dry,
            status_code=None,
            message=self.env._("Not sent: dry run")
            if is_dry
            else self.env._("Nothing to send."),
            data=None,
            delivery_ids=[],
        )
        is_complete = True
        while rows and not is_dry:
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
    def _build_rows_now(self, config, target, records):
        """Return the rows to be sent at once.

        :raise UserError: it is not said which records are meant
        """
        outbound = self.env["bj.api.sync.outbound"]
        if records:
            return outbound._build_rows(
                config, outbound._filter_records(config, records)
            )
        if target.method != "GET":
            raise UserError(
                self.env._("%s: say which records are to be sent.", config.name)
            )
        return [outbound._build_pull_row(config, outbound._get_draft(config))]

    @api.model
    def _send_row(self, config, target, row, event, timeout):
        """Send one row, and return ``(delivery id, response, error, next row)``."""
        outbound = self.env["bj.api.sync.outbound"]
        obstacle = row.error or self._get_obstacle(config, target, row)
        if obstacle:
            ids = self.env["bj.api.sync.delivery"]._insert_rows(
                config, self.env, event, [row]
            )
            outbound._wake_senders()
            return ids[0], None, obstacle, None
        timeouts = get_timeouts(timeout)
        seconds = sum(timeouts) + TRICKLE_SECONDS if timeouts else target.total_timeout
        row_id, claim, is_apart = self._insert_claimed(config, row, event, seconds + 30)
        if not claim:
            outbound._wake_senders()
            message = self.env._(
                "An earlier delivery of this record is on its way or waits; this one is "
                "sent after it."
            )
            return row_id, None, message, None
        request = outbound._prepare_request(claim, target, timeouts)
        response = transport.send(request)
        settlement = outbound._judge(claim, target, request, response)
        settle = partial(in_own_cursor, self) if is_apart else run_here
        settle(self._settle, [(settlement, response)])
        error, next_row = settlement.error, None
        if settlement.is_used:
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
                call = (self.env.registry, cancel_rolled_back, claim.id)
                self.env.cr.postrollback.add(partial(after_rollback, *call))
        return claim.id, response, error, next_row

    @api.model
    def _get_obstacle(self, config, target, row):
        """Return why nothing can be sent at this moment, or ``""``."""
        if self.env["bj.api.sync.delivery"]._is_neutralized():
            return self.env._("This database is a neutralized copy: nothing is sent.")
        if config.is_paused:
            return self.env._("%s is paused; it will be sent later.", config.name)
        gates = self.env["bj.api.sync.destination"]._get_gates([row.destination])
        if gates.get((row.destination, target.credential)) == "no":
            return self.env._(
                "%s has failed or has asked to wait; it will be sent later.",
                row.destination,
            )
        return ""

    @api.model
    def _insert_claimed(self, config, row, event, lease):
        """Write a row that is ours to send, in a transaction of its own if possible.

        It is not when the configuration or the user are as yet unknown to others.

        :return: the row's id; the claim, ``None`` while another one about the record goes
            first; and whether both are committed
        """
        env = self.env
        claim, is_apart = None, True
        try:
            with env.registry.cursor() as cr:
                # The caller may have locked what our foreign keys refer to, and would
                # wait for us for ever.
                set_lock_timeout(cr, 2)
                own = api.Environment(cr, SUPERUSER_ID, {})
                deliveries = own["bj.api.sync.delivery"]
                (row_id,) = deliveries._insert_rows(config, env, event, [row])
                claim = deliveries._take_at_once(row_id, row.destination, lease)
                if not claim:
                    # What waits belongs to the caller's transaction, like what a rule
                    # triggers: it may tell about what is never committed.
                    cr.execute(
                        "DELETE FROM bj_api_sync_delivery WHERE id = %s", [row_id]
                    )
        except (psycopg2.OperationalError, psycopg2.IntegrityError) as error:
            if error.pgcode not in (*RETRIED, errorcodes.LOCK_NOT_AVAILABLE):
                raise
            is_apart = False
        if claim:
            return row_id, claim, True
        deliveries = env["bj.api.sync.delivery"]
        (row_id,) = deliveries._insert_rows(config, env, event, [row])
        if not is_apart:
            claim = deliveries._take_at_once(row_id, row.destination, lease)
        return row_id, claim, False

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


def cancel_rolled_back(cr, delivery_id):
    """Cancel what was to be sent again for a transaction that did not happen."""
    cr.execute(
        """UPDATE bj_api_sync_delivery
           SET state = 'cancelled', next_attempt_date = NULL,
               last_error = 'The transaction that made it was rolled back. '
                            || COALESCE(last_error, '')
           WHERE id = %s AND state = 'pending' AND is_claimed IS NOT TRUE""",
        [delivery_id],
    )
