"""The store page and what says who made the addon and under which terms."""

import ast
import re
from pathlib import Path

from ..tools import markdown
from .pure_case import PureCase

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "static" / "description"
MANIFEST = ast.literal_eval((ROOT / "__manifest__.py").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (FOLDER / "index.html").read_text(encoding="utf-8")


class TestStorePage(PureCase):
    def test_every_image_is_there_small_and_described(self):
        images = re.findall(r'<img src="([^"]*)" alt="([^"]*)"', PAGE)
        self.assertEqual(len(images), PAGE.count("<img"))
        for name, text in images:
            with self.subTest(name=name):
                data = (FOLDER / name).read_bytes()
                self.assertTrue(data.startswith(b"\x89PNG"))
                self.assertLess(len(data), 150_000)
                self.assertTrue(text or name == "icon.png")

    def test_every_picture_that_is_there_is_shown(self):
        found = {path.name for path in FOLDER.glob("*.png")}
        self.assertEqual(found, set(re.findall(r'<img src="([^"]*)"', PAGE)))

    def test_it_runs_nothing_and_loads_nothing_from_elsewhere(self):
        for bad in ("<script", "<link", "<iframe", "<style", "javascript:", "url("):
            self.assertNotIn(bad, PAGE)
        self.assertFalse(re.search(r'src="[^"]*//', PAGE))
        self.assertFalse(re.search(r"\son[a-z]+=", PAGE))

    def test_its_links_lead_to_pages_of_the_documentation(self):
        links = re.findall(r'href="([^"]*)"', PAGE)
        self.assertGreater(len(links), 10)
        for link in links:
            with self.subTest(link=link):
                name, _separator, anchor = link.partition("#")
                path = name.removeprefix("/bj_api_sync/docs/")
                self.assertNotEqual(path, name)
                page = ROOT / "docs" / f"{path}.md"
                self.assertTrue(page.is_file())
                if anchor:
                    html = markdown.render(page.read_text(encoding="utf-8"))
                    self.assertIn(f'id="{anchor}"', html)


class TestManifest(PureCase):
    def test_the_pictures_that_the_manifest_names_are_there(self):
        self.assertTrue(MANIFEST["images"])
        for name in [*MANIFEST["images"], "static/description/icon.png"]:
            self.assertTrue((ROOT / name).is_file(), name)

    def test_author_license_and_support_are_the_same_everywhere(self):
        self.assertEqual(MANIFEST["license"], "OPL-1")
        license_text = (ROOT / "LICENSE").read_text(encoding="utf-8")
        self.assertIn("Odoo Proprietary License v1.0", license_text)
        for text in (README, PAGE):
            for fact in ("OPL-1", "BJET", MANIFEST["support"], MANIFEST["name"]):
                self.assertIn(fact, text)
        for text in (README, license_text):
            self.assertIn(MANIFEST["website"], text)

    def test_what_it_needs_is_said_where_it_is_installed(self):
        needed = [*MANIFEST["depends"], *MANIFEST["external_dependencies"]["python"]]
        for name in needed:
            for text in (README, PAGE):
                self.assertIn(f"{name}", text)

    def test_the_changelog_begins_with_this_version(self):
        text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        # The same follows the series in each of them, and the changelog is of the first.
        version = MANIFEST["version"].removeprefix("19.0.").removeprefix("18.0.")
        self.assertEqual(re.search(r"^## 18\.0\.(\S+)", text, re.M)[1], version)
