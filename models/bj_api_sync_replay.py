import json
import re
from datetime import timedelta

from odoo import api, fields, models

from ..exceptions import BadRequest, Conflict, IdempotencyMismatch
from ..tools import conditional
from ..tools.message import ApiResponse

KEPT_HOURS = 24
KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


class BjApiSyncReplay(models.Model):
    """Answers kept for ``Idempotency-Key``, written in the transaction of the effect.

    A row is there if and only if the effect is, so no crash can come between the two.
    """

    _name = "bj.api.sync.replay"
    _description = "API Replay"
    _log_access = False

    config_id = fields.Many2one("bj.api.sync.config", required=True, ondelete="cascade")
    name = fields.Char(required=True, help="Hash of the credential and the key.")
    fingerprint = fields.Char(required=True, help="Hash of the request.")
    status = fields.Integer(required=True)
    answer = fields.Text(required=True)
    create_date = fields.Datetime(required=True, index=True)

    _sql_constraints = [
        ("name_unique", "UNIQUE(config_id, name)", "A key is used once by a caller.")
    ]

    @api.model
    def _once(self, config_id, request, handle):
        """Return what ``handle()`` answers, or what it answered to the same key before.

        :param InboundRequest request: ``Idempotency-Key`` may be missing
        :raise Conflict: the first call with this key is still running
        :raise IdempotencyMismatch: the key was used for another request
        """
        key = request.headers.get("idempotency-key")
        if key is None:
            return handle()
        if not KEY.fullmatch(key):
            raise BadRequest(
                self.env._("Idempotency-Key must have 1 to 255 ASCII characters.")
            )
        name = self._get_name(request.credential, key)
        fingerprint = hash_parts(request.method, request.url, request.body)
        self._lock(config_id, name)
        stored = self._find(config_id, name)
        if stored:
            if stored["fingerprint"] != fingerprint:
                raise IdempotencyMismatch(
                    self.env._(
                        "This Idempotency-Key was used for another request: use a new key "
                        "for each request, the same one only to repeat it."
                    )
                )
            return self._replay(stored["answer"])
        response = handle()
        if response.status < 300 and not response.is_dry_run:
            self._store(config_id, name, fingerprint, response)
        return response

    @api.model
    def _get_name(self, credential, key):
        return hash_parts(credential, key)

    @api.model
    def _lock(self, config_id, name):
        self.env.cr.execute(
            "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))",
            [f"bj_api_sync/{config_id}/{name}"],
        )
        if not self.env.cr.fetchone()[0]:
            raise Conflict(
                self.env._("A request with this Idempotency-Key is still running."),
                headers={"Retry-After": "1"},
            )

    @api.model
    def _find(self, config_id, name):
        self.env.cr.execute(
            """SELECT fingerprint, answer FROM bj_api_sync_replay
               WHERE config_id = %s AND name = %s AND create_date > %s""",
            [config_id, name, fields.Datetime.now() - timedelta(hours=KEPT_HOURS)],
        )
        return next(iter(self.env.cr.dictfetchall()), None)

    @api.model
    def _store(self, config_id, name, fingerprint, response):
        answer = {
            "status": response.status,
            "payload": response.payload,
            "kind": response.kind,
            "headers": response.headers,
            "message": response.message,
        }
        # A twin that committed after our snapshot was taken makes this fail with a
        # serialization error; Odoo then repeats the request, which finds the row.
        self.env.cr.execute(
            """INSERT INTO bj_api_sync_replay
                   (config_id, name, fingerprint, status, answer, create_date)
               VALUES (%s, %s, %s, %s, %s, now() AT TIME ZONE 'UTC')
               ON CONFLICT (config_id, name) DO UPDATE
               SET fingerprint = EXCLUDED.fingerprint, status = EXCLUDED.status,
                   answer = EXCLUDED.answer, create_date = EXCLUDED.create_date""",
            [
                config_id,
                name,
                fingerprint,
                response.status,
                json.dumps(answer, ensure_ascii=False),
            ],
            log_exceptions=False,
        )

    @api.model
    def _replay(self, answer):
        answer = json.loads(answer)
        headers = {**answer.pop("headers"), "Idempotent-Replayed": "true"}
        return ApiResponse(**answer, headers=headers, action="replay")

    @api.autovacuum
    def _gc_replays(self):
        self.env.cr.execute(
            "DELETE FROM bj_api_sync_replay WHERE create_date < %s",
            [fields.Datetime.now() - timedelta(hours=KEPT_HOURS)],
        )


def hash_parts(*parts):
    return conditional.etag(*parts).strip('"')
