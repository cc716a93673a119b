from ..tools import url
from ..tools.url import PlaceholderError, UrlError
from .pure_case import PureCase

PAYLOAD = {
    "id": 7,
    "name": "Ann & Bob/Ltd?",
    "up": "..",
    "dot": ".",
    "empty": "",
    "none": None,
    "yes": True,
    "price": 1.5,
    "мова": "ук",
    "a.b": "flat",
    "address": {"city": "Львів", "zip": {"code": "79000"}},
    "lines": [{"id": 1}],
}


class TestCheck(PureCase):
    def test_complete_urls_are_accepted_with_and_without_placeholders(self):
        for value in [
            "https://api.example.com",
            "http://127.0.0.1:8069/orders?x=1#part",
            "HTTPS://[::1]:8443/",
            "https://пошта.укр/замовлення",
            "https://{shop}.example.com/orders/{address.city}?x={id}",
        ]:
            with self.subTest(url=value):
                self.assertIsNone(url.check(value))

    def test_everything_else_is_refused_with_what_to_change(self):
        for value, words in [
            ("", "empty"),
            (None, "empty"),
            ("api.example.com/orders", "https://"),
            ("ftp://example.com", "https://"),
            ("file:///etc/passwd", "https://"),
            ("javascript:alert(1)", "https://"),
            ("https://", "no host"),
            ("https:///orders", "no host"),
            ("https://:80/", "no host"),
            ("https://ann:secret@example.com/", "login or password"),
            ("https://ann@example.com/", "login or password"),
            ("https://example.com\\@evil.com/", "backslash"),
            ("https://example.com/a b", "space"),
            ("https://example.com/\r\nX: 1", "control character"),
            (" https://example.com/", "space"),
            ("https://example.com:port/", "not well formed"),
            ("https://example.com:99999/", "not well formed"),
            ("https://[::1/", "not well formed"),
        ]:
            with self.subTest(url=value), self.assertRaisesRegex(UrlError, words) as e:
                url.check(value)
            self.assertNotIn("secret", str(e.exception))


