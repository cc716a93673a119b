import json

from odoo.tests import tagged
from odoo.tools import mute_logger

from ..models import bj_api_sync_config_outbound as config_outbound
from .outbound_common import OutboundCase
from .receiver import answer

DOMAIN = "[('ref', '=like', 'R%')]"


def give_ids(exchange):
    """Answer each record of a request with an id of its own."""
    body = exchange.request.json()
    found = [
        {"id": item["ref"].lower()} for item in (body if is_list(body) else [body])
    ]
    return answer(200, json.dumps(found if is_list(body) else found[0]))(exchange)


def is_list(value):
    return isinstance(value, list)


@tagged("post_install", "-at_install")
class TestRuns(OutboundCase):
    """What the runs of a schedule send one after the other, each answer written back."""

    def _make_config(self, *args, **vals):
        vals = {
            "filter_domain": DOMAIN,
            "response_field_path": "function",
            "response_key": "id",
            **vals,
        }
        return super()._make_config(*args, **vals)

    def _make_partners(self, count):
        return self.env["res.partner"].create(
            [{"name": f"P{n}", "ref": f"R{n}", "color": 1} for n in range(count)]
        )

    def _run(self, config):
        """Run it once, and return the references in each request."""
        self.receiver.clear()
        self.receiver.on("/orders", give_ids)
        config._run_schedule()
        self._commit()
        while self._send():
            self._commit()
        return sorted(  # which of two that go at once comes first is chance
            [item["ref"] for item in body] if isinstance(body, list) else body["ref"]
            for body in self._bodies()
        )

    def test_runs_without_a_change_send_nothing(self):
        for method in ("POST", "PUT"):
            for is_paginated, first in (
                (True, [["R0", "R1"], ["R2", "R3"], ["R4"]]),
                (False, ["R0", "R1", "R2", "R3", "R4"]),
            ):
                with self.subTest(method, is_paginated=is_paginated):
                    config = self._make_config(
                        method, is_paginated=is_paginated, page_size=2
                    )
                    partners = self._make_partners(5)
                    self.assertEqual(
                        [sorted(map(str, self._run(config))) for _run in range(4)],
                        [sorted(map(str, first)), [], [], []],
                    )
                    self.assertEqual(partners[3].function, "r3")
                    partners.unlink()

    def test_what_has_changed_among_many_is_sent_alone(self):
        config = self._make_config(is_paginated=True, page_size=2)
        partners = self._make_partners(5)
        self._run(config)
        partners[3].name = "changed"
        self.assertEqual(self._run(config), [["R3"]])
        self.assertEqual(self._run(config), [])
        (partners[0] | partners[2] | partners[4]).write({"name": "changed too"})
        self.assertEqual(self._run(config), [["R0", "R2"], ["R4"]], "full pages")
        self.assertEqual(self._run(config), [])
        partners[3].name = "P3"  # as it was before the last time
        self.assertEqual(self._run(config), [["R3"]])

    def test_a_change_between_payload_and_answer_is_sent_later(self):
        config = self._make_config(is_paginated=True, page_size=3)
        partners = self._make_partners(3)
        self.receiver.on("/orders", give_ids)
        config._run_schedule()
        self._commit()
        partners[1].name = "meanwhile"
        self._send()
        self.assertEqual(partners.mapped("function"), ["r0", "r1", "r2"])
        self.assertEqual(self._run(config), [["R1"]])
        self.assertEqual(self._run(config), [])

    def test_what_has_failed_is_sent_again(self):
        config = self._make_config(is_paginated=True, page_size=3)
        self._make_partners(2)
        self.receiver.on("/orders", answer(400))
        config._run_schedule()
        self._commit()
        self._send()
        self.assertEqual(self._run(config), [["R0", "R1"]])

    def test_a_new_address_has_everything_sent_again(self):
        config = self._make_config(is_paginated=True, page_size=3)
        partners = self._make_partners(2)
        self._run(config)
        partners.write({"color": 2})  # written, and no line tells about it
        self.assertEqual(self._run(config), [])
        self.env["bj.api.sync.param"].create(
            {"config_id": config.id, "name": "version", "value": "2"}
        )
        partners.write({"color": 3})
        self.assertEqual(self._run(config), [["R0", "R1"]])

    def test_a_parameter_of_the_first_record_does_not_hold_for_the_rest(self):
        config = self._make_config(
            is_paginated=True,
            page_size=3,
            param_ids=[(0, 0, {"name": "first", "value": "{ref}"})],
        )
        partners = self._make_partners(3)
        self._run(config)
        partners[2].name = "changed"
        self.assertEqual(self._run(config), [["R2"]])
        self.assertEqual(self._run(config), [])

    def test_records_of_several_addresses_are_told_apart(self):
        config = self._make_config(path="/orders/{name}", is_paginated=True)
        partners = self._make_partners(4)
        partners[:2].write({"name": "a"})
        partners[2:].write({"name": "b"})

        def run():
            self.receiver.clear()
            self.receiver.on("/orders/a", give_ids)
            self.receiver.on("/orders/b", give_ids)
            config._run_schedule()
            self._commit()
            while self._send():
                self._commit()
            requests = self.receiver.requests
            return sorted((r.path, [i["ref"] for i in r.json()]) for r in requests)

        self.assertEqual(
            run(), [("/orders/a", ["R0", "R1"]), ("/orders/b", ["R2", "R3"])]
        )
        self.assertEqual(run(), [])
        partners[1].name = "b"
        self.assertEqual(run(), [("/orders/b", ["R1"])])
        self.assertEqual(run(), [])

    def test_batches_and_single_ones_know_of_each_other(self):
        config = self._make_config(is_paginated=True, page_size=3)
        partners = self._make_partners(3)
        self._run(config)
        config.is_paginated = False
        partners[0].name = "changed"
        self.assertEqual(self._run(config), ["R0"])
        config.is_paginated = True
        self.assertEqual(self._run(config), [])

    def test_a_script_that_keeps_the_list_is_compared_record_by_record(self):
        config = self._make_config(
            is_paginated=True,
            page_size=2,
            request_script="for item in request_data:\n    item['more'] = 'x'",
        )
        partners = self._make_partners(4)
        self._run(config)
        partners[2].name = "changed"
        self.assertEqual(self._run(config), [["R2"]])
        self.assertEqual(self._run(config), [])

    def test_batches_of_another_shape_are_compared_as_a_whole(self):
        config = self._make_config(
            is_paginated=True,
            page_size=2,
            request_script="result = {'items': request_data}",
            response_field_path=False,
            response_script="for one in records:\n    one.write({'function': one.ref})",
        )
        partners = self._make_partners(4)

        def run():
            self.receiver.clear()
            config._run_schedule()
            self._commit()
            self._send()
            self._send()
            self._commit()
            return [[i["ref"] for i in body["items"]] for body in self._bodies()]

        self.assertEqual(sorted(run()), [["R0", "R1"], ["R2", "R3"]])
        self.assertEqual(run(), [])
        partners[3].name = "changed"
        self.assertEqual(len(run()), 1)

    def test_all_are_sent_where_all_are_asked_for(self):
        config = self._make_config(
            is_paginated=True, page_size=3, sync_scope="all", response_field_path=False
        )
        self._make_partners(3)
        for _run in range(2):
            self.assertEqual(self._run(config), [["R0", "R1", "R2"]])

    def test_pages_are_filled_across_the_parts_of_a_run(self):
        self.patch(config_outbound, "CHUNK", 2)
        config = self._make_config(is_paginated=True, page_size=3)
        self._make_partners(5)
        self.assertEqual(self._run(config), [["R0", "R1", "R2"], ["R3", "R4"]])
        self.assertEqual(self._run(config), [])

    def test_a_record_that_cannot_be_built_does_not_stop_the_others(self):
        config = self._make_config(
            is_paginated=True,
            lines={
                "ref": {"field_path": "ref", "is_record_identifier": True},
                "bad": {"value_type": "python_plain", "script": "1 / len(record.name)"},
            },
        )
        partners = self._make_partners(3)
        partners[1].write({"name": False, "type": "other"})
        with mute_logger("bj.api.outbound"):
            sent = self._run(config)
        self.assertEqual(sorted(sent), [["R0"], ["R2"]])
        with mute_logger("bj.api.outbound"):
            self.assertEqual(self._run(config), [])


