import json
import unittest
from pathlib import Path

from harness import Server

PROBE = Path(__file__).with_name("pool_probe.py")
WELL = (200, 201, 204, 207, 400, 401, 404)


class TestConnections(unittest.TestCase):
    """What becomes of the connections to PostgreSQL when there are none left.

    Odoo's pool is made to run out at each connection that a call asks for, one after the
    other, both as a full one and as one that PostgreSQL refuses.
    """

    @classmethod
    def setUpClass(cls):
        cls.server = Server().__enter__()
        cls.addClassCleanup(cls.server.__exit__)
        cls.server.stop()  # only its database is needed
        printed = cls.server.shell(PROBE.read_text())
        cls.found = json.loads(printed.rpartition("FOUND ")[2].splitlines()[0])

    def test_no_call_keeps_a_connection_wherever_there_is_none(self):
        kept = [entry for entry in self.found if entry["after"] > entry["before"]]
        self.assertFalse(kept, json.dumps(kept, indent=1))
        self.assertGreater(len(self.found), 200)
        self.assertLessEqual(self.found[-1]["after"], self.found[0]["before"])

    def test_every_answer_is_json_and_no_error_leaves_a_hook(self):
        for entry in self.found:
            with self.subTest(**entry):
                is_well = entry["status"] in WELL
                self.assertTrue(is_well or entry["status"] == 503)
                if entry["free"] == 100:
                    self.assertTrue(is_well)
                if entry["free"] == 0 and entry["type"]:
                    self.assertEqual(entry["status"], 503)
                if entry["type"] and entry["status"] != 204:
                    self.assertIn("json", entry["type"])
