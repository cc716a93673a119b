import json
import time
from urllib.parse import quote, quote_plus

from ..tools import redact
from ..tools.redact import MASK, Redactor
from .pure_case import PureCase

SECRET = "hunter2xyzzy"
DOMAINS = [
    f'[["password","=","{SECRET}"]]',
    f"[('password', '=', '{SECRET}')]",
    f"[('password','in',('{SECRET}','{SECRET}2'))]",
    f'["|",["name","=","x"],["user_id.api_key","ilike","{SECRET}"]]',
    f'[["child_ids","any",[["token","!=","{SECRET}"]]]]',
    f"[['pass\\x77ord','=','{SECRET}']]",
    f'[["pass\\u0077ord","=","{SECRET}"]]',
    f"[['pass' 'word','=like','{SECRET}']]",
    f"[['password','=',b'{SECRET}']]",
    f'[["password","=","a&b;{SECRET}"]]',
    f'[["password","=","\\"{SECRET}"]]',
    f'[["password", "not in", [1, "{SECRET}"]]]',
    f'[["password","=",{{"a": "{SECRET}"}}]]',
]
BROKEN = [
    f'[["password","=","{SECRET}"',
    f'[["password","=",uid or "{SECRET}"]]',
    f"[('password','=','x' '{SECRET}'",
    f'[["password","=","x"], "{SECRET}"',
]


class TestTerms(PureCase):
    def test_a_domain_in_a_url_does_not_show_what_it_searches_for(self):
        redactor = Redactor()
        for domain in (*DOMAINS, *BROKEN):
            for encode in (quote, quote_plus, lambda text: quote(quote(text)), hexed):
                url = f"/v1/x?limit=1&domain={encode(domain)}&fields=name"
                with self.subTest(url=url):
                    masked = redactor.query(url)
                    self.assertNotIn(SECRET, masked)
                    self.assertNotIn(SECRET, redact.decode(masked))
                    self.assertTrue(masked.startswith("/v1/x?limit=1&domain="))
                    self.assertTrue(masked.endswith("&fields=name"))
                    # As in Link and Location, and in a form.
                    for text in (f'<http://h{url}>; rel="next"', url.split("?")[1]):
                        self.assertNotIn(SECRET, redactor.text(text))

    def test_a_domain_that_is_not_encoded_is_masked_too(self):
        for domain in DOMAINS:
            if "&" in domain or "' '" in domain:
                continue  # the parameter ends there; no name is to be seen
            for text in (f"/v1/x?domain={domain}", f"domain={domain}", domain):
                with self.subTest(text=text):
                    self.assertNotIn(SECRET, Redactor().text(text))
            self.assertNotIn(SECRET, Redactor().query(f"/v1/x?domain={domain}"))

    def test_bodies_with_domains_are_masked(self):
        for domain in DOMAINS[:5]:
            body = json.dumps({"args": [domain]})
            self.assertNotIn(SECRET, Redactor().body(body, "application/json"))
        value = {"domain": [["password", "=", SECRET], ["name", "=", "x"]]}
        masked = json.loads(Redactor().body(json.dumps(value), "application/json"))
        self.assertEqual(
            masked, {"domain": [["password", "=", MASK], ["name", "=", "x"]]}
        )

    def test_what_is_no_secret_stays_as_it_was_sent(self):
        for url in (
            "/x?domain=" + quote('[["name","=","token"]]'),
            "/x?order=token+desc&name=a%20b",
            "/x?name=token",
            "/x?name=a;b;c&d=password",
            "/x?note=" + quote("the password is on the desk"),
            "/x#password",
        ):
            with self.subTest(url=url):
                self.assertEqual(Redactor().query(url), url)

    def test_a_url_in_a_url_is_masked(self):
        for inner in (f"/y?token={SECRET}", f"https://u:{SECRET}@h/?token=x"):
            for outer in (
                f"/x?next={quote_plus(inner)}",
                f"/x?next={quote_plus(quote_plus(inner))}",
                f"/x?next={inner}",
                f"/x?a=%3F%3F&next={inner}&b=1",
            ):
                with self.subTest(url=outer):
                    self.assertNotIn(SECRET, Redactor().query(outer))

    def test_filters_by_a_secret_name_are_masked_with_any_operator(self):
        for name in ("password__like", "api-key__in", "pass%77ord", "user.token__ne"):
            for text in (f"/x?{name}={SECRET}", f"{name}={SECRET}&a=1"):
                with self.subTest(text=text):
                    self.assertNotIn(SECRET, Redactor().text(text))


