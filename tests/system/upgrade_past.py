"""Databases of the past, for test_upgrade.py: made by the code of a landed commit."""

import io
import subprocess
import tarfile
from contextlib import closing

import psycopg2
from harness import PREFIX, ROOT, SETUP, TEMPLATE, dev

# What fills a database, run by `odoo shell` with the old code; URL and HELD_URL are set.
INSTALL = """
env.cr.execute("UPDATE ir_module_module SET demo = FALSE")
env["ir.module.module"].update_list()
env["ir.module.module"].search([("name", "=", "bj_api_sync")]).button_immediate_install()
"""
CONFIGS = """
Config, admin = env["bj.api.sync.config"], env.ref("base.user_admin")
method = lambda *names: [(6, 0, [env.ref(f"bj_api_sync.bj_http_method_{n}").id for n in names])]
rows = lambda *vals_list: [(0, 0, vals) for vals in vals_list]
common = {"user_id": admin.id, "filter_domain": "[('ref', '=like', 'U-%')]",
          "model_id": env.ref("base.model_res_partner").id}
tags = Config.create({"name": "Tags", "user_id": admin.id,
    "model_id": env.ref("base.model_res_partner_category").id,
    "line_ids": rows({"api_key": "tag", "field_path": "name", "is_record_identifier": True})})
lines = lambda: rows(
    {"api_key": "ref", "field_path": "ref", "is_record_identifier": True},
    {"api_key": "name", "field_path": "name"},
    {"api_key": "tags", "field_path": "category_id", "value_type": "relational_mapping",
     "mapping_config_id": tags.id, "create_missing": True, "x2many_mode": "replace"},
    {"api_key": "origin", "value_type": "constant", "constant_value": "past",
     "access": "read"})
bearer = Config.create({**common, "name": "Bearer", "endpoint": "past-bearer",
    "auth_type": "bearer", "bearer_token": "a-token-that-was-typed", "response_format": "status",
    "http_method_ids": method("get", "post"), "line_ids": lines(),
    "header_ids": rows({"name": "X-Tenant", "value": "green"}),
    "param_ids": rows(
        {"name": "city", "field_path": "city", "operator": "=", "value": "Lviv"},
        {"name": "street", "field_path": "street", "operator": "="})})
print("token:" + env["bj.api.sync.token"]._generate(bearer, "generated"))
Config.create({**common, "name": "Basic", "endpoint": "past-basic", "auth_type": "basic",
    "auth_login": "ann", "auth_password": "pass word", "http_method_ids": method("get"),
    "line_ids": lines(),
    "header_ids": rows({"name": "X-Key", "value": "header secret", "is_secret": True})})
out = lambda name, verb, url, **vals: Config.create({**common, "name": name, "request_type": "out",
    "http_method_ids": method(verb), "url": url, "line_ids": lines(), **vals})
put = out("Put", "put", URL + "/put/{ref}", auth_type="bearer", bearer_token="sent token",
    signing_secret="whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    header_ids=rows({"name": "X-Plain", "value": "plain"},
                    {"name": "X-Sealed", "value": "sealed", "is_secret": True}),
    param_ids=rows({"name": "src", "value": "odoo"}, {"name": "code", "value": "{ref}"},
                   {"name": "api_key", "value": "s3cret"}))
post = out("Post", "post", URL + "/post", auth_type="basic", auth_login="bob", auth_password="pw")
env["ir.config_parameter"].set_param("bj_api_sync.max_bulk", "77")
env["bj.api.log"].sudo().create({"name": "of the past", "config_id": put.id, "status": "error",
    "direction": "out", "request_data": "{}", "error_message": "why", "response_code": 500})
"""
TRIGGERS = """
post.request_script = "headers['X-Script'] = 'from the script'"
# Another host: what waits keeps back what else is to be told there about its record.
paused = out("Paused", "post", URL.replace("127.0.0.1", "localhost") + "/paused",
    auth_type="none")
held = out("Held", "put", HELD_URL + "/held/{ref}", auth_type="bearer", bearer_token="held")
for config in (put, post, paused, held):
    config.action_create_rule()
put.action_create_cron()
env["ir.cron"].search([("bj_api_config_id", "=", put.id)]).nextcall = "2100-01-01 00:00:00"
paused.write({"is_paused": True, "pause_reason": "a person did"})
env.ref("bj_api_sync.ir_cron_send_second").active = False
"""
RECORDS = """
partners = env["res.partner"]
for ref, city in (("U-1", "Lviv"), ("U-2", "Kyiv"), ("U-3", "Lviv")):
    partners |= partners.create({"ref": ref, "name": f"Name {ref}", "city": city,
                                 "category_id": [(0, 0, {"name": f"Tag {ref}"})]})
env.cr.commit()  # which makes the deliveries
"""
# U-3 has failed; the first try of U-2 was not answered; a host asked to wait till 2100.
ATTEMPTS = """
env.cr.execute('''
    UPDATE bj_api_sync_delivery SET state = 'failed', attempt_count = 8,
        next_attempt_date = NULL, last_error = 'gave up'
    WHERE res_id = %s AND config_id IN %s;
    UPDATE bj_api_sync_delivery SET attempt_count = 1, last_error = 'timeout'
    WHERE res_id = %s AND config_id = %s;
    INSERT INTO bj_api_sync_destination (name, failures, openings, hold_until, config_id)
    SELECT destination, 1, 0, '2100-01-01', config_id FROM bj_api_sync_delivery
    WHERE config_id = %s LIMIT 1''',
    [partners[2].id, (put.id, post.id), partners[1].id, post.id, held.id])
env.cr.commit()
"""
FIRST = "ec8a743"  # the first that could be installed; it answered, and sent nothing
FIRST_OUTBOX = "a5e9af4"
# Its request scripts did not work yet: what one would have left in the deliveries.
SCRIPTED = """
post.request_script = script
sealed = env["bj.api.sync.secret"]._encrypt('{"X-Script": "from the script"}')
env.cr.execute("UPDATE bj_api_sync_delivery SET headers = %s WHERE config_id = %s",
               [sealed, post.id])
"""


