from odoo import Command, api, models
from odoo.exceptions import AccessError

X2MANY = ("one2many", "many2many")
# Types whose values are compared as they are read, because they have no simple form.
STRUCTURED = ("json", "properties", "properties_definition")
# Lines of one list that are looked at to find equal ones. Of so many that this does not
# do, some may be made anew; what the list is in the end stays the same.
MAX_LOOKS = 100_000


class BjApiSyncDiff(models.AbstractModel):
    """What a write would change: a nightly sync of everything touches only what differs.

    What is as it should be is not written, so it triggers no rule and no chatter.
    """

    _name = "bj.api.sync.diff"
    _description = "API Changes"

    @api.model
    def _get_vals(self, node):
        """Return all values of a node, with the commands of its related objects."""
        # Of places that say the same key of one record, the last counts.
        latest = {links.rule.line_id: links for links in node.links}
        linked = {}
        for links in latest.values():
            name, value = links.rule.field_path, self._get_link_value(node, links)
            if links.rule.is_x2many and name in linked:
                value = join(linked[name], value)
            linked[name] = value
        return {**node.vals, **linked}

    @api.model
    def _get_changes(self, node):
        """Return the values of a node that would change its record."""
        return {
            name: value
            for name, value in self._get_vals(node).items()
            if self._differs(node.record, name, value)
        }

    @api.model
    def _get_link_value(self, node, links):
        if links.rule.field_type == "one2many":
            return self._get_line_commands(node, links)
        ids = [child.record.id for child in links.nodes if child.record]
        if links.mode == "one":
            if not ids:  # null is what a GET shows for one outside the Filter Domain
                ids = list(links.foreign)
            return ids[0] if ids else False
        if links.mode == "replace" and not links.foreign:
            return [Command.set(ids)]
        unwanted = []
        if links.mode == "replace":
            record = node.record.with_context(active_test=False)
            kept = {*ids, *links.foreign}
            unwanted = [i for i in record[links.rule.field_path]._ids if i not in kept]
        return [
            *(Command.unlink(record_id) for record_id in unwanted),
            *(Command.link(record_id) for record_id in ids),
        ]

    @api.model
    def _get_line_commands(self, node, links):
        remove = self._get_remove_command(node, links.rule)
        commands = [remove(line_id) for line_id in links.remove]
        for child in links.nodes:
            if not child.record:
                commands.append(Command.create(self._get_vals(child)))
            elif child.record.id not in links.lines:
                commands.append(Command.link(child.record.id))
            elif changes := self._get_changes(child):
                commands.append(Command.update(child.record.id, changes))
        return commands

    @api.model
    def _get_remove_command(self, node, rule):
        """Return how a line leaves its list: as when Odoo itself sets a list.

        A line that is part of its parent goes; a record that can stand alone, such as a
        contact of a company, is only taken out of the list.
        """
        field = self.env[node.plan.model]._fields[rule.field_path]
        if not field.inverse_name:
            return Command.unlink
        inverse = self.env[rule.relation]._fields[field.inverse_name]
        is_part = inverse.required or getattr(inverse, "ondelete", "") == "cascade"
        return Command.delete if is_part else Command.unlink

    @api.model
    def _differs(self, record, name, value):
        """Tell whether writing ``value`` would change the record."""
        field = record._fields[name]
        try:
            if field.type in X2MANY:
                return self._differs_list(record, name, value)
            if field.type in STRUCTURED:
                [row] = record.read([name], load=None)
                return (row[name] or False) != (value or False)
            return self._get_present(record, name) != self._get_wanted(
                record, name, value
            )
        except AccessError:
            return True  # may be written but not read

    @api.model
    def _differs_list(self, record, name, commands):
        if not commands:
            return False
        present = set(record.with_context(active_test=False)[name]._ids)
        wanted = set(present)
        for command in commands:
            if command[0] == Command.SET:
                wanted = set(command[2])
            elif command[0] == Command.LINK:
                wanted.add(command[1])
            elif command[0] == Command.UNLINK:
                wanted.discard(command[1])
            elif command[0] == Command.CLEAR:
                wanted = set()
            else:
                return True
        return wanted != present

    @api.model
    def _get_present(self, record, name):
        """Return a field's value in the form that :meth:`_get_wanted` gives."""
        field = record._fields[name]
        if field.type == "binary":
            return to_text(record.with_context(bin_size=False)[name])
        return field.convert_to_write(record[name], record) or False

    @api.model
    def _get_wanted(self, record, name, value):
        """Return what the field would read after ``value`` is written: rounded, cleaned."""
        field = record._fields[name]
        if field.type == "binary":
            return to_text(value)
        cached = field.convert_to_cache(value, record)
        return (
            field.convert_to_write(field.convert_to_record(cached, record), record)
            or False
        )

    # -- lines without an identifier -------------------------------------------------

    @api.model
    def _match_equal_lines(self, nodes):
        """Keep the lines that a list without identifiers would only make again."""
        for node in nodes:
            for links in node.links:
                new = [child for child in links.nodes if not child.record]
                if links.mode == "replace" and links.lines and new:
                    self._match_equal(links, new)

    @api.model
    def _match_equal(self, links, nodes):
        fields = self.env[links.rule.relation]._fields
        taken = {child.record.id for child in links.nodes if child.record}
        taken |= links.archived
        lines = [line for line in links.lines.values() if line.id not in taken]
        indexes, looks = {}, MAX_LOOKS
        for node in nodes if lines else ():
            names = tuple(
                sorted(
                    name
                    for name in node.vals
                    if fields[name].type not in (*X2MANY, *STRUCTURED)
                )
            )
            if names not in indexes:
                looks -= len(lines)
                indexes[names] = self._index_lines(lines, names) if looks > 0 else {}
            wanted = tuple(
                self._get_wanted(lines[0], name, node.vals[name]) for name in names
            )
            waiting = indexes[names].get(wanted, [])
            while waiting and waiting[0].id in taken:
                del waiting[0]
            for line in waiting[: max(looks, 0)]:
                looks -= 1
                node.record = line
                if line.id not in taken and not self._get_changes(node):
                    taken.add(line.id)
                    break
                node.record = None

    @api.model
    def _index_lines(self, lines, names):
        """Return ``{values of the fields: lines}``."""
        index = {}
        for line in lines:
            values = tuple(self._get_present(line, name) for name in names)
            index.setdefault(values, []).append(line)
        return index


def join(first, second):
    """Return the commands of two lines of the mapping on one list: neither undoes the
    other's.
    """
    added = [
        Command.link(record_id)
        for command in second
        if command[0] == Command.SET
        for record_id in command[2]
    ]
    return [*first, *(c for c in second if c[0] != Command.SET), *added]


def to_text(value):
    """Return base64 as text, ``False`` for none."""
    return value.decode() if isinstance(value, bytes) else value or False