class TestEscapes(PureCase):
    def test_keys_with_escapes_are_found_in_broken_json(self):
        for text in (
            f'{{"pass\\u0077ord":"{SECRET}",',
            f'{{"\\u0070\\u0061ssword": "{SECRET}"',
            f'{{"a": 1, "to\\u006ben" : ["{SECRET}"',
            f'{{"body": "{{\\"pass\\\\u0077ord\\": \\"{SECRET}\\"}}", ',
            f"{{'pass\\x77ord': '{SECRET}'}}",
            f"{{'pass\\U00000077ord': '{SECRET}'}}",
            f"{{'password': b'{SECRET}'}}",
            f"login(password=b'{SECRET}')",
            f'{{"password":"a", "pass\\u0077ord":"{SECRET}",',
        ):
            with self.subTest(text=text):
                self.assertNotIn(SECRET, Redactor().body(text, "application/json"))
                self.assertNotIn(SECRET, Redactor().text(text))

    def test_a_text_that_hides_nothing_keeps_its_escapes(self):
        for text in ('{"na\\u006de": "x"', "C:\\u0041", "\\u0456\\\\", "a\\x41b"):
            self.assertEqual(Redactor().text(text), text)


class TestEchoes(PureCase):
    def test_what_is_masked_in_a_request_is_hidden_where_an_answer_repeats_it(self):
        url = (
            f"/x?password__in=abcd,{SECRET}1&a=plain&domain="
            + quote(f'[["token","in",["{SECRET}2", 12345]],["name","=","x"]]')
            + f"&domain={quote(BROKEN[0])}"
        )
        headers = {
            "Authorization": "Basic " + "dXNlcjpodW50ZXIyLWJhc2lj",  # hunter2-basic
            "X-Api-Key": f"{SECRET}3",
            "X-Mine": f"Bearer {SECRET}4",
            "Accept": "application/json",
            "Cookie": 5,
        }
        echoes = Redactor(["x-mine"]).find_echoes(url, headers)
        for text in (
            *(f"{SECRET}{number}" for number in ("", 1, 2, 3, 4)),
            *("abcd", "12345", "dXNlcjpodW50ZXIyLWJhc2lj", "hunter2-basic"),
        ):
            with self.subTest(text=text):
                self.assertIn(text, echoes)
                shown = redact.hide(f'{{"message": "not {text}!"}}', echoes)
                self.assertEqual(shown, '{"message": "not ***!"}')
        for text in ("plain", "x", "application/json"):
            self.assertNotIn(text, echoes)

    def test_it_is_hidden_inside_json_and_urls_too(self):
        echoes = {'qu"ote ї/x'}
        for text in (json.dumps('qu"ote ї/x'), quote_plus('qu"ote ї/x')):
            with self.subTest(text=text):
                self.assertIn(MASK, redact.hide(f"a {text} b", echoes))
                self.assertNotIn("ote", redact.hide(f"a {text} b", echoes))

    def test_a_request_without_secrets_has_none(self):
        self.assertFalse(Redactor().find_echoes("/x?a=1&b=2", {"Accept": "a" * 20}))
        self.assertFalse(Redactor().find_echoes("", None))


class TestTime(PureCase):
    def test_hostile_urls_and_texts_take_linear_time(self):
        size = 30_000
        redactor = Redactor()
        for text in (
            "?a=" * size + "token",
            "?a=token;" * (size // 9),
            "?a=token" + ";b" * size,
            "%25" * size + "token",
            '"token","=",' * (size // 12),
            '"token","=",' + '"a" ' * size,
            "?d=" + "[" * size + "token",
            "?d=" + "(" * 7000 + "token",
            "?d=" + '[["token","=","a"],' * 300,
            "\\u0070" * size + "token",
            "\\" * size + "token",
            "?a=%3Fa%3D" * 3000 + "token",
            "b'" * size + "token",
        ):
            with self.subTest(text=text[:14]):
                start = time.process_time()
                redactor.body(text)
                redactor.query(text)
                redactor.find_echoes(text, {})
                self.assertLess(time.process_time() - start, 3)


def hexed(text):
    return "".join(f"%{byte:02x}" for byte in text.encode())
