from datetime import datetime

from odoo import Command
from odoo.exceptions import AccessError
from odoo.tests.common import new_test_user

from ..exceptions import ScriptError
from .common import GROUPS
from .mapping_common import MappingCase
from .test_writer import PNG, REF, nested, script


class TestFieldTypes(MappingCase):
    def test_each_field_type_has_its_json_form(self):
        ukraine = self.env.ref("base.ua")
        tags = self.env["res.partner.category"].create([{"name": "b"}, {"name": "a"}])
        partner = self.env["res.partner"].create(
            {
                "name": "Ann",
                "comment": "<p>Hi</p>",
                "color": 0,
                "partner_latitude": 49.5,
                "is_company": True,
                "type": "contact",
                "country_id": ukraine.id,
                "category_id": [Command.set(tags.ids)],
                "image_1920": PNG,
            }
        )
        empty = self.env["res.partner"].create({"name": "Empty", "type": False})
        created = partner.create_date.replace(microsecond=0).isoformat() + "Z"
        expected = {
            "name": ("Ann", "Empty"),
            "comment": ("<p>Hi</p>", None),
            "color": (0, 0),
            "partner_latitude": (49.5, 0.0),
            "is_company": (True, False),
            "type": ("contact", None),
            "create_date": (created, created),
            "country_id": (ukraine.id, None),
            "category_id": (partner.category_id.ids, []),
            "child_ids": ([], []),
            "image_1920": (PNG, None),
            "street": (None, None),
        }
        config = self.make_config({name: name for name in expected})
        for index, payload in enumerate(self.read_payloads(config, partner | empty)):
            for name, values in expected.items():
                with self.subTest(name=name, index=index):
                    self.assertEqual(payload[name], values[index])
                    self.assertIs(type(payload[name]), type(values[index]))

    def test_dates_money_references_and_ids_without_a_relation(self):
        self.runner = self.env
        partner = self.env["res.partner"].create({"name": "x"})
        attachment = self.env["ir.attachment"].create(
            {"name": "a", "res_model": "res.partner", "res_id": partner.id}
        )
        action = self.env["ir.actions.server"].create(
            {
                "name": "A",
                "state": "code",
                "model_id": self.env["ir.model"]._get_id("res.partner"),
                "resource_ref": f"res.partner,{partner.id}",
            }
        )
        rate = self.env["res.currency.rate"].create(
            {"name": "2025-01-31", "currency_id": self.env.ref("base.UYU").id}
        )
        cron = self.env["ir.cron"].search([], limit=1)
        cron.nextcall = datetime(2025, 1, 31, 8, 0, 5)
        for record, name, expected in [
            (rate, "name", "2025-01-31"),
            (cron, "nextcall", "2025-01-31T08:00:05Z"),
            (action, "resource_ref", f"res.partner,{partner.id}"),
            (attachment, "res_id", partner.id),
        ]:
            with self.subTest(name=name):
                config = self.make_config({"key": name}, record._name)
                self.assertEqual(
                    self.read_payloads(config, record), [{"key": expected}]
                )

    def test_json_is_read_and_written_as_it_is(self):
        self.runner = self.env
        value = {"a": [1, {"b": None}], "c": "x"}
        field = self.env["ir.model.fields"]._get("res.partner", "name")
        message = self.env["mail.message"].create({})
        tracking = self.env["mail.tracking.value"].create(
            {"field_id": field.id, "mail_message_id": message.id, "field_info": value}
        )
        config = self.make_config({"info": "field_info"}, "mail.tracking.value")
        self.assertEqual(self.read_payloads(config, tracking), [{"info": value}])
        same = self.write_rows(config, {"info": value}, targets=[tracking])
        self.assertEqual(same.status, "unchanged")
        self.write_rows(config, {"info": {"d": 1}}, targets=[tracking])
        self.assertEqual(tracking.field_info, {"d": 1})


