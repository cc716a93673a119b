import ast
import re
from pathlib import Path

import polib
from odoo.exceptions import ValidationError
from odoo.tests import BaseCase, TransactionCase

FOLDER = Path(__file__).parents[1] / "i18n"
PLACEHOLDER = re.compile(r"%\(\w+\)s|%s|\{\w+\}")
TAG = re.compile(r"</?(\w+)")


class TestUkrainian(BaseCase):
    """The file itself, without a database."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.terms = {entry.msgid for entry in polib.pofile(FOLDER / "bj_api_sync.pot")}
        cls.file = polib.pofile(FOLDER / "uk.po")

    def test_every_term_is_translated_and_none_is_left_over(self):
        translated = {entry.msgid for entry in self.file if entry.translated()}
        self.assertEqual(self.terms - translated, set())
        self.assertEqual(translated - self.terms, set())

    def test_every_sentence_of_the_code_is_a_term(self):
        """Odoo leaves out the rest of a file from an f-string among the arguments on."""
        for path in sorted(FOLDER.parent.glob("*/*.py")):
            if path.parent.name in ("bench", "devtools", "tests"):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                name = getattr(getattr(node, "func", None), "attr", "")
                if name == "_" and isinstance(node.args[0], ast.Constant):
                    with self.subTest(file=path.name, line=node.lineno):
                        self.assertIn(node.args[0].value, self.terms)

    def test_a_translation_keeps_placeholders_tags_and_line_ends(self):
        for entry in self.file:
            with self.subTest(term=entry.msgid):
                for pattern in (PLACEHOLDER, TAG):
                    self.assertCountEqual(
                        pattern.findall(entry.msgid), pattern.findall(entry.msgstr)
                    )
                self.assertEqual(
                    entry.msgid.endswith("\n"), entry.msgstr.endswith("\n")
                )


class TestUkrainianLoaded(TransactionCase):
    """What a person sees whose language is Ukrainian."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["res.lang"]._activate_lang("uk_UA")
        module = cls.env["ir.module.module"].search([("name", "=", "bj_api_sync")])
        module._update_translations("uk_UA")
        cls.configs = cls.env["bj.api.sync.config"].with_context(lang="uk_UA")

    def test_labels_are_ukrainian(self):
        labels = self.configs.fields_get(["endpoint", "request_type"], ["string"])
        self.assertEqual(labels["endpoint"]["string"], "Ендпоінт")
        self.assertEqual(labels["request_type"]["string"], "Тип запиту")
        view = self.configs.get_view(view_type="form")["arch"]
        self.assertIn("Рядки конфігурації", view)
        self.assertIn("Спробувати", view)

    def test_messages_are_ukrainian(self):
        with self.assertRaisesRegex(ValidationError, "зарезервована назва"):
            self.configs.create(
                {
                    "name": "reserved",
                    "model_id": self.env.ref("base.model_res_partner").id,
                    "endpoint": "health",
                    "http_method_ids": [
                        (4, self.env.ref("bj_api_sync.bj_http_method_get").id)
                    ],
                    "line_ids": [
                        (
                            0,
                            0,
                            {
                                "field_path": "ref",
                                "api_key": "ref",
                                "is_record_identifier": True,
                            },
                        )
                    ],
                }
            )

    def test_what_a_value_should_be_is_said_in_ukrainian(self):
        line = {
            "field_path": "color",
            "api_key": "color",
            "value_type": "constant",
            "constant_value": "red",
        }
        with self.assertRaisesRegex(
            ValidationError, 'очікувалося ціле число, отримано "red"'
        ):
            self.configs.create(
                {
                    "name": "constant",
                    "model_id": self.env.ref("base.model_res_partner").id,
                    "line_ids": [(0, 0, line)],
                }
            )
