from odoo import SUPERUSER_ID
from odoo.exceptions import UserError, ValidationError
from odoo.tests import new_test_user, tagged
from odoo.tools import mute_logger

from .common import ConfigMixin
from .pull_common import PullCase, as_json


@tagged("post_install", "-at_install")
class TestPullRights(ConfigMixin, PullCase):
    """The other side reaches no more than the user whom the configuration names."""

    def setUp(self):
        super().setUp()
        self.user = new_test_user(
            self.env, "puller", "base.group_user,base.group_partner_manager"
        )
        self.other_company = self.env["res.company"].create({"name": "Other"})
        self.pairs = []

    def _make_pull(self, **vals):
        return super()._make_pull(user_id=self.user.id, page_size=100, **vals)

    def _hide(self, domain):
        """Keep contacts from everybody by a rule."""
        self.env["ir.rule"].create(
            {
                "name": "Hidden",
                "model_id": self.env.ref("base.model_res_partner").id,
                "domain_force": domain,
            }
        )

    def _find(self, **vals):
        domain = [(name, "=", value) for name, value in vals.items()]
        return self.env["res.partner"].with_context(active_test=False).search(domain)

    def _assert_refused(self, config, partner, item, *words):
        """Assert that an item changes nothing, makes no twin, and keeps no other back."""
        before = (partner.name, partner.write_date)
        for is_now in (False, True):
            good = {"ref": f"Qgood{is_now}", "name": "Good"}
            self.receiver.on("/items", as_json([item, good]))
            _partners, report = self._pull(config, is_now=is_now)
            self.assertEqual((partner.name, partner.write_date), before)
            self.assertEqual(self._find(ref=item["ref"]), partner, "no twin")
            self.assertEqual(len(self._find(ref=good["ref"])), 1)
            self.assertEqual(report.status, "error")
            event = self.env["bj.api.sync.event"].search(
                [("config_id", "=", config.id)]
            )
            self.assertEqual(event.source_event, item["ref"])
            for word in ("ref", *words):
                self.assertIn(word, event.last_error)

    def test_a_record_outside_the_filter_domain_is_refused(self):
        partner = self._make_partner(ref="QX", name="Vendor", comment="keep")
        config = self._make_pull(filter_domain="[('comment', '=', False)]")
        item = {"ref": "QX", "name": "Overwritten"}
        self._assert_refused(config, partner, item, "outside")

    def test_a_new_record_outside_the_filter_domain_is_refused_and_keeps_none_back(
        self,
    ):
        config = self._make_pull(
            filter_domain="[('comment', '=', False), ('ref', 'like', 'Q')]"
        )
        for is_now in (False, True):
            items = [
                {"ref": f"Q1{is_now}", "name": "Good"},
                {"ref": f"X1{is_now}", "name": "Stray"},
                {"ref": f"Q2{is_now}", "name": "Good"},
            ]
            self.receiver.on("/items", as_json(items))
            _partners, report = self._pull(config, is_now=is_now)
            self.assertEqual(
                [len(self._find(ref=item["ref"])) for item in items], [1, 0, 1]
            )
            self.assertEqual(report.status, "error")
            event = self.env["bj.api.sync.event"].search(
                [("config_id", "=", config.id), ("source_event", "=", f"X1{is_now}")]
            )
            self.assertIn("Filter Domain", event.last_error)

    def test_a_record_that_a_rule_hides_is_refused(self):
        partner = self._make_partner(ref="QX", name="Secret")
        self._hide("[('name', '!=', 'Secret')]")
        self._assert_refused(
            self._make_pull(), partner, {"ref": "QX", "name": "Overwritten"}, "Run As"
        )

    def test_a_record_of_another_company_is_refused(self):
        partner = self._make_partner(
            ref="QX", name="Theirs", company_id=self.other_company.id
        )
        item = {"ref": "QX", "name": "Overwritten"}
        for company in (self.env.company, self.env["res.company"]):
            config = self._make_pull(company_id=company.id)
            self._assert_refused(config, partner, item)

    def test_archived_and_hidden_is_refused_as_well(self):
        partner = self._make_partner(ref="QX", name="Secret", active=False)
        self._hide("[('name', '!=', 'Secret')]")
        self._assert_refused(
            self._make_pull(), partner, {"ref": "QX", "name": "Overwritten"}
        )

    def test_access_rights_hold(self):
        reader = new_test_user(self.env, "reader", "base.group_user")
        partner = self._make_partner(ref="QX", name="As it was")
        config = self._make_pull()
        config.user_id = reader
        self.receiver.on(
            "/items",
            as_json([{"ref": "QX", "name": "No"}, {"ref": "QY", "name": "New"}]),
        )
        _partners, report = self._pull(config)
        self.assertEqual(partner.name, "As it was")
        self.assertFalse(self._find(ref="QY"))
        self.assertIn("2 items", report.error_message)

    def test_scripts_run_as_the_user_without_more(self):
        script = "'%s %s %s' % (env.uid, env.su, env.companies.ids)"
        lines = {
            "ref": {"field_path": "ref", "is_record_identifier": True},
            "name": {
                "field_path": "name",
                "value_type": "python_plain",
                "script": script,
            },
        }
        company = self.env.company
        config = self._make_pull(
            lines=lines,
            company_id=company.id,
            response_script=f"model.create({{'name': {script}, 'ref': 'Qscript'}})",
        )
        self.receiver.on("/items", as_json([{"ref": "Q0", "name": "x"}]))
        expected = f"{self.user.id} False [{company.id}]"
        for is_now in (False, True):
            partners, report = self._pull(config, is_now=is_now)
            self.assertEqual(report.status, "success")
            self.assertEqual(set(partners.mapped("name")), {expected})
            self.assertEqual(partners.create_uid, self.user)
            partners.unlink()

    def test_a_response_script_cannot_do_what_the_user_cannot(self):
        config = self._make_pull(
            response_script="env['ir.config_parameter'].set_param('x', '1')"
        )
        self.receiver.on("/items", as_json(self.items[:1]))
        _partners, report = self._pull(config)
        self.assertEqual(report.status, "error")
        self.assertFalse(self._get_pulled(), "with its page, as ever")

    def test_what_is_written_is_in_the_company_of_the_configuration(self):
        self.user.company_ids |= self.other_company
        config = self._make_pull(
            company_id=self.other_company.id,
            response_script="log(env.company.name)",
            lines={
                "ref": {"field_path": "ref", "is_record_identifier": True},
                "name": {"field_path": "name", "value_type": "python_plain",
                         "script": "env.company.name"},
            },
        )  # fmt: skip
        self.receiver.on("/items", as_json([{"ref": "Q0", "name": "x"}]))
        partners, _report = self._pull(config)
        self.assertEqual(partners.name, "Other")

    def test_a_pull_of_a_record_is_bound_by_the_same(self):
        partner = self._make_partner(ref="QX", name="Before", comment="keep")
        config = self._make_config("GET", "/items/{ref}", user_id=self.user.id)
        self.receiver.on("/items/QX", as_json({"ref": "QX", "name": "After"}))
        self._trigger(config, partner)
        self._commit()
        self._send()
        self.assertEqual(partner.name, "After")
        for is_now in (False, True):
            config = self._make_config("GET", "/items/{ref}", user_id=self.user.id)
            if is_now:
                self._hide("[('name', '!=', 'After')]")
            else:
                partner.name = "Before"
                config.filter_domain = "[('name', '=', 'Before')]"
            self.receiver.on("/items/QX", as_json({"ref": "QX", "name": "Again"}))
            with mute_logger("bj.api.sender"):
                if is_now:
                    partner.name = "After"
                    self.env.flush_all()
                    self.assertFalse(config._make_outbound_http_request(partner))
                else:
                    self._trigger(config, partner)
                    partner.name = "After"
                    self._commit()
                    self._send()
            self.env.invalidate_all()
            self.assertEqual(partner.name, "After")
            self.assertEqual(self._get_deliveries(config).state, "failed")

    def test_a_pull_of_a_record_does_not_give_it_the_identifier_of_a_hidden_one(self):
        hidden = self._make_partner(ref="QX", name="Secret")
        partner = self._make_partner(ref="QY", name="Asked")
        self._hide("[('name', '!=', 'Secret')]")
        config = self._make_config("GET", "/items/{ref}", user_id=self.user.id)
        self.receiver.on("/items/QY", as_json({"ref": "QX", "name": "Twin"}))
        self._trigger(config, partner)
        self._commit()
        with mute_logger("bj.api.sender"):
            self._send()
        self.env.invalidate_all()
        self.assertEqual(partner.ref, "QY")
        self.assertEqual(self._find(ref="QX"), hidden)

    def test_objects_inside_an_item_are_bound_by_the_mapping_models_domain(self):
        parent = self._make_partner(name="Outside", ref="QP", city="Kyiv")
        child = self._make_partner(name="Child", ref="QC", parent_id=parent.id)
        mapping = self.make_config(
            {"name": "name", "city": "city"},
            methods=(),
            filter_domain="[('city', '=', 'Lviv')]",
        )
        lines = {
            "ref": {"field_path": "ref", "is_record_identifier": True},
            "name": "name",
            "parent": {
                "field_path": "parent_id",
                "value_type": "relational_mapping",
                "mapping_config_id": mapping.id,
            },
        }
        config = self._make_pull(lines=lines)
        item = {"ref": "QC", "name": "New", "parent": {"name": "Overwritten"}}
        self.receiver.on("/items", as_json([item]))
        _partners, report = self._pull(config)
        self.assertEqual(report.status, "error")
        self.assertEqual((parent.name, child.name), ("Outside", "Child"))

    def test_a_next_page_stays_with_the_request_url_of_today(self):
        config = self._make_pull(pagination_style="link", url="https://new.example/x")
        service = self.env["bj.api.sync.outbound"]
        for url, is_followed in (
            ("https://new.example:443/y?page=2", True),
            ("https://old.example/x?page=2", False),
            ("http://new.example/x?page=2", False),
        ):
            draft = service._get_draft(config)
            with self.subTest(url=url):
                if is_followed:
                    service._build_pull_row(config, draft, token=url, is_url=True)
                    continue
                with self.assertRaisesRegex(UserError, "Start the pull again"):
                    service._build_pull_row(config, draft, token=url, is_url=True)

    def test_process_again_has_the_same_rights(self):
        partner = self._make_partner(ref="QX", name="Secret")
        self._hide("[('name', '!=', 'Secret')]")
        config = self._make_pull()
        self.receiver.on("/items", as_json([{"ref": "QX", "name": "Overwritten"}]))
        self._pull(config)
        event = self.env["bj.api.sync.event"].search([("config_id", "=", config.id)])
        event.action_process_again()
        self.assertEqual((partner.name, event.state), ("Secret", "failed"))
        self.assertEqual(self._find(ref="QX"), partner)


