import json
from datetime import datetime, timedelta

from odoo.exceptions import UserError
from odoo.tests import tagged
from odoo.tools import mute_logger
from odoo.tools.safe_eval import safe_eval

from ..compat import SAFE_EVAL_OPTIONS
from .common import suspend_test_mode
from .outbound_common import LINES, OutboundCase
from .receiver import answer, hang, html, retry_after


def as_json(value, **kwargs):
    return answer(200, json.dumps(value), **kwargs)


@tagged("post_install", "-at_install")
class TestSendNow(OutboundCase):
    def test_every_calling_form_is_understood(self):
        config = self._make_config()
        self.env["ir.model.data"].create(
            {
                "module": "test",
                "name": "out",
                "model": config._name,
                "res_id": config.id,
            }
        )
        partners = self._make_partner() | self._make_partner(ref="C2")
        one = partners[:1]
        none = self.env["bj.api.sync.config"]
        send = "_make_outbound_http_request"
        for name, holder, args, kwargs, count in [
            ("record, id, timeout", config, (one, config.id), {"timeout": 60}, 1),
            ("record, id", config, (one, config.id), {}, 1),
            (
                "named",
                none,
                (),
                {"record_ids": partners, "config_id_ref": config.id},
                2,
            ),
            ("record only", config, (one,), {}, 1),
            ("id", config, (one.id,), {}, 1),
            ("ids", config, (partners.ids,), {}, 2),
            ("XML id", none, (one, "test.out"), {}, 1),
            ("configuration", none, (one, config), {}, 1),
            ("pair of timeouts", config, (one,), {"timeout": (3, 20)}, 1),
        ]:
            with self.subTest(name):
                self.receiver.clear()
                result = getattr(holder, send)(*args, **kwargs)
                self.assertTrue(result)
                self.assertTrue(result.get("success"))
                self.assertEqual(result.status_code, 200)
                self.assertEqual(result["data"], {"received": True})
                self.assertEqual(result.json(), {"received": True})
                self.assertEqual(len(result["delivery_ids"]), count)
                self.assertEqual(len(self.receiver.requests), count)

    def test_the_result_serves_both_styles_inside_safe_eval(self):
        config = self._make_config()
        code = (
            "result = config._make_outbound_http_request(record, config.id, timeout=9)\n"
            "first = result.get('success') and result.status_code == 200\n"
            "second = result['data'] == result.json() and result.ok and result.text\n"
            "third = result.headers['content-type']"
        )
        values = {"config": config, "record": self._make_partner()}
        safe_eval(code, values, mode="exec", **SAFE_EVAL_OPTIONS)
        self.assertTrue(values["first"])
        self.assertTrue(values["second"])
        self.assertEqual(values["third"], "application/json")

    def test_what_is_not_configured_raises(self):
        config = self._make_config()
        for args in [
            (self.env.user, config.id),
            (self._make_partner(), 987654321),
            (self._make_partner(), "no.such_id"),
            (None, config.id),
        ]:
            with self.subTest(args=args), self.assertRaises(UserError):
                config._make_outbound_http_request(*args)
        with self.assertRaises(UserError):
            self.env["bj.api.sync.config"]._make_outbound_http_request(
                self._make_partner()
            )

    def test_a_failure_does_not_raise_and_is_retried_if_that_may_help(self):
        config = self._make_config()
        for behaviour, state in [(answer(503), "pending"), (answer(404), "failed")]:
            with self.subTest(state=state):
                self.receiver.on("/orders", behaviour)
                result = config._make_outbound_http_request(self._make_partner())
                self.assertFalse(result)
                self.assertFalse(result["success"])
                self.assertTrue(result["message"])
                self.env.invalidate_all()
                delivery = self.env["bj.api.sync.delivery"].browse(
                    result["delivery_ids"]
                )
                self.assertRecordValues(
                    delivery, [{"state": state, "attempt_count": 1}]
                )
                self.assertEqual(delivery.log_ids.status, "error")
        waiting = self._get_deliveries(config)[0]
        self.receiver.on("/orders", answer(200))
        self._make_due(waiting)
        self._send()
        self.assertEqual(waiting.state, "delivered")
        keys = [r.headers["idempotency-key"] for r in self.receiver.requests]
        self.assertEqual(keys[0], keys[2])

    def test_a_timeout_ends_the_wait(self):
        config = self._make_config()
        self.receiver.on("/orders", hang())
        result = config._make_outbound_http_request(self._make_partner(), timeout=1)
        self.assertFalse(result.ok)
        self.assertIsNone(result.status_code)

    def test_a_host_that_asked_to_wait_is_not_asked(self):
        self.receiver.on("/orders", retry_after("90"))
        config = self._make_config()
        self._enqueue(config, self._make_partner(ref="C0"))
        self._send()
        result = config._make_outbound_http_request(self._make_partner())
        self.assertFalse(result)
        self.assertEqual(len(self.receiver.requests), 1)
        delivery = self.env["bj.api.sync.delivery"].browse(result["delivery_ids"])
        self.assertEqual(delivery.state, "pending", "the queue sends it later")

    def test_records_outside_the_domain_are_no_failure(self):
        config = self._make_config(filter_domain="[('ref', '=', 'X')]")
        result = config._make_outbound_http_request(self._make_partner())
        self.assertTrue(result)
        self.assertFalse(result["delivery_ids"])

    def test_batches_answer_with_the_last_response_and_all_deliveries(self):
        config = self._make_config(is_paginated=True, page_size=2)
        partners = self.env["res.partner"].create(
            [{"name": f"P{n}", "ref": f"C{n}"} for n in range(5)]
        )
        self.receiver.on(
            "/orders", as_json({"n": 1}), as_json({"n": 2}), as_json({"n": 3})
        )
        result = config._make_outbound_http_request(partners)
        self.assertEqual(result["data"], {"n": 3})
        self.assertEqual(len(result["delivery_ids"]), 3)
        self.assertEqual([len(body) for body in self._bodies()], [2, 2, 1])

    def test_a_later_failure_of_the_script_keeps_the_evidence(self):
        suspend_test_mode(self)
        config = self._make_config()
        with self.assertRaises(ZeroDivisionError), self.env.cr.savepoint():
            config._make_outbound_http_request(self._make_partner())
            raise ZeroDivisionError
        self.assertEqual(len(self.receiver.requests), 1)


