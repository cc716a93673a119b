import json

from odoo.tests import new_test_user, tagged

from .outbound_common import OutboundCase
from .receiver import answer

LINES = {
    "code": {"field_path": "code", "is_record_identifier": True},
    "name": "name",
}
TITLES = {"en_US": "Tea", "fr_FR": "Thé", "nl_NL": "Thee"}


@tagged("post_install", "-at_install")
class TestLanguage(OutboundCase):
    """Countries, whose names are translated, are sent in one language."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for code in TITLES:
            cls.env["res.lang"]._activate_lang(code)
        cls.country = cls.env["res.country"].create({"name": "Tea", "code": "X1"})
        cls._translate(cls.country, TITLES)
        cls.users = [
            new_test_user(cls.env, f"bj_{code}", lang=code, groups="base.group_system")
            for code in TITLES
        ]

    @classmethod
    def _translate(cls, record, titles):
        for code, title in titles.items():
            record.with_context(lang=code).name = title
        cls.env.flush_all()

    def _make_config(self, method="PUT", path="/countries/{code}", lines=None, **vals):
        vals.setdefault("model_id", self.env["ir.model"]._get_id("res.country"))
        return super()._make_config(method, path, lines or LINES, **vals)

    def _as(self, record, user):
        return record.with_user(user).with_context(lang=user.lang)

    def _get_names(self, config):
        return [json.loads(d.payload)["name"] for d in self._get_deliveries(config)]

    def test_it_is_that_of_the_configuration_whoever_saves(self):
        config = self._make_config(lang="fr_FR")
        config.action_create_rule()
        for user in self.users:
            # A code that is new each time, so that the rule fires.
            self._as(self.country, user).code = f"X{user.id % 10}"
            self._commit()
        self.assertEqual(self._get_names(config), ["Thé"] * 3)
        self.assertEqual(self._get_deliveries(config).mapped("lang"), ["fr_FR"] * 3)

    def test_every_way_of_sending_keeps_to_it(self):
        ways = {
            "trigger": lambda config, env: env["bj.api.sync.outbound"]._trigger(
                config, env["res.country"].browse(self.country.id), "write"
            ),
            "schedule": lambda config, env: config.with_env(env)._run_schedule(),
            "button": lambda config, env: config.with_env(env).action_run_now(),
            "at once": lambda config, env: config.with_env(
                env
            )._make_outbound_http_request(self.country.id),
        }
        for way, send in ways.items():
            for user in self.users:
                with self.subTest(way, lang=user.lang):
                    config = self._make_config(
                        lang="nl_NL", filter_domain=f"[('id', '=', {self.country.id})]"
                    )
                    send(config, self._as(self.env.user, user).env)
                    self._commit()
                    self.assertEqual(self._get_names(config), ["Thee"])
                    self.assertEqual(self._get_deliveries(config).lang, "nl_NL")

    def test_previews_and_rebuilt_ones_are_in_it(self):
        config = self._make_config(lang="fr_FR")
        for user in self.users:
            shown = self._as(config, user)._preview_outbound(
                self._as(self.country, user)
            )
            self.assertEqual(json.loads(shown["payload"])["name"], "Thé")
        delivery = self._enqueue(config, self.country)
        self._as(delivery, self.users[0]).action_rebuild_and_send()
        self._commit()
        self.assertEqual(self._get_names(config), ["Thé"] * 2)

    def test_paths_mappings_lists_and_scripts_are_in_it(self):
        group = self.env["res.country.group"].create(
            {"name": "Group", "country_ids": [(6, 0, self.country.ids)]}
        )
        self._translate(group, {"en_US": "Group", "fr_FR": "Groupe"})
        mapping = self.env["bj.api.sync.config"].create(
            {
                "name": "Countries",
                "request_type": "in",
                "model_id": self.env["ir.model"]._get_id("res.country"),
                "line_ids": [(0, 0, {"api_key": "name", "field_path": "name"})],
            }
        )
        config = self._make_config(
            "POST",
            "/groups",
            model_id=self.env["ir.model"]._get_id("res.country.group"),
            lang="fr_FR",
            lines={
                "name": "name",
                "paths": "country_ids.name",
                "nested": {
                    "field_path": "country_ids",
                    "value_type": "relational_mapping",
                    "mapping_config_id": mapping.id,
                },
                "script": {"value_type": "python_plain", "script": "record.name"},
                "lang": {"value_type": "python_plain", "script": "env.lang"},
            },
            request_script="request_data['late'] = records.country_ids.name",
        )
        delivery = self._enqueue(config, self._as(group, self.users[2]))
        payload = json.loads(delivery.payload)
        self.assertEqual(payload["paths"], ["Thé"])
        self.assertEqual(payload["nested"], [{"name": "Thé"}])
        self.assertEqual(payload["script"], payload["name"])
        self.assertEqual(payload["lang"], "fr_FR")
        self.assertEqual(payload["late"], "Thé")

    def test_answers_are_written_in_it(self):
        self.receiver.on("/countries/X1", answer(200, b'{"title": "Th\xc3\xa9 vert"}'))
        for is_now in (False, True):
            with self.subTest(is_now=is_now):
                self._translate(self.country, TITLES)
                config = self._make_config(
                    lang="fr_FR",
                    response_field_path="name",
                    response_key="title",
                    response_script="log(env.lang)\nrecord.write({'phone_code': "
                    "33 if env.lang == 'fr_FR' else 1})",
                )
                country = self._as(self.country, self.users[0])
                if is_now:
                    config.with_env(country.env)._make_outbound_http_request(country)
                else:
                    self._enqueue(config, country)
                    self._send()
                self.env.invalidate_all()
                names = {
                    code: self.country.with_context(lang=code).name for code in TITLES
                }
                self.assertEqual(names, {**TITLES, "fr_FR": "Thé vert"})
                self.assertEqual(self.country.phone_code, 33)

    def test_what_is_fetched_is_written_in_it(self):
        self.receiver.on("/countries", answer(200, b'[{"code": "X1", "name": "Th"}]'))
        config = self._make_config("GET", "/countries", lang="fr_FR")
        config.with_env(self._as(self.env.user, self.users[2]).env)._run_schedule()
        self._commit()
        self._send()
        names = {code: self.country.with_context(lang=code).name for code in TITLES}
        self.assertEqual(names, {**TITLES, "fr_FR": "Th"})

    def test_without_one_it_is_that_of_the_company(self):
        company = self.env["res.company"].create({"name": "Belgian"})
        company.partner_id.lang = "nl_NL"
        self.env.company.partner_id.lang = "fr_FR"
        own = self._make_config(company_id=company.id)
        self.assertEqual(own.lang, "nl_NL")
        common = self._make_config(company_id=False)
        self.assertEqual(common.lang, "fr_FR")
        own.lang = False
        delivery = self._enqueue(own, self._as(self.country, self.users[0]))
        self.assertEqual(json.loads(delivery.payload)["name"], "Thee")
        own.company_id = self.env.company
        self.assertEqual(own.lang, "fr_FR", "an empty one is filled")
        own.company_id = company
        self.assertEqual(own.lang, "fr_FR", "what is there stays")

    def test_in_configurations_have_none(self):
        config = self._make_config(lang="fr_FR")
        mapping = self.env["bj.api.sync.config"].create(
            {
                "name": "In",
                "request_type": "in",
                "model_id": config.model_id.id,
                "line_ids": [(0, 0, {"api_key": "name", "field_path": "name"})],
            }
        )
        self.assertFalse(mapping.lang)
        self.assertEqual(config.copy().lang, "fr_FR")

    def test_a_language_that_is_switched_off_stops_nothing(self):
        self.env.company.partner_id.lang = "nl_NL"
        config = self._make_config(lang="fr_FR")
        self.users[1].write({"lang": "en_US"})
        self.env["res.partner"].search([("lang", "=", "fr_FR")]).lang = "en_US"
        self.env["res.lang"].search([("code", "=", "fr_FR")]).active = False
        self.assertEqual(
            json.loads(self._enqueue(config, self.country).payload)["name"], "Thee"
        )
