import json

from odoo.tests import tagged

from . import receiver
from .common import ApiCase
from .outbound_common import OutboundCase

TOKEN, KEY, PARAM = "out-token-1234567", "out-key-7654321", "out-param-555"


@tagged("post_install", "-at_install")
class TestAnswersThatRepeat(OutboundCase):
    """The other side repeats the credentials that it was sent."""

    def test_no_secret_of_a_request_is_kept_from_its_answer(self):
        echo = f"Token {TOKEN} and key {KEY} are unknown, {PARAM} too"
        for status in (200, 400, 302):
            with self.subTest(status=status):
                self.receiver.clear()
                headers = {"X-Echo": echo, "Location": f"/again/{TOKEN}"}
                body = json.dumps({"message": echo}).encode()
                self.receiver.on("/orders", receiver.answer(status, body, headers))
                config = self._make_config(
                    auth_type="bearer",
                    bearer_token=TOKEN,
                    header_ids=[
                        (0, 0, {"name": "X-Shop", "value": KEY, "is_secret": True})
                    ],
                    param_ids=[(0, 0, {"name": "api_key", "value": PARAM})],
                )
                delivery = self._enqueue(config, self._make_partner(ref=f"C{status}"))
                self.assertEqual(self._send(), 1)
                request = self.receiver.requests[-1]
                self.assertEqual(request.headers["x-shop"], KEY)
                self.assertEqual(dict(request.query)["api_key"], PARAM)
                shown = str(delivery.read(["url", "last_error"]))
                shown += str(delivery.log_ids.read())
                for secret in (TOKEN, KEY, PARAM):
                    self.assertNotIn(secret, shown)
                self.assertEqual(len(delivery.log_ids), 1)

    def test_a_preview_masks_parameters_and_headers_alike(self):
        config = self._make_config(
            param_ids=[(0, 0, {"name": "api_key", "value": PARAM})],
            header_ids=[(0, 0, {"name": "X-Auth-Token", "value": KEY})],
        )
        shown = config._preview_outbound(self._make_partner())
        self.assertNotIn(PARAM, str(shown))
        self.assertNotIn(KEY, str(shown))
        self.assertIn("api_key=***", shown["curl"])


@tagged("post_install", "-at_install")
class TestRefusalsThatRepeat(ApiCase):
    def test_no_row_keeps_a_secret_that_an_error_repeats(self):
        self.config.line_ids = self.make_lines({"token_count": "color", "pin": "vat"})
        for query in (
            "token_count=hush-1234",
            "token_count__in=hush-1234,5",
            "token_count__gt=hush-1234",
            'domain=[["token_count","=","hush-1234"]]',
            "domain=[('token_count','in',('hush-1234','hush-12345'))]",
            "domain=%5B%5B%22token_count%22%2C%22%3D%22%2C%22hush-1234%22%5D%5D",
        ):
            with self.subTest(query=query):
                response = self._call("GET", f"contacts?{query}")
                self.assertEqual(response.status_code, 400)
                self.assertIn("hush-1234", response.text)  # it is the caller's own
                self.assertNotIn("hush-1234", str(self._logs(response).read()))

    def test_pages_of_a_list_keep_no_secret_that_it_is_filtered_by(self):
        self.config.line_ids = self.make_lines({"password": "comment"})
        for query in (
            'domain=["|",["password","=","hush-1234"],["name","!=","x"]]',
            "domain=['|',('password','=','hush-1234'),('name','!=','x')]",
            "password__ne=hush-1234",
        ):
            with self.subTest(query=query):
                response = self._call("GET", f"contacts?limit=1&{query}")
                self.assertEqual(response.status_code, 200)
                self.assertIn("hush-1234", response.headers["Link"])
                log = self._logs(response)
                self.assertIn("rel=", log.response_headers)
                self.assertNotIn("hush-1234", str(log.read()))