@tagged("post_install", "-at_install")
class TestAnswer(OutboundCase):
    def test_a_value_of_the_answer_is_written_to_the_record(self):
        self.receiver.on("/orders", as_json({"data": {"id": 77}}))
        config = self._make_config(
            response_field_path="barcode", response_key="data.id"
        )
        partner = self._make_partner()
        delivery = self._enqueue(config, partner)
        self._send()
        self.assertEqual(delivery.state, "delivered")
        self.assertEqual(partner.barcode, "77")

    def test_each_record_of_a_batch_gets_its_own(self):
        self.receiver.on("/orders", as_json([{"id": "a"}, {"id": "b"}]))
        config = self._make_config(
            response_field_path="barcode", response_key="id", is_paginated=True
        )
        partners = self._make_partner() | self._make_partner(ref="C2")
        self._enqueue(config, partners)
        self._send()
        self.assertEqual(partners.mapped("barcode"), ["a", "b"])

    def test_the_response_script_sees_the_answer_and_may_write(self):
        self.receiver.on("/orders", as_json({"id": 5}))
        script = (
            "if response.ok and response.status_code == 200:\n"
            "    record.write({'comment': str(response.json()['id'])})"
        )
        for is_now in (False, True):
            with self.subTest(is_now=is_now):
                config = self._make_config(response_script=script)
                partner = self._make_partner()
                if is_now:
                    self.assertTrue(config._make_outbound_http_request(partner))
                else:
                    self._enqueue(config, partner)
                    self._send()
                self.assertIn("5", partner.comment)

    def test_what_cannot_be_used_fails_the_delivery_and_is_not_sent_again(self):
        self.receiver.on("/orders", html())
        for vals in (
            {
                "response_script": "record.write({'comment': str(response.json()['id'])})"
            },
            {"response_field_path": "comment", "response_key": "id"},
        ):
            for is_now in (False, True):
                with (
                    self.subTest(vals=vals, is_now=is_now),
                    mute_logger("bj.api.sender"),
                ):
                    config = self._make_config(**vals)
                    partner = self._make_partner()
                    if is_now:
                        self.assertFalse(config._make_outbound_http_request(partner))
                    else:
                        self._enqueue(config, partner)
                        self._send()
                    delivery = self._get_deliveries(config)
                    self.assertRecordValues(
                        delivery, [{"state": "failed", "last_status_code": 200}]
                    )
                    self.assertTrue(delivery.last_error)
                    self.assertFalse(partner.comment)


