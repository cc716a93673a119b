from odoo import SUPERUSER_ID, api, models, tools
from odoo.tools import SQL

# The lists that Odoo reads, one by one and with the user's rules, of each record that it
# writes or, messages, deletes. Most contacts are nobody's login and have no contacts below
# them; most messages are notes without recipients.
LISTS = {
    "res.partner": ("user_ids", "child_ids"),
    "mail.message": ("attachment_ids", "partner_ids", "notification_ids"),
}
# What a deleted contact's logins and accounts are asked for. Not child_ids: once a list
# with a domain is in the cache, Odoo reads the contact to find out whose list it is.
LISTS_OF_DELETED = ("user_ids", "bank_ids")


class BjApiSyncPreload(models.AbstractModel):
    """Reads at once what Odoo's own code reads bit by bit to read, save or delete a record.

    Only puts into the cache what Odoo would find there itself, so it does the same with
    fewer statements, and nothing else when one day it reads something else.
    """

    _name = "bj.api.sync.preload"
    _description = "API Preload"

    @api.model
    def _search_few(self, model, domain, paths, limit):
        """Search as ``search_fetch``, with columns of what the records refer to.

        They come along in the same statement if the user may see all records of their
        model, as of countries; any others are read later as ever. For a hundred records
        a second statement costs less than a join.

        :param paths: names of fields, or ``country_id.code``
        :return: so many records, in no order
        """
        names, joins = self._get_joins(model._name, tuple(paths))
        if not joins:
            return model.search_fetch(domain, names, limit=limit, order="id")
        query = model._search(domain, limit=limit)
        if query.is_empty():
            return model.browse()
        table = model._table
        fields = [model._fields[name] for name in names if name != "id"]
        terms = [model._field_to_sql(table, field.name, query) for field in fields]
        targets = []
        for name, last in joins:
            link = model._fields[name]
            comodel = self.env[link.comodel_name]
            target = comodel._fields[last]
            targets.append((link, target))
            alias = query.left_join(table, name, comodel._table, "id", name)
            terms.append(comodel._field_to_sql(alias, target.name, query))
        rows = self.env.execute_query(query.select(SQL.identifier(table, "id"), *terms))
        if not rows:
            return model.browse()
        ids, *columns = zip(*rows, strict=True)
        records, of_field = model.browse(ids), dict(zip(fields, columns, strict=False))
        for field, values in of_field.items():
            self.env.cache.insert_missing(records, field, values)
        for (link, target), values in zip(targets, columns[len(fields) :], strict=True):
            found = dict(zip(of_field[link], values, strict=True))
            found.pop(None, None)
            related = self.env[target.model_name].browse(found)
            self.env.cache.insert_missing(related, target, found.values())
        return records

    @api.model
    @tools.ormcache(  # by what Odoo keeps its rules by
        "self.env.uid",
        "self.env.su",
        "model_name",
        "paths",
        "tuple(self.env['ir.rule']._compute_domain_context_values())",
    )
    def _get_joins(self, model_name, paths):
        """Return the names of the fields to fetch, and the paths that can be joined.

        :return: ``(names, [("country_id", "code")])``, no paths if the names are not
            all columns
        """
        model = self.env[model_name]
        names = list(dict.fromkeys(path.partition(".")[0] for path in paths))
        if not self._are_columns(model, [name for name in names if name != "id"]):
            return names, []
        steps = [tuple(path.split(".")) for path in paths]
        return names, [two for two in steps if self._is_joinable(model, two)]

    @api.model
    def _is_joinable(self, model, steps):
        """Tell whether steps are a many2one and a column of what the user may see all of."""
        link = model._fields[steps[0]]
        if len(steps) != 2 or link.type != "many2one":
            return False
        comodel = self.env[link.comodel_name]
        return (
            steps[1] in comodel._fields
            and self._are_columns(comodel, steps[1:])
            and keeps(comodel, "_search", "_check_access")
            and comodel.has_access("read")
            and not self.env["ir.rule"]._compute_domain(comodel._name, "read")
        )

    @api.model
    def _are_columns(self, model, names):
        """Tell whether Odoo fetches these fields as columns, for every user."""
        fields = [model._fields[name] for name in names]
        return keeps(model, "search_fetch", "_fetch_query") and all(
            field.store
            and field.column_type
            and not field.company_dependent  # JSON, which no join can compare
            and field.type != "binary"
            and not field.groups
            for field in fields
        )

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
        fields = [records._fields[name] for name in LISTS.get(records._name, ())]
        if not fields or not records:
            return
        parents = [
            SQL("ARRAY(%s)", self._select_parents(field, records)) for field in fields
        ]
        [found] = self.env.execute_query(SQL("SELECT %s", SQL(", ").join(parents)))
        for field, ids in zip(fields, found, strict=True):
            self._keep_empty(records.browse(set(records._ids).difference(ids)), field)

    @api.model
    def _read_for_unlink(self, contacts):
        """Read what Odoo asks of contacts that it deletes, instead of all their columns.

        That is what its rule looks at, of them and of the company, and whether they are
        anybody's login or have bank accounts.
        """
        if not contacts.ids:
            return
        fields = [contacts._fields[name] for name in LISTS_OF_DELETED]
        partner, company = contacts._fields, self.env.company
        rows = self.env.execute_query(
            SQL(
                """SELECT partner.id, partner.%(share)s, partner.%(company)s,
                          company.parent_path, company.active, %(lists)s
                   FROM res_partner AS partner, res_company AS company
                   WHERE partner.id IN %(ids)s AND company.id = %(company_id)s""",
                share=SQL.identifier(
                    "partner_share", to_flush=partner["partner_share"]
                ),
                company=SQL.identifier("company_id", to_flush=partner["company_id"]),
                lists=SQL(", ").join(
                    SQL("partner.id IN (%s)", self._select_parents(field, contacts))
                    for field in fields
                ),
                ids=tuple(contacts.ids),
                company_id=company.id,
            )
        )
        for partner_id, is_shared, company_id, path, is_active, *are_filled in rows:
            contact = contacts.browse(partner_id)
            self._keep(contact, partner_share=is_shared, company_id=company_id)
            self._keep(company, parent_path=path, active=is_active)
            for field, is_filled in zip(fields, are_filled, strict=True):
                if not is_filled:
                    self._keep_empty(contact, field)

    @api.model
    def _keep_empty(self, records, field):
        self.env.cache.insert_missing(records, field, [()] * len(records))

    @api.model
    def _select_parents(self, field, records):
        """Return the SQL that selects which of the records have any lines in a list."""
        if field.type == "many2many":
            table, name = field.relation, SQL.identifier(field.column1)
        else:
            lines = self.env[field.comodel_name]
            inverse = lines._fields[field.inverse_name]
            table, name = lines._table, SQL.identifier(inverse.name, to_flush=inverse)
        return SQL(
            "SELECT DISTINCT %(name)s FROM %(table)s WHERE %(name)s IN %(ids)s",
            name=name,
            table=SQL.identifier(table),
            ids=tuple(records.ids),
        )


def keeps(model, *names):
    """Tell whether no module has given a model its own way to do these methods."""
    return all(
        getattr(type(model), name) is getattr(models.BaseModel, name) for name in names
    )
