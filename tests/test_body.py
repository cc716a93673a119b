from odoo.tests import tagged
from odoo.tools import mute_logger

from .outbound_common import OutboundCase


@tagged("post_install", "-at_install")
class TestTextAsPayload(OutboundCase):
    """What a Request Script gives as text, under the Content-Type that is in force."""

    def _get_sent(self, script, **vals):
        """Return ``(body, Content-Type)`` of what arrives, or the error."""
        self.receiver.clear()
        config = self._make_config(request_script=script, **vals)
        delivery = self._enqueue(config, self._make_partner())
        if delivery.state == "failed":
            return delivery.last_error
        self._send()
        (request,) = self.receiver.requests
        return request.body.decode(), request.headers.get("content-type")

    def _with_header(self, value, name="Content-Type", **vals):
        return [(0, 0, {"name": name, "value": value, **vals})]

    def test_it_is_sent_as_it_is_under_another_type(self):
        xml = 'result = \'<?xml version="1.0"?>\\n<order note="Чай &amp; "/>\''
        body = '<?xml version="1.0"?>\n<order note="Чай &amp; "/>'
        for name in ("Content-Type", "content-type", "CONTENT-TYPE"):
            for is_secret in (False, True):
                with self.subTest(name=name, is_secret=is_secret):
                    header = self._with_header("text/xml", name, is_secret=is_secret)
                    sent = self._get_sent(xml, header_ids=header)
                    self.assertEqual(sent, (body, "text/xml"))
        for value in (
            "text/xml; charset=utf-8",
            "text/plain",
            "application/soap+xml",
            "application/x-ndjson",
            "application/jsonp",
        ):
            for name in ("Content-Type", "content-type"):
                with self.subTest(value=value, name=name):
                    script = f"headers[{name!r}] = {value!r}\n{xml}"
                    self.assertEqual(self._get_sent(script), (body, value))

    def test_what_the_script_sets_wins_over_the_configuration(self):
        script = "headers['content-type'] = 'text/csv'\nresult = 'a;b'"
        header = self._with_header("application/json")
        self.assertEqual(self._get_sent(script, header_ids=header), ("a;b", "text/csv"))
        script = "headers['content-type'] = 'application/json'\nresult = 'a;b'"
        header = self._with_header("text/csv")
        self.assertEqual(
            self._get_sent(script, header_ids=header), ('"a;b"', "application/json")
        )

    def test_json_stays_json(self):
        text = "result = '<order/>'"
        self.assertEqual(self._get_sent(text), ('"<order/>"', "application/json"))
        for value in (
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/vnd.api+json",
            "application/problem+JSON ;q=1",
        ):
            with self.subTest(value):
                sent = self._get_sent(text, header_ids=self._with_header(value))
                self.assertEqual(sent, ('"<order/>"', value))
        # Anything but text is JSON whatever the header says.
        sent = self._get_sent("pass", header_ids=self._with_header("text/plain"))
        self.assertIn('"name":"Ada"', sent[0])
        sent = self._get_sent(
            "headers.pop('Content-Type')\nresult = 'x'",
            header_ids=self._with_header("text/plain"),
        )
        self.assertEqual(sent, ('"x"', None))

    def test_bytes_are_sent_if_they_are_text(self):
        script = "headers['Content-Type'] = 'text/plain'\nresult = b64decode(%r)"
        self.assertEqual(
            self._get_sent(script % "0KfQsNC5"), ("Чай", "text/plain"), "UTF-8"
        )
        error = self._get_sent(script % "/9j/4A==")
        self.assertIn("UTF-8", error)
        self.assertIn("Request Script", error)

    def test_another_charset_than_utf_8_is_an_error_unless_it_makes_no_difference(self):
        script = "headers['Content-Type'] = 'text/xml; charset=\"windows-1251\"'\n"
        error = self._get_sent(script + "result = '<Чай/>'")
        self.assertIn("windows-1251", error)
        sent = self._get_sent(script + "result = '<tea/>'")
        self.assertEqual(sent[0], "<tea/>")

    def test_what_cannot_be_stored_is_an_error_that_says_so(self):
        for text in ("a\\x00b", "a\\ud800b"):
            with self.subTest(text), mute_logger("odoo.sql_db"):
                script = f"headers['Content-Type'] = 'text/plain'\nresult = '{text}'"
                self.assertIn("Request Script", self._get_sent(script))

    def test_a_form_takes_a_text_as_it_is(self):
        form = "application/x-www-form-urlencoded"
        sent = self._get_sent("result = 'a=1&b=%D0%A7'", content_type="form")
        self.assertEqual(sent, ("a=1&b=%D0%A7", form))
        sent = self._get_sent("result = b64decode('YT0x')", content_type="form")
        self.assertEqual(sent, ("a=1", form))
        sent = self._get_sent("request_data['ref'] = 'x y'", content_type="form")
        self.assertIn("ref=x+y", sent[0])

    def test_nothing_is_sent_for_an_empty_text(self):
        self.receiver.clear()
        config = self._make_config(
            request_script="headers['Content-Type'] = 'text/plain'\nresult = ''"
        )
        self._enqueue(config, self._make_partner())
        self._send()
        self.assertEqual(self.receiver.requests[0].body, b"")

    def test_preview_and_at_once_are_the_same(self):
        config = self._make_config(
            request_script="result = '<order/>'",
            header_ids=self._with_header("text/xml"),
        )
        partner = self._make_partner()
        self.assertEqual(config._preview_outbound(partner)["payload"], "<order/>")
        self.assertTrue(config._make_outbound_http_request(partner))
        self.assertEqual(self.receiver.requests[0].body, b"<order/>")

    def test_a_batch_may_be_one_text(self):
        config = self._make_config(
            is_paginated=True,
            request_script="result = '\\n'.join(item['ref'] for item in request_data)",
            header_ids=self._with_header("text/csv"),
        )
        self._enqueue(config, self._make_partner() | self._make_partner(ref="C2"))
        self._send()
        self.assertEqual(self.receiver.requests[0].body, b"C1\nC2")
