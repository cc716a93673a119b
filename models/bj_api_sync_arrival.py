from odoo import api, models
from odoo.tools import SQL

from .bj_api_sync_delivery import in_flight
from .bj_api_sync_outbound import get_destination

# Rules of these kinds send a record that somebody saves.
ON_SAVE = ("on_create_or_write", "on_write", "on_create")


class BjApiSyncOutbound(models.AbstractModel):
    """Two configurations for one record: a POST creates it over there and its answer
    brings the id, then a PUT updates it.

    The Filter Domain of the POST leaves out what has the id. A second POST that was
    written before the id came would make the record twice, so it is not sent; the PUT has
    left the record out at that time, so it is told once the id has come.
    """

    _inherit = "bj.api.sync.outbound"

    @api.model
    def _is_watching_arrival(self, config):
        """Tell whether POSTs of a configuration may be overtaken by their own answers."""
        is_answered = config.response_field_path or config.response_script
        has_domain = (config.filter_domain or "[]").strip() not in ("", "[]")
        return bool(
            config.http_method_ids.name == "POST" and is_answered and has_domain
        )

    @api.model
    def _find_arrived(self, config, row_ids):
        """Return those ids of deliveries that hold a record which must not be sent.

        The Filter Domain leaves it out by now, because what an answer brings has come.
        """
        records_by_row = self._read_records(config, row_ids)
        ids = {i for record_ids in records_by_row.values() for i in record_ids}
        gone = self._get_arrived(config, ids)
        return [row for row, ids in records_by_row.items() if gone & set(ids)]

    @api.model
    def _read_records(self, config, row_ids):
        """Return ``{delivery id: ids of its records}`` of those that nobody is sending."""
        self.env.cr.execute(
            """SELECT id, COALESCE(record_ids, ARRAY[res_id]) FROM bj_api_sync_delivery
               WHERE id = ANY(%s) AND config_id = %s AND state = 'pending'
                 AND res_ids IS NOT NULL""",
            [list(row_ids), config.id],
        )
        return dict(self.env.cr.fetchall())

    @api.model
    def _get_arrived(self, config, record_ids):
        """Return the ids of records that the Filter Domain leaves out since an answer.

        With Answer Key the field has a value; a script may have written anything, and a
        record that is gone has nothing, so an earlier delivery tells that there was an
        answer.
        """
        self = self._for_config(config)
        config = config.with_env(self.env)
        records = self.env[config.model_name].browse(sorted(record_ids))
        known = records.exists()
        # Of a record that was deleted before its answer came nothing has the value.
        arrived = self._get_delivered(config, records - known)
        domain = self.env["bj.api.sync.script"]._eval_domain(config, self.env.user)
        path = config.response_field_path
        if not path:
            known &= known.browse(self._get_delivered(config, known))
        elif mentions(domain, path):
            known = known.filtered(lambda record: any(record.mapped(path)))
        else:
            return set()
        return arrived | set((known - known.filtered_domain(domain))._ids)

    @api.model
    def _get_delivered(self, config, records):
        """Return the ids of those records that a configuration has delivered before."""
        if not records:
            return set()
        self.env.cr.execute(
            """SELECT res_id, record_ids FROM bj_api_sync_delivery
               WHERE config_id = %(config)s AND state = 'delivered'
                 AND (res_id = ANY(%(ids)s) OR record_ids && %(ids)s::integer[])""",
            {"config": config.id, "ids": records.ids},
        )
        found = {i for res_id, ids in self.env.cr.fetchall() for i in ids or [res_id]}
        return found & set(records._ids)

    @api.model
    def _drop_arrived(self, row_ids):
        """Supersede POSTs that must not go, and have the newest state sent instead.

        In one transaction: what was to be sent is either still waiting, or is in what
        takes its place.
        """
        deliveries = self.env["bj.api.sync.delivery"]
        self.env.cr.execute(
            SQL(
                """SELECT id FROM bj_api_sync_delivery d
                   WHERE id = ANY(%s) AND state = 'pending' AND NOT (%s)
                   FOR NO KEY UPDATE SKIP LOCKED""",
                list(row_ids),
                in_flight("d"),
            )
        )
        rows = deliveries.browse(i for (i,) in self.env.cr.fetchall())
        for config, group in rows.grouped("config_id").items():
            arrived = self._find_arrived(config, group.ids)
            updates = self._get_updates(config)
            deliveries._supersede(arrived, self._describe_arrival(updates))
            records_by_row = self._read_arrived_records(arrived)
            records = self.env[config.model_name].browse(records_by_row).exists()
            for update in updates:
                self._enqueue(update, records, "write", skip_unchanged=True)
            # What a batch held besides; the Filter Domain lets only that through.
            self._enqueue(config, records, "write")

    @api.model
    def _read_arrived_records(self, row_ids):
        self.env.cr.execute(
            """SELECT DISTINCT unnest(COALESCE(record_ids, ARRAY[res_id]))
               FROM bj_api_sync_delivery WHERE id = ANY(%s)""",
            [list(row_ids)],
        )
        return sorted(i for (i,) in self.env.cr.fetchall())

    @api.model
    def _describe_arrival(self, updates):
        if not updates:
            return self.env._(
                "Not sent: the answer to an earlier delivery has come meanwhile, and the "
                "Filter Domain leaves the record out since then."
            )
        return self.env._(
            "Not sent: the answer to an earlier delivery has come meanwhile, and the "
            "Filter Domain leaves the record out since then. %(configs)s sends what has "
            "changed.",
            configs=", ".join(updates.mapped("name")),
        )

    @api.model
    def _get_updates(self, config):
        """Return the configurations that update what a POST creates.

        They send the same model to the same host by PUT, and read the field that the
        answer is written to.
        """
        others = (
            self.env["bj.api.sync.config"]
            .sudo()
            .search(
                [
                    ("request_type", "=", "out"),
                    ("model_id", "=", config.model_id.id),
                    ("http_method_ids.name", "=", "PUT"),
                    ("id", "!=", config.id),
                ]
            )
        )
        host = get_destination(config.url)
        name = (config.response_field_path or "").split(".")[0]
        return others.filtered(
            lambda other: (
                get_destination(other.url) == host
                and (not name or self._reads(other, name))
            )
        )

    @api.model
    def _reads(self, config, name):
        """Tell whether lines or Filter Domain of a configuration read a field."""
        paths = config.line_ids.mapped("field_path")
        if any((path or "").split(".")[0] == name for path in paths):
            return True
        domain = self.env["bj.api.sync.script"]._eval_domain(config, self.env.user)
        return mentions(domain, name)

    @api.model
    def _filter_without_value(self, config, records):
        """Return the records that have no value yet where the answer is written to."""
        path = config.response_field_path
        return records.filtered(lambda record: not any(record.mapped(path)))

    @api.model
    def _trigger_updates(self, config, records):
        """Have records sent on that an answer has just given what they lacked.

        While they lacked it, the configuration that updates left them out, so that its
        rule may have fired in vain; not every rule watches the field.
        """
        path = config.response_field_path
        records = records.filtered(lambda record: any(record.mapped(path)))
        if not records or config.http_method_ids.name != "POST":
            return
        for update in self._get_updates(config):
            rules = update.server_action_ids.base_automation_id
            if rules.filtered(lambda rule: rule.active and rule.trigger in ON_SAVE):
                self._trigger(update, records, "write")


def mentions(domain, path):
    """Tell whether a domain has a condition on the field that a path begins with."""
    name = path.split(".")[0]
    return any(
        isinstance(leaf, list | tuple) and str(leaf[0]).split(".")[0] == name
        for leaf in domain
    )