class TestPaths(MappingCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.parent = cls.env["res.partner"].create(
            {
                "name": "Parent",
                "ref": "P",
                "country_id": cls.env.ref("base.ua").id,
                "category_id": [
                    Command.create({"name": "a"}),
                    Command.create({"name": "b"}),
                ],
            }
        )
        cls.children = cls.env["res.partner"].create(
            [
                {"name": f"C{n}", "parent_id": cls.parent.id, "ref": f"C{n}"}
                for n in range(3)
            ]
        )

    def test_a_path_gives_a_value_or_a_list_of_values(self):
        alone = self.env["res.partner"].create({"name": "Alone"})
        for path, child, parent in [
            ("parent_id.name", "Parent", None),
            ("parent_id.country_id.code", "UA", None),
            ("parent_id.country_id", self.env.ref("base.ua").id, None),
            ("parent_id.category_id.name", ["a", "b"], []),
            ("child_ids.name", [], ["C0", "C1", "C2"]),
            ("child_ids.parent_id.country_id.code", [], ["UA"] * 3),
            ("child_ids.parent_id.category_id.name", [], ["a", "b"] * 3),
            ("child_ids.industry_id.name", [], [None] * 3),
        ]:
            with self.subTest(path=path):
                config = self.make_config({"key": path})
                records = self.children[0] | self.parent | alone
                payloads = self.read_payloads(config, records)
                empty = [] if isinstance(child, list) else None
                self.assertEqual(
                    [payload["key"] for payload in payloads], [child, parent, empty]
                )

    def test_related_records_are_nested_or_named(self):
        country = self.make_config(
            {"code": {"field_path": "code", "is_record_identifier": True}},
            "res.country",
        )
        child = self.make_config({"ref": REF, "name": "name"})
        config = self.make_config(
            {
                "country": nested("country_id", country),
                "code": nested("country_id", country, nested_format="identifier"),
                "children": nested("child_ids", child),
                "refs": nested("child_ids", child, nested_format="identifier"),
                "deep": nested("child_ids.parent_id.country_id", country),
            }
        )
        self.assertEqual(
            self.read_payloads(
                config, self.parent | self.children[0].create({"name": "x"})
            ),
            [
                {
                    "country": {"code": "UA"},
                    "code": "UA",
                    "children": [{"ref": f"C{n}", "name": f"C{n}"} for n in range(3)],
                    "refs": ["C0", "C1", "C2"],
                    "deep": [{"code": "UA"}] * 3,
                },
                {
                    "country": None,
                    "code": None,
                    "children": [],
                    "refs": [],
                    "deep": [],
                },
            ],
        )

    def test_only_the_keys_that_are_asked_for(self):
        config = self.make_config(
            {"name": "name", "address.city": "city", "address.zip": "zip", "r": "ref"}
        )
        [payload] = self.read_payloads(config, self.parent, {"address", "r"})
        self.assertEqual(payload, {"address": {"city": None, "zip": None}, "r": "P"})

    def test_constants_and_lines_without_a_value(self):
        config = self.make_config(
            {
                "source": {"value_type": "constant", "constant_value": "odoo"},
                "list": {"value_type": "constant", "constant_value": "[1, 2]"},
                "zip": {
                    "value_type": "constant",
                    "constant_value": "007",
                    "field_path": "zip",
                },
                "effect": script("1"),
            }
        )
        self.assertEqual(
            self.read_payloads(config, self.parent),
            [{"source": "odoo", "list": [1, 2], "zip": "007"}],
        )

    def test_hidden_records_read_like_none(self):
        hidden = self.children[1]
        self.env["ir.rule"].create(
            {
                "name": "hide",
                "model_id": self.env["ir.model"]._get_id("res.partner"),
                "domain_force": str([("id", "not in", (hidden | self.parent).ids)]),
            }
        )
        mapping = self.make_config({"ref": REF})
        config = self.make_config(
            {
                "parent": nested("parent_id", mapping),
                "name": "parent_id.name",
                "country": "parent_id.country_id.code",
                "code": nested("parent_id", mapping, nested_format="identifier"),
            }
        )
        for is_cached in (False, True):
            self.empty_cache(fill_with=self.parent if is_cached else ())
            self.assertEqual(
                self.read_payloads(config, self.children[0]),
                [{"parent": None, "name": None, "country": None, "code": None}],
            )
        config = self.make_config({"children": nested("child_ids", mapping)})
        friend = self.env["res.partner"].create({"name": "Friend"})
        (self.children[0] | hidden).parent_id = friend
        for is_cached in (False, True):
            self.empty_cache(fill_with=self.children if is_cached else ())
            self.assertEqual(
                self.read_payloads(config, friend), [{"children": [{"ref": "C0"}]}]
            )

    def empty_cache(self, fill_with=()):
        self.env.flush_all()
        self.env.invalidate_all()
        for record in fill_with:
            record.fetch(["name", "ref", "country_id"])

    def test_archived_records_are_named_but_not_listed(self):
        self.children[0].active = False
        config = self.make_config({"children": "child_ids.name"})
        self.assertEqual(
            self.read_payloads(config, self.parent), [{"children": ["C1", "C2"]}]
        )
        self.children[1:].active = False
        self.parent.active = False
        config = self.make_config({"parent": "parent_id.name"})
        self.assertEqual(
            self.read_payloads(config, self.children[0]), [{"parent": "Parent"}]
        )

    def test_what_the_user_may_not_read_is_forbidden(self):
        self.runner = self.env(user=self.user)
        for model, lines in [
            ("ir.cron", {"name": "name"}),
            ("res.partner", {"name": f"user_ids.{GROUPS}.model_access.name"}),
        ]:
            with self.subTest(model=model):
                record = self.env[model].search([], limit=1)
                config = self.make_config(lines, model)
                with self.assertRaises(AccessError):
                    self.read_payloads(config, record)

    def test_a_field_of_a_group_is_forbidden_to_others(self):
        partner = self.env["res.partner"].create({"name": "x"})
        config = self.make_config({"signup": "signup_type", "name": "name"})
        user = new_test_user(self.env, "mapping_plain", groups="base.group_user")
        self.runner = self.env(user=user)
        with self.assertRaises(AccessError):
            self.read_payloads(config, partner)
        child = self.env["res.partner"].create({"name": "y", "parent_id": partner.id})
        config = self.make_config({"signup": "parent_id.signup_type"})
        for fetched in (["name"], ["name", "signup_type"]):
            with self.assertRaises(AccessError):  # which empties the cache first
                partner.fetch(fetched)
                self.read_payloads(config, child)

    def test_the_language_of_the_call_is_read(self):
        self.env["res.lang"]._activate_lang("fr_FR")
        self.env.ref("base.de").with_context(lang="fr_FR").name = "Allemagne"
        config = self.make_config({"name": "name"}, "res.country")
        germany = self.env.ref("base.de")
        self.assertEqual(self.read_payloads(config, germany), [{"name": "Germany"}])
        self.runner = self.runner(context={"lang": "fr_FR"})
        self.assertEqual(self.read_payloads(config, germany), [{"name": "Allemagne"}])


class TestReadScripts(MappingCase):
    def test_a_get_runs_the_read_script_and_an_outbound_payload_the_script(self):
        partner = self.env["res.partner"].create({"name": "Ann", "city": "Lviv"})
        config = self.make_config(
            {
                "both": script("record.city + ' out'", "city", read_script="'in'"),
                "plain": script("1", "city"),
                "nothing": script("x = 1", mode="execute", read_script="y = 2"),
            }
        )
        self.assertEqual(
            self.read_payloads(config, partner), [{"both": "in", "plain": "Lviv"}]
        )
        self.assertEqual(
            self.read_payloads(config, partner, direction="out"),
            [{"both": "Lviv out", "plain": 1}],
        )

    def test_what_a_script_computes_becomes_json(self):
        partner = self.env["res.partner"].create({"name": "Ann"})
        tag = self.env["res.partner.category"].create({"name": "T"})
        for source, expected in [
            ("record", partner.id),
            ("model", None),
            ("datetime.datetime(2025, 1, 31, 8)", "2025-01-31T08:00:00Z"),
            ("datetime.date(2025, 1, 31)", "2025-01-31"),
            ("{'a': record, 1: [b'x']}", {"a": partner.id, "1": ["x"]}),
            ("(1, 2)", [1, 2]),
        ]:
            with self.subTest(source=source):
                config = self.make_config({"x": script("0", read_script=source)})
                self.assertEqual(self.read_payloads(config, partner), [{"x": expected}])
        line = script("0", "category_id", read_script="env['res.partner.category']")
        config = self.make_config({"x": line})
        self.assertEqual(self.read_payloads(config, partner), [{"x": []}])
        config.line_ids.read_script = f"env['res.partner.category'].browse({tag.id})"
        self.assertEqual(self.read_payloads(config, partner), [{"x": [tag.id]}])

    def test_a_failing_script_names_its_line(self):
        config = self.make_config({"x": script("0", read_script="1 / 0")})
        partner = self.env["res.partner"].create({"name": "Ann"})
        with self.assertRaisesRegex(
            ScriptError, "x, line 1: ZeroDivisionError"
        ) as caught:
            self.read_payloads(config, partner)
        self.assertEqual(caught.exception.line_id, config.line_ids.id)

    def test_a_nested_script_sees_the_records_and_the_mapping_of_its_line(self):
        source = "[record.name, model.search_count([('id', '=', record.id)])]"
        mapping = self.make_config(
            {"x": script("0", read_script=source)}, "res.country"
        )
        config = self.make_config({"country": nested("country_id", mapping)})
        partner = self.env["res.partner"].create(
            {"name": "Ann", "country_id": self.env.ref("base.ua").id}
        )
        self.assertEqual(
            self.read_payloads(config, partner), [{"country": {"x": ["Ukraine", 1]}}]
        )


class TestQueries(MappingCase):
    def test_queries_do_not_grow_with_the_number_of_records(self):
        country = self.make_config(
            {"code": {"field_path": "code", "is_record_identifier": True}},
            "res.country",
        )
        tag = self.make_config({"name": "name"}, "res.partner.category")
        child = self.make_config({"ref": REF, "country": nested("country_id", country)})
        config = self.make_config(
            {
                "ref": REF,
                **{name: name for name in ("name", "email", "phone", "street", "city")},
                "state": "state_id.code",
                "parent": "parent_id.name",
                "country": nested("country_id", country),
                "tags": nested("category_id", tag),
                "children": nested("child_ids", child),
            }
        )
        tags = self.env["res.partner.category"].create([{"name": "a"}, {"name": "b"}])
        partners = self.env["res.partner"].create(
            [
                {
                    "name": f"P{n}",
                    "ref": f"P{n}",
                    "country_id": self.env.ref("base.ua").id,
                    "category_id": [Command.set(tags.ids)],
                    "child_ids": [Command.create({"name": "c", "ref": f"c{n}"})],
                }
                for n in range(100)
            ]
        )
        counts = {}
        for size in (5, 10, 100):  # the first fills caches
            self.env.flush_all()
            self.env.invalidate_all()
            start = self.env.cr.sql_log_count
            payloads = self.read_payloads(config, partners[:size])
            counts[size] = self.env.cr.sql_log_count - start
            self.assertEqual(len(payloads), size)
            self.assertEqual(payloads[-1]["children"][0]["ref"], f"c{size - 1}")
        self.assertEqual(counts[10], counts[100])
        self.assertLess(counts[100], 16)

    def test_no_more_is_read_of_related_records_than_what_is_mapped(self):
        config = self.make_config({"name": "name", "parent": "parent_id.name"})
        parent = self.env["res.partner"].create({"name": "Parent"})
        child = self.env["res.partner"].create({"name": "A", "parent_id": parent.id})
        self.runner = self.env(user=self.user)  # whose contacts a rule restricts
        self.read_payloads(config, child)  # fills other caches
        child.invalidate_recordset()
        parent.invalidate_recordset()
        start = 'SELECT "res_partner"."id", "res_partner"."name"'
        with self.assertQueriesContain(
            [f'{start}, "res_partner"."parent_id" FROM', f"{start} FROM"]
        ):
            self.assertEqual(
                self.read_payloads(config, child), [{"name": "A", "parent": "Parent"}]
            )

    def test_a_list_may_be_empty(self):
        config = self.make_config(
            {"name": "name", "parent": "parent_id.country_id.code"}
        )
        self.assertEqual(self.read_payloads(config, self.env["res.partner"]), [])