@tagged("post_install", "-at_install")
class TestSchedule(OutboundCase):
    def _run_schedule(self, config):
        count = len(self._get_deliveries(config))
        config._run_schedule()
        self._commit()
        return len(self._get_deliveries(config)) - count

    def test_only_what_changed_since_the_last_run_is_sent(self):
        config = self._make_config(filter_domain="[('ref', '=like', 'S%')]")
        partners = self.env["res.partner"].create(
            [{"name": f"P{n}", "ref": f"S{n}"} for n in range(3)]
        )
        self.assertEqual(self._run_schedule(config), 3)
        self.assertTrue(config.last_sync_date)
        self.assertEqual(self._run_schedule(config), 0)
        partners[0].name = "changed"
        self.assertEqual(self._run_schedule(config), 1)
        self._set_write_date(partners, timedelta(days=-3))
        partners[1].name = "changed, but long ago"
        self._set_write_date(partners, timedelta(days=-3))
        self.assertEqual(self._run_schedule(config), 0)

    def test_all_are_sent_when_the_configuration_says_so(self):
        config = self._make_config(
            filter_domain="[('ref', '=like', 'S%')]", sync_scope="all"
        )
        self.env["res.partner"].create(
            [{"name": f"P{n}", "ref": f"S{n}"} for n in range(3)]
        )
        self.assertEqual(self._run_schedule(config), 3)
        self.assertEqual(self._run_schedule(config), 3)

    def test_a_transaction_that_commits_late_is_not_missed(self):
        config = self._make_config()
        with self.registry._db.cursor() as slow:  # begun before the run, still open
            slow.execute("SELECT now()")
            (begun,) = slow.fetchone()
            self.assertLessEqual(
                config._get_watermark(), begun.astimezone(tz=None).replace(tzinfo=None)
            )

    def _set_write_date(self, records, delta):
        self.env.flush_all()
        self.env.cr.execute(
            "UPDATE res_partner SET write_date = %s WHERE id IN %s",
            [datetime.utcnow() + delta, tuple(records.ids)],
        )
        self.env.invalidate_all()


