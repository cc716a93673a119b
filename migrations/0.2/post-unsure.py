"""Deliveries tell whether the last attempt may have arrived; of older ones nobody knows.

For those that a person or a sender may try again the careful answer is yes: then a POST
is finished under its Idempotency-Key before a newer one about its record goes.
"""


def migrate(cr, version):
    cr.execute(
        """UPDATE bj_api_sync_delivery SET is_unsure = TRUE
           WHERE is_unsure IS NULL AND state IN ('pending', 'failed')
             AND method = 'POST' AND attempt_count + attempts_before > 0
             AND (last_status_code IS NULL OR last_status_code >= 500)"""
    )
