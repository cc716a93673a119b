"""Schemathesis on the document of real endpoints: no 5xx, and what it says holds.

The configurations have what the mapping can do: nested mappings, lists, filters, scripts,
every method. Each is called with its credential, the first with a wrong one as well.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "system"))

ROUTE = "/bj_api_sync/v1"
CHECKS = (
    "not_a_server_error,response_schema_conformance,status_code_conformance,"
    "content_type_conformance,response_headers_conformance"
)
MAX_SHOWN = 8000  # characters of what schemathesis writes
SETUP = """
methods = env["bj.http.method"].search([])
model = lambda name: env["ir.model"]._get_id(name)
user = env["res.users"].create({"name": "Fuzz", "login": "fuzz", "group_ids"
    if "group_ids" in env["res.users"]._fields else "groups_id":
    [(6, 0, [env.ref("base.group_user").id, env.ref("base.group_partner_manager").id])]})
def config(name, lines, **vals):
    return env["bj.api.sync.config"].create({
        "name": name, "request_type": "in", "model_id": model("res.partner"),
        "http_method_ids": [(6, 0, methods.ids)], "user_id": user.id,
        "line_ids": [(0, 0, {"api_key": key, **line}) for key, line in lines.items()],
        **vals})
country = config("Country", {"code": {"field_path": "code", "is_record_identifier": True},
    "name": {"field_path": "name", "access": "read"}}, model_id=model("res.country"))
child = config("Child", {"ref": {"field_path": "ref", "is_record_identifier": True},
    "name": {"field_path": "name"}, "city": {"field_path": "city"}})
lines = {
    "ref": {"field_path": "ref", "is_record_identifier": True},
    "name": {"field_path": "name", "required": True},
    "address.city": {"field_path": "city"},
    "color": {"field_path": "color"},
    "active": {"field_path": "active"},
    "kind": {"field_path": "type"},
    "note": {"field_path": "comment"},
    "parent_name": {"field_path": "parent_id.name", "access": "read"},
    "latitude": {"field_path": "partner_latitude"},
    "image": {"field_path": "image_1920", "access": "write"},
    "tags": {"field_path": "category_id"},
    "country": {"field_path": "country_id", "value_type": "relational_mapping",
                "mapping_config_id": country.id},
    "children": {"field_path": "child_ids", "value_type": "relational_mapping",
                 "mapping_config_id": child.id, "create_missing": True},
}
param = [(0, 0, {"name": "town", "field_path": "city", "operator": "ilike"})]
rich = config("Rich", lines, endpoint="fuzzrich", param_ids=param, upsert=True)
strict = config("Strict", lines, endpoint="fuzzstrict", reject_unknown_keys=True,
    response_format="success", is_paginated=True, delete_mode="archive",
    filter_domain="[('ref', '!=', 'hidden')]")
scripted = config("Scripted", {**lines, "computed": {"value_type": "python_plain",
    "field_path": "function", "script": "str(request_data.get('computed'))[:50]",
    "read_script": "{'a': [record.color * 2]}"}}, endpoint="fuzzscripted",
    response_format="status")
# Else a wrong credential would be told 429 before each operation was tried with it.
env["ir.config_parameter"].set_param("bj_api_sync.max_auth_failures", 100)
for one in (rich, strict, scripted):
    print(one.endpoint, env["bj.api.sync.token"]._generate(one, "fuzz"))
env.cr.commit()
"""


def play(seed, seconds):
    """Return what schemathesis found, as texts."""
    from harness import Server, dev

    found = []
    again = f"Again: ./dev fuzz --http --seed {seed} --minutes {seconds / 60:.1f}"
    try:
        with Server(workers=2) as server:
            tokens = set_up(server)
            plays = [(*pair, False) for pair in tokens] + [(*tokens[0], True)]
            for endpoint, token, is_wrong in plays:
                play_one = Play(server, endpoint, token, is_wrong)
                found += play_one.run(seed, seconds / len(plays))
            found += look_into(server.log)
    finally:
        dev.end_started()
    return [f"{text}\n{again}" for text in found]


def set_up(server):
    """Make the configurations; return ``[(endpoint, token)]``."""
    printed = server.shell(SETUP)
    tokens = re.findall(r"^(fuzz\w+) (\S+)$", printed, re.M)
    if not tokens:
        raise RuntimeError(f"no configuration was made: {printed[-2000:]}")
    return tokens


@dataclass
class Play:
    """Schemathesis on one endpoint."""

    server: object
    endpoint: str
    token: str
    is_wrong: bool

    @property
    def name(self):
        return f"{self.endpoint}{', wrong credential' if self.is_wrong else ''}"

    def run(self, seed, seconds):
        """Return what was found in these seconds, as texts."""
        command = self.command(seed, seconds)
        patience = seconds * 3 + 120
        try:
            done = subprocess.run(
                command,
                cwd=Path(self.server.log_path).parent,  # it keeps files where it runs
                capture_output=True,
                text=True,
                timeout=patience,
            )
        except subprocess.TimeoutExpired:
            return [f"{self.name}: no end after {patience:.0f} s"]
        counts = re.search(r"Test cases:\n\s*(.+)", done.stdout)
        print(f"{self.name}: {counts[1] if counts else 'no cases'}", flush=True)
        if done.returncode == 0 and not counts:
            return [f"{self.name}: no call was made\n{done.stdout[-MAX_SHOWN:]}"]
        if done.returncode:
            text = done.stdout[-MAX_SHOWN:] or done.stderr[-MAX_SHOWN:]
            return [f"{self.name}\n{text}"]
        return []

    def command(self, seed, seconds):
        # The document names the address for clients, which is not that of this server.
        document = self.server.http("GET", f"{ROUTE}/openapi.json", token=self.token)
        path = Path(self.server.log_path).with_name(f"fuzz-{self.endpoint}.json")
        path.write_text(document.text)
        prefix = urlsplit(json.loads(document.text)["servers"][0]["url"]).path
        token = f"{self.token[:-1]}-" if self.is_wrong else self.token
        parts = [
            Path(os.environ["BJ_FUZZ_TOOLS"]) / "bin" / "schemathesis",
            "run",
            path,
        ]
        parts += ["--url", self.server.url + prefix, "--seed", seed]
        parts += ["--checks", CHECKS, "--continue-on-failure", "--no-color"]
        parts += ["--max-time", max(int(seconds), 5), "--request-timeout", 60]
        parts += ["--generation-database", "none"]
        parts += ["--header", f"Authorization: Bearer {token}"]
        return list(map(str, parts))


def look_into(log):
    """Return the tracebacks of the server's log: a 500 may hide behind another status."""
    parts = log.split("Traceback (most recent call last)")[1:]
    return [f"Traceback in the server's log:{part[:2000]}" for part in parts[:5]]
