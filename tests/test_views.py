import ast
import subprocess

from lxml import etree
from odoo.exceptions import AccessError
from odoo.tests import Form, TransactionCase, new_test_user
from odoo.tools.safe_eval import safe_eval

from .common import PARTNER_LINES, ConfigMixin

KINDS = {
    "bj.api.sync.config": ("list", "kanban", "form"),
    "bj.api.sync.config.line": ("form",),
    "bj.api.sync.delivery": ("list", "kanban", "form", "graph", "pivot"),
    "bj.api.sync.destination": ("list", "kanban", "form"),
    "bj.api.sync.token": ("list", "kanban", "form"),
    "bj.api.log": ("list", "kanban", "form", "graph", "pivot"),
}
ACTIONS = (
    "bj_api_sync_config_action",
    "bj_api_sync_delivery_action",
    "bj_api_log_action",
    "bj_api_sync_token_action",
    "bj_api_sync_destination_action",
)


class TestConfigForm(ConfigMixin, TransactionCase):
    def _new(self, **vals):
        form = Form(self.env["bj.api.sync.config"])
        form.name = "Made by hand"
        form.model_id = self.env["ir.model"]._get("res.partner")
        for name, value in vals.items():
            setattr(form, name, value)
        return form

    def _add_line(self, form, **vals):
        with form.line_ids.new() as line:
            for name, value in vals.items():
                setattr(line, name, value)

    def test_an_endpoint_is_made_from_the_form_alone(self):
        form = self._new(endpoint="by-hand")
        form.http_method_ids.add(self.env.ref("bj_api_sync.bj_http_method_get"))
        self._add_line(
            form, field_path="ref", api_key="code", is_record_identifier=True
        )
        config = form.save()
        self.assertTrue(config.endpoint_url.endswith("/bj_api_sync/v1/by-hand"))
        # Quoted: zsh looks for files where a question mark stands bare.
        self.assertIn(f"'{config.endpoint_url}?limit=1'", config.curl_get)
        self.assertFalse(config.curl_post)

    def test_models_without_records_of_their_own_are_not_offered(self):
        for name in ("bj.api.sync.config", "bj.api.sync.wizard"):
            field = self.env[name]._fields["model_id"]
            domain = field.get_description(self.env)["domain"]
            offered = self.env["ir.model"].search(domain).mapped("model")
            with self.subTest(model=name):
                self.assertIn("res.partner", offered)
                self.assertNotIn("mail.thread", offered)  # abstract
                self.assertNotIn("bj.api.sync.wizard", offered)  # transient

    def test_choosing_a_field_proposes_a_key_and_keeps_one_that_is_there(self):
        form = self._new()
        for path, key in (
            ("email", "email"),
            ("country_id", "country"),
            ("category_id", "tags"),
            ("country_id.code", "country_code"),
        ):
            with self.subTest(path=path), form.line_ids.new() as line:
                line.field_path = path
                self.assertEqual(line.api_key, key)
                line.field_path = "name"
                self.assertEqual(line.api_key, key)

    def test_the_proposed_key_is_not_one_that_another_line_has(self):
        form = self._new()
        with form.line_ids.new() as line:
            line.field_path = "country_id"
            line.api_key = "tags"
        for key in ("category_id", False):
            with form.line_ids.new() as line:
                line.field_path = "category_id"
                self.assertEqual(line.api_key, key)
                line.api_key = line.api_key or "mine"

    def test_a_mapping_model_that_is_made_for_a_line_has_its_model(self):
        line_form = self.env.ref("bj_api_sync.bj_api_sync_config_line_view_form")
        for arch in (self.env["bj.api.sync.config"].get_view()["arch"], line_form.arch):
            [node] = etree.fromstring(arch).xpath(
                "//list//field[@name='mapping_config_id']"
                " | //form[not(.//list)]//field[@name='mapping_config_id']"
            )
            # A mere name typed there would make one without lines.
            self.assertTrue(safe_eval(node.get("options"))["no_quick_create"])
            context = safe_eval(node.get("context"), {"field_relation": "res.country"})
            form = Form(self.env["bj.api.sync.config"].with_context(**context))
            self.assertEqual(form.model_id.model, "res.country")
            self.assertFalse(form.endpoint)

    def test_a_new_line_knows_the_model_before_anything_is_saved(self):
        form = self._new()
        with form.line_ids.new() as line:
            self.assertEqual(line.model_name, "res.partner")
            line.field_path = "country_id"
            self.assertEqual(line.field_relation, "res.country")
            line.api_key = "country"

    def test_only_fields_of_the_chosen_direction_are_shown(self):
        form = self._new(endpoint="x")
        for name, is_in in [
            ("endpoint", True),
            ("limit", True),
            ("user_id", True),
            ("url", False),
            ("connect_timeout", False),
            ("read_timeout", False),
            ("sync_scope", False),
            ("signing_secret", False),
        ]:
            for request_type in ("in", "out"):
                with self.subTest(field=name, request_type=request_type):
                    form.request_type = request_type
                    hidden = form._get_modifier(name, "invisible")
                    self.assertEqual(not hidden, is_in == (request_type == "in"))

    def test_labels_are_those_that_users_know(self):
        labels = self.env["bj.api.sync.config"].fields_get(attributes=["string"])
        for name, label in [
            ("request_type", "Request Type"),
            ("http_method_ids", "HTTP Methods"),
            ("endpoint", "Endpoint"),
            ("url", "Request URL"),
            ("connect_timeout", "Connection Timeout in Seconds"),
            ("read_timeout", "Read Timeout in Seconds"),
            ("auth_type", "Authorization Type"),
            ("auth_login", "Login"),
            ("auth_password", "Password"),
            ("bearer_token", "Bearer Token"),
            ("limit", "Limit"),
            ("is_paginated", "Is paginated?"),
            ("page_size", "Page Size"),
            ("model_id", "Model"),
            ("filter_domain", "Filter Domain"),
            ("company_id", "Company"),
        ]:
            with self.subTest(field=name):
                self.assertEqual(labels[name]["string"], label)


