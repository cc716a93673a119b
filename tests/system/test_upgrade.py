"""Databases that the code of the past has made, upgraded to that of today.

Each is filled over the old code with all that its kind of version can hold; then it is
asked over HTTP, and by a receiver, whether it means the same still.
"""

import json
import tempfile
import unittest
from pathlib import Path

from harness import SETUP, Receiver, Server, dev, receiver, wait_until
from upgrade_past import (
    FIRST,
    FIRST_OUTBOX,
    NoHistory,
    export,
    get_content,
    get_schema,
    make_database,
    query,
)

signature = dev.load_module("signature", dev.ROOT / "tools" / "signature.py")
SIGNING_SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
LIST = "/bj_api_sync/v1/past-bearer"
PARAMS = "bj_api_sync_param"
PATIENCE = 240  # seconds: on a busy machine all is slow, and a cron looks each minute
TENANT = {"X-Tenant": "green"}


class Past:
    """A database made by a commit, upgraded, and served by the code of today."""

    def __init__(self, test, commit, spoil=None):
        self.receiver = test.enterContext(Receiver())
        self.held = test.enterContext(Receiver())
        folder = Path(test.enterContext(tempfile.TemporaryDirectory()))
        try:
            self.database, self.token = make_database(
                commit, folder, self.receiver.url(""), self.held.url("")
            )
        except NoHistory as reason:
            test.skipTest(str(reason))
        test.addCleanup(dev.drop_database, SETUP.venv, self.database)
        if spoil:
            spoil(self.database)
        self.waiting = commit != FIRST and {
            (path, ref): (uuid, payload)
            for path, ref, uuid, payload in query(
                self.database,
                """SELECT c.name, p.ref, d.uuid, d.payload FROM bj_api_sync_delivery d
                   JOIN bj_api_sync_config c ON c.id = d.config_id
                   JOIN res_partner p ON p.id = d.res_id
                   WHERE d.state IN ('pending', 'failed')""",
            )
        }
        self.logs = query(self.database, "SELECT id, name, status FROM bj_api_log")
        options = ["-u", dev.ADDON]
        self.server = test.enterContext(Server(self.database, options=options))
        self.upgrade_log = self.server.log.partition("Modules loaded.")[0]

    def get(self, path, **options):
        return self.server.http("GET", path, **options)

    def refs(self, query_string="", **options):
        options = {"token": self.token, "headers": TENANT, **options}
        answer = self.get(LIST + query_string, **options)
        return [row["ref"] for row in json.loads(answer.text)["data"]]

    def received(self, name, ref):
        """Return the request of a delivery that waited, once it has come."""
        uuid, _payload = self.waiting[name, ref]
        (request,) = wait_until(
            lambda: [
                request
                for request in self.receiver.requests
                if request.headers["idempotency-key"] == uuid
            ],
            PATIENCE,
        )
        return request


