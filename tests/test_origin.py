from odoo.tests import BaseCase

from ..tools import origin


class TestOrigin(BaseCase):
    def test_one_place_is_the_same_however_it_is_spelled(self):
        for one, other in (
            ("https://api.example.com/a", "HTTPS://API.Example.COM:443/b?c#d"),
            ("http://api.example.com", "http://api.example.com:80?x=/@y"),
            ("https://{Shop}.example.com/", "https://{Shop}.EXAMPLE.com:0443/{x}"),
            ("http://[::1]:8080/a", "http://[::1]:08080"),
        ):
            with self.subTest(one=one):
                self.assertEqual(origin.get_address(one), origin.get_address(other))

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
                self.assertNotEqual(
                    origin.get_address(base), origin.get_address(other)
                )
        upper, lower = "https://{A}.example.com", "https://{a}.example.com"
        self.assertNotEqual(origin.get_address(upper), origin.get_address(lower))

    def test_a_url_is_where_its_template_leads_to(self):
        for template, url, expected in (
            ("https://a.example.com/{x}", "https://A.example.com:443/1?y=2", True),
            ("https://{shop}.example.com/", "https://Kyiv-1.example.com/", True),
            ("https://{shop}.example.com/", "https://a.b.example.com/", False),
            ("https://{shop}.example.com/", "https://evil.org/.example.com/", False),
            ("https://a.example.com/", "http://a.example.com/", False),
            ("https://a.example.com:8443/", "https://a.example.com/", False),
            ("https://axexample.com/", "https://a.example.com/", False),
        ):
            with self.subTest(template=template, url=url):
                self.assertIs(origin.leads_to(template, url), expected)

    def test_the_keys_of_the_host_alone_are_found(self):
        self.assertEqual(
            origin.get_host_keys("https://{a.b}-{c}.example.com/{d}?e={f}"),
            (("a", "b"), ("c",)),
        )
