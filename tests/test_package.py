import tempfile
import zipfile
from pathlib import Path

from ..devtools import package
from .pure_case import PureCase

ROOT = Path(__file__).resolve().parents[1]


class TestPackage(PureCase):
    def test_the_manifest_names_the_series(self):
        text = (ROOT / "__manifest__.py").read_text()
        self.assertEqual(package.series_manifest(text, "18.0"), text)
        other = package.series_manifest(text, "19.0")
        own = package.version(text)
        self.assertEqual(package.version(other), own.replace("18.0.", "19.0.", 1))
        self.assertEqual(other.replace(package.version(other), own), text)

    def test_an_archive_holds_what_a_server_needs_and_nothing_else(self):
        with tempfile.TemporaryDirectory() as folder:
            path = package.build(ROOT, "19.0", Path(folder))
            first = path.read_bytes()
            self.assertEqual(package.build(ROOT, "19.0", Path(folder)), path)
            self.assertEqual(path.read_bytes(), first, "the same every time")
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        inside = {name.removeprefix("bj_api_sync/") for name in names}
        self.assertEqual(len(inside), len(names), "all below one folder")
        tops = {name.partition("/")[0] for name in inside}
        for needed in ("__manifest__.py", "__init__.py", "compat.py", "docs", "i18n"):
            self.assertIn(needed, tops)
        self.assertIn("migrations/0.1/pre-parameter_values.py", inside)
        for own in ("tests", "dev", "devtools", "bench", "pyproject.toml", ".ci"):
            self.assertNotIn(own, tops)
        self.assertFalse([name for name in inside if "/tests/" in name])
