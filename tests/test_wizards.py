import json

from lxml import etree
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, TransactionCase, new_test_user

from .common import PARTNER_LINES, ConfigMixin, enter_test_mode
from .outbound_common import OutboundCase

SAMPLE = {
    "customerId": "C-1",
    "name": "Ann",
    "contactPhone": "+380",
    "address": {"street": "Main 1", "zipCode": "01001"},
    "country": {"code": "UA", "name": "Ukraine"},
    "tags": ["vip", "b2b"],
    "children": [{"reference": "A1", "name": "Delivery", "city": "Kyiv"}],
    "loyaltyLevel": 3,
}


class TestWizardFromModel(TransactionCase):
    def _open(self, model, **defaults):
        context = {f"default_{name}": value for name, value in defaults.items()}
        form = Form(self.env["bj.api.sync.wizard"].with_context(**context))
        form.model_id = self.env["ir.model"]._get(model)
        return form

    def _create(self, form):
        action = form.save().action_create_config()
        return self.env[action["res_model"]].browse(action["res_id"])

    def test_contacts_give_a_working_endpoint_without_further_choices(self):
        config = self._create(self._open("res.partner"))
        self.assertRegex(config.endpoint, "^contacts(-[0-9]+)?$")
        self.assertEqual(len(config.http_method_ids), 4)
        keys = config.line_ids.mapped("api_key")
        self.assertLessEqual({"ref", "name", "email", "country", "tags"}, set(keys))
        identifier = config.line_ids.filtered("is_record_identifier")
        self.assertEqual(identifier.field_path, "ref")

    def test_a_relation_gets_a_mapping_model_by_what_names_its_records(self):
        self.env["bj.api.sync.config"].search(
            [("model_name", "=", "res.country"), ("endpoint", "=", False)]
        ).write({"active": False})
        config = self._create(self._open("res.partner"))
        country = config.line_ids.filtered(lambda line: line.api_key == "country")
        self.assertEqual(country.value_type, "relational_mapping")
        mapping = country.mapping_config_id
        self.assertEqual(mapping.model_name, "res.country")
        self.assertFalse(mapping.endpoint)
        named = mapping.line_ids.filtered("is_record_identifier")
        self.assertEqual(named.field_path, "code")

    def test_an_existing_mapping_model_is_used_again(self):
        first = self._create(self._open("res.partner"))
        second = self._create(self._open("res.partner"))
        self.assertNotEqual(first.endpoint, second.endpoint)
        for config in (first, second):
            self.assertTrue(config.line_ids.mapping_config_id)
        self.assertEqual(
            first.line_ids.mapping_config_id, second.line_ids.mapping_config_id
        )

    def test_every_model_of_this_database_can_be_proposed(self):
        models = self.env["ir.model"].search([("transient", "=", False)])
        for model in models:
            if self.env[model.model]._abstract:
                continue
            with self.subTest(model=model.model):
                wizard = self.env["bj.api.sync.wizard"].new({"model_id": model.id})
                wizard._onchange_source()
                keys = wizard.line_ids.mapped("api_key")
                self.assertEqual(len(keys), len(set(keys)))
                marked = wizard.line_ids.filtered("is_record_identifier")
                self.assertEqual(len(marked), 1)

    def test_an_out_configuration_asks_for_its_url(self):
        form = self._open("res.partner", request_type="out")
        form.url = "https://shop.example.com/contacts"
        config = self._create(form)
        self.assertEqual(config.request_type, "out")
        self.assertEqual(config.http_method_ids.name, "POST")

    def test_an_endpoint_without_identifier_says_what_to_do(self):
        wizard = self._open("res.partner").save()
        wizard.line_ids.is_record_identifier = False
        with self.assertRaisesRegex(UserError, "record identifier"):
            wizard.action_create_config()

    def test_nothing_ticked_says_so(self):
        wizard = self._open("res.partner").save()
        wizard.line_ids.is_selected = False
        with self.assertRaisesRegex(UserError, "Tick one field"):
            wizard.action_create_config()


