import json

from odoo.tests import tagged
from odoo.tools import mute_logger

from .outbound_common import OutboundCase
from .receiver import answer


def as_json(value, status=200):
    return answer(status, json.dumps(value).encode())


@tagged("post_install", "-at_install")
class TestAnswersTrigger(OutboundCase):
    """What an answer changes: sent or not, and that it comes to an end."""

    def _make_config(self, *args, **kwargs):
        """Return a configuration with a rule that fires for every change."""
        config = super()._make_config(*args, **kwargs)
        rule = self.env["base.automation"].browse(config.action_create_rule()["res_id"])
        rule.trigger_field_ids = False
        return config

    def _make_chain(self, count=2, **vals):
        """Return contacts of which each answer changes the next one, and their rule."""
        script = (
            "other = env['res.partner'].search([('ref', '=', record.function)])\n"
            "other.write({'comment': (other.comment or '') + '+'})"
        )
        config = self._make_config(
            response_script=script, filter_domain="[('ref', '=like', 'A%')]", **vals
        )
        partners = self.env["res.partner"].create(
            [
                {"name": f"P{n}", "ref": f"A{n}", "function": f"A{(n + 1) % count}"}
                for n in range(count)
            ]
        )
        self._commit()
        self._get_deliveries(config).action_cancel()
        return config, partners

    def _get_sent(self, config, partners):
        """Have what is triggered sent until nothing is left; return what arrived."""
        before = self._get_deliveries(config)
        partners.write({"email": "new@example.com"})
        self._commit()
        for _pass in range(20):
            if not self._send():
                break
            self._commit()
        else:
            self.fail("it never ends")
        new = self._get_deliveries(config) - before
        return [(d.res_ids, d.event, d.state) for d in new]

    def test_another_record_that_the_answer_changes_is_sent_once(self):
        config, (parent, child, _third) = self._make_chain(3)
        self.assertEqual(
            self._get_sent(config, parent),
            [(parent.ids, "write", "delivered"), (child.ids, "answer", "delivered")],
        )

    def test_records_that_change_each_other_come_to_an_end(self):
        config, (first, second) = self._make_chain(2)
        self.assertEqual(
            self._get_sent(config, first),
            [(first.ids, "write", "delivered"), (second.ids, "answer", "delivered")],
        )
        self.assertIn("+", first.comment or "", "the second answer has changed it")

    def test_a_record_that_changes_itself_is_not_sent_again(self):
        config, partner = self._make_chain(1)
        self.assertEqual(
            self._get_sent(config, partner), [(partner.ids, "write", "delivered")]
        )

    def test_none_of_a_batch_is_sent_again_by_its_own_answer(self):
        config, partners = self._make_chain(3, is_paginated=True)
        first, second, third = partners
        sent = self._get_sent(config, first | second)
        self.assertEqual(sent, [((first | second).ids, "write", "delivered")])
        self.assertFalse(third.comment)
        third.function = "A0"
        self._commit()
        self._get_deliveries(config).action_cancel()
        sent = self._get_sent(config, third)
        self.assertEqual(
            sent,
            [(third.ids, "write", "delivered"), (first.ids, "answer", "delivered")],
        )

    def test_a_record_that_the_answer_makes_is_sent_once_and_makes_no_other(self):
        config = self._make_config(
            response_script="env['res.partner'].create({'name': 'Made', 'ref': 'M'})",
            filter_domain="[('ref', 'in', ['M', 'C1'])]",
        )
        partner = self._make_partner()
        self._commit()
        self._get_deliveries(config).action_cancel()
        sent = self._get_sent(config, partner)
        made = self.env["res.partner"].search([("ref", "=", "M")])
        self.assertEqual(len(made), 2, "by both answers")
        self.assertEqual(
            [(event, state) for _ids, event, state in sent],
            [("write", "delivered"), ("answer", "delivered")],
        )

    def test_sending_at_once_triggers_the_same(self):
        config, (first, second) = self._make_chain(2)
        before = self._get_deliveries(config)
        self.assertTrue(config._make_outbound_http_request(first))
        self._commit()
        self._send()
        self._commit()
        new = self._get_deliveries(config) - before
        self.assertEqual(
            [(d.res_ids, d.event, d.state) for d in new],
            [(first.ids, "manual", "delivered"), (second.ids, "answer", "delivered")],
        )

    def test_it_holds_after_the_script_has_sent_something_else_too(self):
        other = super()._make_config("PUT", "/other/{ref}", response_script="pass")
        config = self._make_config(
            filter_domain="[('ref', '=', 'C1')]",
            response_script=f"env['bj.api.sync.config'].browse({other.id})"
            "._make_outbound_http_request(record)\nrecord.write({'comment': 'x'})",
        )
        partner = self._make_partner()
        self._commit()
        self._get_deliveries(config).action_cancel()
        sent = self._get_sent(config, partner)
        self.assertEqual(sent, [(partner.ids, "write", "delivered")])
        self.assertEqual(len(self._get_deliveries(other)), 1)

    def test_other_configurations_are_triggered_as_ever(self):
        config, (first, second) = self._make_chain(2)
        other = self._make_config("PUT", "/other/{ref}")
        self._get_sent(config, first)
        sent = [(d.res_ids, d.event) for d in self._get_deliveries(other)]
        self.assertIn((second.ids, "write"), sent)
        self.assertNotIn("answer", self._get_deliveries(other).mapped("event"))

    def test_what_it_fetches_does_not_have_it_fetch_more(self):
        items = [{"ref": "F1", "name": "Fetched 1"}, {"ref": "F2", "name": "Fetched 2"}]
        self.receiver.on("/items", as_json(items))
        config = self._make_config("GET", "/items")
        config._run_schedule()
        self._commit()
        self._send()
        self._commit()
        found = self.env["res.partner"].search([("ref", "in", ["F1", "F2"])])
        self.assertEqual(len(found), 2)
        self.assertEqual(len(self._get_deliveries(config)), 1)


