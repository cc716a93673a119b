"""The threats of docs/threats.md have tests, and the attempts cover what there is."""

import ast
import csv
import re
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

from .pure_case import PureCase
from .security.rights import ACCESS, BUTTONS, OPENING
from .security.tables import ATTEMPTS

ROOT = Path(__file__).resolve().parents[1]
# Buttons of records that other apps have.
OF_OTHERS = {"action_open_bj_api_trigger"}


def threats():
    """Return ``{number: [what holds it]}`` of the table."""
    rows = {}
    for line in (ROOT / "docs" / "threats.md").read_text().splitlines():
        if match := re.match(r"\| ([THW]\d+) \|.*\|(.*)\|$", line):
            rows[match[1]] = re.findall(r"`([^`]+)`", match[2])
    return rows


@cache
def classes(module):
    """Return the names of the classes of a test module, ``None`` if there is none."""
    for folder in ("tests", "tests/system", "tests/security"):
        path = ROOT / folder / f"{module}.py"
        if path.exists():
            body = ast.parse(path.read_text()).body
            return {node.name for node in body if isinstance(node, ast.ClassDef)}
    return None


class TestThreats(PureCase):
    def test_every_threat_is_in_the_table_once_and_names_what_holds_it(self):
        rows = threats()
        wanted = [f"T{number}" for number in range(1, 32)]
        wanted += [f"H{number}" for number in range(1, 8)]
        wanted += [f"W{number}" for number in range(1, 19) if number != 11]
        self.assertEqual(list(rows), wanted)
        self.assertEqual([name for name, tests in rows.items() if not tests], [])

    def test_whatever_the_table_names_is_there(self):
        ids = [attempt.id for attempt in ATTEMPTS]
        for threat, tests in threats().items():
            for name in tests:
                with self.subTest(threat=threat, name=name):
                    if name.startswith("test_"):
                        module, _dot, test_class = name.partition(".")
                        found = classes(module)
                        self.assertIsNotNone(found)
                        if test_class:
                            self.assertIn(test_class, found)
                    else:
                        self.assertTrue(any(fnmatch(id_, name) for id_ in ids))

    def test_no_area_of_attempts_is_without_a_threat(self):
        patterns = [name for tests in threats().values() for name in tests]
        areas = {attempt.area for attempt in ATTEMPTS}
        named = {pattern.partition(".")[0] for pattern in patterns}
        self.assertEqual(areas - named, {"cors", "headers", "own-rights", "pages"})

    def test_there_are_many_attempts_each_with_a_name_of_its_own(self):
        ids = [attempt.id for attempt in ATTEMPTS]
        self.assertGreater(len(ids), 1000)
        self.assertEqual(len(set(ids)), len(ids))
        for attempt in ATTEMPTS:
            self.assertTrue(attempt.calls and attempt.comes.status, attempt.id)

    def test_every_model_with_access_lines_is_tried(self):
        with (ROOT / "security" / "ir.model.access.csv").open() as file:
            models = {row["name"].split()[0] for row in csv.DictReader(file)}
        self.assertEqual({name for name in models if "bj." in name}, set(ACCESS))

    def test_every_button_is_pressed(self):
        defined = {
            node.name
            for folder in ("models", "wizards")
            for path in (ROOT / folder).glob("*.py")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.FunctionDef) and node.name.startswith("action_")
        }
        pressed = {
            name
            for groups in BUTTONS.values()
            for part in groups
            for name in part.split()
        }
        self.assertEqual(defined - OF_OTHERS, pressed | set(OPENING))