class TestWizardFromSample(TransactionCase):
    def _open(self, sample, model="res.partner"):
        context = {"default_source": "json"}
        form = Form(self.env["bj.api.sync.wizard"].with_context(**context))
        form.model_id = self.env["ir.model"]._get(model)
        form.sample = sample if isinstance(sample, str) else json.dumps(sample)
        return form

    def test_a_nested_payload_becomes_lines_and_mapping_models(self):
        wizard = self._open(SAMPLE).save()
        proposed = {
            f"{line.parent_key or ''}{line.api_key}": line.field_path
            for line in wizard.line_ids
            if line.is_selected
        }
        self.assertEqual(
            proposed,
            {
                "customerId": "ref",
                "name": "name",
                "contactPhone": "phone",
                "address.street": "street",
                "address.zipCode": "zip",
                "country": "country_id",
                "country/code": "code",
                "country/name": "name",
                "tags": "category_id",
                "children": "child_ids",
                "children/reference": "ref",
                "children/name": "name",
                "children/city": "city",
            },
        )
        action = wizard.action_create_config()
        config = self.env[action["res_model"]].browse(action["res_id"])
        lines = {line.api_key: line for line in config.line_ids}
        self.assertNotIn("loyaltyLevel", lines)
        self.assertTrue(lines["customerId"].is_record_identifier)
        self.assertEqual(lines["tags"].nested_format, "identifier")
        self.assertEqual(
            lines["children"].mapping_config_id.line_ids.mapped("api_key"),
            ["reference", "name", "city"],
        )
        country = lines["country"].mapping_config_id
        named = country.line_ids.filtered("is_record_identifier")
        self.assertEqual(named.api_key, "code")

    def test_what_tells_no_record_apart_is_explained(self):
        wizard = self._open(
            {
                "name": "Ann",
                "country": {"phoneCode": 380},
                "children": [
                    {"name": "Delivery", "city": "Kyiv", "country": {"phoneCode": 1}}
                ],
            }
        )
        top, country, children, inner = wizard.advice.split("\n")
        self.assertIn("endpoint needs it", top)
        self.assertRegex(country, "^country: .*a call that writes it is refused")
        self.assertRegex(children, "^children: .*a PUT replaces all lines")
        self.assertRegex(inner, "^children/country: ")
        for number in range(len(wizard.line_ids)):
            with wizard.line_ids.edit(number) as line:
                if (line.parent_key, line.api_key) == ("children/", "name"):
                    line.is_record_identifier = True
        self.assertNotIn("children: ", wizard.advice or "")
        wizard.request_type = "out"
        self.assertFalse(wizard.advice)

    def test_a_related_object_is_named_by_what_the_sample_has(self):
        wizard = self._open({"ref": "1", "country": {"name": "Ukraine"}})
        self.assertFalse(wizard.advice)
        named = wizard.save().line_ids.filtered("is_record_identifier")
        self.assertEqual(named.mapped("api_key"), ["ref", "name"])

    def test_choosing_a_field_by_hand_proposes_what_is_inside(self):
        form = self._open({"ref": "1", "depots": [{"name": "Kyiv", "zip": "01001"}]})
        self.assertEqual(len(form.line_ids), 2)
        with form.line_ids.edit(1) as line:
            self.assertFalse(line.field_path)
            line.field_path = "child_ids"
        wizard = form.save()
        self.assertEqual(
            wizard.line_ids.mapped(lambda line: (line.parent_key or "") + line.api_key),
            ["ref", "depots", "depots/name", "depots/zip"],
        )
        self.assertEqual(wizard.line_ids[1].related_as, "mapping")
        self.assertIn("depots", wizard.advice)
        action = wizard.action_create_config()
        config = self.env[action["res_model"]].browse(action["res_id"])
        nested = config.line_ids.mapping_config_id.line_ids
        self.assertEqual(nested.mapped("api_key"), ["name", "zip"])

    def test_choosing_another_field_proposes_anew_what_is_inside(self):
        form = self._open({"ref": "1", "country": {"name": "Ukraine", "code": "UA"}})
        self._edit(form, "country", field_path="parent_id")
        wizard = form.save()
        self.assertEqual(
            wizard.line_ids.mapped(lambda line: (line.api_key, line.model_name)),
            [
                ("ref", "res.partner"),
                ("country", "res.partner"),
                ("name", "res.partner"),
                ("code", "res.partner"),
            ],
        )
        action = wizard.action_create_config()
        config = self.env[action["res_model"]].browse(action["res_id"])
        company = config.line_ids.mapping_config_id
        self.assertEqual(company.model_name, "res.partner")
        self.assertEqual(company.line_ids.mapped("field_path"), ["name"])

    def test_a_key_may_have_a_slash_or_be_blank(self):
        sample = {"ref": "1", "ship/to": {"zip": "01001"}, " ": {"zip": "01001"}}
        form = self._open(sample)
        for key in ("ship/to", " "):
            self._edit(form, key, field_path="parent_id")
        wizard = form.save()
        inside = wizard.line_ids.filtered("parent_key")
        self.assertEqual(
            [(line.parent_key, line.field_path) for line in inside],
            [("ship/to/", "zip")],
        )

    def test_the_keys_of_a_sample_stay_as_the_other_side_sends_them(self):
        # Renamed, an object would lose what is inside.
        arch = etree.fromstring(self.env["bj.api.sync.wizard"].get_view()["arch"])
        [key] = arch.xpath("//field[@name='api_key'][@string='Key']")
        self.assertEqual(key.get("readonly"), "1")

    def _edit(self, form, key, **vals):
        """Change a line as a person does, and return the keys that identify."""
        for number in range(len(form.line_ids)):
            with form.line_ids.edit(number) as line:
                if f"{line.parent_key or ''}{line.api_key}" == key:
                    for name, value in vals.items():
                        line[name] = value
        named = []
        for number in range(len(form.line_ids)):
            with form.line_ids.edit(number) as line:
                if line.is_record_identifier:
                    named.append(f"{line.parent_key or ''}{line.api_key}")
        return named

    def test_a_field_chosen_by_hand_identifies_as_a_proposed_one_does(self):
        form = self._open(
            {"name": "A", "artNo": "1", "land": {"iso": "U"}, "kind": "x"}
        )
        self.assertIn("endpoint needs it", form.advice)
        self.assertEqual(self._edit(form, "kind", field_path="email"), [])
        self.assertEqual(self._edit(form, "artNo", field_path="ref"), ["artNo"])
        self._edit(form, "land", field_path="country_id")
        self.assertRegex(form.advice, "^land: ")
        both = ["artNo", "land/iso"]
        self.assertEqual(self._edit(form, "land/iso", field_path="code"), both)
        self.assertFalse(form.advice)
        self.assertEqual(self._edit(form, "artNo", field_path="vat"), both)
        self.assertEqual(
            self._edit(form, "artNo", field_path="parent_id"), ["land/iso"]
        )

    def test_a_better_field_takes_the_mark_that_was_proposed_but_not_a_chosen_one(self):
        sample = {
            "ref": "1",
            "country": {"name": "Ukraine", "phoneCode": 1, "iso": "UA"},
        }
        form = self._open(sample)
        named = self._edit(form, "country/iso", field_path="code")
        self.assertEqual(named, ["ref", "country/iso"])
        form = self._open(sample)
        chosen = self._edit(form, "country/phoneCode", is_record_identifier=True)
        self.assertEqual(chosen, ["ref", "country/phoneCode"])
        self.assertEqual(self._edit(form, "country/iso", field_path="code"), chosen)
        self.assertFalse(form.advice)
        config = self.env["bj.api.sync.config"].browse(
            form.save().action_create_config()["res_id"]
        )
        country = config.line_ids.mapping_config_id.line_ids
        named = country.filtered("is_record_identifier")
        self.assertEqual(named.field_path, "phone_code")

    def test_a_list_of_objects_gives_the_keys_of_all_of_them(self):
        wizard = self._open([{"name": "A"}, {"email": "a@example.com"}]).save()
        self.assertEqual(wizard.line_ids.mapped("field_path"), ["name", "email"])

    def test_what_is_no_json_object_is_explained(self):
        for sample, message in [
            ("{", "JSON"),
            ("[1, 2]", "object"),
            ('"text"', "object"),
        ]:
            with self.subTest(sample=sample):
                form = self._open(sample)
                self.assertIn(message, form.sample_error)
                self.assertFalse(len(form.line_ids))

    def test_a_ticked_key_without_field_is_named(self):
        wizard = self._open(SAMPLE).save()
        line = wizard.line_ids.filtered(lambda line: line.api_key == "loyaltyLevel")
        line.is_selected = True
        with self.assertRaisesRegex(UserError, "loyaltyLevel"):
            wizard.action_create_config()


