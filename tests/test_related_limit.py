from odoo.tests import tagged

from .common import ApiCase


@tagged("post_install", "-at_install")
class TestManyRelated(ApiCase):
    """The objects inside rows cost as much as rows, so they are counted too."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.set_parameter("max_bulk", "3")
        people = cls.make_config(
            {"name": "name", "ref": {"field_path": "ref", "is_record_identifier": True}}
        )
        inner = cls._nest("child_ids", people, nested_format="identifier")
        people.line_ids = cls.make_lines({"people": inner})
        tag = cls.make_config(
            {"name": {"field_path": "name", "is_record_identifier": True}},
            "res.partner.category",
        )
        cls.config.line_ids = cls.make_lines(
            {
                "people": cls._nest("child_ids", people),
                "tags": cls._nest("category_id", tag, create_missing=True),
                "ids": "bank_ids",
            }
        )

    @classmethod
    def _nest(cls, path, mapping, **vals):
        return {
            "field_path": path,
            "value_type": "relational_mapping",
            "mapping_config_id": mapping.id,
            **vals,
        }

    def _assert_limit(self, make, limit):
        """Assert that ``limit`` related records pass and one more does not."""
        for count, status in ((limit, 201), (limit + 1, 413)):
            row = {"customer_id": f"R-{count}", "name": "x", **make(count)}
            for body in (row, [row]):
                with self.subTest(count=count, many=body is not row):
                    response = self._call("POST", "contacts?dry_run=1", json=body)
                    self.assertEqual(response.status_code, status, response.text)
                    if status == 413:
                        details = response.json()["details"]
                        self.assertEqual(details["count"], limit + 1)
                        self.assertEqual(details["limit"], limit)

    def test_objects_of_all_levels_and_items_of_lists_are_counted(self):
        def deep(count):
            chain = {"name": "z"}
            for _level in range(6):
                chain = {"name": "z", "people": [chain]}
            return {"people": [chain, *({"name": "z"} for _n in range(count - 7))]}

        for make in (
            lambda count: {"people": [{"name": str(n)} for n in range(count)]},
            lambda count: {"tags": [f"tag {n}" for n in range(count)]},
            lambda count: {"tags": [{"name": f"tag {n}"} for n in range(count)]},
            deep,
        ):
            self._assert_limit(make, 30)

    def test_the_parameter_sets_the_limit(self):
        self.set_parameter("max_related", "5")
        self._assert_limit(lambda count: {"tags": [str(n) for n in range(count)]}, 5)

    def test_ids_and_what_a_script_adds_are_counted_too(self):
        row = {"customer_id": "R", "name": "x", "ids": list(range(1, 32))}
        self.assertEqual(self._call("POST", json=row).status_code, 413)
        self.config.request_script = (
            "request_data['tags'] = [str(n) for n in range(31)]"
        )
        row = {"customer_id": "R", "name": "x"}
        self.assertEqual(self._call("POST", json=row).status_code, 413)

    def test_all_rows_together_count_and_single_values_do_not(self):
        rows = [
            {"customer_id": f"R-{n}", "name": "x", "tags": [str(i) for i in range(11)]}
            for n in range(3)
        ]
        for path in ("contacts", "contacts?partial=true"):
            response = self._call("POST", path, json=rows)
            self.assertEqual(response.status_code, 413, response.text)
        self.assertFalse(self.env["res.partner"].search([("ref", "like", "R-")]))