class TestWarnings(ConfigMixin, TransactionCase):
    def test_a_run_as_user_with_settings_rights_is_pointed_out(self):
        config = self.make_config(PARTNER_LINES, endpoint="warned")
        config.user_id = self.env.ref("base.user_admin")
        self.assertTrue(config.is_run_as_admin)
        config.user_id = new_test_user(self.env, "bj_plain_user")
        self.assertFalse(config.is_run_as_admin)

    def test_an_endpoint_is_public_without_authorization_and_header(self):
        config = self.make_config(PARTNER_LINES, endpoint="warned", auth_type="none")
        self.assertTrue(config.is_public)
        config.header_ids = [(0, 0, {"name": "X-Key", "value": "k"})]
        self.assertFalse(config.is_public)

    def test_plain_http_is_pointed_out_but_not_on_this_machine(self):
        config = self.make_config(PARTNER_LINES, endpoint="warned")
        for url, expected in [
            ("http://erp.example.com", True),
            ("https://erp.example.com", False),
            ("http://localhost:8069", False),
        ]:
            with self.subTest(url=url):
                self.env["ir.config_parameter"].set_param("web.base.url", url)
                config.invalidate_recordset()
                self.assertEqual(config.is_plain_http, expected)

    def test_a_short_token_is_pointed_out(self):
        config = self.make_config(PARTNER_LINES, endpoint="warned", bearer_token="abc")
        self.assertTrue(config.has_short_token)
        config.bearer_token = "a" * 40
        self.assertFalse(config.has_short_token)

    def test_an_empty_bearer_token_of_an_out_configuration_is_pointed_out(self):
        config = self.make_config(
            PARTNER_LINES,
            request_type="out",
            methods=["POST"],
            url="https://shop.example.com/orders",
            auth_type="bearer",
        )
        user = new_test_user(self.env, "bj_reader", "bj_api_sync.group_bj_api_user")
        self.assertTrue(config.with_user(user).has_no_credential)
        config.bearer_token = "issued-by-the-shop"
        self.assertFalse(config.has_no_credential)
        config.bearer_token = False
        self.assertTrue(config.has_no_credential)
        config.header_ids = [(0, 0, {"name": "X-Key", "value": "k", "is_secret": True})]
        self.assertFalse(config.has_no_credential)


class TestConfigHealth(ConfigMixin, TransactionCase):
    def test_errors_and_last_success_come_from_the_log(self):
        good = self.make_config(PARTNER_LINES, endpoint="good")
        bad = self.make_config(PARTNER_LINES, endpoint="bad")
        logs = self.env["bj.api.log"]
        for config, status, day in [
            (good, "success", "2020-01-01"),
            (good, "error", "2020-01-02"),
            (bad, "error", None),
            (bad, "success", None),
        ]:
            vals = {"config_id": config.id, "status": status}
            if day:
                vals["timestamp"] = f"{day} 00:00:00"
            logs.create(vals)
        self.assertEqual((good.error_count, bad.error_count), (0, 1))
        self.assertEqual((good.log_count, bad.log_count), (0, 2))
        self.assertEqual(str(good.last_success_date), "2020-01-01 00:00:00")
        found = self.env["bj.api.sync.config"].search([("error_count", ">", 0)])
        self.assertIn(bad, found)
        self.assertNotIn(good, found)

    def test_the_list_costs_the_same_however_many_rows_it_has(self):
        configs = self.env["bj.api.sync.config"]
        for number in range(6):
            configs |= self.make_config(PARTNER_LINES, endpoint=f"row-{number}")
        names = ["error_count", "last_success_date", "log_count"]
        counts = []
        for rows in (configs[:1], configs):
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            rows.read(names)
            counts.append(self.env.cr.sql_log_count - before)
        self.assertEqual(counts[0], counts[1])


