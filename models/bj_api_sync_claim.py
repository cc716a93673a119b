from odoo import api, fields, models


class BjApiSyncClaim(models.Model):
    """Identifiers that are being created, so that two calls cannot create one twice.

    Under REPEATABLE READ a call does not see what another one commits meanwhile, but
    PostgreSQL refuses to update a row that changed since: the second of two calls gets a
    serialization failure here, Odoo repeats it, and it then finds the record.
    """

    _name = "bj.api.sync.claim"
    _description = "API Identifier Claim"
    _log_access = False

    name = fields.Char(required=True)
    claim_date = fields.Datetime(required=True)

    _sql_constraints = [
        ("name_unique", "UNIQUE(name)", "An identifier is claimed once.")
    ]

    @api.model
    def _claim(self, names):
        """Claim ``names`` until the transaction ends.

        :param list names: sorted, so that two calls never wait for each other in a ring
        """
        self.env.cr.execute(
            """INSERT INTO bj_api_sync_claim (name, claim_date)
               SELECT unnest(%s), now() AT TIME ZONE 'UTC'
               ON CONFLICT (name) DO UPDATE SET claim_date = EXCLUDED.claim_date""",
            [names],
            log_exceptions=False,  # the failure that is meant to happen
        )

    @api.autovacuum
    def _gc_claims(self):
        self.env.cr.execute(
            """DELETE FROM bj_api_sync_claim
               WHERE claim_date < (now() AT TIME ZONE 'UTC') - INTERVAL '1 hour'"""
        )
