from odoo.exceptions import AccessError
from odoo.tests import Form, TransactionCase, new_test_user

from .common import PARTNER_LINES, ConfigMixin

MANAGER = "base.group_user,base.group_partner_manager,bj_api_sync.group_bj_api_manager"


class ScriptRightsCase(ConfigMixin, TransactionCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.manager = new_test_user(cls.env, "bj_moving_manager", groups=MANAGER)
        cls.runner = new_test_user(
            cls.env, "bj_moving_runner", groups="base.group_user"
        )
        cls.lines = {
            **PARTNER_LINES,
            "upper": {
                "field_path": "function",
                "value_type": "python_plain",
                "script": "request_data['upper'].upper()",
                "read_script": "record.function",
            },
        }
        cls.scripted = cls.make_config(cls.lines, endpoint="scripted")
        cls.plain = cls.make_config(PARTNER_LINES, endpoint="unscripted")
        cls.below = cls.make_config(cls.lines)
        cls.above = cls.make_config(
            {
                **PARTNER_LINES,
                "parent": {
                    "field_path": "parent_id",
                    "value_type": "relational_mapping",
                    "mapping_config_id": cls.below.id,
                },
            },
            endpoint="above",
        )
        cls.whole = cls.make_config(
            PARTNER_LINES, endpoint="whole", request_script="log('x')"
        )
        cls.out = cls.make_config(
            cls.lines,
            request_type="out",
            methods=("POST",),
            url="https://api.example.com",
            auth_type="none",
        )

    def _try(self, record, vals):
        """Tell whether the manager may; nothing of it stays."""
        with self.env.cr.savepoint() as savepoint:
            try:
                record.with_user(self.manager).write(vals)
                self.env.flush_all()
            except AccessError as error:
                self.assertIn("Settings", str(error))
                return False
            finally:
                savepoint.rollback()
                self.env.invalidate_all()
        return True


class TestLines(ScriptRightsCase):
    def _get_line(self, config=None):
        return (config or self.scripted).line_ids.filtered("read_script")

    def test_what_a_script_of_a_line_does_stays(self):
        for vals in (
            {"config_id": self.plain.id},
            {"value_type": "plain"},
            {"script_mode": "execute"},
            {"access": "read"},
            {"access": "write"},
        ):
            with self.subTest(vals=vals):
                line = self._get_line()
                self.assertFalse(self._try(line, vals))
                command = {"line_ids": [(1, line.id, vals)]}
                self.assertFalse(self._try(self.scripted, command))
        link = {"line_ids": [(4, self._get_line().id)]}
        self.assertFalse(self._try(self.plain, link))

    def test_the_rest_of_the_line_and_of_others_is_his(self):
        for vals in (
            {"api_key": "renamed"},
            {"sequence": 99},
            {"field_path": "name", "api_key": "other"},
            {"access": "read_write", "value_type": "python_plain"},
        ):
            with self.subTest(vals=vals):
                self.assertTrue(self._try(self._get_line(), vals))
        other = self.scripted.line_ids.filtered(lambda line: line.api_key == "email")
        for vals in ({"access": "read"}, {"config_id": self.below.id}):
            self.assertTrue(self._try(other, dict(vals, api_key="moved")))

    def test_it_is_not_deleted_but_its_configuration_is(self):
        line = self._get_line().with_user(self.manager)
        with self.assertRaisesRegex(AccessError, "upper"):
            line.unlink()
        with self.assertRaises(AccessError):
            line.config_id.line_ids = [(2, line.id)]
        with self.assertRaises(AccessError):
            line.config_id.line_ids = [(5,)]
        (self.scripted.line_ids - line)[-1].with_user(self.manager).unlink()
        self.scripted.with_user(self.manager).active = False
        self.scripted.with_user(self.manager).unlink()
        self.assertFalse(self.scripted.exists())

    def test_an_administrator_changes_all_of_it(self):
        administrator = new_test_user(
            self.env, "bj_moving_admin", groups=f"{MANAGER},base.group_system"
        )
        line = self._get_line().with_user(administrator)
        line.write({"access": "read", "config_id": self.plain.id})
        line.config_id.user_id = self.runner
        line.unlink()


class TestConfigurations(ScriptRightsCase):
    def test_as_whom_and_where_a_script_runs_stays(self):
        company = self.env["res.company"].create({"name": "Other"})
        for user in (self.manager, self.env.user, self.scripted.user_id):
            user.company_ids += company
        get = self.env.ref("bj_api_sync.bj_http_method_get")
        self.below.company_id = False
        for config in (self.scripted, self.above, self.whole):
            for vals in (
                {"user_id": self.runner.id},
                {"auth_type": "none"},  # Run As becomes the public user
                {"company_id": company.id},
                {"company_id": False},
                {"request_type": "out", "url": "https://x.example.com",
                 "http_method_ids": [(6, 0, get.ids)]},
            ):  # fmt: skip
                with self.subTest(config=config.name, vals=vals):
                    self.assertFalse(self._try(config, vals))
        with self.subTest("an Out one runs as superuser, a pull does not"):
            self.assertFalse(
                self._try(self.out, {"http_method_ids": [(6, 0, get.ids)]})
            )

    def test_a_script_of_a_mapping_model_is_not_used_anew(self):
        vals = {
            "api_key": "parent",
            "field_path": "parent_id",
            "value_type": "relational_mapping",
            "mapping_config_id": self.below.id,
        }
        self.assertFalse(self._try(self.plain, {"line_ids": [(0, 0, vals)]}))
        mapping = self.above.line_ids.mapping_config_id.copy({"line_ids": []})
        mapping.line_ids = self.make_lines(PARTNER_LINES)
        line = self.above.line_ids.filtered("mapping_config_id")
        self.assertTrue(self._try(line, {"mapping_config_id": mapping.id}))
        line.mapping_config_id = mapping
        self.env.flush_all()
        self.assertFalse(self._try(mapping, {"line_ids": [(0, 0, vals)]}))
        self.assertFalse(self._try(line, {"mapping_config_id": self.below.id}))
        with self.assertRaises(AccessError):
            self.above.with_user(self.manager).create(
                {
                    "name": "New",
                    "model_id": self.above.model_id.id,
                    "line_ids": [(0, 0, vals)],
                }
            )

    def test_all_else_of_such_a_configuration_is_his(self):
        post = self.env["bj.http.method"].search([("name", "=", "POST")])
        for config in (self.scripted, self.above, self.whole):
            for vals in (
                {"name": "Renamed"},
                {"filter_domain": "[('ref', '!=', False)]"},
                {"http_method_ids": [(6, 0, post.ids)]},
                {"endpoint": "elsewhere"},
                {"active": False},
                {"user_id": config.user_id.id, "company_id": config.company_id.id},
                {"line_ids": self.make_lines({"phone": "phone"})},
            ):
                with self.subTest(config=config.name, vals=vals):
                    self.assertTrue(self._try(config, vals))
        self.assertTrue(self._try(self.out, {"url": "https://other.example.com"}))

    def test_without_scripts_everything_is(self):
        for vals in (
            {"user_id": self.runner.id},
            {"company_id": False},
            {"auth_type": "none"},
        ):
            self.assertTrue(self._try(self.plain, vals))

    def test_the_wizard_proposes_a_mapping_model_that_may_be_used(self):
        mappings = self.env["bj.api.sync.config"]
        mappings.search([("model_name", "=", "res.country")]).active = False
        scripted = self.make_config(
            {"code": {"value_type": "python_plain", "script": "1"}}, model="res.country"
        )
        wizards = self.env["bj.api.sync.wizard"]
        find = wizards.with_user(self.manager)._find_mapping
        self.assertEqual(wizards._find_mapping("res.country"), scripted)
        self.assertFalse(find("res.country"))
        plain = self.make_config({"code": "code"}, model="res.country")
        self.assertEqual(find("res.country"), plain)


class TestForms(ScriptRightsCase):
    def test_the_form_opens_and_saves_for_both(self):
        administrator = new_test_user(
            self.env, "bj_moving_admin", groups=f"{MANAGER},base.group_system"
        )
        pull = self.make_config(
            PARTNER_LINES, name="Pull", request_type="out", methods=("GET",),
            url="https://api.example.com", auth_type="none",
        )  # fmt: skip
        for user in (self.manager, administrator):
            for config in (self.scripted, self.above, self.whole, self.out, pull):
                with self.subTest(user=user.login, config=config.name):
                    form = Form(config.with_user(user))
                    form.description = user.login
                    with form.line_ids.new() as line:
                        line.field_path = "comment"
                        line.api_key = user.login
                    saved = form.save()
                    self.assertEqual(saved.description, user.login)
                    self.assertIn(user.login, saved.line_ids.mapped("api_key"))