class UpgradeCase(unittest.TestCase):
    series = ("18.0",)  # of Odoo, that the commit runs on

    def open(self, commit, **options):
        if dev.SERIES not in self.series:
            self.skipTest(f"{commit} does not run on Odoo {dev.SERIES}")
        return Past(self, commit, **options)

    def check(self, commit):
        past = self.open(commit)
        self.check_callers(past)
        self.check_deliveries(past)
        self.check_new_delivery(past)
        self.check_resumed(past)
        self.check_kept(past)
        self.check_parameters(past)
        self.check_schema(past)

    def check_callers(self, past):
        """Who could call can, who could not cannot, and filters by default hold."""
        self.assertEqual(past.refs(), ["U-1", "U-3"], "city=Lviv by default")
        self.assertEqual(past.refs("?city=Kyiv"), ["U-2"])
        self.assertEqual(past.refs(token="a-token-that-was-typed"), ["U-1", "U-3"])
        answer = past.get(LIST, token=past.token, headers=TENANT)
        self.assertEqual(
            json.loads(answer.text)["data"][0],
            row("U-1"),
        )
        for options in (
            {"token": "another"},
            {"token": past.token},
            {"token": past.token, "headers": {"X-Tenant": "red"}},
        ):
            self.assertEqual(past.get(LIST, **options).status, 401, options)
        basic = {"Authorization": "Basic YW5uOnBhc3Mgd29yZA=="}
        path = "/bj_api_sync/v1/past-basic"
        answer = past.get(path, headers={**basic, "X-Key": "header secret"})
        self.assertEqual(len(json.loads(answer.text)), 3)
        self.assertEqual(past.get(path, headers=basic).status, 401)

    def check_deliveries(self, past):
        """What waited arrives as it would have, what failed can be sent again."""
        for ref in ("U-1", "U-2"):
            self.check_put(past, past.received("Put", ref), ref)
            self.check_post(past, past.received("Post", ref), ref)
        failed = past.server.rpc(
            "bj.api.sync.delivery", "search", [("state", "=", "failed")]
        )
        self.assertEqual(len(failed), 2)
        past.server.rpc("bj.api.sync.delivery", "action_send_again", failed)
        self.check_put(past, past.received("Put", "U-3"), "U-3")
        self.check_post(past, past.received("Post", "U-3"), "U-3")

    def check_put(self, past, request, ref):
        self.assertEqual(request.method, "PUT")
        self.assertEqual(
            request.target, f"/put/{ref}?src=odoo&code={ref}&api_key=s3cret"
        )
        self.check_body(past, "Put", request, ref)
        headers = request.headers
        self.assertEqual(headers["authorization"], "Bearer sent token")
        self.assertEqual((headers["x-plain"], headers["x-sealed"]), ("plain", "sealed"))
        signature.verify([SIGNING_SECRET], headers, request.body, request.time)

    def check_post(self, past, request, ref):
        self.assertEqual((request.method, request.target), ("POST", "/post"))
        self.check_body(past, "Post", request, ref)
        self.assertEqual(request.headers["authorization"], "Basic Ym9iOnB3")
        self.assertEqual(request.headers["x-script"], "from the script")

    def check_body(self, past, name, request, ref):
        _uuid, payload = past.waiting[name, ref]
        self.assertEqual(request.body.decode(), payload)
        self.assertEqual(request.json(), row(ref))

    def check_new_delivery(self, past):
        """Rules, Parameters and secrets of the past serve what is saved today."""
        past.receiver.clear()
        past.receiver.on("/put/U-2", receiver.answer(200))
        (partner,) = past.server.rpc("res.partner", "search", [("ref", "=", "U-2")])
        past.server.rpc("res.partner", "write", [partner], {"name": "Renamed"})
        requests = {r.method: r for r in past.receiver.wait(2, timeout=PATIENCE)}
        put = requests["PUT"]
        self.assertEqual(put.target, "/put/U-2?src=odoo&code=U-2&api_key=s3cret")
        self.assertEqual(put.json()["name"], "Renamed")
        signature.verify([SIGNING_SECRET], put.headers, put.body, put.time)
        self.assertEqual(requests["POST"].headers["x-script"], "from the script")

    def check_resumed(self, past):
        """What a paused configuration keeps goes when it is resumed, under its key."""
        self.assertNotIn("/paused", {r.path for r in past.receiver.requests})
        (config_id,) = past.server.rpc(
            "bj.api.sync.config", "search", [("name", "=", "Paused")]
        )
        past.server.rpc("bj.api.sync.config", "action_resume", [config_id])
        for ref in ("U-1", "U-3"):
            self.check_body(past, "Paused", past.received("Paused", ref), ref)

    def check_kept(self, past):
        """Who asked to wait got nothing, and what people have changed is there."""
        self.assertEqual(past.held.requests, [])
        ((waiting, attempts),) = past.server.query(
            """SELECT count(*), max(attempt_count) FROM bj_api_sync_delivery d
               JOIN bj_api_sync_config c ON c.id = d.config_id
               WHERE d.state = 'pending' AND c.name = 'Held'"""
        )
        self.assertGreaterEqual(waiting, 3)
        self.assertEqual(attempts, 0)
        ((is_sealed, url),) = past.server.query(
            """SELECT bool_and(d.url_secret IS NOT NULL), min(d.url)
               FROM bj_api_sync_delivery d JOIN bj_api_sync_config c ON c.id = d.config_id
               WHERE c.name = 'Put'"""
        )
        self.assertTrue(is_sealed)
        self.assertNotIn("s3cret", url)
        cron = past.server.find("bj_api_sync.ir_cron_send_second")
        ((active,),) = past.server.query(
            f"SELECT active FROM ir_cron WHERE id = {cron}"
        )
        self.assertFalse(active)

    def check_parameters(self, past, src="odoo", code="{ref}"):
        """Parameters have their values, secret ones sealed; log and settings are there."""
        params = past.server.query(
            """SELECT name, value_clear, value_secret IS NOT NULL
               FROM bj_api_sync_param ORDER BY name"""
        )
        self.assertEqual(
            params,
            [
                ("api_key", None, True),
                ("city", "Lviv", False),
                ("code", code, False),
                ("src", src, False),
                ("street", None, False),
            ],
        )
        logs = past.server.query("SELECT id, name, status FROM bj_api_log ORDER BY id")
        self.assertEqual(logs[: len(past.logs)], past.logs)
        values = dict(past.server.query("SELECT key, value FROM ir_config_parameter"))
        self.assertEqual(values["bj_api_sync.max_bulk"], "77")

    def check_schema(self, past, but=()):
        """The tables are those of a new database, and a second upgrade does nothing."""
        past.server.stop()
        fresh, upgraded = get_schema(), get_schema(past.database)
        for what, rows in fresh.items():
            self.assertEqual(upgraded[what] - rows, set(), f"{what} too many")
            self.assertEqual(rows - upgraded[what], set(), f"{what} are missing")
        self.assertEqual(trouble(past.upgrade_log), list(but))
        before = get_content(past.database)
        self.assertEqual(trouble(upgrade(past.database)), [])
        after = get_content(past.database)
        for what, rows in before.items():
            self.assertEqual(after[what], rows, what)


