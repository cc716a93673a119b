import random
from unittest.mock import patch

from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import ApiCase


def make_noise(size, seed=1):
    """Return so many characters that no compression makes shorter."""
    draw = random.Random(seed)
    return "".join(chr(draw.randrange(0x4E00, 0x9FA5)) for _number in range(size))


@tagged("post_install", "-at_install")
class TestUnfitValues(ApiCase):
    """What PostgreSQL itself cannot store or compare is the caller's mistake, not ours."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        children = cls.make_config({"name": "name", "ref": "ref"})
        cls.config.upsert = True
        cls.config.line_ids = cls.make_lines(
            {
                "people": {
                    "field_path": "child_ids",
                    "value_type": "relational_mapping",
                    "mapping_config_id": children.id,
                }
            }
        )

    def setUp(self):
        super().setUp()
        self.enterContext(mute_logger("odoo.sql_db", "bj.api.http"))
        writer = self.registry["bj.api.sync.writer"]
        original, self.tries = writer._write_rows, []

        def spy(model, *args, **kwargs):
            self.tries.append(args)
            return original(model, *args, **kwargs)

        self.patch(writer, "_write_rows", spy)

    def _assert_refused(self, method, path, json, key, index=0):
        self.tries.clear()
        response = self._call(method, path, json=json)
        self.assertEqual(response.status_code, 400, response.text)
        [error] = response.json()["details"]["errors"]
        self.assertEqual((error["key"], error["index"]), (key, index))
        self.assertIn("too long for an index", error["message"])
        self.assertIn("line_id", error)
        self.assertEqual(len(self.tries), 1, "it is not repeated by Odoo")
        log = self._logs(response)
        self.assertEqual(log.mapped("response_code"), [400])

    def test_a_text_too_long_for_an_index_names_its_key(self):
        # the index tells its name, and for a much longer text nothing at all
        for size in (1500, 6000):
            noise = make_noise(size)
            with self.subTest(size=size):
                row = {"customer_id": "T-1", "name": "x"}
                self._assert_refused(
                    "POST", "contacts", {**row, "customer_id": noise}, "customer_id"
                )
                self._assert_refused("POST", "contacts", {**row, "name": noise}, "name")
                self._assert_refused("PUT", "contacts/T-ann", {"name": noise}, "name")
                people = [{"name": "fits"}, {"name": "y", "ref": noise}]
                self._assert_refused(
                    "POST", "contacts", {**row, "people": people}, "people[1].ref"
                )
        partners = self.env["res.partner"]
        self.assertFalse(partners.search([("ref", "=", "T-1")]))
        self.assertEqual(self.ann.name, "Ann")

    def test_one_bad_row_among_many_is_told_by_its_index(self):
        rows = [{"customer_id": f"M-{n}", "name": f"m{n}"} for n in range(9)]
        rows[6]["name"] = make_noise(5000)
        self._assert_refused("POST", "contacts", rows, "name", 6)
        partners = self.env["res.partner"]
        self.assertFalse(partners.search([("ref", "like", "M-")]))
        response = self._call("POST", "contacts?partial=true", json=rows)
        self.assertEqual(response.status_code, 207)
        states = [(row["status"], row["code"]) for row in response.json()]
        self.assertEqual(states.pop(6), ("error", 400))
        self.assertEqual(states, [("created", 201)] * 8)
        self.assertEqual(partners.search_count([("ref", "like", "M-")]), 8)

    def _assert_answer(self, statement, status, words):
        """Let PostgreSQL fail by itself in the middle of a read and of a write."""
        inbound = self.registry["bj.api.sync.inbound"]

        def fail(model, *_args, **_kwargs):
            model.env.cr.execute(statement)

        for method, name in (("GET", "_handle_get"), ("POST", "_handle_rows")):
            with self.subTest(method=method), patch.object(inbound, name, fail):
                response = self._call(method, json={"customer_id": "a", "name": "b"})
                self.assertEqual(response.status_code, status, response.text)
                self.assertIn(words, response.json()["message"])
                self.assertNotIn("SELECT", response.text)

    def test_values_that_postgresql_refuses_are_400_wherever_they_meet_it(self):
        for statement, words in (
            ("SELECT ('x' || pg_backend_pid())::int", "invalid input syntax"),
            ("SELECT 'a' LIKE repeat('\\', 1)", "LIKE pattern"),
            ("SELECT 2147483647 + length(current_user)", "out of range"),
            ("SELECT convert_from('\\xff'::bytea, 'UTF8')", "invalid byte sequence"),
            ("SELECT make_date(length(current_user) + 9999999, 1, 1)", "out of range"),
            (
                "DO $$BEGIN RAISE 'too complex' USING ERRCODE = '54001'; END$$",
                "complex",
            ),
        ):
            self._assert_answer(statement, 400, words)

    def test_a_statement_that_takes_too_long_is_503(self):
        statement = "SET LOCAL statement_timeout = 20; SELECT pg_sleep(20)"
        self._assert_answer(statement, 503, "busy")

    def test_a_pattern_that_ends_in_a_backslash_is_refused(self):
        self.config.param_ids = [
            (0, 0, {"name": "like", "field_path": "ref", "operator": "=ilike"})
        ]
        for target in (
            'contacts?domain=[["name","=like","a\\\\"]]',
            'contacts?domain=[["name","=ilike","\\\\"]]',
            "contacts?like=a%5C",
        ):
            with self.subTest(target):
                response = self._call("GET", target)
                self.assertEqual(response.status_code, 400, response.text)
                self.assertIn("lone", response.json()["message"])
