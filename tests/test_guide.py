import re

from lxml import etree
from odoo.tests import tagged
from odoo.tests.common import HttpCase, TransactionCase, new_test_user

from ..models.bj_api_sync_guide import LANGUAGES, PAGES, ROOT, ROUTE
from ..tools import markdown


class TestPages(TransactionCase):
    def test_every_page_of_the_list_is_there_and_every_file_is_in_the_list(self):
        guide = self.env["bj.api.sync.guide"]
        for page in PAGES:
            with self.subTest(page=page):
                self.assertTrue(guide._get_page(page)["title"])
        files = {f"docs/{path.name}" for path in ROOT.glob("docs/*.md")}
        self.assertEqual(
            files, {name for name in PAGES.values() if name.startswith("docs/")}
        )
        self.assertIsNone(guide._get_page("../odoo"))

    def test_every_link_leads_to_a_page_and_a_heading_that_are_there(self):
        for lang in LANGUAGES:
            for page in PAGES:
                values = self.env["bj.api.sync.guide"]._get_page(page, lang)
                for link in re.findall(r'href="([^"]*)"', values["text"]):
                    with self.subTest(page=page, lang=lang, link=link):
                        self._check_link(link, values)

    def _check_link(self, link, values):
        if link.startswith(("http://", "https://")):
            return
        path, _separator, anchor = link.partition("#")
        text = values["text"]
        if path:
            match = re.fullmatch(rf"{ROUTE}/(en|uk)/([\w-]+)", path)
            self.assertTrue(match, link)
            text = self.env["bj.api.sync.guide"]._get_page(match[2], match[1])["text"]
        if anchor:
            self.assertIn(anchor, re.findall(r' id="([^"]*)"', text))

    def test_every_link_between_files_leads_to_a_file(self):
        for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
            text = re.sub(
                r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S
            )
            for target in re.findall(r"\]\(([^)\s]+)\)", text):
                if "://" in target or target.startswith("#"):
                    continue
                with self.subTest(page=path.name, target=target):
                    name, _separator, anchor = target.partition("#")
                    other = path.parent / name
                    self.assertTrue(other.is_file())
                    if anchor:
                        html = markdown.render(other.read_text(encoding="utf-8"))
                        self.assertIn(f'id="{anchor}"', html)

    def test_ukrainian_readers_get_ukrainian_pages_where_there_are_any(self):
        self.env["res.lang"]._activate_lang("uk_UA")
        guide = self.env["bj.api.sync.guide"].with_context(lang="uk_UA")
        self.assertEqual(guide._get_page("quick-start")["page_lang"], "uk")
        self.assertEqual(guide._get_page("security")["page_lang"], "en")
        self.assertEqual(guide._get_page("quick-start", "en")["page_lang"], "en")


@tagged("post_install", "-at_install")
class TestServed(HttpCase):
    def test_a_reader_gets_a_page_with_tables_code_and_links(self):
        new_test_user(self.env, "bj_reader", groups="bj_api_sync.group_bj_api_user")
        self.authenticate("bj_reader", "bj_reader")
        answer = self.url_open(f"{ROUTE}/troubleshooting")
        self.assertEqual(answer.status_code, 200)
        self.assertIn('<table class="table table-sm">', answer.text)
        self.assertIn(f'href="{ROUTE}/delivery"', answer.text)
        self.assertIn(f'href="{ROUTE}/uk/troubleshooting"', answer.text)
        self.assertNotIn("://cdn", answer.text)
        self.assertEqual(self.url_open(ROUTE).status_code, 200)
        self.assertEqual(self.url_open(f"{ROUTE}/nothing").status_code, 404)

    def test_whoever_has_nothing_to_do_with_it_gets_nothing(self):
        new_test_user(self.env, "bj_stranger", groups="base.group_user")
        answer = self.url_open(f"{ROUTE}/security", allow_redirects=False)
        self.assertEqual(answer.status_code, 303)  # to the login page
        self.authenticate("bj_stranger", "bj_stranger")
        self.assertEqual(self.url_open(f"{ROUTE}/security").status_code, 404)

    def test_every_form_has_a_help_link(self):
        found = {
            (
                record.get("id"),
                bool(record.xpath(f".//a[starts-with(@href, '{ROUTE}/')]")),
            )
            for path in ROOT.glob("views/bj_*.xml")
            for record in etree.parse(path).xpath("//record[.//form]")
        }
        without = {name for name, has_help in found if not has_help}
        # A line is a part of the form that it opens from, which has one.
        self.assertEqual(without, {"bj_api_sync_config_line_view_form"})
        self.assertGreater(len(found), 8)

    def test_the_help_links_of_the_screens_lead_to_pages(self):
        found = {
            (path.name, link)
            for path in [*ROOT.glob("views/*.xml"), *ROOT.glob("static/src/**/*.xml")]
            for link in re.findall(
                rf'"({ROUTE}[^"]*)"', path.read_text(encoding="utf-8")
            )
        }
        self.assertGreater(len(found), 5)
        new_test_user(self.env, "bj_reader", groups="bj_api_sync.group_bj_api_user")
        self.env["res.lang"]._activate_lang("uk_UA")
        for lang in ("en_US", "uk_UA"):
            self.env["res.users"].search([("login", "=", "bj_reader")]).lang = lang
            self.authenticate("bj_reader", "bj_reader")
            for file, link in sorted(found):
                with self.subTest(file=file, link=link, lang=lang):
                    path, _separator, anchor = link.partition("#")
                    answer = self.url_open(path)
                    self.assertEqual(answer.status_code, 200)
                    page = path.rpartition("/")[2]
                    is_uk = lang == "uk_UA" and (ROOT / f"docs/uk/{page}.md").exists()
                    self.assertIn(f'lang="{"uk" if is_uk else "en"}"', answer.text)
                    if anchor:
                        self.assertIn(f'id="{anchor}"', answer.text)
