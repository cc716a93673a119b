import json
import re

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import TransactionCase, new_test_user
from odoo.tools import mute_logger

from .common import PARTNER_LINES, ConfigMixin
from .outbound_common import OutboundCase

CODE = "env['res.users'].sudo().browse(2).login"
# Models whose records only the addon itself makes: nobody has the right to.
MADE_BY_US = {
    "bj.http.method",
    "bj.api.log",
    "bj.api.sync.claim",
    "bj.api.sync.counter",
    "bj.api.sync.delivery",
    "bj.api.sync.destination",
    "bj.api.sync.event",
    "bj.api.sync.replay",
    "bj.api.sync.token",
}


def is_script(name):
    return name == "script" or name.endswith("_script")


class PlantCase(ConfigMixin, TransactionCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.manager = new_test_user(
            cls.env,
            "bj_planter",
            groups="base.group_user,bj_api_sync.group_bj_api_manager",
        )
        cls.config = cls.make_config(PARTNER_LINES, endpoint="planted")
        cls.wizard = (
            cls.env["bj.api.sync.wizard"]
            .with_user(cls.manager)
            .create({"name": "W", "model_id": cls.config.model_id.id})
        )
        cls.preview = (
            cls.env["bj.api.sync.preview"]
            .with_user(cls.manager)
            .create({"config_id": cls.config.id})
        )

    def _get_vals(self, model):
        """Return values of a record that the manager may make."""
        config = {"config_id": self.config.id}
        return {
            "bj.api.sync.config": {
                "name": "Planted",
                "model_id": self.config.model_id.id,
            },
            "bj.api.sync.config.line": {
                **config,
                "api_key": "planted",
                "value_type": "constant",
                "constant_value": "1",
            },
            "bj.api.sync.header": {**config, "name": "X-Planted", "value": "v" * 20},
            "bj.api.sync.param": {**config, "name": "planted", "field_path": "name"},
            "bj.api.sync.wizard": {"name": "W", "model_id": self.config.model_id.id},
            "bj.api.sync.wizard.line": {
                "wizard_id": self.wizard.id,
                "model_name": "res.partner",
                "api_key": "k",
            },
            "bj.api.sync.wizard.token": config,
            "bj.api.sync.preview": config,
            "bj.api.sync.preview.line": {"preview_id": self.preview.id},
        }[model]

    def _get_models(self):
        return {
            name: self.env[name].with_user(self.manager)
            for name, model in self.env.registry.items()
            if name.startswith(("bj.api.", "bj.http.")) and not model._abstract
        }

    def _get_restricted(self, model):
        """Return the stored fields that only Settings administrators or nobody write."""
        return {
            name: field
            for name, field in model._fields.items()
            if field.store
            and (
                field.groups == fields.NO_ACCESS
                or "base.group_system" in (field.groups or "")
                or is_script(name)
                or name.endswith(("_secret", "_hash", "_token"))
            )
            and field.type in ("char", "text", "html", "binary")
        }

    def _read(self, record, name):
        self.env.flush_all()
        self.env.cr.execute(
            f'SELECT "{name}" FROM "{record._table}" WHERE id = %s', [record.id]
        )
        (value,) = self.env.cr.fetchone()
        # Of one text, each salted hash is another one.
        return re.sub(r"^(\$pbkdf2\S*?\$\d+\$).*", r"\1", value) if value else value


class TestPlanted(PlantCase):
    def test_every_model_is_looked_at(self):
        for name, model in self._get_models().items():
            with self.subTest(model=name):
                self.assertEqual(model.has_access("create"), name not in MADE_BY_US)

    def test_a_manager_plants_no_restricted_field_by_a_default(self):
        tried = set()
        for name, model in self._get_models().items():
            if name in MADE_BY_US:
                continue
            for field in self._get_restricted(model):
                with self.subTest(model=name, field=field):
                    tried.add(field)
                    with self.env.cr.savepoint() as savepoint:
                        before = self._read(self._create(model), field)
                        savepoint.rollback()
                    self.assertIn(self._plant_by_context(model, field), (before, None))
                    self.assertEqual(self._plant_by_default(model, field), before)
        self.assertLessEqual(
            {"script", "read_script", "request_script", "response_script",
             "value_secret", "bearer_token_secret", "auth_password_secret"},
            tried,
        )  # fmt: skip

    def _create(self, model):
        return model.create(self._get_vals(model._name))

    @mute_logger("odoo.sql_db")
    def _plant_by_context(self, model, field):
        with self.env.cr.savepoint() as savepoint:
            try:
                record = self._create(model.with_context(**{f"default_{field}": CODE}))
            except AccessError:  # 19.0 refuses some of its own accord
                savepoint.rollback()
                return None
            found = self._read(record, field)
            savepoint.rollback()
        return found

    def _plant_by_default(self, model, field):
        with self.env.cr.savepoint() as savepoint:
            defaults = self.env["ir.default"].with_user(self.manager)
            defaults.set(model._name, field, CODE, user_id=True)
            # One for everybody, as it may be there from before.
            self.env["ir.default"].set(model._name, field, CODE)
            company = self.env.company.id
            self.env["ir.default"].set(model._name, field, CODE, company_id=company)
            found = self._read(self._create(model), field)
            shown = model.default_get([field])
            savepoint.rollback()
        self.assertFalse(shown)
        return found

    def test_a_column_that_is_nobodys_is_refused_when_it_is_sent(self):
        for name, model in self._get_models().items():
            if name in MADE_BY_US:
                continue
            for field, described in self._get_restricted(model).items():
                if described.groups != fields.NO_ACCESS:
                    continue
                vals = {**self._get_vals(name), field: "planted"}
                with self.subTest(model=name, field=field):
                    with self.assertRaises(AccessError):
                        model.create(vals)
                    record = self._create(model)
                    with self.assertRaises(AccessError):
                        record.write({field: "planted"})

    def test_every_script_is_known_as_one(self):
        for name, model in self._get_models().items():
            scripts = {
                field
                for field, described in model._fields.items()
                if is_script(field) and described.type == "text"
            }
            known = set(getattr(model, "_settings_fields", ()))
            with self.subTest(model=name):
                self.assertEqual(scripts, known)

    def test_an_administrator_may_have_a_default(self):
        self.env["ir.default"].set("bj.api.sync.config", "request_script", "x = 1")
        vals = self._get_vals("bj.api.sync.config")
        config = self.env["bj.api.sync.config"].create(vals)
        self.assertEqual(config.request_script, "x = 1")


class TestWays(PlantCase):
    def _is_clean(self):
        self.env.flush_all()
        self.env.invalidate_all()
        configs = self.env["bj.api.sync.config"].with_context(active_test=False)
        lines = self.env["bj.api.sync.config.line"]
        return not (
            configs.search_count(["|", ("request_script", "=", CODE),
                                  ("response_script", "=", CODE)])
            or lines.search_count(["|", ("script", "=", CODE),
                                   ("read_script", "=", CODE)])
        )  # fmt: skip

    def _get_ways(self):
        configs = self.env["bj.api.sync.config"].with_user(self.manager)
        lines = self.env["bj.api.sync.config.line"].with_user(self.manager)
        own = self.config.with_user(self.manager)
        line = {**self._get_vals(lines._name), "read_script": CODE}
        inner = {name: line[name] for name in line if name != "config_id"}
        config = self._get_vals(configs._name)
        named = {"default_model_id": self.config.model_id.id}
        yield "create", lambda: configs.create({**config, "request_script": CODE})
        yield "command", lambda: configs.create({**config, "line_ids": [(0, 0, inner)]})
        yield "command in write", lambda: own.write({"line_ids": [(0, 0, inner)]})
        yield (
            "command of an old line",
            lambda: own.write(
                {"line_ids": [(1, own.line_ids[0].id, {"script": CODE})]}
            ),
        )
        yield "line", lambda: lines.create(line)
        yield "copy", lambda: own.copy({"response_script": CODE})
        yield "copy of a line", lambda: own.line_ids[0].copy({"script": CODE})
        yield (
            "lines by default",
            lambda: configs.with_context(default_line_ids=[(0, 0, inner)]).create(
                config
            ),
        )
        yield (
            "name_create",
            lambda: configs.with_context(
                default_request_script=CODE, **named
            ).name_create("Planted"),
        )
        yield (
            "script by default in a command",
            lambda: own.with_context(default_read_script=CODE).write(
                {"line_ids": [(0, 0, dict(inner, read_script=False))]}
            ),
        )
        yield (
            "copy by default",
            lambda: own.with_context(default_request_script=CODE).copy(),
        )
        yield (
            "import",
            lambda: configs.load(
                ["name", "model_id/.id", "request_script"],
                [["Planted", str(self.config.model_id.id), CODE]],
            ),
        )
        yield (
            "web_save",
            lambda: own.web_save({"request_script": CODE}, {"request_script": {}}),
        )
        yield (
            "web_save of a new one",
            lambda: configs.with_context(default_response_script=CODE).web_save(
                config, {"name": {}}
            ),
        )

    @mute_logger("odoo.addons.base.models.ir_model", "odoo.models")
    def test_no_way_stores_a_script_of_a_manager(self):
        for name, do in self._get_ways():
            with self.subTest(way=name), self.env.cr.savepoint() as savepoint:
                try:
                    do()
                except AccessError:
                    savepoint.rollback()
                self.assertTrue(self._is_clean())
                savepoint.rollback()
                self.env.invalidate_all()

    def test_a_form_shows_no_default_of_a_script(self):
        configs = self.env["bj.api.sync.config"].with_user(self.manager)
        found = configs.with_context(default_request_script=CODE).onchange(
            {}, [], {"name": {}, "request_script": {}, "line_ids": {"fields": {}}}
        )
        self.assertFalse(found["value"].get("request_script"))

    def test_a_token_has_the_hash_of_what_was_generated(self):
        self.env["ir.default"].with_user(self.manager).set(
            "bj.api.sync.token", "token_hash", "planted", user_id=True
        )
        wizards = self.env["bj.api.sync.wizard.token"].with_user(self.manager)
        wizards = wizards.with_context(default_token_hash="planted")
        wizards.create({"config_id": self.config.id}).action_generate()
        self.assertNotEqual(
            self._read(self.config.token_ids[:1], "token_hash"), "planted"
        )


class TestMadeTriggers(OutboundCase):
    """What the buttons of the page Automation make for a Manager."""

    def test_neither_context_nor_defaults_of_a_manager_get_into_it(self):
        manager = new_test_user(
            self.env,
            "bj_planter",
            groups="base.group_user,bj_api_sync.group_bj_api_manager",
        )
        planted = {
            "base.automation": ("filter_domain", "filter_pre_domain", "record_getter"),
            "ir.actions.server": ("code", "webhook_url"),
            "ir.cron": ("code",),
        }
        context = {}
        for model, names in planted.items():
            for name in names:
                context[f"default_{name}"] = CODE
                self.env["ir.default"].with_user(manager).set(
                    model, name, CODE, user_id=True
                )
        config = self._make_config().with_user(manager).with_context(**context)
        for button, model in (
            ("action_create_rule", "base.automation"),
            ("action_create_cron", "ir.cron"),
            ("action_create_server_action", "ir.actions.server"),
        ):
            with self.subTest(button=button):
                action = getattr(config, button)()
                self.assertEqual(action["tag"], "display_notification")
                record = self.env[model].with_context(active_test=False)
                record = record.search([], order="id desc", limit=1)
                actions = {
                    "base.automation": lambda rule: rule.action_server_ids,
                    "ir.cron": lambda cron: cron.ir_actions_server_id,
                }.get(model, lambda action: action)(record)
                self.assertEqual(actions.bj_api_config_id, config.sudo())
                for holder, names in ((record, planted[model]), (actions, ("code",))):
                    for name in names:
                        self.assertNotEqual(holder[name], CODE, json.dumps(name))
