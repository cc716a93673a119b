from unittest.mock import patch

from odoo.exceptions import UserError
from odoo.tests import BaseCase, tagged

from ..tools import dry_run
from .common import ApiCase
from .outbound_common import LINES, OutboundCase
from .receiver import Receiver

TOLD = "Not sent: dry run"


class TestMark(BaseCase):
    def test_what_is_within_a_dry_run_is_one(self):
        self.assertFalse(dry_run.is_marked())
        with dry_run.marked(False):
            self.assertFalse(dry_run.is_marked())
        with self.assertRaises(ZeroDivisionError), dry_run.marked():
            with dry_run.marked(False):
                self.assertTrue(dry_run.is_marked())
            raise ZeroDivisionError
        self.assertFalse(dry_run.is_marked())


class SendingCase(ApiCase):
    """``/contacts`` has scripts that send to a receiver on loopback."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.receiver = cls.enterClassContext(Receiver())
        cls.out = cls.make_config(
            LINES,
            name="Out",
            request_type="out",
            methods=("POST",),
            auth_type="none",
            url=cls.receiver.url("/orders"),
        )
        cls.pull = cls.make_config(
            {},
            name="Pull",
            request_type="out",
            methods=("GET",),
            auth_type="none",
            url=cls.receiver.url("/list"),
        )
        cls.send = (
            f"sent = env['bj.api.sync.config'].sudo().browse({cls.out.id})"
            f"._make_outbound_http_request({cls.ann.id})\n"
        )

    def setUp(self):
        super().setUp()
        self.receiver.clear()

    def _is_silent(self):
        self.env.invalidate_all()
        deliveries = self.env["bj.api.sync.delivery"].search(
            [("config_id", "in", (self.out | self.pull).ids)]
        )
        return not self.receiver.requests and not deliveries


@tagged("post_install", "-at_install")
class TestDryRun(SendingCase):
    def test_no_script_of_a_call_sends(self):
        self.config.write(
            {
                "request_script": self.send,
                "response_script": self.send,
                "upsert": True,
                "line_ids": self.make_lines(
                    {
                        "sent": {
                            "value_type": "python_plain",
                            "script_mode": "execute",
                            "script": self.send,
                            "read_script": self.send,
                        }
                    }
                ),
            }
        )
        row = {"customer_id": "T-new", "name": "New", "sent": 1}
        for method, path, body in (
            ("POST", "contacts", row),
            ("POST", "contacts", [row]),
            ("PUT", "contacts/T-ann", {"name": "Anna", "sent": 1}),
            ("PUT", "contacts", row),
            ("DELETE", "contacts/T-bob", None),
        ):
            with self.subTest(method=method, path=path, body=body):
                more = {} if body is None else {"json": body}
                answer = self._call(method, f"{path}?dry_run=true", **more)
                self.assertLess(answer.status_code, 300, answer.text)
                self.assertTrue(self._is_silent())
        self._call("PUT", "contacts/T-ann", {"name": "Anna", "sent": 1})
        self.assertFalse(self._is_silent(), "a call that is none sends")

    def test_the_script_is_told_in_the_usual_form(self):
        self.config.response_script = (
            f"{self.send}"
            "if sent or sent.ok or sent['success'] or sent.get('data') is not None:\n"
            "    raise UserError('sent')\n"
            "response_data['told'] = [sent['message'], sent.status_code, sent.text,\n"
            "                         sent['delivery_ids'], sent.headers]"
        )
        answer = self._call("PUT", "contacts/T-ann?dry_run=1", {"name": "Anna"})
        self.assertEqual(answer.json().get("told"), [TOLD, None, "", [], {}])

    def test_what_cannot_be_sent_at_all_is_still_refused(self):
        self.config.request_script = self.send.replace(str(self.ann.id), "")
        answer = self._call("PUT", "contacts/T-ann?dry_run=1", {"name": "Anna"})
        self.assertEqual(answer.status_code, 400)
        self.assertIn("say which records", answer.text)

    def test_a_script_does_not_lose_the_mark(self):
        browse = f"browse({self.out.id})"
        for source in (
            f"env(su=True)['bj.api.sync.config'].{browse}",
            f"env['bj.api.sync.config'].with_user(1).with_context({{}}).{browse}",
            f"env(context={{}}, user=2)['bj.api.sync.config'].sudo().{browse}",
        ):
            with self.subTest(source=source):
                self.config.request_script = (
                    f"{source}._make_outbound_http_request({self.ann.id})"
                )
                answer = self._call("PUT", "contacts/T-ann?dry_run=1", {"name": "A"})
                self.assertEqual(answer.status_code, 200, answer.text)
                self.assertTrue(self._is_silent())

    def test_neither_a_pull_nor_a_test_of_the_connection_leaves(self):
        for script, status in (
            (f"env['bj.api.sync.config'].sudo().browse({self.pull.id})"
             "._make_outbound_http_request()", 200),
            (f"env['bj.api.sync.config'].sudo().browse({self.pull.id})"
             ".action_run_now()", 200),
            (f"env['bj.api.sync.config'].sudo().browse({self.out.id})"
             ".action_test_connection()", 400),
        ):  # fmt: skip
            with self.subTest(script=script):
                self.config.request_script = script
                answer = self._call("PUT", "contacts/T-ann?dry_run=1", {"name": "A"})
                self.assertEqual(answer.status_code, status, answer.text)
                self.assertTrue(self._is_silent())

    def test_what_a_rule_does_meanwhile_does_not_leave_either(self):
        model_id = self.env.ref("base.model_res_partner").id
        code = self.send.replace(f"({self.ann.id})", "(record)")
        self.env["base.automation"].create(
            {
                "name": "Send",
                "model_id": model_id,
                "trigger": "on_create_or_write",
                "action_server_ids": [
                    (0, 0, {"name": "Code", "model_id": model_id, "state": "code",
                            "usage": "base_automation", "code": code}),
                    (0, 0, {"name": "Hook", "model_id": model_id, "state": "webhook",
                            "usage": "base_automation",
                            "webhook_url": self.receiver.url("/hook")}),
                    (0, 0, {"name": "Ours", "model_id": model_id,
                            "state": "bj_api_sync", "usage": "base_automation",
                            "bj_api_config_id": self.out.id}),
                ],
            }
        )  # fmt: skip
        answer = self._call("PUT", "contacts/T-ann?dry_run=1", {"name": "Anna"})
        self.assertEqual(answer.status_code, 200, answer.text)
        self.assertTrue(self._is_silent())
        self._call("PUT", "contacts/T-ann", {"name": "Anna"})
        self.assertTrue(self.receiver.requests)

    def test_mail_that_a_script_sends_at_once_does_not_leave(self):
        self.config.request_script = (
            "env['mail.mail'].sudo().create({'subject': 'x', 'body_html': 'x',\n"
            "    'email_to': 'a@example.com', 'email_from': 'b@example.com'}).send()"
        )
        servers = type(self.env["ir.mail_server"])
        base = next(
            cls for cls in servers.__mro__ if cls.__module__.startswith("odoo.addons.base.")
        )  # fmt: skip
        # 19.0 asks before whether a test is running, and then does not get that far.
        with (
            patch.object(base, "_disable_send", return_value=False, create=True),
            patch.object(base, "_connect__", return_value=None, create=True),
            patch.object(base, "send_email", return_value="id") as send,
        ):
            self._call("PUT", "contacts/T-ann?dry_run=1", {"name": "Anna"})
            self.assertFalse(send.called)
            self._call("PUT", "contacts/T-ann", {"name": "Anna"})
            self.assertTrue(send.called)


@tagged("post_install", "-at_install")
class TestPreview(SendingCase):
    def test_the_preview_of_a_call_sends_only_for_real(self):
        self.config.response_script = f"{self.send}response_data['m'] = sent['message']"
        preview = self.env["bj.api.sync.preview"].create(
            {
                "config_id": self.config.id,
                "body": '{"customer_id": "T-pre", "name": "Pre"}',
            }
        )
        preview.action_preview()
        self.assertIn(TOLD, preview.answer)
        self.assertTrue(self._is_silent())
        preview.action_run()
        self.assertFalse(self._is_silent())


class TestPreviewOut(OutboundCase):
    def _make_sending(self, path="/orders"):
        other = self._make_config(path="/other")
        partner = self._make_partner()
        script = (
            "sent = env['bj.api.sync.config']"
            f".browse({other.id})._make_outbound_http_request(record)\n"
            "request_data['told'] = sent['message']"
        )
        return self._make_config(path=path, request_script=script), partner

    def _get_paths(self):
        return {request.path for request in self.receiver.requests}

    def test_the_preview_of_a_record_sends_nothing_of_another_configuration(self):
        config, partner = self._make_sending()
        preview = self.env["bj.api.sync.preview"].create(
            {"config_id": config.id, "res_id": partner.id}
        )
        preview.action_preview()
        self.assertIn(TOLD, preview.request_body)
        self.assertFalse(self._get_paths())
        preview.action_run()
        self.assertEqual(self._get_paths(), {"/orders", "/other"})

    def test_a_test_of_the_connection_asks_for_nothing_else(self):
        config, _partner = self._make_sending("/orders/{ref}")
        config.action_test_connection()
        self.assertNotIn("/other", self._get_paths())
        self.assertTrue(self._get_paths())

    def test_a_dry_run_sends_nothing_that_waits_either(self):
        config = self._make_config()
        delivery = self._enqueue(config, self._make_partner())
        with dry_run.marked():
            self.assertEqual(self._send(), 0)
            with self.assertRaisesRegex(UserError, TOLD):
                config.action_test_connection()
        self.assertEqual(delivery.state, "pending")
        self.assertFalse(self.receiver.requests)
        self.assertEqual(self._send(), 1)
