import json
from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import new_test_user, tagged
from odoo.tools import mute_logger

from .pull_common import PullCase, as_json
from .receiver import answer

LINES = {
    "ref": {"field_path": "ref", "is_record_identifier": True},
    "name": "name",
    "country": {
        "field_path": "country_id",
        "value_type": "relational_mapping",
    },
}


@tagged("post_install", "-at_install")
class TestOddAnswers(PullCase):
    def _pull_bytes(self, body, content_type="application/json"):
        self._get_pulled().unlink()
        self.receiver.on("/items", answer(200, body, {"Content-Type": content_type}))
        config = self._make_pull(page_size=100)
        partners, report = self._pull(config)
        return config, partners, report

    def test_one_odd_character_costs_no_other_item(self):
        for odd, name, words in [
            (rb'"half \ud83d"', "half \ufffd", "half of a surrogate pair"),
            (rb'"nul\u0000"', "nul", "NUL"),
            (b'"raw\0nul"', "rawnul", "NUL"),
            (b'"a\tb"', "a\tb", "control character"),
            (b'"first", "name": "last"', "last", "there twice"),
        ]:
            with self.subTest(odd=odd):
                body = (
                    b'{"data": [{"ref": "Q0", "name": "a"}, {"ref": "Q1", "name": %s},'
                    b' {"ref": "Q2", "name": "c"}]}' % odd
                )
                config, partners, report = self._pull_bytes(body)
                self._assert_complete(config, report, 3)
                self.assertEqual(partners.mapped("name"), ["a", name, "c"])
                (repair,) = json.loads(report.details)["repairs"]
                self.assertIn("[1] name", repair)
                self.assertIn(words, repair)
                rows = self.env["bj.api.log"].search([("config_id", "=", config.id)])
                told = rows.filtered(lambda row: "repaired" in row.name)
                self.assertIn("[1] name", told.error_message)

    def test_not_a_number_is_null_for_its_item(self):
        body = b'[{"ref": "Q0", "name": "a", "email": NaN}, {"ref": "Q1", "name": "b"}]'
        config, partners, report = self._pull_bytes(body)
        self._assert_complete(config, report, 2)
        self.assertIn("[0] email", json.loads(report.details)["repairs"][0])
        self.assertFalse(partners[0].email)

    def test_a_declared_charset_is_respected(self):
        text = '[{"ref": "Q0", "name": "Кава"}]'
        for charset in ("windows-1251", "utf-16", "koi8-r"):
            content_type = f"application/json; charset={charset}"
            config, partners, report = self._pull_bytes(
                text.encode(charset), content_type
            )
            self._assert_complete(config, report, 1)
            self.assertEqual(partners.name, "Кава")
        config, partners, report = self._pull_bytes(b"\xef\xbb\xbf" + text.encode())
        self._assert_complete(config, report, 1)

    def test_what_would_be_a_guess_is_refused_for_its_item_alone(self):
        for odd, words in [
            (b'"caf\xe9"', "not UTF-8"),
            (b"1e999", "out of range"),
            (b'["a"]', "expected"),
        ]:
            with self.subTest(odd=odd):
                body = (
                    b'[{"ref": "Q0", "name": "a"}, {"ref": "Q1", "name": %s},'
                    b' {"ref": "Q2", "name": "c"}]' % odd
                )
                config, partners, report = self._pull_bytes(body)
                self.assertEqual(partners.mapped("ref"), ["Q0", "Q2"])
                self.assertTrue(config.last_sync_date)
                event = self.env["bj.api.sync.event"].search(
                    [("config_id", "=", config.id)]
                )
                self.assertEqual(event.source_event, "Q1")
                self.assertIn(words, event.last_error)
                self.assertIn("name", event.last_error)
                self.assertIn("1 items wait in the Inbox", report.error_message)

    def test_numbers_that_no_column_holds_cost_their_item_alone(self):
        for field in ("color", "partner_latitude"):
            lines = {"ref": LINES["ref"], "name": "name", "n": field}
            numbers = ["1e300", "9" * 29, "9" * 31, "1e999", "-1e999", "NaN", "5"]
            items = [
                f'{{"ref": "Q{i}", "name": "x", "n": {number}}}'
                for i, number in enumerate(numbers)
            ]
            self._get_pulled().unlink()
            self.receiver.on("/items", answer(200, f"[{','.join(items)}]"))
            config = self._make_pull(page_size=100, lines=lines)
            partners, report = self._pull(config)
            self.assertLessEqual({"Q5", "Q6"}, set(partners.mapped("ref")))
            self.assertNotIn("Q3", partners.mapped("ref"))
            self.assertTrue(config.last_sync_date, report.error_message)

    def test_what_is_no_json_stays_an_error(self):
        for body in (b"<html>", b'{"a": ', b"[" * 99):
            config, _partners, report = self._pull_bytes(body)
            self._assert_incomplete(config, report, 0, "not JSON")