class TestWizardToken(ConfigMixin, TransactionCase):
    def test_a_generated_token_is_shown_but_not_stored(self):
        config = self.make_config(PARTNER_LINES, endpoint="wizard-token")
        self.assertTrue(config.has_no_token)
        wizard = self.env["bj.api.sync.wizard.token"].create({"config_id": config.id})
        token = wizard.action_generate()["context"]["default_token"]
        self.assertEqual(config.token_ids.state, "valid")
        self.assertTrue(token.startswith(config.token_ids.prefix))
        self.assertFalse(config.has_no_token)
        self.env.flush_all()
        for table in ("bj_api_sync_wizard_token", "bj_api_sync_token"):
            self.env.cr.execute(f"SELECT t::text FROM {table} t")
            for (row,) in self.env.cr.fetchall():
                self.assertNotIn(token, row)

    def test_a_date_in_the_past_is_refused(self):
        config = self.make_config(PARTNER_LINES, endpoint="wizard-token")
        wizard = self.env["bj.api.sync.wizard.token"].create(
            {
                "config_id": config.id,
                "expiry": "date",
                "expiry_date": "2020-01-01 00:00:00",
            }
        )
        with self.assertRaisesRegex(UserError, "future"):
            wizard.action_generate()


class TestPreviewIn(ConfigMixin, TransactionCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.tags = cls.make_config(
            {"name": {"field_path": "name", "is_record_identifier": True}},
            model="res.partner.category",
        )
        cls.config = cls.make_config(
            {
                **PARTNER_LINES,
                "tags": {
                    "field_path": "category_id",
                    "value_type": "relational_mapping",
                    "mapping_config_id": cls.tags.id,
                    "create_missing": True,
                    "nested_format": "identifier",
                },
                "display": {"field_path": "display_name"},
            },
            endpoint="previewed",
            upsert=True,
            user_id=cls.env.ref("base.user_admin").id,
        )
        cls.ann = cls.env["res.partner"].create(
            {"name": "Ann", "ref": "P-ann", "city": "Lviv"}
        )

    def setUp(self):
        super().setUp()
        enter_test_mode(self)

    def _preview(self, body=None, **vals):
        if body is not None:
            vals["body"] = body if isinstance(body, str) else json.dumps(body)
        preview = self.env["bj.api.sync.preview"].create(
            {"config_id": self.config.id, **vals}
        )
        preview.action_preview()
        return preview

    def _states(self, preview):
        return {line.api_key: line.state for line in preview.line_ids}

    def test_each_key_shows_what_came_and_what_becomes_of_it(self):
        preview = self._preview(
            {
                "customer_id": "P-ann",
                "name": "Ann",
                "address": {"city": "Kyiv"},
                "tags": ["Brand new"],
                "display": "x",
                "level": 3,
            }
        )
        self.assertEqual(preview.status_code, 200, preview.answer)
        self.assertEqual(
            self._states(preview),
            {
                "customer_id": "same",
                "name": "same",
                "email": "absent",
                "address.city": "written",
                "tags": "written",
                "display": "read_only",
                "level": "ignored",
            },
        )
        [city] = preview.line_ids.filtered(lambda line: line.api_key == "address.city")
        self.assertEqual(
            (city.raw, city.converted, city.before, city.after),
            ("Kyiv", "Kyiv", "Lviv", "Kyiv"),
        )
        self.assertEqual(json.loads(preview.answer)["address"], {"city": "Kyiv"})

    def test_nothing_of_a_preview_stays(self):
        logs = self.env["bj.api.log"].search_count([])
        preview = self._preview(
            {"customer_id": "P-new", "name": "New", "tags": ["Brand new"]}
        )
        self.assertEqual(preview.status_code, 201, preview.answer)
        self.env.invalidate_all()
        partners = self.env["res.partner"].with_context(active_test=False)
        self.assertFalse(partners.search([("ref", "=", "P-new")]))
        self.assertFalse(
            self.env["res.partner.category"].search([("name", "=", "Brand new")])
        )
        self.assertEqual(self.env["bj.api.log"].search_count([]), logs)

    def test_an_error_stands_at_its_key_and_in_the_answer(self):
        preview = self._preview({"customer_id": "P-x", "name": "X", "email": []})
        self.assertEqual(preview.status_code, 400)
        self.assertTrue(preview.is_error)
        self.assertEqual(self._states(preview)["email"], "error")
        self.assertIn("email", preview.message)

    def test_broken_json_is_answered_and_not_raised(self):
        preview = self._preview("{")
        self.assertEqual(preview.status_code, 400)
        self.assertFalse(preview.line_ids)

    def test_a_read_shows_field_and_payload_side_by_side(self):
        preview = self._preview(method="GET", record_key="P-ann")
        self.assertEqual(preview.status_code, 200, preview.answer)
        [city] = preview.line_ids.filtered(lambda line: line.api_key == "address.city")
        self.assertEqual((city.before, city.converted), ("Lviv", "Lviv"))

    def test_it_runs_with_the_rights_of_run_as(self):
        self.config.user_id = new_test_user(self.env, "bj_preview_weak")
        preview = self._preview({"customer_id": "P-w", "name": "W"})
        self.assertEqual(preview.status_code, 403, preview.answer)

    def test_run_for_real_writes_and_logs(self):
        preview = self._preview({"customer_id": "P-real", "name": "Real"})
        preview.action_run()
        self.assertEqual(preview.status_code, 201, preview.answer)
        self.env.invalidate_all()
        self.assertTrue(self.env["res.partner"].search([("ref", "=", "P-real")]))
        log = self.env["bj.api.log"].search([("action", "=", "replay")], limit=1)
        self.assertEqual(log.response_code, 201)

    def test_a_logged_request_is_taken_over_unless_a_secret_is_masked(self):
        log = self.env["bj.api.log"].create(
            {
                "config_id": self.config.id,
                "direction": "in",
                "method": "PUT",
                "url": "/bj_api_sync/v1/previewed/P-ann?dry_run=true",
                "request_data": '{"name": "***"}',
            }
        )
        action = log.action_replay()
        preview = (
            self.env["bj.api.sync.preview"].with_context(**action["context"]).create({})
        )
        self.assertEqual(
            (preview.method, preview.record_key, preview.query),
            ("PUT", "P-ann", "dry_run=true"),
        )
        self.assertTrue(preview.is_masked)
        with self.assertRaisesRegex(UserError, "masked"):
            preview.action_run()

    def test_a_mapping_model_without_endpoint_can_be_previewed_too(self):
        self.config = self.tags
        preview = self._preview({"name": "Tag"}, method="POST")
        self.assertEqual(preview.status_code, 201, preview.answer)

    def test_only_managers_preview(self):
        user = new_test_user(
            self.env, "bj_preview_user", groups="bj_api_sync.group_bj_api_user"
        )
        with self.assertRaises(AccessError):
            self.env["bj.api.sync.preview"].with_user(user).create(
                {"config_id": self.config.id}
            )


class TestPreviewOut(OutboundCase):
    def _preview(self, config, record):
        return self.env["bj.api.sync.preview"].create(
            {"config_id": config.id, "res_id": record.id}
        )

    def test_the_request_is_shown_with_secrets_masked_and_nothing_is_sent(self):
        config = self._make_config(auth_type="bearer", bearer_token="s3cret-token-1234")
        preview = self._preview(config, self._make_partner())
        preview.action_preview()
        self.assertEqual(preview.request_line, f"POST {config.url}")
        self.assertIn("Authorization: ", preview.request_headers)
        for text in (preview.request_headers, preview.curl):
            self.assertNotIn("s3cret", text)
        self.assertEqual(json.loads(preview.request_body)["name"], "Ada")
        self.assertEqual(
            {line.api_key: line.converted for line in preview.line_ids}["ref"], "C1"
        )
        self.assertFalse(self.receiver.requests)

    def test_send_for_real_shows_the_answer(self):
        preview = self._preview(self._make_config(), self._make_partner())
        preview.action_preview()
        preview.action_run()
        self.assertEqual(preview.status_code, 200)
        self.assertEqual(len(self.receiver.requests), 1)

    def test_without_a_record_it_says_what_is_missing(self):
        config = self._make_config(filter_domain="[('id', '=', 0)]")
        preview = self._preview(config, self.env["res.partner"])
        with self.assertRaisesRegex(UserError, "Choose a record"):
            preview.action_preview()

    def test_a_record_outside_the_filter_domain_is_explained(self):
        config = self._make_config(filter_domain="[('ref', '=', 'other')]")
        preview = self._preview(config, self._make_partner())
        preview.action_preview()
        self.assertTrue(preview.is_error or preview.request_body)


class TestSaveErrors(ConfigMixin, TransactionCase):
    def test_a_python_line_is_saved_together_with_its_script(self):
        form = Form(self.make_config(PARTNER_LINES, endpoint="scripted"))
        with form.line_ids.new() as line:
            line.api_key = "upper"
            line.value_type = "python_plain"
            line.script = "record.name"
        self.assertEqual(form.save().line_ids[-1].script, "record.name")
        with form.line_ids.new() as line:
            line.api_key = "lower"
            line.value_type = "python_plain"
        with self.assertRaisesRegex(ValidationError, "lower"):
            form.save()