@tagged("post_install", "-at_install")
class TestAnswerKey(OutboundCase):
    def _make_keyed(self, **vals):
        return self._make_config(
            response_field_path="function", response_key="id", **vals
        )

    def _make_partners(self, count=3):
        return self.env["res.partner"].create(
            [{"name": f"P{n}", "ref": f"K{n}"} for n in range(count)]
        )

    def test_the_answer_to_a_batch_has_one_entry_for_each_record_or_is_refused(self):
        for body in (
            {"id": "batch-1"},
            {"results": [{"id": 1}, {"id": 2}, {"id": 3}]},
            [{"id": "a"}, {"id": "b"}],
            [{"id": "a"}, {"id": "b"}, {"id": "c"}, {"id": "d"}],
            [],
            "batch-1",
            None,
            [{"id": "a"}, {"error": "bad email"}, {"id": "c"}],
        ):
            for is_now in (False, True):
                with self.subTest(body=body, is_now=is_now):
                    self.receiver.on("/orders", as_json(body))
                    config = self._make_keyed(is_paginated=True)
                    partners = self._make_partners()
                    with mute_logger("bj.api.sender"):
                        if is_now:
                            config._make_outbound_http_request(partners)
                        else:
                            self._enqueue(config, partners)
                            self._send()
                    delivery = self._get_deliveries(config)
                    self.assertEqual(delivery.state, "failed")
                    self.assertFalse(any(partners.mapped("function")))
                    self.assertTrue(delivery.last_error)
        self.assertIn("has no id", delivery.last_error, "of the last one")

    def test_the_sentence_says_what_was_expected(self):
        self.receiver.on("/orders", as_json([{"id": "a"}, {"id": "b"}]))
        config = self._make_keyed(is_paginated=True)
        self._enqueue(config, self._make_partners())
        with mute_logger("bj.api.sender"):
            self._send()
        error = self._get_deliveries(config).last_error
        self.assertIn("3", error)
        self.assertIn("list", error)

    def test_a_record_that_is_gone_does_not_shift_the_others(self):
        self.receiver.on("/orders", as_json([{"id": "a"}, {"id": "b"}, {"id": "c"}]))
        config = self._make_keyed(is_paginated=True)
        partners = self._make_partners()
        self._enqueue(config, partners)
        partners[1].unlink()
        self._send()
        self.assertEqual(self._get_deliveries(config).state, "delivered")
        self.assertEqual((partners[0] | partners[2]).mapped("function"), ["a", "c"])

    def test_as_many_entries_as_are_left_are_not_enough(self):
        self.receiver.on("/orders", as_json([{"id": "a"}, {"id": "b"}]))
        config = self._make_keyed(is_paginated=True)
        partners = self._make_partners()
        self._enqueue(config, partners)
        partners[0].unlink()
        with mute_logger("bj.api.sender"):
            self._send()
        self.assertEqual(self._get_deliveries(config).state, "failed")
        self.assertFalse(any(partners[1:].mapped("function")))

    def test_a_batch_of_one_record_takes_an_object_or_a_list_of_one(self):
        for body in ({"id": 7}, [{"id": 7}]):
            with self.subTest(body=body):
                self.receiver.on("/orders", as_json(body))
                config = self._make_keyed(is_paginated=True)
                partner = self._make_partners(1)
                self._enqueue(config, partner)
                self._send()
                self.assertEqual(partner.function, "7")

    def test_an_answer_without_a_body_has_nothing_to_write(self):
        for empty in (answer(204, b""), answer(200, b""), answer(201, b" \r\n")):
            for vals in ({}, {"is_paginated": True}):
                for is_now in (False, True):
                    with self.subTest(empty=empty, vals=vals, is_now=is_now):
                        self._check_empty(empty, vals, is_now)

    def _check_empty(self, empty, vals, is_now):
        self.receiver.clear()
        self.receiver.on("/orders", as_json({"id": 7}, 201), empty)
        config = self._make_keyed(**vals)
        partner = self._make_partner()
        for name in ("first", "second"):
            partner.name = name
            if is_now:
                self.assertTrue(config._make_outbound_http_request(partner))
            else:
                self._enqueue(config, partner)
                self._send()
        self.assertEqual(len(self.receiver.requests), 2)
        states = self._get_deliveries(config).mapped("state")
        self.assertEqual(states, ["delivered"] * 2)
        self.assertEqual(partner.function, "7")

    def test_a_response_script_runs_without_a_body_too(self):
        self.receiver.on("/orders", answer(204, b""))
        config = self._make_keyed(
            response_script="record.write({'comment': str(response.status_code)})"
        )
        partner = self._make_partner()
        self._enqueue(config, partner)
        self._send()
        self.assertIn("204", partner.comment)

    def test_an_answer_that_nests_too_deep_is_text_like_any_other(self):
        deep = "[" * 100_000 + "]" * 100_000
        self.receiver.on("/orders", answer(200, deep.encode()))
        partner = self._make_partner()
        sent = self._make_config()._make_outbound_http_request(partner)
        self.assertTrue(sent)
        self.assertEqual(sent["data"], deep)
        with self.assertRaises(ValueError):
            sent.json()
        with mute_logger("bj.api.sender"):
            pulled = self._make_config("GET", "/orders")._make_outbound_http_request()
        self.assertFalse(pulled)
        self.assertEqual(pulled["data"], deep)
        logs = self.env["bj.api.log"].search([("response_data", "=like", "[[[%")])
        self.assertGreaterEqual(len(logs), 2)  # the answer of each, at least
        for log in logs:
            self.assertTrue(log.response_pretty.startswith("[[["))
