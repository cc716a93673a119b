from unittest.mock import patch

from ..models import bj_api_sync_diff
from .mapping_common import MappingCase


class TestEqualLines(MappingCase):
    """Replace keeps the lines that it would only make again, at a bounded cost."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        mapping = cls.make_config({"name": "name", "mail": "email", "job": "function"})
        cls.config = cls.make_config(
            {
                "ref": {"field_path": "ref", "is_record_identifier": True},
                "name": "name",
                "people": {
                    "field_path": "child_ids",
                    "value_type": "relational_mapping",
                    "mapping_config_id": mapping.id,
                },
            }
        )
        cls.partner = cls.env["res.partner"].create({"name": "Ann", "ref": "ANN"})

    def _put(self, people, max_looks=None):
        """Return how many lines were looked at."""
        looks = []
        diff = self.registry["bj.api.sync.diff"]
        original, index = diff._get_changes, diff._index_lines

        def get_changes(model, node):
            looks.append(1)
            return original(model, node)

        def index_lines(model, lines, names):
            looks.extend([1] * len(lines))
            return index(model, lines, names)

        with (
            patch.object(diff, "_get_changes", get_changes),
            patch.object(diff, "_index_lines", index_lines),
            patch.object(
                bj_api_sync_diff, "MAX_LOOKS", max_looks or bj_api_sync_diff.MAX_LOOKS
            ),
        ):
            self.write_rows(self.config, {"ref": "ANN", "people": people})
        self.env.flush_all()
        return len(looks)

    def test_equal_lines_are_found_without_looking_at_all_of_them_each_time(self):
        people = [{"name": "x", "job": "y"}] * 60
        self._put(people)
        lines = self.partner.child_ids
        self.assertEqual(len(lines), 60)
        looks = self._put(people)
        self.assertEqual(self.partner.child_ids, lines)
        self.assertLess(looks, 60 * 4)

    def test_what_is_sent_in_ever_other_keys_is_looked_for_within_a_limit(self):
        sent = [
            {"name": "a"},
            {"name": "b", "job": "b"},
            {"name": "c", "mail": "c@example.com"},
        ]
        self._put(sent * 10)
        lines = self.partner.child_ids
        self._put(sent * 10)
        self.assertEqual(self.partner.child_ids, lines, "within the limit")
        looks = self._put(sent * 10, max_looks=35)
        self.assertLess(looks, 35 + 30 + 3 * 30)
        names = sorted(self.partner.child_ids.mapped("name"))
        self.assertEqual(names, sorted("abc" * 10), "it is what was sent all the same")
        self.assertTrue(self.partner.child_ids - lines, "some had to be made anew")