class TestLogViews(TransactionCase):
    def test_rows_are_grouped_by_the_hour_of_the_user(self):
        logs = self.env["bj.api.log"].with_context(tz="Europe/Kyiv")
        config = self.env["bj.api.sync.config"].search([], limit=1)
        for moment in ("2025-01-31 10:05:00", "2025-01-31 10:55:00"):
            logs.create({"name": "hour", "timestamp": moment, "config_id": config.id})
        logs.create({"name": "hour", "timestamp": "2025-01-31 11:00:00"})
        groups = logs.read_group([("name", "=", "hour")], ["__count"], ["hour"])
        self.assertEqual(
            [(group["hour"], group["hour_count"]) for group in groups],
            [("2025-01-31 12:00", 2), ("2025-01-31 13:00", 1)],
        )
        self.assertEqual(logs.search_count(groups[0]["__domain"]), 2)

    def test_bodies_are_shown_with_line_breaks_and_as_curl(self):
        log = self.env["bj.api.log"].create(
            {
                "direction": "in",
                "method": "POST",
                "url": "/bj_api_sync/v1/x?a='b'",
                "request_data": '{"a":{"b":1}}',
                "response_data": "no json",
                "request_headers": '{"authorization": "***", "host": "h"}',
            }
        )
        self.assertEqual(log.request_pretty, '{\n  "a": {\n    "b": 1\n  }\n}')
        self.assertEqual(log.response_pretty, "no json")
        self.assertEqual(log.request_headers_pretty, "authorization: ***\nhost: h")
        self.assertIn("-H 'authorization: ***'", log.curl)
        self.assertNotIn("host", log.curl.split("--data-raw")[0].split("-H", 1)[1])
        self.assertIn("""'{"a":{"b":1}}'""", log.curl)

    def test_the_command_of_a_head_request_waits_for_no_body(self):
        row = {"direction": "out", "method": "HEAD", "url": "http://shop.example/a"}
        log = self.env["bj.api.log"].create(row)
        self.assertIn("curl --head http://shop.example/a", log.curl)

    def test_what_a_stranger_sent_is_no_command_and_no_file_for_who_pastes_it(self):
        row = {
            "direction": "in",
            "method": "GET;REBOOT;$(ID)",
            "url": "/bj_api_sync/v1/x';reboot;'",
            "request_headers": '{"x-a": "$(id)`id`\'"}',
            "request_data": "@/etc/passwd",
        }
        log = self.env["bj.api.log"].create(row)
        # A real shell takes the command apart, with another program in curl's place.
        shown = subprocess.run(
            ["sh", "-c", log.curl.replace("curl", r"printf '%s\n'", 1)],
            capture_output=True,
            check=True,
            text=True,
        )
        self.assertEqual(
            shown.stdout.splitlines(),
            [
                *("-X", row["method"]),
                log.get_base_url() + row["url"],
                *("-H", "x-a: $(id)`id`'"),
                *("--data-raw", row["request_data"]),
            ],
        )
        self.assertFalse(shown.stderr)


