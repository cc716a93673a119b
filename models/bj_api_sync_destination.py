from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL

from ..tools.retry import Breaker
from .bj_api_sync_delivery import NOW

ACTIVITY = "bj_api_sync.mail_activity_type_destination"
BREAKER_COLUMNS = ("failures", "openings", "opened_until", "probing")


class BjApiSyncDestination(models.Model):
    """What is known of a host that deliveries go to: how it does, and when it may be
    asked again, for each credential that it is asked with. Limits are a credential's,
    and so is a failure that only one of them meets. Who has never failed has no row."""

    _name = "bj.api.sync.destination"
    _description = "API Destination"
    _order = "name"

    name = fields.Char(string="Host", required=True, readonly=True)
    # From `_get_credential`, of which nobody can find out the secret; '' for none.
    credential = fields.Char(
        readonly=True,
        default="",
        help="Which of several credentials this is about: the same for configurations "
        "that send the same one.",
    )
    hold_until = fields.Datetime(
        readonly=True,
        help="The other side asked to wait until then, as by Retry-After.",
    )
    failures = fields.Integer(
        string="Failures in a Row", readonly=True, default=0, aggregator=None
    )
    openings = fields.Integer(readonly=True, default=0, aggregator=None)
    opened_until = fields.Datetime(
        string="Paused Until",
        readonly=True,
        help="Ten failures in a row pause the host; then one delivery is tried.",
    )
    probing = fields.Boolean(readonly=True)
    last_error = fields.Text(readonly=True)
    config_id = fields.Many2one(
        "bj.api.sync.config",
        string="Last Failed Configuration",
        readonly=True,
        ondelete="set null",
    )
    state = fields.Selection(
        [("open", "Paused"), ("held", "Asked to wait"), ("closed", "Sending")],
        compute="_compute_state",
    )

    _sql_constraints = [
        (
            "name_unique",
            "UNIQUE(name, credential)",
            "This host has a row for this credential already.",
        )
    ]

    def init(self):
        # Rows of the time before credentials were told apart; NULLs are never equal.
        self.env.cr.execute(
            "UPDATE bj_api_sync_destination SET credential = '' WHERE credential IS NULL"
        )

    @api.depends("hold_until", "opened_until")
    def _compute_state(self):
        now = fields.Datetime.now()
        for destination in self:
            if destination.opened_until:
                destination.state = "open"
            elif destination.hold_until and destination.hold_until > now:
                destination.state = "held"
            else:
                destination.state = "closed"

    def action_resume(self):
        """Send again at once, whatever the host asked for or did."""
        self.env["bj.api.sync.config"].check_access("write")
        self.sudo().write(
            {
                "hold_until": False,
                "failures": 0,
                "openings": 0,
                "opened_until": False,
                "probing": False,
            }
        )
        self._close_activities()
        self.env["bj.api.sync.outbound"]._wake_senders()

    @api.model
    def _get_gates(self, names):
        """Return ``{(host, credential): "yes" | "probe" | "no"}`` for those that have
        failed or asked to wait lately; all others are open."""
        return {
            key: "no" if hold_until and hold_until > now else breaker.allows(now)
            for key, hold_until, now, breaker in self._read_states(names)
        }

    @api.model
    def _begin_probe(self, name, credential, lease):
        """Close the host to all others while one delivery finds out how it does."""
        states = self._read_states([name], credential, lock=True)
        for _key, _hold, now, breaker in states:
            if breaker.allows(now) != "probe":
                return False
            self._write_breaker(name, credential, breaker.probe(now, lease))
        return True

    @api.model
    def _record_outcomes(self, name, credential, outcomes):
        """Take down how attempts at a host ended.

        :param list outcomes: of ``(ok, wait, config_id, error)``, in the order they
            ended; ``ok`` is ``None`` when it says nothing about the host
        """
        states = self._read_states([name], credential, lock=True)
        if not states:
            if all(
                ok is not False and not wait for ok, wait, _config, _error in outcomes
            ):
                return
            states = self._add(name, credential)
        ((_key, hold_until, now, breaker),) = states
        before = breaker
        last_error = last_config_id = None
        for ok, wait, config_id, error in outcomes:
            if ok is not None:
                breaker = breaker.record(ok, now)
            if wait:
                until = now + timedelta(seconds=wait)
                hold_until = max(hold_until or until, until)
            if ok is False or (wait and error):
                last_error = error
                # Where the activity is stays known until it is closed.
                last_config_id = None if before.opened_until else config_id
        self._write_breaker(name, credential, breaker)
        self.env.cr.execute(
            """UPDATE bj_api_sync_destination
               SET hold_until = %s, last_error = COALESCE(%s, last_error),
                   config_id = COALESCE(
                       (SELECT id FROM bj_api_sync_config WHERE id = %s), config_id)
               WHERE name = %s AND credential = %s""",
            [hold_until, last_error, last_config_id, name, credential],
            log_exceptions=False,
        )
        destination = self.search(
            [("name", "=", name), ("credential", "=", credential)]
        )
        destination.invalidate_recordset()
        if breaker.opened_until and not before.opened_until:
            destination._open_activities()
        elif before.opened_until and not breaker.opened_until:
            destination._close_activities()

    @api.model
    def _add(self, name, credential):
        """Add a row, unless somebody else just has; return its state, locked."""
        self.env.cr.execute(
            """INSERT INTO bj_api_sync_destination (name, credential, failures, openings)
               VALUES (%s, %s, 0, 0) ON CONFLICT (name, credential) DO NOTHING""",
            [name, credential],
            log_exceptions=False,
        )
        return self._read_states([name], credential, lock=True)

    @api.model
    def _read_states(self, names, credential=None, lock=False):
        """Return ``[((host, credential), hold_until, now, breaker)]``, naive UTC.

        :param str credential: this one alone, by default all
        """
        self.env.cr.execute(
            SQL(
                """SELECT name, credential, hold_until, %s, COALESCE(failures, 0),
                          COALESCE(openings, 0), opened_until, COALESCE(probing, false)
                   FROM bj_api_sync_destination
                   WHERE name = ANY(%s) AND %s %s""",
                NOW,
                list(names),
                SQL("TRUE")
                if credential is None
                else SQL("credential = %s", credential),
                SQL("FOR NO KEY UPDATE") if lock else SQL(""),
            ),
            log_exceptions=False,
        )
        return [
            ((name, credential), hold_until, now, Breaker(*breaker))
            for name, credential, hold_until, now, *breaker in self.env.cr.fetchall()
        ]

    @api.model
    def _write_breaker(self, name, credential, breaker):
        self.env.cr.execute(
            """UPDATE bj_api_sync_destination
               SET failures = %s, openings = %s, opened_until = %s, probing = %s
               WHERE name = %s AND credential = %s""",
            [
                *(getattr(breaker, column) for column in BREAKER_COLUMNS),
                name,
                credential,
            ],
            log_exceptions=False,
        )

    def _open_activities(self):
        """Tell each administrator once that nothing gets through to this host."""
        for destination in self:
            destination.config_id._open_activity(
                ACTIVITY,
                self.env._("%s cannot be reached", destination.name),
                self.env._(
                    "Deliveries to %(host)s failed %(count)s times in a row, so sending "
                    "is paused and tried again by itself. Nothing is lost. Last error: "
                    "%(error)s",
                    host=destination.name,
                    count=destination.failures,
                    error=destination.last_error or "",
                ),
            )

    def _close_activities(self):
        for destination in self:
            destination.config_id._close_activity(ACTIVITY)
