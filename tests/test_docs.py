"""Runs the examples of the documentation, so that none is printed that does not work.

A page is run from top to bottom, as a reader would. What its fenced blocks mean:

- tables that begin with ``Name`` make a configuration, or open the one of that name;
  ``Field`` tables give it lines, ``Key`` tables parameters. Columns are the form's labels
  (those of its Ukrainian translation on Ukrainian pages).
- ``bash`` blocks: each ``curl`` is called; ``$TOKEN`` is one of the last endpoint.
- ``json 201`` blocks: status and value of the last answer. Ids may differ.
- ``json sent`` blocks: what the last Out configuration sends for Deco Addict.
- ``python server-action`` blocks: run as the code of a server action.
- ``json`` blocks: are JSON.
"""

import json
import re
import shlex
from base64 import b64encode

from odoo.tests import tagged

from ..models.bj_api_sync_guide import ROOT
from .common import ROUTE, ApiCase
from .receiver import Receiver, answer

CONFIG = "bj.api.sync.config"
LINE = "bj.api.sync.config.line"
PARAM = "bj.api.sync.param"
FENCE = re.compile(r"^( *)```(\w+) ?(.*)\n((?:.*\n)*?) *```$", re.M)
TABLE = re.compile(r"(?:^ *\|.*\|\n)+", re.M)
CELL = re.compile(r"(?<!\\)\|")
YES = ("yes", "так")
# Keys of answers whose values depend on the database and the moment.
VOLATILE = ("id", "line_id", "request_id", "time", "odoo", "ETag")