@tagged("post_install", "-at_install")
class TestPull(OutboundCase):
    def setUp(self):
        super().setUp()
        self.items = [{"ref": f"Q{n}", "name": f"Pulled {n}"} for n in range(5)]

    def _make_pull(self, **vals):
        return self._make_config("GET", "/items", page_size=2, **vals)

    def _pull(self, config):
        config._run_schedule()
        self._commit()
        for _page in range(10):
            if not self._send():
                break
        self.env.invalidate_all()
        return self.env["res.partner"].search([("ref", "=like", "Q%")], order="ref")

    def test_pages_are_followed_in_every_style(self):
        first, second, third = self.items[:2], self.items[2:4], self.items[4:]
        link = f'<{self.receiver.url("/items?p=%s")}>; rel="next"'
        cases = {
            "offset": ([as_json(page) for page in (first, second, third)],
                       [{"limit": "2", "offset": "0"}, {"limit": "2", "offset": "2"},
                        {"limit": "2", "offset": "4"}]),
            "page": ([as_json({"data": page}) for page in (first, second, third)],
                     [{"limit": "2", "page": "1"}, {"limit": "2", "page": "2"},
                      {"limit": "2", "page": "3"}]),
            "cursor": ([as_json({"items": first, "meta": {"next_cursor": "a b"}}),
                        as_json({"items": second, "meta": {"next_cursor": "c"}}),
                        as_json({"items": third, "meta": {"next_cursor": None}})],
                       [{"limit": "2"}, {"limit": "2", "cursor": "a b"},
                        {"limit": "2", "cursor": "c"}]),
            "link": ([as_json(first, headers={"Link": link % 2}),
                      as_json(second, headers={"Link": link % 3}), as_json(third)],
                     [{}, {"p": "2"}, {"p": "3"}]),
        }  # fmt: skip
        for style, (answers, queries) in cases.items():
            with self.subTest(style):
                self.receiver.clear()
                self.receiver.on("/items", *answers)
                config = self._make_pull(pagination_style=style)
                partners = self._pull(config)
                self.assertEqual(
                    partners.mapped("name"), [item["name"] for item in self.items]
                )
                self.assertEqual(
                    [dict(request.query) for request in self.receiver.requests], queries
                )
                self.assertTrue(config.last_sync_date)
                partners.unlink()

    def test_parameters_say_how_the_other_side_calls_things(self):
        self.receiver.on("/items", as_json({"rows": {"list": self.items[:1]}}))
        config = self._make_pull(
            pagination_style="offset",
            response_root="rows.list",
            param_ids=[
                (0, 0, {"name": "skip", "value": "{offset}"}),
                (0, 0, {"name": "take", "value": "{limit}"}),
                (0, 0, {"name": "since", "value": "{last_sync_date}"}),
            ],
        )
        self.assertEqual(len(self._pull(config)), 1)
        self.assertEqual(
            dict(self.receiver.requests[0].query),
            {"skip": "0", "take": "2", "since": "1970-01-01T00:00:00Z"},
        )

    def test_pulling_twice_updates_by_the_identifier(self):
        self.receiver.on("/items", as_json(self.items[:2]))
        config = self._make_pull()
        before = self._pull(config)
        self.receiver.on("/items", as_json([{"ref": "Q0", "name": "renamed"}]))
        after = self._pull(config)
        self.assertEqual(before, after)
        self.assertEqual(after[0].name, "renamed")

    def _get_reports(self, config):
        """Return the log rows about pulls as a whole."""
        domain = [("config_id", "=", config.id), ("details", "!=", False)]
        return self.env["bj.api.log"].search(domain, order="id")

    def test_one_log_row_tells_how_a_pull_went_as_a_whole(self):
        self.env["res.partner"].create(self.items[1])  # as it comes
        self._make_partner(ref="Q2", name="Old")
        bad = {"ref": "Q9", "name": ["no", "text"]}
        pages = [self.items[:2], [self.items[2], bad], self.items[3:4]]
        self.receiver.on("/items", *map(as_json, pages))
        config = self._make_pull(pagination_style="offset")
        with mute_logger("bj.api.pull"):
            self._pull(config)
        report = self._get_reports(config)
        self.assertEqual(
            json.loads(report.details),
            {"pages": 3, "created": 2, "updated": 1, "unchanged": 1, "errors": 1},
        )
        self.assertRecordValues(
            report,
            [{"status": "error", "action": "pull", "record_count": 5,
              "direction": "out", "model": "res.partner"}],
        )  # fmt: skip
        self.assertIn("1 items could not be written", report.error_message)
        self.receiver.on("/items", as_json(self.items[:1]))
        self._pull(config)
        again = self._get_reports(config) - report
        self.assertRecordValues(
            again, [{"status": "success", "record_count": 1, "error_message": False}]
        )

    def test_a_pull_that_ends_early_says_how_far_it_came(self):
        for is_now in (False, True):
            with self.subTest(is_now=is_now):
                self.receiver.on("/items", as_json(self.items[:2]), answer(404))
                config = self._make_pull(pagination_style="offset")
                if is_now:
                    self.assertFalse(config._make_outbound_http_request())
                else:
                    self._pull(config)
                report = self._get_reports(config)
                self.assertEqual(report.status, "error")
                self.assertRegex(
                    report.error_message, "ended after 1 complete pages: HTTP 404"
                )
                self.assertEqual(json.loads(report.details)["pages"], 1)
                self.assertFalse(config.last_sync_date, "the next pull begins anew")

    def test_a_pull_for_a_script_alone_ends_and_keeps_its_date(self):
        self.receiver.on("/items", as_json({"anything": 1}))
        config = self._make_pull(lines={}, response_script="log('seen')")
        self._pull(config)
        self.assertEqual(json.loads(self._get_reports(config).details)["pages"], 1)
        self.assertTrue(config.last_sync_date)

    def test_a_side_that_knows_no_pages_does_not_keep_a_pull_going(self):
        self.receiver.on("/items", as_json({"at": 1, "items": self.items[:2]}),
                         as_json({"at": 2, "items": self.items[:2]}))  # fmt: skip
        config = self._make_pull(pagination_style="offset")
        with mute_logger("bj.api.sender"):
            self._pull(config)
        self.assertEqual(len(self.receiver.requests), 2)
        self.assertIn("same as the one before", self._get_reports(config).error_message)

    def test_pull_now_says_whether_it_has_begun(self):
        def pull_now():
            params = config.action_run_now()["params"]
            return params["type"], params["message"]

        self.receiver.on("/items", as_json([]))
        config = self._make_pull()
        self.assertEqual(pull_now(), ("success", "The pull has begun."))
        kind, message = pull_now()
        self.assertEqual(kind, "warning")
        self.assertIn("not over yet", message)
        self.assertEqual(len(self._get_deliveries(config)), 1)
        config.request_script = "params['x'] = 1 / 0"
        self._send()
        kind, message = pull_now()
        self.assertEqual(kind, "danger")
        self.assertIn("division by zero", message)
        self.assertEqual(self._get_deliveries(config)[1].state, "failed")
        config.active = False
        with self.assertRaisesRegex(UserError, "archived"):
            config.action_run_now()

    def test_one_bad_item_does_not_keep_back_the_others(self):
        bad = {"ref": "Q9", "name": ["no", "text"]}
        self.receiver.on("/items", as_json([self.items[0], bad, self.items[1]]))
        config = self._make_pull()
        with mute_logger("bj.api.pull"):
            partners = self._pull(config)
        self.assertEqual(partners.mapped("ref"), ["Q0", "Q1"])
        errors = self.env["bj.api.log"].search(
            [
                ("config_id", "=", config.id),
                ("status", "=", "error"),
                ("details", "=", False),
            ]
        )
        self.assertIn("[1]", errors.error_message)

    def test_an_item_that_does_not_name_its_record_is_not_created_by_each_pull(self):
        self.receiver.on("/items", as_json([{"name": "Who?"}, self.items[0]]))
        config = self._make_pull()
        with mute_logger("bj.api.pull"):
            self._pull(config)
        self.assertFalse(self.env["res.partner"].search([("name", "=", "Who?")]))
        counts = json.loads(self._get_reports(config).details)
        self.assertEqual((counts["created"], counts["errors"]), (1, 1))

    def test_credentials_do_not_follow_a_link_to_another_host(self):
        link = f'<http://localhost:{self.receiver.port}/items?p=2>; rel="next"'
        self.receiver.on("/items", as_json(self.items[:2], headers={"Link": link}))
        config = self._make_pull(pagination_style="link")
        with mute_logger("bj.api.sender"):
            self._pull(config)
        self.assertEqual(len(self.receiver.requests), 1)
        self.assertEqual(self._get_deliveries(config).state, "failed")

    def test_a_script_gets_all_pages_at_once(self):
        self.receiver.on("/items", as_json(self.items[:2]), as_json(self.items[2:3]))
        config = self._make_pull(pagination_style="offset")
        result = config._make_outbound_http_request()
        self.assertTrue(result)
        self.assertEqual(len(result["delivery_ids"]), 2)
        self.assertEqual(
            self.env["res.partner"].search_count([("ref", "=like", "Q%")]), 3
        )

    def test_a_record_can_be_looked_up(self):
        self.receiver.on("/items/Q0", as_json({"ref": "Q0", "name": "From there"}))
        partner = self._make_partner(ref="Q0")
        config = self._make_config("GET", "/items/{ref}")
        self._trigger(config, partner)
        self._commit()
        self._send()
        self.assertEqual(partner.name, "From there")
        self.receiver.on("/items/Q0", as_json({"email": "new@example.com"}))
        self._trigger(config, partner)
        self._commit()
        self._send()
        self.assertEqual(
            partner.email, "new@example.com", "known without its identifier"
        )