class TestApiUser(ConfigMixin, TransactionCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.api_user = new_test_user(
            cls.env, "bj_api_reader", groups="bj_api_sync.group_bj_api_user"
        )
        cls.config = cls.make_config(
            PARTNER_LINES,
            endpoint="seen",
            auth_type="basic",
            auth_login="shop",
            auth_password="s3cret-password",
        )
        bearer = cls.make_config(PARTNER_LINES, endpoint="seen-by-token")
        cls.make_token(bearer)
        out = cls.make_config(
            PARTNER_LINES,
            request_type="out",
            methods=("POST",),
            url="https://shop.example.com/contacts",
            auth_type="bearer",
            bearer_token="s3cret-token",
            header_ids=[
                (0, 0, {"name": "X-Key", "value": "s3cret-key", "is_secret": True})
            ],
        )
        pull = cls.make_config(
            PARTNER_LINES,
            request_type="out",
            methods=("GET",),
            url="https://shop.example.com/contacts",
            auth_type="none",
        )
        (out | pull)._pause("Paused by a test.", tell=False)
        partner = cls.env["res.partner"].create({"name": "Seen", "ref": "Seen"})
        deliveries = cls.env["bj.api.sync.outbound"]._enqueue(out, partner, "manual")
        parameter = cls.env["ir.config_parameter"].search([], limit=1)
        logs = cls.env["bj.api.log"]
        for vals in (
            {"config_id": out.id, "direction": "out", "delivery_id": deliveries.id},
            {"config_id": cls.config.id, "direction": "in", "status": "error"},
            # what this user may not open, and what nobody can
            {"model": parameter._name, "record_id": parameter.id},
            {"model": "res.partner", "record_id": 2**31 - 1},
        ):
            logs.create({"name": "seen", "method": "POST", "url": "/seen", **vals})
        cls.env["bj.api.sync.destination"].create(
            {"name": "shop.example.com", "opened_until": "2100-01-01 00:00:00"}
        )

    def _views(self, model):
        return (
            self.env[model]
            .with_user(self.api_user)
            .get_views([(False, kind) for kind in (*KINDS[model], "search")])
        )

    def _records(self, model):
        records = self.env[model].with_context(active_test=False)
        return records.with_user(self.api_user).search([], order="id desc", limit=30)

    def test_every_screen_opens(self):
        for model in KINDS:
            views = self._views(model)
            names = views["models"][model]["fields"]
            records = self._records(model)
            with self.subTest(model=model):
                self.assertTrue(records)
                records.read(list(names))
                records.web_read(
                    {
                        name: {"fields": {"display_name": {}}}
                        if field["type"] in ("many2one", "many2one_reference")
                        else {}
                        for name, field in names.items()
                    }
                )

    def test_every_button_that_is_shown_works(self):
        pressed = set()
        for button, record in self._shown_buttons():
            name = button.get("name")
            with self.subTest(button=name, record=record):
                self.assertEqual(button.get("type"), "object")
                self._press(record, name)
                pressed.add(name)
        self.assertLessEqual(
            {"action_open_logs", "action_open_record", "action_download_openapi"},
            pressed,
        )

    def test_nothing_is_offered_that_would_change_something(self):
        for model, kinds in KINDS.items():
            views = self._views(model)["views"]
            for kind in kinds:
                arch = etree.fromstring(views[kind]["arch"])
                for view in arch.xpath("//list | //kanban | //form"):
                    for right in ("create", "edit", "delete"):
                        with self.subTest(model=model, view=view.attrib, right=right):
                            self.assertIn(view.get(right), ("0", "False", "false"))
                self.assertFalse(arch.xpath("/list/header/button"))

    def _shown_buttons(self):
        """Yield each button that the user sees, with each record it is pressed on; the
        ones of an embedded list with its rows."""
        for model, kinds in KINDS.items():
            views = self._views(model)["views"]
            for kind in kinds:
                arch = etree.fromstring(views[kind]["arch"])
                for button in arch.xpath("//button[@type]"):
                    embedding = button.xpath("ancestor::field")
                    for record in self._records(model):
                        rows = record
                        if embedding:
                            rows = self._rows(embedding[0], record)
                        for row in rows:
                            if not is_hidden(button, row, embedding and record):
                                yield button, row

    def _rows(self, field, record):
        if is_hidden(field, record):
            return record[field.get("name")].browse()
        context = safe_eval(field.get("context", "{}"))
        return record.with_context(**context)[field.get("name")]

    def _press(self, record, name):
        """Do what the client does with a button: call it, and open what it answers."""
        action = getattr(record, name)()
        if action["type"] == "ir.actions.act_url":
            return
        self.assertEqual(action["type"], "ir.actions.act_window")
        target = self.env[action["res_model"]].with_user(self.api_user)
        target.get_views(action["views"])
        if action.get("res_id"):
            target.browse(action["res_id"]).read(["display_name"])
        else:
            target.search_count(action["domain"])

    def test_no_secret_is_shown(self):
        config = self.config.with_user(self.api_user)
        names = self._views("bj.api.sync.config")["models"]["bj.api.sync.config"]
        for name in ("auth_password", "bearer_token", "signing_secret"):
            self.assertNotIn(name, names["fields"])
            with self.assertRaises(AccessError):
                config.read([name])
        self.assertNotIn("s3cret", str(config.read()))

    def test_the_menus_are_visible(self):
        menus = self.env["ir.ui.menu"].with_user(self.api_user)
        visible = menus.with_context(
            **{"ir.ui.menu.full_list": False}
        )._visible_menu_ids(debug=True)
        for name in ("root", "config", "delivery"):
            suffix = "menu_root" if name == "root" else f"{name}_menu"
            menu = self.env.ref(f"bj_api_sync.bj_api_sync_{suffix}")
            self.assertIn(menu.id, visible)

    def test_a_configuration_can_be_looked_at_but_not_changed(self):
        form = Form(self.config.with_user(self.api_user))
        with self.assertRaises(AccessError):
            form.name = "Changed"
            form.save()


class TestGraphs(TransactionCase):
    def test_every_graph_and_pivot_counts_and_sums_what_makes_sense(self):
        for model, measures in [
            ("bj.api.log", {"duration", "record_count"}),
            ("bj.api.sync.delivery", set()),
        ]:
            records = self.env[model]
            views = records.get_views([(False, "graph"), (False, "pivot")])
            infos = records.fields_get(attributes=["type", "aggregator", "store"])
            offered = {
                name
                for name, info in infos.items()
                if info["type"] in ("integer", "float", "monetary")
                and info.get("aggregator")
                and info["store"]
            }
            with self.subTest(model=model):
                self.assertEqual(offered, measures)
            for kind in ("graph", "pivot"):
                arch = etree.fromstring(views["views"][kind]["arch"])
                groups = [
                    ":".join(filter(None, (field.get("name"), field.get("interval"))))
                    for field in arch.xpath("//field[not(@type='measure')]")
                ]
                with self.subTest(model=model, kind=kind):
                    self.assertTrue(groups)
                    records.read_group([], [*measures], groups, lazy=False)


class TestEmptyScreens(TransactionCase):
    def test_every_screen_says_what_to_do_while_it_is_empty(self):
        for name in ACTIONS:
            with self.subTest(action=name):
                action = self.env.ref(f"bj_api_sync.{name}")
                self.assertIn("o_view_nocontent_smiling_face", str(action.help))


class TestServerActionForm(TransactionCase):
    def test_the_configuration_is_asked_for_where_the_state_is_chosen(self):
        form = Form(self.env["ir.actions.server"])
        form.name = "Send"
        form.model_id = self.env["ir.model"]._get("res.partner")
        form.state = "bj_api_sync"
        self.assertFalse(form._get_modifier("bj_api_config_id", "invisible"))
        self.assertTrue(form._get_modifier("bj_api_config_id", "required"))
        form.state = "code"
        self.assertTrue(form._get_modifier("bj_api_config_id", "invisible"))

    def test_a_scheduled_action_is_made_by_hand(self):
        config = self._make_config()
        form = Form(self.env["ir.cron"], view="base.ir_cron_view_form")
        form.name = "Every night"
        form.model_id = config.model_id
        self.assertFalse(form._get_modifier("state", "invisible"))
        form.state = "bj_api_sync"
        form.bj_api_config_id = config
        cron = form.save()
        self.assertEqual(cron.ir_actions_server_id.bj_api_config_id, config)
        (button,) = form._view["tree"].xpath("//button[@name='method_direct_trigger']")
        self.assertIn("bj_api_sync", button.get("invisible"))

    def test_actions_of_a_rule_say_which_configuration_they_use(self):
        config = self._make_config()
        rule = self.env["base.automation"].browse(config.action_create_rule()["res_id"])
        self.assertEqual(rule.action_server_ids.name, "Send: Customers to the shop")
        config.name = "Customers to the CRM"
        self.assertEqual(rule.action_server_ids.name, "Send: Customers to the CRM")

    def _make_config(self):
        return self.env["bj.api.sync.config"].create(
            {
                "name": "Customers to the shop",
                "request_type": "out",
                "model_id": self.env["ir.model"]._get_id("res.partner"),
                "http_method_ids": [
                    (6, 0, self.env.ref("bj_api_sync.bj_http_method_post").ids)
                ],
                "auth_type": "none",
                "url": "https://shop.example.com/customers",
            }
        )


def is_hidden(node, record, parent=None):
    """Tell whether an ``invisible`` on the way to a node is true for a record.

    :param parent: the record whose form embeds the view that the node is in
    """
    for element in node.xpath("ancestor-or-self::*[@invisible]"):
        condition = element.get("invisible")
        is_outside = parent and not element.xpath("ancestor::field")
        source = parent if is_outside else record
        if safe_eval(condition, {name: source[name] for name in names_in(condition)}):
            return True
    return False


def names_in(condition):
    tree = ast.parse(condition, mode="eval")
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