@tagged("post_install", "-at_install")
class TestInbox(PullCase):
    def setUp(self):
        super().setUp()
        self.mapping = self.env["bj.api.sync.config"].create(
            {
                "name": "Country",
                "model_id": self.env.ref("base.model_res_country").id,
                "line_ids": [
                    (0, 0, {"field_path": "code", "api_key": "code",
                            "is_record_identifier": True}),
                    (0, 0, {"field_path": "name", "api_key": "name"}),
                ],
            }
        )  # fmt: skip
        lines = {
            **LINES,
            "country": {**LINES["country"], "mapping_config_id": self.mapping.id},
        }
        self.config = self._make_pull(page_size=100, lines=lines)
        self.orders = [
            {"ref": "Q0", "name": "Zero", "country": "UA"},
            {"ref": "Q1", "name": "One", "country": "Q9"},
            {"ref": "Q2", "name": "Two", "country": "PL"},
        ]

    def _get_events(self):
        self.env.invalidate_all()
        return self.env["bj.api.sync.event"].search(
            [("config_id", "=", self.config.id)], order="id"
        )

    def _pull_orders(self, orders=None):
        self.receiver.on("/items", as_json(self.orders if orders is None else orders))
        return self._pull(self.config)

    def _make_country(self):
        return self.env["res.country"].create({"name": "Nowhere", "code": "Q9"})

    def test_an_item_that_failed_is_kept_and_processed_again(self):
        partners, report = self._pull_orders()
        self.assertEqual(partners.mapped("ref"), ["Q0", "Q2"])
        event = self._get_events()
        self.assertRecordValues(
            event,
            [{"source_event": "Q1", "state": "failed", "attempt_count": 1,
              "model": "res.partner", "res_ids": []}],
        )  # fmt: skip
        self.assertEqual(json.loads(event.body), self.orders[1])
        self.assertIn("Q9", event.last_error)
        self.assertIn("1 items wait in the Inbox", report.error_message)
        self.assertEqual(self.config.event_open_count, 1)
        domain = self.config.action_open_events()["domain"]
        self.assertEqual(event.search(domain), event)
        # Still not there, then it is.
        params = event.action_process_again()["params"]
        self.assertIn("1 failed", params["message"])
        self.assertRecordValues(event, [{"state": "failed", "attempt_count": 2}])
        country = self._make_country()
        params = event.action_process_again()["params"]
        self.assertIn("1 items were written", params["message"])
        partner = self._get_pulled()[1]
        self.assertEqual((partner.name, partner.country_id), ("One", country))
        self.assertRecordValues(
            event, [{"state": "done", "last_error": False, "res_ids": partner.ids}]
        )
        self.assertEqual(event.action_open_record()["res_id"], partner.id)
        self.assertEqual(self._get_events().config_id.event_open_count, 0)
        # What is done holds an old state of the item.
        partner.name = "Renamed since"
        self.assertIn("left", event.action_process_again()["params"]["message"])
        self.assertEqual(partner.name, "Renamed since")

    def test_the_same_item_is_one_event_however_often_it_fails(self):
        self._pull_orders()
        self.orders[1]["name"] = "One, changed"
        self._pull_orders()
        event = self._get_events()
        self.assertEqual(event.attempt_count, 2)
        self.assertEqual(json.loads(event.body)["name"], "One, changed")
        # A pull without it is a success and says that something waits.
        _partners, report = self._pull_orders(self.orders[:1])
        self.assertEqual(report.status, "success")
        self.assertEqual(json.loads(report.details)["open"], 1)
        self._make_country()
        self._pull_orders()
        self.assertRecordValues(
            self._get_events(), [{"state": "done", "last_error": False}]
        )

    def test_items_without_an_identifier_are_told_apart_by_what_they_are(self):
        nameless = [{"name": "Who?"}, {"name": "And who?"}, "text", 5]
        self._pull_orders(nameless)
        self._pull_orders(nameless)
        events = self._get_events()
        self.assertEqual([json.loads(e.body) for e in events], nameless)
        self.assertEqual(events.mapped("attempt_count"), [2] * 4)
        self.assertEqual(self._pull_orders([])[1].status, "success")

    def test_what_is_ignored_stays_so_until_it_changes(self):
        self._pull_orders()
        self._get_events().action_ignore()
        self._pull_orders()
        self.assertEqual(self._get_events().state, "ignored")
        self.assertEqual(self.config.event_open_count, 0)
        self.orders[1]["name"] = "Changed"
        self._pull_orders()
        self.assertEqual(self._get_events().state, "failed")

    def test_an_item_twice_in_a_page_counts_by_its_last_state(self):
        good = {"ref": "Q1", "name": "One", "country": "UA"}
        self._pull_orders([self.orders[1], good])
        self.assertFalse(self._get_events())
        self._pull_orders([good, self.orders[1]])
        self.assertEqual(self._get_events().state, "failed")

    def test_managers_alone_read_the_items_and_work_on_them(self):
        self._pull_orders()
        event = self._get_events()
        user = new_test_user(self.env, "inbox", "bj_api_sync.group_bj_api_user")
        self.assertEqual(event.with_user(user).source_event, "Q1")
        with self.assertRaises(AccessError), mute_logger("odoo.models"):
            event.with_user(user).read(["body"])
        for action in ("action_process_again", "action_ignore"):
            with self.assertRaises(AccessError):
                getattr(event.with_user(user), action)()
        manager = new_test_user(self.env, "boss", "bj_api_sync.group_bj_api_manager")
        self.assertIn("Q9", event.with_user(manager).body)
        event.with_user(manager).action_ignore()
        self.assertEqual(event.state, "ignored")
        with self.assertRaises(AccessError):
            event.with_user(manager).write({"state": "done"})

    def test_old_events_go_by_themselves(self):
        self._pull_orders([{"ref": f"Q{n}", "country": "Q9"} for n in range(4)])
        done, ignored, failed, old = self._get_events()
        done.sudo().state = "done"
        ignored.sudo().state = "ignored"
        self.env.flush_all()
        now = fields.Datetime.now()
        for event, days in ((done, 8), (ignored, 8), (failed, 80), (old, 91)):
            self.env.cr.execute(
                """UPDATE bj_api_sync_event SET write_date = %s, received_date = %s
                   WHERE id = %s""",
                [now - timedelta(days=days)] * 2 + [event.id],
            )
        self.env["bj.api.sync.event"]._gc_events()
        self.assertEqual(self._get_events(), failed)

    def test_a_copy_of_the_database_has_no_items_of_others(self):
        self._pull_orders()
        for query in self._get_neutralization():
            self.env.cr.execute(query)
        self.assertFalse(self._get_events())

    def _get_neutralization(self):
        from odoo.modules.neutralize import get_neutralization_queries

        return get_neutralization_queries(["bj_api_sync"])