@tagged("post_install", "-at_install")
class TestWhatIsSaid(OutboundCase):
    """Send Now tells how many records will really be sent."""

    def _press(self, config):
        action = config.action_run_now()
        self._commit()
        return action["params"]["message"]

    def test_it_counts_what_is_enqueued(self):
        for is_paginated in (False, True):
            with self.subTest(is_paginated=is_paginated):
                config = self._make_config(
                    filter_domain=DOMAIN, is_paginated=is_paginated, page_size=2
                )
                partners = self.env["res.partner"].create(
                    [{"name": f"P{n}", "ref": f"R{n}"} for n in range(6)]
                )
                self.assertIn("6 records will be sent", self._press(config))
                message = self._press(config)
                self.assertIn("Nothing has changed since the last run", message)
                partners[4].name = "changed"
                self.assertEqual(self._press(config), "1 records will be sent.")
                partners.unlink()

    def test_what_could_not_be_built_is_not_counted_as_sent(self):
        config = self._make_config(
            filter_domain=DOMAIN,
            lines={"bad": {"value_type": "python_plain", "script": "1 / record.color"}},
        )
        self.env["res.partner"].create(
            [{"name": f"P{n}", "ref": f"R{n}", "color": n} for n in range(3)]
        )
        with mute_logger("bj.api.outbound"):
            message = self._press(config)
        self.assertIn("2 records will be sent. 1 could not be built", message)

    def test_nothing_matches_is_no_change_either(self):
        config = self._make_config(filter_domain="[('ref', '=', 'nobody')]")
        self.assertNotIn("0 records", self._press(config))