@tagged("post_install", "-at_install")
class TestRunAsOfAPull(PullCase):
    def test_it_is_the_user_who_creates(self):
        boss = new_test_user(self.env, "boss", "bj_api_sync.group_bj_api_manager")
        config = self._make_pull()
        self.assertEqual(config.user_id, self.env.ref("base.user_admin"), "not OdooBot")
        vals = {
            "name": "Pull",
            "request_type": "out",
            "model_id": config.model_id.id,
            "http_method_ids": [(6, 0, config.http_method_ids.ids)],
            "url": config.url,
        }
        mine = self.env["bj.api.sync.config"].with_user(boss).create(vals)
        self.assertEqual(mine.sudo().user_id, boss)

    def test_a_configuration_without_a_usable_user_is_not_saved(self):
        config = self._make_pull()
        archived = new_test_user(self.env, "gone", "base.group_user")
        archived.active = False
        stranger = new_test_user(
            self.env,
            "stranger",
            "base.group_user",
            company_id=self.env["res.company"].create({"name": "Other"}).id,
        )
        for user in (False, archived.id, SUPERUSER_ID, stranger.id):
            with (
                self.subTest(user=user),
                self.assertRaisesRegex(ValidationError, "Run As"),
                self.env.cr.savepoint(),
            ):
                config.user_id = user
        # Others need none: they write nothing.
        self._make_config("POST").user_id = False

    def test_a_user_archived_since_stops_the_pull_in_words(self):
        user = new_test_user(self.env, "leaver", "base.group_partner_manager")
        for is_now in (False, True):
            user.active = True
            config = self._make_pull(user_id=user.id)
            user.active = False
            self.receiver.on("/items", as_json(self.items[:1]))
            _partners, report = self._pull(config, is_now=is_now)
            self._assert_incomplete(config, report, 0, "Run As", "leaver")

    def test_the_form_warns_of_a_user_with_settings_rights(self):
        config = self._make_pull()
        self.assertTrue(config.is_run_as_admin)
        config.user_id = new_test_user(self.env, "small", "base.group_user")
        self.assertFalse(config.is_run_as_admin)
        self.assertFalse(self._make_config("POST").is_run_as_admin)