def upgrade(database, *options):
    """Upgrade the addon to its end, by the code of today or of an addons path."""
    options = ("-d", database, "-u", dev.ADDON, "--no-http", *options)
    return SETUP.odoo(f"upgrade-{database}.log", *options, "--stop-after-init")


def row(ref):
    return {
        "ref": ref,
        "name": f"Name {ref}",
        "tags": [{"tag": f"Tag {ref}"}],
        "origin": "past",
    }


def trouble(log):
    """Return the lines of a log that say that something is wrong."""
    levels = (" WARNING ", " ERROR ", " CRITICAL ")
    return [line for line in log.splitlines() if any(map(line.__contains__, levels))]


class TestUpgradeFromTheFirst(UpgradeCase):
    def test_a_database_of_the_first_code_that_could_be_installed_means_the_same(self):
        past = self.open(FIRST)
        self.check_callers(past)
        self.check_parameters(past)
        self.check_schema(past)


class TestUpgradeFromTheOutbox(UpgradeCase):
    def test_a_database_of_the_first_outbox_means_the_same_after_an_upgrade(self):
        self.check(FIRST_OUTBOX)


class TestUpgradeFromServerActions(UpgradeCase):
    def test_a_database_of_the_first_week_means_the_same_after_an_upgrade(self):
        self.check("1536bdc")


class TestUpgradeFromPartOne(UpgradeCase):
    series = ("18.0", "19.0")

    def test_a_database_of_the_end_of_part_one_means_the_same_after_an_upgrade(self):
        self.check("a7c0c84")


class TestUpgradeFromVersions(UpgradeCase):
    series = ("18.0", "19.0")

    def test_a_database_of_the_first_one_version_at_a_time_means_the_same(self):
        self.check("4bf617e")


class TestUpgradeFromTheLatest(UpgradeCase):
    series = ("18.0", "19.0")

    def test_a_database_of_before_migrations_means_the_same_after_an_upgrade(self):
        self.check("abf3e11")


class TestUpgradeAfterLoss(UpgradeCase):
    """Who had upgraded before there were migrations had lost the Values of Parameters."""

    def lose(self, database):
        """Upgrade as was usual, then have two Parameters changed, one given a Value."""
        with tempfile.TemporaryDirectory() as folder:
            export("a7c0c84", Path(folder))
            upgrade(database, f"--addons-path={SETUP.source / 'addons'},{folder}")
        found = query(database, "SELECT count(*), count(value_clear) FROM " + PARAMS)
        self.assertEqual(found, [(5, 0)], "all values are gone")
        change = f"UPDATE {PARAMS} SET write_date = timezone('UTC', now())"
        for more in (
            ", value_clear = 'typed anew' WHERE name = 'src'",
            " WHERE name = 'code'",
        ):
            dev.sql(SETUP.venv, change + more, database)

    def test_values_that_an_earlier_upgrade_has_emptied_are_back(self):
        past = self.open("1536bdc", spoil=self.lose)
        self.check_callers(past)
        self.check_parameters(past, src="typed anew", code=None)
        (warning,) = trouble(past.upgrade_log)
        self.assertIn('Parameter "code" of configuration', warning)
        self.check_schema(past, but=[warning])