def get_fill(commit):
    """Return what fills a database with all that the code of a commit can hold."""
    if commit == FIRST:
        return INSTALL + CONFIGS + RECORDS
    if commit == FIRST_OUTBOX:
        later = "script, post.request_script = post.request_script, False\n"
        records = later + RECORDS + SCRIPTED
        return INSTALL + CONFIGS + TRIGGERS + records + ATTEMPTS
    return INSTALL + CONFIGS + TRIGGERS + RECORDS + ATTEMPTS


class NoHistory(Exception):
    """This is no clone with the whole history, so there is no past to upgrade from."""


def export(commit, folder):
    """Write the addon as it was at a commit of the history into an addons folder.

    :raise NoHistory: there are no such commits here
    """
    git = ["git", "-C", str(ROOT)]
    try:
        known = not subprocess.call(
            [*git, "cat-file", "-e", commit], stderr=subprocess.DEVNULL
        )
    except OSError:
        known = False  # no git
    if not known:
        raise NoHistory(f"commit {commit} is not in a git history of this folder")
    target = folder / dev.ADDON
    archive = subprocess.run(
        [*git, "archive", commit], stdout=subprocess.PIPE, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(target, filter="data")
    manifest = target / "__manifest__.py"
    package = dev.devtool("package")
    manifest.write_text(package.series_manifest(manifest.read_text(), dev.SERIES))


def make_database(commit, folder, url, held_url):
    """Make a filled database by the code of a commit.

    :param url: of the receiver that the Out configurations send to
    :param held_url: of the one that has asked to wait
    :return: its name, and the bearer token that was generated
    """
    export(commit, folder)
    name = f"{PREFIX}_{commit}"
    with dev.Step("Base") as step:
        base, filestore = dev.base_database(SETUP, step)
    dev.create_database(SETUP.venv, name, base, filestore)
    addons = f"--addons-path={SETUP.source / 'addons'},{folder}"
    options = ["-d", name, "--no-http", "--log-level=error", addons]
    script = f"URL, HELD_URL = {url!r}, {held_url!r}\n{get_fill(commit)}"
    log = f"{PREFIX.rpartition('_')[2]}-upgrade-{commit}.log"
    printed = SETUP.odoo(log, *options, subcommand=["shell"], stdin=script)
    if "token:" not in printed or "Traceback" in printed:
        raise AssertionError(f"{commit} cannot be filled:\n{printed}")
    return name, printed.partition("token:")[2].split()[0]


# What a database is made of, as far as it is ours: {what: statement}.
SCHEMA = {
    "columns": """SELECT table_name, column_name, udt_name, is_nullable, column_default
        FROM information_schema.columns WHERE table_schema = 'public'
        AND (table_name LIKE 'bj\\_%' OR column_name LIKE 'bj\\_%')""",
    "constraints": """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE conrelid::regclass::text LIKE 'bj\\_%'""",
    "indexes": """SELECT tablename, indexname, indexdef FROM pg_indexes
        WHERE schemaname = 'public' AND (tablename LIKE 'bj\\_%' OR indexname LIKE '%bj\\_%')""",
    "fields": """SELECT model, name, ttype, store, required, readonly, relation, help->>'en_US'
        FROM ir_model_fields WHERE model LIKE 'bj.%' OR name LIKE 'bj\\_%'""",
}
TABLES = """SELECT tablename FROM pg_tables WHERE schemaname = 'public'
    AND tablename LIKE 'bj\\_%' AND tablename NOT SIMILAR TO '%\\_(wizard|preview)%'"""


def query(database, statement):
    with (
        closing(psycopg2.connect(dbname=database)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
        return cursor.fetchall()


def get_schema(database=TEMPLATE):
    return {what: set(query(database, text)) for what, text in SCHEMA.items()}


def get_content(database):
    """Return all our rows, and what else an upgrade without changes may not touch."""
    content = {
        table: query(database, f'SELECT t::text FROM "{table}" t ORDER BY 1')
        for (table,) in query(database, TABLES)
    }
    content["parameters"] = query(
        database,
        "SELECT key, value FROM ir_config_parameter WHERE key LIKE 'bj\\_%' ORDER BY key",
    )
    content["external ids"] = query(
        database,
        """SELECT name, model, res_id, noupdate FROM ir_model_data
           WHERE module = 'bj_api_sync' ORDER BY name""",
    )
    return content