@tagged("post_install", "-at_install")
class TestConfigurationButtons(OutboundCase):
    def test_connection_test_says_what_to_do(self):
        for behaviour, is_ok, hint in [
            (answer(204), True, ""),
            (answer(401), False, "Authorization"),
            (answer(404), False, "Request URL"),
            (answer(400), False, "without data"),
            (answer(405), False, "POST"),
        ]:
            with self.subTest(hint=hint):
                self.receiver.on("/orders", behaviour)
                config = self._make_config()
                found = config._test_connection()
                self.assertEqual(found["ok"], is_ok)
                self.assertIn(hint, found["message"])
                self.assertIn("connect", found["message"])
                action = config.action_test_connection()
                self.assertEqual(action["tag"], "display_notification")
                self.env.flush_all()
                row = self.env["bj.api.log"].search([("config_id", "=", config.id)])[0]
                self.assertIn(hint, row.error_message or "")
        config.url = "http://127.0.0.1:9/orders/{ref}"
        self.assertEqual(config._test_connection()["error_kind"], "connect")

    def test_preview_masks_secrets_and_sends_nothing(self):
        config = self._make_config(
            auth_type="bearer", bearer_token="secret-token-12345"
        )
        preview = config._preview_outbound(self._make_partner())
        self.assertNotIn("secret-token-12345", json.dumps(preview))
        self.assertEqual(json.loads(preview["payload"])["ref"], "C1")
        self.assertIn("curl -X POST", preview["curl"])
        self.assertFalse(self.receiver.requests)

    def test_one_click_makes_each_kind_of_trigger(self):
        config = self._make_config()
        rule = self.env["base.automation"].browse(config.action_create_rule()["res_id"])
        cron = self.env["ir.cron"].browse(config.action_create_cron()["res_id"])
        action = self.env["ir.actions.server"].browse(
            config.action_create_server_action()["res_id"]
        )
        self.assertEqual(rule.trigger, "on_create_or_write")
        self.assertEqual(
            set(rule.trigger_field_ids.mapped("name")), {*LINES, "company_id"}
        )
        self.assertEqual(cron.state, "bj_api_sync")
        # Only tomorrow: opening its form must not send everything.
        self.assertGreater(cron.nextcall, datetime.now() + timedelta(hours=23))
        self.assertEqual(action.binding_model_id, config.model_id)
        self.env.invalidate_all()
        self.assertEqual(
            config.server_action_ids,
            rule.action_server_ids | cron.ir_actions_server_id | action,
        )
        triggers = rule.fields_get(["trigger"])["trigger"]["selection"]
        on_save = dict(triggers)["on_create_or_write"]
        self.assertEqual(
            config.server_action_ids.sorted("id").mapped("bj_api_trigger"),
            [on_save, "Every day", "Action menu"],
        )
        cron.interval_number = 2
        self.env.invalidate_all()
        self.assertEqual(cron.ir_actions_server_id.bj_api_trigger, "Every 2 days")
        config.unlink()
        for trigger in (rule, cron, action):
            self.assertFalse(trigger.exists())

    def test_a_configuration_for_callers_cannot_be_triggered(self):
        config = self._make_config()
        config.write({"request_type": "in", "auth_type": "bearer"})
        with self.assertRaises(UserError):
            config.action_create_cron()
