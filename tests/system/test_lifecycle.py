import unittest

from harness import SETUP, Server

# What an addon must not leave behind, as statements that find it.
LEFTOVERS = {
    "tables": """SELECT tablename FROM pg_tables
        WHERE tablename LIKE 'bj\\_%'""",
    "columns": """SELECT table_name, column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND column_name LIKE 'bj\\_%'""",
    "sequences": "SELECT relname FROM pg_class WHERE relname LIKE 'bj\\_%'",
    "models": "SELECT model FROM ir_model WHERE model LIKE 'bj.%'",
    "fields": "SELECT model, name FROM ir_model_fields WHERE name LIKE 'bj\\_%'",
    "external ids": "SELECT name FROM ir_model_data WHERE module = 'bj_api_sync'",
    "views": """SELECT id, name FROM ir_ui_view
        WHERE name LIKE '%bj%api%' OR arch_db::text LIKE '%bj_api%'""",
    "actions": "SELECT id FROM ir_act_server WHERE state = 'bj_api_sync'",
    "scheduled actions": "SELECT id, cron_name FROM ir_cron WHERE cron_name LIKE 'API%'",
    "categories": """SELECT id FROM ir_module_category
        WHERE name::text LIKE '%API Synchronization%'""",
    "parameters": "SELECT key FROM ir_config_parameter WHERE key LIKE 'bj\\_%'",
    "activities": "SELECT id FROM mail_activity WHERE res_model LIKE 'bj.%'",
    "activity types": "SELECT id FROM mail_activity_type WHERE name::text LIKE '%API %'",
    "menus": "SELECT id FROM ir_ui_menu WHERE name::text LIKE '%BJ API%'",
}

# A database in use: both directions, each trigger, a delivery, log rows, an activity.
IN_USE = """
config = env.ref("bj_api_sync.config_partner_out_demo")
for button in ("rule", "cron", "server_action"):
    getattr(config, f"action_create_{button}")()
env.ref("base.res_partner_1").name = "Renamed"
env["bj.api.sync.config"]._make_outbound_http_request(
    env.ref("base.res_partner_2"), config.id
)
env["bj.api.sync.token"]._generate(
    env.ref("bj_api_sync.config_partner_in_demo"), "lifecycle"
)
env["mail.activity"].create({"res_model_id": env["ir.model"]._get_id(config._name), "res_id": config.id})
partner = env.ref("base.res_partner_1")
for kind in ("destination", "paused", "failed", "scheduler"):
    kind = env.ref(f"bj_api_sync.mail_activity_type_{kind}")
    for record in (config, partner):
        for is_done in (False, True):
            activity = env["mail.activity"].create({
                "res_model_id": env["ir.model"]._get_id(record._name),
                "res_id": record.id,
                "activity_type_id": kind.id,
            })
            if is_done:
                activity.action_feedback("done")
set_param = env["ir.config_parameter"].set_param
set_param("bj_api_sync.blocked_networks", "10.0.0.0/8")
set_param("bj_api_sync.stream_rows", "50")
lines = [(0, 0, {"api_key": "name", "field_path": "name", "is_record_identifier": True})]
ring = env["bj.api.sync.config"].create([
    {"name": name, "request_type": "in", "model_id": config.model_id.id, "line_ids": lines}
    for name in ("Parents", "Children")
])
for mapped, by, path in ((ring[0], ring[1], "child_ids"), (ring[1], ring[0], "parent_id")):
    mapped.line_ids = [(0, 0, {
        "api_key": path, "field_path": path, "value_type": "relational_mapping",
        "mapping_config_id": by.id, "nested_format": "identifier",
    })]
env.cr.commit()
print(env["bj.api.sync.delivery"].search_count([]), env["bj.api.log"].search_count([]))
"""


class TestLifecycle(unittest.TestCase):
    """What becomes of a database when the addon is upgraded, and when it goes."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server().__enter__()
        cls.addClassCleanup(cls.server.__exit__)

    def run_odoo(self, *options):
        """Run Odoo to its end on the database; return its log without INFO lines."""
        log = SETUP.odoo(
            "system-lifecycle.log",
            *("-d", self.server.database, "--no-http", "--stop-after-init", *options),
        )
        return [
            line
            for line in log.splitlines()
            if " WARNING " in line or " ERROR " in line or " CRITICAL " in line
        ]

    def find_leftovers(self):
        return {
            what: rows
            for what, statement in LEFTOVERS.items()
            if (rows := self.server.query(statement))
        }

    def test_an_upgrade_keeps_everything_and_an_uninstall_leaves_nothing(self):
        self.server.stop()
        printed = self.server.shell(IN_USE)
        deliveries, logs = map(int, printed.split()[-2:])
        self.assertGreaterEqual(deliveries, 2)
        self.assertGreaterEqual(logs, 1)
        with self.subTest("upgrade"):
            self.assertEqual(self.run_odoo("-u", "bj_api_sync"), [])
            kept = self.server.query(
                """SELECT (SELECT count(*) FROM bj_api_sync_delivery),
                          (SELECT count(*) FROM bj_api_log),
                          (SELECT count(*) FROM bj_api_sync_token WHERE active)"""
            )
            self.assertEqual(kept[0][:2], (deliveries, logs))
            self.assertGreaterEqual(kept[0][2], 1)
        with self.subTest("uninstall"):
            there = self.find_leftovers()  # or the statements would prove nothing
            self.assertEqual(set(there), set(LEFTOVERS))
            printed = self.server.shell(
                "env['ir.module.module'].search([('name', '=', 'bj_api_sync')])"
                ".button_immediate_uninstall()\n"
            )
            self.assertNotIn(" ERROR ", printed)
            self.assertEqual(self.find_leftovers(), {})
        with self.subTest("once more"):
            self.assertEqual(self.run_odoo("-i", "bj_api_sync"), [])
