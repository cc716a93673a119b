from odoo import SUPERUSER_ID, api, models
from odoo.tools import SQL

# The lists that Odoo reads, one by one and with the user's rules, of each record that it
# writes. Most contacts are nobody's login and have no contacts below them.
LISTS_READ_BY_WRITE = {"res.partner": ("user_ids", "child_ids")}


class BjApiSyncPreload(models.AbstractModel):
    """Reads at once what Odoo's own code is about to read bit by bit to save a record.

    Only puts into the cache what Odoo would find there itself, so it does the same with
    fewer statements, and nothing else when one day it reads something else.
    """

    _name = "bj.api.sync.preload"
    _description = "API Preload"

    @api.model
    def _read_for_chatter(self, model):
        """Read what Odoo needs to write in the chatter what happened.

        That is who the author and OdooBot are, and where the company gets its answers.
        """
        cache, company = self.env.cache, self.env.company
        if "message_ids" not in model._fields or cache.contains(
            company, company._fields["alias_domain_id"]
        ):
            return
        self.env.cr.execute(
            """SELECT person.id, partner.id, partner.name, partner.email,
                      company.partner_id, company.alias_domain_id
               FROM res_users AS person
               JOIN res_partner AS partner ON partner.id = person.partner_id,
                    res_company AS company
               WHERE person.id IN (%s, %s) AND company.id = %s""",
            [self.env.uid, SUPERUSER_ID, company.id],
        )
        for row in self.env.cr.fetchall():
            user_id, partner_id, name, email, address_id, domain_id = row
            partner = self.env["res.partner"].browse(partner_id)
            self._keep(self.env["res.users"].browse(user_id), partner_id=partner_id)
            self._keep(partner, name=name, email=email)
            self._keep(company, partner_id=address_id, alias_domain_id=domain_id)

    @api.model
    def _keep(self, record, **columns):
        """Put the values of columns into the cache, but for what is there already."""
        for name, value in columns.items():
            field = record._fields[name]
            if not field.translate:  # whose column has every language
                self.env.cache.insert_missing(record, field, [value])

    @api.model
    def _note_empty_lists(self, records):
        """Note which lists of records are empty; Odoo reads the others as ever.

        A list without a single row in the database is empty whatever the user may see.
        """
        fields = [
            records._fields[name] for name in LISTS_READ_BY_WRITE.get(records._name, ())
        ]
        if not fields or not records:
            return
        parents = [self._select_parents(field, records) for field in fields]
        [found] = self.env.execute_query(SQL("SELECT %s", SQL(", ").join(parents)))
        for field, ids in zip(fields, found, strict=True):
            empty = records.browse(set(records._ids).difference(ids))
            self.env.cache.insert_missing(empty, field, [()] * len(empty))

    @api.model
    def _select_parents(self, field, records):
        """Return the SQL array of the records that have any lines in a list."""
        lines = self.env[field.comodel_name]
        inverse = lines._fields[field.inverse_name]
        return SQL(
            "ARRAY(SELECT DISTINCT %(name)s FROM %(table)s WHERE %(name)s IN %(ids)s)",
            name=SQL.identifier(inverse.name, to_flush=inverse),
            table=SQL.identifier(lines._table),
            ids=records._ids,
        )
