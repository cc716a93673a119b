import base64
import json

from odoo import api, models
from odoo.tools import SQL

from ..tools.message import OutboundResponse
from ..tools.transport import Headers
from .bj_api_sync_delivery import NOW

LONGEST_WAIT = 60  # seconds between two tries to use an answer that is kept


class BjApiSyncDelivery(models.Model):
    """Answers that cannot be used yet, because another transaction holds a record.

    They are kept with their delivery, which is not sent again: a sender takes it once
    its time has come, and goes on as if the answer had just arrived.
    """

    _inherit = "bj.api.sync.delivery"

    @api.model
    def _keep_answer(self, settlement, response):
        """Keep the answer to a claimed delivery, and have it used later."""
        claim = settlement.claim
        waits = self._read_answer(claim).get("waits", 0) + 1
        kept = {
            "waits": waits,
            "status": response.status,
            "headers": dict(response.headers),
            "body": base64.b64encode(response.body).decode(),
            "truncated": response.truncated,
            "duration": response.duration,
            "url": response.url,
        }
        error = self.env._(
            "It was answered with HTTP %(status)s. The answer will be used as soon as "
            "another transaction lets go of the record that it is to be written to.",
            status=response.status,
        )
        self.env.cr.execute(
            SQL(
                """UPDATE bj_api_sync_delivery
                   SET answer = %s, is_claimed = false, last_status_code = %s,
                       last_error = %s,
                       next_attempt_date = %s + make_interval(secs => %s)
                   WHERE id = %s AND state = 'pending' AND attempt_count = %s""",
                self.env["bj.api.sync.secret"]._encrypt(json.dumps(kept)),
                response.status,
                error,
                NOW,
                min(2 ** (waits - 1), LONGEST_WAIT),
                claim.id,
                claim.attempt_count,
            ),
            log_exceptions=False,
        )

    @api.model
    def _open_answer(self, claim):
        """Return the kept answer of a claim as a response, ``None`` if there is none.

        :raise SecretUnavailable: it was sealed with another key
        """
        kept = self._read_answer(claim)
        if not kept:
            return None
        return OutboundResponse(
            status=kept["status"],
            headers=Headers(kept["headers"]),
            body=base64.b64decode(kept["body"]),
            truncated=kept["truncated"],
            duration=kept["duration"],
            url=kept["url"],
        )

    @api.model
    def _read_answer(self, claim):
        text = self.env["bj.api.sync.secret"]._decrypt(claim.answer)
        return json.loads(text) if text else {}
