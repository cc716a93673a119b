from odoo import api, models

from ..compat import relation_domain
from ..tools import convert
from .bj_api_sync_relation import has_domain, has_identifier


class BjApiSyncRelation(models.AbstractModel):
    """What the relations of a record lead to now, before anything is written.

    What lies outside the Filter Domain of the mapping model is not there for a call: it is
    neither found nor counted, neither changed nor removed.
    """

    _inherit = "bj.api.sync.relation"

    @api.model
    def _note_present(self, pairs):
        """Note in links which lines, or which record, their node has now.

        One search per one2many field and mapping model.

        :param pairs: ``[(node, links)]``
        """
        lists, others = {}, {}
        for node, links in pairs:
            rule = links.rule
            if not node.record:
                continue
            mapping_id = rule.mapping_config_id if rule.is_relational else 0
            if rule.field_type == "one2many":
                key = (node.plan.model, rule.field_path, mapping_id)
                lists.setdefault(key, []).append((node, links))
            elif mapping_id:
                others.setdefault(mapping_id, []).append((node, links))
        for (model, name, mapping_id), group in lists.items():
            domain = self._get_mapping_domain(mapping_id)
            lines = self._get_lines(self.env[model]._fields[name], group, domain)
            for node, links in group:
                links.lines = {line.id: line for line in lines.get(node.record.id, ())}
                links.archived = frozenset(
                    line.id
                    for line in links.lines.values()
                    if line._active_name and not line[line._active_name]
                )
        for mapping_id, group in others.items():
            self._note_linked(mapping_id, group)

    @api.model
    def _get_mapping_domain(self, mapping_id):
        if not mapping_id:
            return []
        plan = self.env["bj.api.sync.config"]._get_plan(mapping_id)
        return self._get_domain(plan)

    @api.model
    def _note_linked(self, mapping_id, pairs):
        """Note what many2one and many2many fields lead to; one search if at all."""
        plan = self.env["bj.api.sync.config"]._get_plan(mapping_id)
        if not has_domain(plan):
            # An object without a name means the record that is set.
            pairs = [pair for pair in pairs if names_what_is_set(pair[1])]
        present = {}
        for node, links in pairs:
            record = node.record.with_context(active_test=False)
            present[links] = record[links.rule.field_path].with_env(self.env)
        inside = self._get_inside(plan, present.values())
        for links, records in present.items():
            if inside is not None:
                links.foreign = frozenset(records._ids) - inside
            if names_what_is_set(links) and not links.foreign:
                [child] = links.nodes
                child.record = records._filtered_access("read") or None

    @api.model
    def _get_lines(self, field, pairs, domain=()):
        """Return ``{id of the parent: lines}``, archived ones too, in their order.

        :param domain: of the mapping model
        """
        parents = self.env[field.model_name].browse(
            {node.record.id: True for node, _links in pairs}
        )
        model = self.env[field.comodel_name].with_context(active_test=False)
        if not field.inverse_name:
            parents = parents.with_context(active_test=False)
            found = {parent.id: parent[field.name] for parent in parents}
            if not domain:
                return found
            ids = [line_id for lines in found.values() for line_id in lines._ids]
            inside = model.search([("id", "in", ids), *domain])
            return {parent_id: lines & inside for parent_id, lines in found.items()}
        terms = relation_domain(field, parents)
        if not any(term in ("|", "!") for term in terms):
            # As contacts do to their children, a field may hide archived ones by itself.
            terms = [term for term in terms if term[0] not in ("&", model._active_name)]
        lines = {}
        for line in model.search(
            [(field.inverse_name, "in", parents.ids), *terms, *domain]
        ):
            parent = line[field.inverse_name]  # a record, or a mere id
            lines.setdefault(getattr(parent, "id", parent), []).append(line)
        return lines

    @api.model
    def _match_lines(self, all_links, errors):
        """Find the objects of one2many fields among the lines of their own parent."""
        for links in all_links:
            rule = next((n.plan.identifier for n in links.nodes), None)
            is_list = links.rule.field_type == "one2many" and links.mode != "append"
            if not rule or not is_list:
                continue
            seen, by_value = set(), {}
            for line in links.lines.values():
                value = line[rule.field_path]
                value = value.id if isinstance(value, models.BaseModel) else value
                by_value.setdefault(value, []).append(line)
            for node in links.nodes:
                if not has_identifier(node):
                    continue
                if node.identifier in seen:
                    message = self.env._(
                        "%s stands twice in the list.",
                        convert.describe(node.identifier),
                    )
                    errors.add(node, rule, message)
                seen.add(node.identifier)
                lines = by_value.get(node.identifier, [])
                if len(lines) > 1:
                    errors.add(node, rule, self._twins_message(node, len(lines)))
                if lines:
                    node.record = lines[0]


def names_what_is_set(links):
    """Tell whether links have one object, of a mapping model that cannot name it."""
    return (
        links.mode == "one" and bool(links.nodes) and not links.nodes[0].plan.identifier
    )