class TestToOrigin(PureCase):
    def test_an_origin_is_compared_as_browsers_send_it(self):
        for text, expected in [
            ("https://shop.example.com", "https://shop.example.com"),
            ("https://shop.example.com/", "https://shop.example.com"),
            ("HTTPS://Shop.example.com:443/", "https://shop.example.com"),
            ("http://localhost:80", "http://localhost"),
            ("http://localhost:8080/", "http://localhost:8080"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("https://[2001:0DB8:0::1]:0443", "https://[2001:db8::1]"),
            ("https://Кава.example/", "https://xn--80aaf4a.example"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("*", "*"),
            ("null", "null"),
        ]:
            with self.subTest(text=text):
                self.assertEqual(url.to_origin(text), expected)

    def test_what_no_browser_sends_is_no_origin(self):
        for text in (
            "shop.example.com",
            "https://shop.example.com/app",
            "https://shop.example.com//",
            "https://shop.example.com?x=1",
            "https://*.example.com",
            "https://ann@shop.example.com",
            "https://",
            "https://shop.example.com:",
            "https://shop.example.com:66000",
            "https://shop.example.com:https",
            "https://a..example.com",
            "https://::1",
            "https://[::1",
        ):
            with self.subTest(text=text):
                self.assertIsNone(url.to_origin(text))


class TestExpand(PureCase):
    def test_values_are_encoded_for_the_place_they_stand_in(self):
        for template, expected in [
            ("https://x/{id}", "https://x/7"),
            ("https://x/{name}/y", "https://x/Ann%20%26%20Bob%2FLtd%3F/y"),
            ("https://x/{address.city}", "https://x/%D0%9B%D1%8C%D0%B2%D1%96%D0%B2"),
            ("https://x/{address.zip.code}-{id}", "https://x/79000-7"),
            (r"https://x/{a\.b}", "https://x/flat"),
            ("https://x/{мова}", "https://x/%D1%83%D0%BA"),
            ("https://x/a{up}b", "https://x/a..b"),
            ("https://x/{yes}/{price}", "https://x/true/1.5"),
            (
                "https://x/y?n={name}&d={up}",
                "https://x/y?n=Ann%20%26%20Bob%2FLtd%3F&d=..",
            ),
            ("https://x/y?n={empty}{none}", "https://x/y?n="),
            ("https://x?n={id}", "https://x?n=7"),
            ("https://shop-{id}.x/", "https://shop-7.x/"),
            ("https://x/a/../b/", "https://x/a/../b/"),
            ("https://x/%7B?q=%20", "https://x/%7B?q=%20"),
        ]:
            with self.subTest(template=template):
                self.assertEqual(url.expand(template, PAYLOAD), expected)

    def test_a_value_that_would_change_the_path_or_host_is_refused(self):
        for template, key in [
            ("https://x/{up}/y", "up"),
            ("https://x/{dot}", "dot"),
            ("https://x/{dot}{dot}/y", "dot"),
            ("https://x/.{dot}/y", "dot"),
            ("https://x/orders/{empty}", "empty"),
            ("https://x/orders/{none}", "none"),
            ("https://x/a{empty}", "empty"),
            ("https://{name}/", "name"),
            ("https://{price}.x/", "price"),
            ("https://{empty}x/", "empty"),
            ("https://x/{lines}", "lines"),
            ("https://x/?a={address}", "address"),
        ]:
            with self.subTest(template=template):
                with self.assertRaises(PlaceholderError) as caught:
                    url.expand(template, PAYLOAD)
                self.assertEqual(caught.exception.key, key)
                self.assertIn(f"{{{key}}}", str(caught.exception))

    def test_a_missing_value_is_named_with_what_there_is(self):
        payload = {"id": 1, "a.b": 2, "address": {"city": "Kyiv"}, "lines": []}
        for key in ["number", "address.zip", "id.x", "lines.0", "__class__"]:
            with self.subTest(key=key):
                with self.assertRaises(PlaceholderError) as caught:
                    url.expand(f"https://x/{{{key}}}", payload)
                self.assertEqual(caught.exception.key, key)
                available = ("id", r"a\.b", "address.city")
                self.assertEqual(caught.exception.available, available)
                self.assertIn("Available: id", str(caught.exception))
        with self.assertRaisesRegex(PlaceholderError, "Available: none"):
            url.expand("https://x/{id}", [payload])

    def test_the_value_of_a_parameter_is_filled_and_encoded_once(self):
        value = url.expand("{name} {up}{empty}", PAYLOAD, query=True)
        self.assertEqual(value, "Ann & Bob/Ltd? ..")
        self.assertEqual(
            url.with_params("https://x/", [("q", value)]),
            "https://x/?q=Ann%20%26%20Bob%2FLtd%3F%20..",
        )

    def test_placeholders_are_found_once_each_in_order(self):
        template = r"https://{shop}.x/{id}/{a\.b}?x={id}&y={address.city}&z={}{ }"
        expected = ("shop", "id", r"a\.b", "address.city")
        self.assertEqual(url.placeholders(template), expected)


class TestWithParams(PureCase):
    def test_pairs_are_added_to_what_is_there(self):
        for value, pairs, expected in [
            ("https://x/a", [], "https://x/a"),
            ("https://x/a", [("q", "1"), ("q", "2")], "https://x/a?q=1&q=2"),
            (
                "https://x/a?b=%20c",
                [("д", "&=/")],
                "https://x/a?b=%20c&%D0%B4=%26%3D%2F",
            ),
            ("https://x/a?", [("q", True), ("n", None)], "https://x/a?q=true&n="),
            ("https://x#part", [("q", 1)], "https://x?q=1"),
        ]:
            with self.subTest(url=value, pairs=pairs):
                self.assertEqual(url.with_params(value, pairs), expected)


class TestAddress(PureCase):
    def test_one_place_is_the_same_however_it_is_spelled(self):
        for one, other in (
            ("https://api.example.com/a", "HTTPS://API.Example.COM:443/b?c#d"),
            ("http://api.example.com", "http://api.example.com:80?x=/@y"),
            ("https://{Shop}.example.com/", "https://{Shop}.EXAMPLE.com:0443/{x}"),
            ("http://[::1]:8080/a", "http://[::1]:08080"),
        ):
            with self.subTest(one=one):
                self.assertEqual(url.get_address(one), url.get_address(other))

    def test_another_place_is_another_one(self):
        base = "https://api.example.com/a"
        for other in (
            "http://api.example.com/a",
            "http://api.example.com:443/a",
            "https://api.example.com:8443/a",
            "https://api.example.com.evil.org/a",
            "https://evil.org/?https://api.example.com/a",
            "https://evil.org#@api.example.com/a",
            "https://api.example.com@evil.org/a",
            "https://{host}/a",
            "https://api.{x}.com/a",
            "https://xapi.example.com/a",
            "//api.example.com/a",
            "",
            False,
        ):
            with self.subTest(other=other):
                self.assertNotEqual(url.get_address(base), url.get_address(other))
        upper, lower = "https://{A}.example.com", "https://{a}.example.com"
        self.assertNotEqual(url.get_address(upper), url.get_address(lower))

    def test_a_url_is_where_its_template_leads_to(self):
        for template, found, expected in (
            ("https://a.example.com/{x}", "https://A.example.com:443/1?y=2", True),
            ("https://{shop}.example.com/", "https://Kyiv-1.example.com/", True),
            ("https://{shop}.example.com/", "https://a.b.example.com/", False),
            ("https://{shop}.example.com/", "https://evil.org/.example.com/", False),
            ("https://a.example.com/", "http://a.example.com/", False),
            ("https://a.example.com:8443/", "https://a.example.com/", False),
            ("https://axexample.com/", "https://a.example.com/", False),
        ):
            with self.subTest(template=template, url=found):
                self.assertIs(url.leads_to(template, found), expected)

    def test_the_keys_of_the_host_alone_are_found(self):
        self.assertEqual(
            url.get_host_keys("https://{a.b}-{c}.example.com/{d}?e={f}"),
            (("a", "b"), ("c",)),
        )