@tagged("post_install", "-at_install")
class TestExamples(ApiCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.receiver = cls.enterClassContext(Receiver())
        cls.env["res.lang"]._activate_lang("uk_UA")
        module = cls.env["ir.module.module"].search([("name", "=", "bj_api_sync")])
        module._update_translations(["uk_UA"])

    def test_every_example_of_every_page_does_what_the_page_says(self):
        counts = {}
        for path in sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")]):
            with self.env.cr.savepoint() as savepoint:
                page = Page(self, path)
                page.run()
                savepoint.rollback()
            self.env.invalidate_all()
            self.env.registry.clear_all_caches()
            for kind, count in page.counts.items():
                counts[kind] = counts.get(kind, 0) + count
        self.assertGreater(counts["curl"], 30, counts)
        self.assertGreater(counts["answer"], 25, counts)
        self.assertGreater(counts["sent"], 1, counts)
        self.assertGreater(counts["server-action"], 0, counts)


class Page:
    """One page, its examples run in their order."""

    def __init__(self, case, path):
        self.case, self.env = case, case.env
        self.name = str(path.relative_to(ROOT))
        self.text = path.read_text(encoding="utf-8")
        self.counts = dict.fromkeys(("curl", "answer", "sent", "server-action"), 0)
        self.config = self.token = self.out = self.response = None
        self.vals = None  # of a configuration that waits for its lines
        lang = "uk_UA" if "/uk/" in self.name else "en_US"
        self.env["bj.api.sync.config"].search([]).active = False
        (case.ann | case.bob).unlink()
        self.fields = {
            model: {
                field["string"]: (name, field)
                for name, field in self.env[model]
                .with_context(lang=lang)
                .fields_get()
                .items()
            }
            for model in (CONFIG, LINE, PARAM)
        }

    def run(self):
        blocks = [(match.start(), self._run_fence, match) for match in self._fences()]
        plain = FENCE.sub(lambda match: "\n" * len(match[0]), self.text)
        tables = TABLE.finditer(plain)
        blocks += [(match.start(), self._run_table, match) for match in tables]
        if not re.search(r"-d '[^']*C-1001", self.text):  # else the page makes it
            self._make_record()
        for position, action, match in sorted(blocks, key=lambda block: block[0]):
            line = self.text.count("\n", 0, position) + 1
            with self.case.subTest(page=self.name, line=line):
                action(match)

    def _fences(self):
        return FENCE.finditer(self.text)

    def _make_record(self):
        return self.env["res.partner"].create(
            {
                "name": "Deco Addict",
                "ref": "C-1001",
                "city": "Lviv",
                "country_id": self.env.ref("base.ua").id,
            }
        )

    @property
    def record(self):
        records = self.env["res.partner"].search([("ref", "=", "C-1001")])
        return records or self._make_record()

    # -- tables: configurations as the form shows them --------------------------------

    def _run_table(self, match):
        head, _rule, *rows = [
            [cell.strip() for cell in CELL.split(row.strip()[1:-1])]
            for row in match[0].strip().splitlines()
        ]
        for model in (CONFIG, LINE, PARAM):
            labels = self.fields[model]
            if head[0] not in labels or not set(head) <= set(labels):
                continue
            vals_list = [
                self._read_row(model, dict(zip(head, row, strict=True))) for row in rows
            ]
            name = labels[head[0]][0]
            if model == CONFIG and name == "name":
                self._open_config(*vals_list)
            elif model == LINE and name == "field_path":
                self._add_lines([(0, 0, vals) for vals in vals_list])
            elif model == PARAM and name == "name" and len(head) > 2:
                self.config.param_ids = [(0, 0, vals) for vals in vals_list]

    def _read_row(self, model, row):
        vals = {}
        for label, text in row.items():
            name, field = self.fields[model][label]
            code = re.search(r"`([^`]*)`", text)
            text = code[1] if code else text
            if text:
                vals[name] = self._read_cell(name, field, text)
        return vals

    def _read_cell(self, name, field, text):
        if field["type"] == "boolean":
            self.case.assertIn(text, YES)
            return True
        if field["type"] == "selection":
            return {label: value for value, label in field["selection"]}[text]
        if field["type"] in ("many2one", "many2many"):
            names = [word.strip() for word in text.split(",")]
            key = "model" if field["relation"] == "ir.model" else "name"
            records = self.env[field["relation"]].search([(key, "in", names)])
            self.case.assertEqual(len(records), len(names), text)
            many = field["type"] == "many2many"
            return [(6, 0, records.ids)] if many else records.id
        if name == "url":
            return re.sub(r"^https://[^/]+/", self.case.receiver.url("/"), text)
        return text

    def _open_config(self, vals):
        found = self.env[CONFIG].search([("name", "=", vals["name"])])
        if found:
            self.config = found
        else:
            self.vals = vals

    def _add_lines(self, commands):
        if not self.vals:
            self.config.line_ids = commands
            return
        vals, self.vals = self.vals, None
        if vals["request_type"] == "in":
            vals["user_id"] = self.env.ref("base.user_admin").id
        self.config = self.env[CONFIG].create({**vals, "line_ids": commands})
        if vals["request_type"] == "out":
            self.out = self.config
        elif vals.get("endpoint"):
            self.token = self.case.make_token(self.config)

    # -- fenced blocks ------------------------------------------------------------------

    def _run_fence(self, match):
        indent, language, kind, text = match.groups()
        text = re.sub(rf"^{indent}", "", text, flags=re.M)
        if language == "bash":
            for words in read_commands(text):
                self._call(words)
        elif kind == "sent":
            self._check_sent(json.loads(text))
        elif kind == "server-action":
            self._run_action(text)
        elif kind.isdigit():
            self.counts["answer"] += 1
            context = self.response.text
            self.case.assertEqual(self.response.status_code, int(kind), context)
            self.case.assertEqual(*alike(json.loads(text), self.response.json()))
        elif language == "json":
            json.loads(text)

    def _call(self, words):
        self.counts["curl"] += 1
        method, headers, data, url = "GET", {}, None, None
        words = iter(words[1:])
        for word in words:
            if word == "-X":
                method = next(words)
            elif word == "-H":
                name, value = next(words).split(":", 1)
                headers[name] = value.strip().replace("$TOKEN", self.token or "")
            elif word == "-u":
                credential = next(words).encode()
                headers["Authorization"] = f"Basic {b64encode(credential).decode()}"
            elif word == "-d":
                data = next(words)
                method = "POST" if method == "GET" else method
            elif word == "-o":
                next(words)
            elif not word.startswith("-"):
                url = word
        etag = self.response.headers.get("ETag") if self.response else None
        headers = {k: v.replace("$ETAG", etag or "") for k, v in headers.items()}
        path = re.sub(rf"^(\$BASE|http://localhost:8069{ROUTE})/", "", url)
        self.case.assertNotEqual(path, url, "calls another server")
        self.response = self.case._call(
            method, path, data=data and data.encode(), headers=headers, token=None
        )

    def _check_sent(self, expected):
        self.counts["sent"] += 1
        self.case.receiver.clear()
        result = self.out._make_outbound_http_request(self.record)
        self.case.assertTrue(result["success"], result["message"])
        [request] = self.case.receiver.requests
        self.case.assertEqual(*alike(expected, request.json()))

    def _run_action(self, code):
        self.counts["server-action"] += 1
        if not self.out:
            self.out = self._make_out_config()
        self.case.receiver.clear()
        self.case.receiver.on("/api/customers", answer(201, b'{"id": "S-7"}'))
        action = self.env["ir.actions.server"].create(
            {
                "name": self.name,
                "model_id": self.env["ir.model"]._get_id("res.partner"),
                "state": "code",
                "code": code,
            }
        )
        record = self.record
        context = {"active_model": record._name, "active_ids": record.ids}
        action.with_context(**context, active_id=record.id).run()
        self.case.assertEqual(len(self.case.receiver.requests), 1)
        self.case.assertIn("S-7", record.comment)

    def _make_out_config(self):
        """Make the configuration that the quick start makes and other pages name."""
        return self.case.make_config(
            {"customer_id": "ref", "name": "name"},
            methods=("POST",),
            name="Customers to the shop",
            request_type="out",
            auth_type="none",
            url=self.case.receiver.url("/api/customers"),
        )


def read_commands(text):
    """Return the words of each ``curl`` in a shell script."""
    words = shlex.split(text.replace("\\\n", " "), comments=True)
    commands = []
    for word in words:
        if word in ("curl", "export"):
            commands.append([])
        if commands:
            commands[-1].append(word)
    return [words for words in commands if words[0] == "curl"]


def alike(expected, got, key=None):
    """Return both, with what may differ made equal."""
    if key in VOLATILE and got is not None:
        return expected, expected if type(expected) is type(got) else got
    if isinstance(expected, dict) and isinstance(got, dict):
        pairs = {k: alike(v, got[k], k) for k, v in expected.items() if k in got}
        # Errors say more than is printed: who is told, and each of the details.
        more = got.keys() - expected.keys() - {"details", "request_id"}
        got_all = {k: got[k] for k in more}
        got_all.update({k: pair[1] for k, pair in pairs.items()})
        return expected, got_all
    if isinstance(expected, list) and isinstance(got, list):
        pairs = [alike(*pair) for pair in zip(expected, got, strict=False)]
        return expected, [pair[1] for pair in pairs] + got[len(pairs) :]
    return expected, got
