import gc
import itertools
from datetime import date, datetime
from unittest.mock import patch

from odoo import Command
from odoo.exceptions import AccessError, ValidationError
from odoo.tests.common import new_test_user
from odoo.tools import mute_logger
from psycopg2.errors import NotNullViolation, SerializationFailure

from ..exceptions import Conflict, NotFound, PayloadError
from .common import GROUPS
from .mapping_common import MappingCase

PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAA"
    "AABJRU5ErkJggg=="
)
REF = {"field_path": "ref", "is_record_identifier": True}


def nested(field, mapping, **vals):
    """Return the values of a line that maps a relation."""
    return {
        "field_path": field,
        "value_type": "relational_mapping",
        "mapping_config_id": mapping.id,
        **vals,
    }


def script(source, field=False, mode="evaluate", **vals):
    return {
        "field_path": field,
        "value_type": "python_plain",
        "script": source,
        "script_mode": mode,
        **vals,
    }


class WriterCase(MappingCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.partners = cls.env["res.partner"]
        cls.country = cls.make_config(
            {"code": {"field_path": "code", "is_record_identifier": True}},
            "res.country",
        )
        cls.tag = cls.make_config(
            {
                "label": {"field_path": "name", "is_record_identifier": True},
                "color": "color",
            },
            "res.partner.category",
        )

    def make_contacts(self, lines, **vals):
        """Return a configuration of contacts that are known by ``ref``."""
        return self.make_config({"ref": REF, "name": "name", **lines}, **vals)


class TestPlainValues(WriterCase):
    def test_each_field_type_takes_its_json_form(self):
        day = datetime(2025, 1, 31, 8, 0)
        tables = {
            "res.partner": [
                ("street", "Main St", "Main St"),
                ("street", 12, "12"),
                ("comment", "<p>Hi</p>", "<p>Hi</p>"),
                ("color", 4, 4),
                ("color", "4", 4),
                ("color", 4.0, 4),
                ("partner_latitude", "49.84", 49.84),
                ("partner_latitude", 49, 49.0),
                ("active", False, False),
                ("active", 0, False),
                ("active", "true", True),
                ("is_company", "1", True),
                ("type", "delivery", "delivery"),
                ("image_1920", PNG, PNG.encode()),
                ("ref", "", False),
            ],
            "res.currency.rate": [
                ("name", "2025-01-31", date(2025, 1, 31)),
                ("company_rate", "1.5", 1.5),
            ],
            "ir.cron": [
                ("nextcall", "2025-01-31T10:00:00+02:00", day),
                ("nextcall", "2025-01-31T08:00:00Z", day),
                ("nextcall", "2025-01-31 08:00:00", day),
                ("nextcall", "2025-01-31", datetime(2025, 1, 31)),
            ],
        }
        self.runner = self.env
        rate = {"name": "2025-01-30", "currency_id": self.env.ref("base.UYU").id}
        records = {
            "res.partner": self.partners.create({"name": "x"}),
            "res.currency.rate": self.env["res.currency.rate"].create(rate),
            "ir.cron": self.env["ir.cron"].search([], limit=1),
        }
        for model, rows in tables.items():
            record = records[model]
            for name, raw, expected in rows:
                with self.subTest(model=model, field=name, raw=raw):
                    lines = {
                        "id": {"field_path": "id", "is_record_identifier": True},
                        "key": name,
                    }
                    config = self.make_config(lines, model)
                    self.write_rows(config, {"key": raw}, targets=[record])
                    self.assertEqual(record[name], expected)

    def test_a_value_of_the_wrong_type_is_refused_and_says_what_it_should_be(self):
        day = "a date YYYY-MM-DD"
        config = self.make_config(
            {
                "text": "street",
                "whole": "color",
                "number": "partner_latitude",
                "flag": "is_company",
                "choice": "type",
                "picture": "image_1920",
                "country": "country_id",
                "tags": "category_id",
            }
        )
        rates = self.make_config({"day": "name"}, "res.currency.rate")
        crons = self.make_config({"moment": "nextcall"}, "ir.cron")
        for used, key, raw, expected, got in [
            (config, "text", {"a": 1}, "a text", "an object"),
            (config, "text", True, "a text", "true"),
            (config, "whole", "four", "a whole number", '"four"'),
            (config, "whole", 4.5, "a whole number", "4.5"),
            (config, "whole", True, "a whole number", "true"),
            (config, "whole", 2**31, "from -2147483648 to 2147483647", "2147483648"),
            (config, "number", "1,5", "a number", '"1,5"'),
            (config, "number", [1], "a number", "an array"),
            (config, "flag", "yes", "true or false", '"yes"'),
            (config, "flag", 2, "true or false", "2"),
            (config, "choice", "home", 'one of "contact", "invoice"', '"home"'),
            (config, "picture", "%%", "base64 text", '"%%"'),
            (config, "country", "UA", "an id", '"UA"'),
            (config, "country", {"id": 1}, "an id", "an object"),
            (config, "country", 0, "an id", "0"),
            (config, "tags", 5, "a list of ids", "5"),
            (config, "tags", [[0, 0, {"name": "x"}]], "an id", "an array"),
            (config, "tags", [6, 0, []], "an id", "0"),
            (config, "tags", [[6, 0, [1]]], "an id", "an array"),
            (rates, "day", "31.01.2025", day, '"31.01.2025"'),
            (rates, "day", "2025-01-31T10:00:00Z", day, "2025-01-31T10"),
            (rates, "day", "2025-02-30", day, '"2025-02-30"'),
            (rates, "day", 20250131, day, "20250131"),
            (crons, "moment", "tomorrow", "an ISO 8601 datetime", '"tomorrow"'),
            (crons, "moment", 1738317600, "an ISO 8601 datetime", "1738317600"),
        ]:
            with self.subTest(key=key, raw=raw):
                error = self.assertRefused(
                    used, {key: raw}, key, f"{key}: expected ", expected, got
                )
                rules = {rule.api_key: rule for rule in self.plan(used).rules}
                self.assertEqual(error["line_id"], rules[key].line_id)

    def test_only_sent_keys_are_written_and_null_clears(self):
        config = self.make_contacts({"email": "email", "address.city": "city"})
        partner = self.save(
            config,
            {"ref": "A", "name": "Ann", "email": "a@x.ua", "address": {"city": "Lviv"}},
        )
        self.save(config, {"ref": "A", "email": None, "other": 1})
        self.assertRecordValues(
            partner, [{"name": "Ann", "email": False, "city": "Lviv"}]
        )
        self.save(config, {"ref": "A", "address": None})
        self.assertFalse(partner.city)

    def test_null_clears_relations_too(self):
        config = self.make_contacts(
            {"country": "country_id", "tags": "category_id", "banks": "bank_ids"}
        )
        partner = self.save(config, {"ref": "A", "name": "Ann"})
        partner.write(
            {
                "country_id": self.env.ref("base.ua").id,
                "category_id": [Command.create({"name": "x"})],
                "bank_ids": [Command.create({"acc_number": "1"})],
            }
        )
        self.save(config, {"ref": "A", "country": None, "tags": None, "banks": None})
        self.assertRecordValues(
            partner, [{"country_id": False, "category_id": [], "bank_ids": []}]
        )

    def test_an_object_is_expected_where_keys_are_nested(self):
        config = self.make_contacts({"address.city": "city", "address.zip": "zip"})
        row = {"ref": "A", "name": "A", "address": "Lviv"}
        self.assertRefused(config, row, "address", "expected an object", '"Lviv"')

    def test_unknown_keys_are_ignored_unless_they_are_to_be_refused(self):
        config = self.make_contacts({"address.city": "city"})
        row = {"ref": "A", "name": "Ann", "x": 1, "address": {"city": "L", "y": 2}}
        self.assertEqual(self.write_rows(config, row).status, "created")
        config.reject_unknown_keys = True
        errors = self.refuse(config, row)
        self.assertEqual([error["key"] for error in errors], ["address.y", "x"])
        self.assertIn("no key of", errors[1]["message"])

    def test_a_required_key_is_needed_to_create_and_never_emptied(self):
        config = self.make_contacts(
            {"email": {"field_path": "email", "required": True}}
        )
        row = {"ref": "A", "name": "Ann"}
        self.assertRefused(config, row, "email", "required")
        for empty in (None, ""):
            self.assertRefused(config, {**row, "email": empty}, "email", "required")
        partner = self.save(config, {**row, "email": "a@x.ua"})
        self.save(config, {"ref": "A", "name": "Anna"})
        self.assertEqual(partner.name, "Anna")
        self.assertRefused(config, {"ref": "A", "email": None}, "email", "required")

    def test_lines_for_reading_and_fields_that_odoo_fills_are_never_written(self):
        config = self.make_contacts(
            {
                "city": {"field_path": "city", "access": "read"},
                "street": {"field_path": "street", "access": "write"},
                "created": "create_date",
                "by": {"field_path": "create_uid", "access": "write"},
                "shown": "display_name",
                "children": "commercial_partner_id",
                "country": "country_id.code",
            }
        )
        row = {
            "ref": "A",
            "name": "Ann",
            "city": "Lviv",
            "street": "Main",
            "created": "2001-01-01",
            "by": 1,
            "shown": "Nobody",
            "children": 1,
            "country": "UA",
        }
        partner = self.save(config, row)
        self.assertRecordValues(
            partner,
            [{"city": False, "street": "Main", "country_id": False, "name": "Ann"}],
        )
        self.assertEqual(partner.create_uid, self.user)
        self.assertGreater(partner.create_date.year, 2001)
        self.assertNotIn("street", self.read_payloads(config, partner)[0])
        self.assertNotIn("by", self.read_payloads(config, partner)[0])

    def test_choices_that_are_computed_are_checked_too(self):
        config = self.make_contacts({"lang": "lang"})
        row = {"ref": "A", "name": "A", "lang": "xx_XX"}
        self.assertRefused(config, row, "lang", '"en_US"', '"xx_XX"')
        self.env["res.lang"]._activate_lang("fr_FR")
        self.assertEqual(self.save(config, {**row, "lang": "fr_FR"}).lang, "fr_FR")

    def test_text_longer_than_its_field_is_refused_not_cut(self):
        config = self.make_config({"code": "code", "name": "name"}, "res.country")
        self.assertRefused(config, {"code": "UKR", "name": "x"}, "code", "at most 2")

    def test_constants_are_written_to_new_records_and_when_their_key_is_sent(self):
        def constant(field, value):
            return {
                "field_path": field,
                "value_type": "constant",
                "constant_value": value,
            }

        config = self.make_contacts(
            {
                "kind": constant("is_company", "true"),
                "zip": constant("zip", "007"),
                "country": constant("country_id", str(self.env.ref("base.ua").id)),
                "source": {"value_type": "constant", "constant_value": "shop"},
            }
        )
        partner = self.save(config, {"ref": "A", "name": "Ann", "kind": False})
        self.assertRecordValues(
            partner,
            [
                {
                    "is_company": True,
                    "zip": "007",
                    "country_id": self.env.ref("base.ua").id,
                }
            ],
        )
        partner.zip = "1"
        self.save(config, {"ref": "A", "name": "Anna"})
        self.assertEqual(partner.zip, "1")
        self.save(config, {"ref": "A", "zip": "2"})
        self.assertEqual(partner.zip, "007")

    def test_translated_values_are_written_in_the_language_of_the_call(self):
        self.env["res.lang"]._activate_lang("fr_FR")
        tag = self.env["res.partner.category"].create({"name": "Blue"})
        self.runner = self.runner(context={"lang": "fr_FR"})
        config = self.make_config(
            {
                "id": {"field_path": "id", "is_record_identifier": True},
                "name": "name",
            },
            "res.partner.category",
        )
        self.write_rows(config, {"id": tag.id, "name": "Bleu"})
        self.assertEqual(tag.name, "Blue")
        self.assertEqual(tag.with_context(lang="fr_FR").name, "Bleu")
        self.assertEqual(self.read_payloads(config, tag)[0]["name"], "Bleu")

    def test_company_dependent_values_are_those_of_the_company_of_the_call(self):
        other = self.env["res.company"].create({"name": "Other"})
        self.user.company_ids += other
        config = self.make_contacts({"barcode": "barcode"})
        self.runner = self.runner(context={"allowed_company_ids": other.ids})
        partner = self.save(config, {"ref": "A", "name": "Ann", "barcode": "7"})
        self.assertFalse(partner.barcode)
        self.assertEqual(partner.with_company(other).barcode, "7")

    def test_references_name_records_that_are_there(self):
        self.runner = self.env
        lines = {"record": "resource_ref", "name": "name", "model": "model_id"}
        lines["state"] = "state"
        config = self.make_config(lines, "ir.actions.server")
        partner = self.partners.create({"name": "x"})
        model = self.env["ir.model"]._get_id("res.partner")
        row = {"name": "A", "model": model, "record": f"res.partner,{partner.id}"}
        row["state"] = "code"
        self.assertEqual(self.save(config, row).resource_ref, partner)
        for bad in ("res.partner,999999999", "res.nothing,1"):
            self.assertRefused(
                config, {**row, "record": bad}, "record", bad.split(",")[0]
            )

    def test_an_id_whose_model_stands_in_another_field_is_checked(self):
        self.runner = self.env
        lines = {"model": "res_model", "record": "res_id", "name": "name"}
        config = self.make_config(lines, "ir.attachment")
        partner = self.partners.create({"name": "x"})
        row = {"name": "a", "model": "res.partner", "record": partner.id}
        self.assertEqual(self.save(config, row).res_id, partner.id)
        self.assertRefused(
            config, {**row, "record": 999999999}, "record", "res.partner"
        )

    def test_unchanged_values_are_not_written(self):
        config = self.make_contacts(
            {
                "email": "email",
                "latitude": "partner_latitude",
                "comment": "comment",
                "country": "country_id",
                "tags": "category_id",
                "image": "image_1920",
                "active": "active",
            }
        )
        row = {
            "ref": "A",
            "name": "Ann",
            "email": None,
            "latitude": 49.84123456789,
            "comment": "<p>Hi <b>you</b></p>",
            "country": self.env.ref("base.ua").id,
            "tags": self.env["res.partner.category"].create({"name": "x"}).ids,
            "image": PNG,
            "active": True,
        }
        self.assertEqual(self.write_rows(config, row).status, "created")
        with patch.object(type(self.partners), "write") as write:
            self.assertEqual(self.write_rows(config, row).status, "unchanged")
        write.assert_not_called()
        self.assertEqual(
            self.write_rows(config, {**row, "name": "B"}).status, "updated"
        )

    @mute_logger("odoo.sql_db")
    def test_text_that_postgresql_cannot_hold_is_refused(self):
        config = self.make_contacts({})
        self.refuse(config, {"ref": "A", "name": "a\0b"})


class TestIdentity(WriterCase):
    def test_an_identifier_decides_what_becomes_of_a_row(self):
        config = self.make_contacts({})
        here = self.partners.create({"name": "Here", "ref": "H"})
        archived = self.partners.create({"name": "Old", "ref": "O", "active": False})
        for operation, ref, status in [
            ("upsert", "H", "updated"),
            ("upsert", "N", "created"),
            ("upsert", "O", "updated"),
            ("update", "H", "updated"),
            ("update", "O", "updated"),
            ("create", "N2", "created"),
            ("create", None, "created"),
            ("upsert", "", "created"),
        ]:
            with self.subTest(operation=operation, ref=ref):
                row = {"ref": ref, "name": f"{operation} {ref}"}
                result = self.write_rows(config, row, operation=operation)
                self.assertEqual(result.status, status)
        self.assertEqual(here.name, "update H")
        self.assertEqual(archived.name, "update O")

        for operation, ref, family, word in [
            ("create", "H", Conflict, "exists already"),
            ("create", "O", Conflict, "exists already"),
            ("update", "X", NotFound, "no record"),
            ("update", None, PayloadError, "name the record"),
            ("update", {}, PayloadError, "expected a text"),
        ]:
            with (
                self.subTest(operation=operation, ref=ref),
                self.assertRaisesRegex(family, word),
            ):
                self.write_rows(config, {"ref": ref, "name": "x"}, operation=operation)

    def test_an_identifier_that_two_records_have_is_a_conflict(self):
        config = self.make_contacts({})
        self.partners.create([{"name": "1", "ref": "D"}, {"name": "2", "ref": "D"}])
        with self.assertRaisesRegex(Conflict, "2 records are known as"):
            self.write_rows(config, {"ref": "D", "name": "x"})

    def test_an_id_as_identifier_finds_and_is_never_chosen(self):
        config = self.make_config(
            {"id": {"field_path": "id", "is_record_identifier": True}, "name": "name"}
        )
        partner = self.partners.create({"name": "x"})
        self.assertEqual(
            self.save(config, {"id": str(partner.id), "name": "y"}), partner
        )
        self.assertEqual(partner.name, "y")
        for operation in ("create", "upsert"):
            self.assertRefused(
                config,
                {"id": 999999999, "name": "z"},
                "id",
                "leave it out",
                operation=operation,
            )

    def test_a_known_record_keeps_from_taking_the_identifier_of_another(self):
        config = self.make_contacts({})
        one, two = self.partners.create(
            [{"name": "1", "ref": "1"}, {"name": "2", "ref": "2"}]
        )
        self.write_rows(config, {"ref": "3"}, targets=[one])
        self.assertEqual(one.ref, "3")
        with self.assertRaisesRegex(Conflict, "belongs to another record"):
            self.write_rows(config, {"ref": "2"}, targets=[one])
        self.assertEqual(two.ref, "2")

    def test_records_outside_the_domain_are_neither_changed_nor_made_twice(self):
        config = self.make_contacts({})
        outside = self.partners.create({"name": "x", "ref": "A", "city": "Kyiv"})
        domain = [("city", "=", "Lviv")]
        for operation, family in [
            ("create", Conflict),
            ("update", NotFound),
            ("upsert", Conflict),
        ]:
            with self.subTest(operation=operation), self.assertRaises(family):
                self.write_rows(
                    config,
                    {"ref": "A", "name": "y"},
                    operation=operation,
                    domain=domain,
                )
        self.assertEqual(outside.name, "x")

    def test_an_identifier_can_be_computed_by_a_script(self):
        config = self.make_config(
            {
                "code": script(
                    "request_data['code'].upper()", "ref", is_record_identifier=True
                ),
                "name": "name",
            }
        )
        partner = self.save(config, {"code": "abc", "name": "x"})
        self.assertEqual(partner.ref, "ABC")
        self.assertEqual(self.save(config, {"code": "ABc", "name": "y"}), partner)
        self.assertRefused(config, {"name": "y"}, "code", "KeyError")


class TestMany2one(WriterCase):
    def test_a_scalar_or_an_object_names_the_record(self):
        config = self.make_contacts({"country": nested("country_id", self.country)})
        ukraine = self.env.ref("base.ua")
        for value in ("UA", {"code": "UA"}, {"code": "UA", "unknown": 1}):
            with self.subTest(value=value):
                row = {"ref": "A", "name": "A", "country": None}
                self.save(config, row)
                partner = self.save(config, {**row, "country": value})
                self.assertEqual(partner.country_id, ukraine)
        self.assertFalse(self.save(config, {"ref": "A", "country": None}).country_id)

    def test_what_cannot_be_found_is_refused_with_key_and_value(self):
        config = self.make_contacts({"country": nested("country_id", self.country)})
        row = {"ref": "A", "name": "A"}
        for value, key, text in [
            ("XX", "country", 'no res.country with code "XX"; create it first'),
            ({"code": "XX"}, "country", 'no res.country with code "XX"; create it'),
            ({}, "country", "name the record by code"),
            ({"code": None}, "country", "name the record by code"),
            ({"code": [1]}, "country.code", "expected a text, got an array"),
            (True, "country", "expected a text, got true"),
            ([], "country", "expected a value or an object, got an array"),
        ]:
            with self.subTest(value=value):
                error = self.assertRefused(config, {**row, "country": value}, key, text)
                self.assertTrue(error["line_id"])

    def test_a_value_for_a_mapping_without_identifier_is_told_why(self):
        tag = self.make_config({"label": "name"}, "res.partner.category")
        tag.line_ids.is_record_identifier = False
        config = self.make_contacts({"tags": nested("category_id", tag)})
        row = {"ref": "A", "name": "A", "tags": ["New"]}
        self.assertRefused(
            config, row, "tags[0]", f"no line of mapping model {tag.name}"
        )

    def test_an_identifier_that_two_records_have_is_refused(self):
        twins = self.env["res.partner.category"].create([{"name": "T"}, {"name": "T"}])
        config = self.make_config(
            {"label": "name", "parent": nested("parent_id", self.tag)},
            "res.partner.category",
        )
        row = {"label": "x", "parent": "T"}
        self.assertRefused(config, row, "parent", "2 records are known as")
        twins[1].unlink()
        self.assertEqual(self.save(config, row).parent_id, twins[0])

    def test_other_keys_of_an_object_update_the_record(self):
        parent = self.partners.create({"name": "Old", "ref": "P"})
        mapping = self.make_contacts({})
        config = self.make_contacts({"company": nested("parent_id", mapping)})
        row = {"ref": "A", "name": "Ann", "company": {"ref": "P", "name": "New"}}
        result = self.write_rows(config, row)
        self.assertEqual(parent.name, "New")
        self.assertEqual(parent.child_ids.id, result.record_id)
        self.assertEqual(self.write_rows(config, row).status, "unchanged")
        row["company"]["name"] = "Newer"
        self.assertEqual(self.write_rows(config, row).status, "updated")

    def test_missing_records_are_created_if_the_line_says_so(self):
        mapping = self.make_contacts({})
        config = self.make_contacts(
            {"company": nested("parent_id", mapping, create_missing=True)}
        )
        row = {"ref": "A", "name": "Ann", "company": {"ref": "P", "name": "Parent"}}
        partner = self.save(config, row)
        self.assertRecordValues(partner.parent_id, [{"ref": "P", "name": "Parent"}])
        self.save(config, row)
        self.assertEqual(self.partners.search_count([("ref", "=", "P")]), 1)

    def test_an_object_with_no_key_of_the_mapping_model_makes_no_record(self):
        mapping = self.make_config({"code": REF, "title": "name"})
        company = nested("parent_id", mapping, create_missing=True)
        config = self.make_contacts(
            {"company": company, "people": nested("child_ids", mapping)}
        )
        row = {"ref": "A", "name": "Ann"}
        for value in ({}, {"kod": "P"}):
            text = "it has no key that Mapping of res.partner maps: code, title."
            self.assertRefused(config, {**row, "company": value}, "company", text)
            self.assertRefused(config, {**row, "people": [value]}, "people[0]", text)
        partner = self.save(config, {**row, "company": {"title": "Parent"}})
        self.assertEqual(partner.parent_id.name, "Parent")

    @mute_logger("odoo.sql_db")
    def test_what_the_database_requires_is_asked_for_by_its_key(self):
        mapping = self.make_config(
            {"iso": {**REF, "field_path": "code"}, "title": "name"}, "res.country"
        )
        self.runner = self.env
        country = nested("country_id", mapping, create_missing=True)
        config = self.make_contacts({"place": country})
        row = {"ref": "A", "name": "A"}
        for value in ("Q9", {"iso": "Q9"}, {"iso": "Q9", "title": None}):
            self.assertRefused(
                config, {**row, "place": value}, "place.title", "a value is required"
            )
        self.assertRefused(mapping, {"iso": "Q9"}, "title", "a value is required")
        [nameless] = mapping.line_ids.filtered(lambda line: line.api_key == "title")
        nameless.access = "read"
        with self.assertRaises(NotNullViolation), self.env.cr.savepoint():
            self.write_rows(mapping, {"iso": "Q9"})  # which no key can mend

    def test_required_keys_of_an_object_count_only_when_it_is_created(self):
        mapping = self.make_config(
            {"ref": REF, "name": {"field_path": "name", "required": True}}
        )
        config = self.make_contacts(
            {"company": nested("parent_id", mapping, create_missing=True)}
        )
        row = {"ref": "A", "name": "Ann"}
        for company in ({"ref": "P"}, "P"):
            self.assertRefused(
                config, {**row, "company": company}, "company.name", "required"
            )
        self.partners.create({"name": "Parent", "ref": "P"})
        for company in ({"ref": "P"}, "P"):
            self.assertTrue(self.save(config, {**row, "company": company}).parent_id)

    def test_an_object_without_identifier_means_the_record_that_is_set(self):
        mapping = self.make_config({"name": "name", "city": "city"})
        config = self.make_contacts({"company": nested("parent_id", mapping)})
        partner = self.save(config, {"ref": "A", "name": "Ann"})
        row = {"ref": "A", "company": {"name": "Parent"}}
        self.assertRefused(
            config, row, "company", "mark one of its lines", "allow Create"
        )
        self.assertRefused(
            config, {"ref": "A", "company": "x"}, "company", "expected an object"
        )
        config.line_ids.filtered("mapping_config_id").create_missing = True
        self.save(config, row)
        parent = partner.parent_id
        self.assertEqual(parent.name, "Parent")
        self.save(config, {"ref": "A", "company": {"city": "Lviv"}})
        self.assertEqual(partner.parent_id, parent)
        self.assertEqual(parent.city, "Lviv")

    def test_the_mapping_models_domain_limits_what_may_be_named(self):
        self.partners.create({"name": "Parent", "ref": "P"})
        mapping = self.make_contacts({}, filter_domain="[('city', '=', 'Lviv')]")
        config = self.make_contacts(
            {"company": nested("parent_id", mapping, create_missing=True)}
        )
        row = {"ref": "A", "name": "Ann", "company": {"ref": "P", "name": "x"}}
        self.assertRefused(config, row, "company.ref", "outside the Filter Domain")

    def test_one_new_record_serves_all_rows_that_name_it(self):
        mapping = self.make_contacts({"city": "city"})
        config = self.make_contacts(
            {"company": nested("parent_id", mapping, create_missing=True)}
        )
        rows = [
            {"ref": "1", "name": "1", "company": {"ref": "P", "name": "Old"}},
            {"ref": "2", "name": "2", "company": {"ref": "P", "city": "Lviv"}},
            {"ref": "3", "name": "3", "company": {"ref": "P", "name": "New"}},
            {"ref": "4", "name": "4", "company": "P"},
        ]
        self.write_rows(config, rows)
        parent = self.partners.search([("ref", "=", "P")])
        self.assertRecordValues(parent, [{"name": "New", "city": "Lviv"}])
        self.assertEqual(parent.child_ids.mapped("ref"), ["1", "2", "3", "4"])

    def test_a_row_may_name_another_row_as_its_parent(self):
        mapping = self.make_contacts({})
        config = self.make_contacts({"company": nested("parent_id", mapping)})
        rows = [
            {"ref": "C", "name": "C", "company": "B"},
            {"ref": "B", "name": "B", "company": {"ref": "A"}},
            {"ref": "A", "name": "A"},
        ]
        self.write_rows(config, rows)
        child = self.partners.search([("ref", "=", "C")])
        self.assertEqual(child.parent_id.parent_id.ref, "A")

    def test_new_rows_that_need_each_other_are_refused(self):
        mapping = self.make_contacts({})
        config = self.make_contacts({"company": nested("parent_id", mapping)})
        rows = [
            {"ref": "A", "name": "A", "company": "B"},
            {"ref": "B", "name": "B", "company": "A"},
            {"ref": "C", "name": "C", "company": "C"},
        ]
        errors = self.refuse(config, rows)
        self.assertEqual({error["index"] for error in errors}, {0, 1, 2})

    def test_a_row_that_needs_a_refused_row_is_refused_with_it(self):
        mapping = self.make_contacts({})
        config = self.make_contacts(
            {"company": nested("parent_id", mapping), "color": "color"}
        )
        rows = [
            {"ref": "A", "name": "A", "color": "red"},
            {"ref": "B", "name": "B", "company": "A"},
            {"ref": "C", "name": "C"},
        ]
        results = self.write_rows(config, rows, partial=True)
        statuses = [result.status for result in results]
        self.assertEqual(statuses, ["error", "error", "created"])
        self.assertIn("refers to a row that cannot be saved", results[1].message)


class TestOne2many(WriterCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.runner = cls.env  # contacts' users may not edit countries
        cls.numbers = itertools.count(1)
        lines = {"no": "code", "label": "name"}
        cls.anonymous = cls.make_config(lines, "res.country.state")
        lines["no"] = {"field_path": "code", "is_record_identifier": True}
        cls.state = cls.make_config(lines, "res.country.state")

    def make_country(self, mapping, mode=False):
        """Return a configuration of countries and one with the states 1 and 2."""
        line = nested("state_ids", mapping, x2many_mode=mode)
        config = self.make_config({"name": "name", "states": line}, "res.country")
        number = next(self.numbers)
        country = self.env["res.country"].create(
            {
                "name": f"Country {number}",
                "code": f"{number:02}",
                "state_ids": [
                    Command.create({"code": "1", "name": "one"}),
                    Command.create({"code": "2", "name": "two"}),
                ],
            }
        )
        return config, country

    def get_states(self, country):
        return {(state.code, state.name) for state in country.state_ids}

    def test_each_mode_does_to_the_lines_what_it_says(self):
        sent = [{"no": "2", "label": "TWO"}, {"no": "3", "label": "three"}]
        one, two = ("1", "one"), ("2", "two")
        both = {("2", "TWO"), ("3", "three")}
        for mapping, mode, expected in [
            (self.state, False, {one, *both}),
            (self.state, "merge", {one, *both}),
            (self.state, "replace", both),
            (self.anonymous, False, both),
            (self.anonymous, "replace", both),
        ]:
            with self.subTest(mode=mode, identifier=mapping == self.state):
                config, country = self.make_country(mapping, mode)
                before = country.state_ids
                self.write_rows(config, {"states": sent}, targets=[country])
                self.assertEqual(self.get_states(country), expected)
                if mapping == self.state:
                    kept = country.state_ids & before
                    self.assertIn("2", kept.mapped("code"))
        for mapping in (self.state, self.anonymous):
            config, country = self.make_country(mapping, "append")
            self.write_rows(config, {"states": sent[1:]}, targets=[country])
            self.assertEqual(self.get_states(country), {one, two, ("3", "three")})

    def test_the_same_put_twice_leaves_the_same_lines(self):
        sent = [{"no": "2", "label": "two"}, {"no": "3", "label": "three"}]
        for mapping, mode in [
            (self.state, False),
            (self.state, "merge"),
            (self.state, "replace"),
            (self.anonymous, False),
            (self.anonymous, "replace"),
        ]:
            with self.subTest(mode=mode, identifier=mapping == self.state):
                config, country = self.make_country(mapping, mode)
                self.write_rows(config, {"states": sent}, targets=[country])
                lines = country.state_ids
                result = self.write_rows(config, {"states": sent}, targets=[country])
                self.assertEqual(result.status, "unchanged")
                self.assertEqual(country.state_ids, lines)

    def test_equal_lines_without_identifier_are_kept_as_often_as_they_are_sent(self):
        mapping = self.make_config({"name": "name", "city": "city"})
        config = self.make_contacts({"children": nested("child_ids", mapping)})
        partner = self.save(config, {"ref": "A", "name": "Ann"})
        twice = [{"name": "x", "city": "L"}, {"name": "x", "city": "L"}]
        self.write_rows(config, {"children": twice}, targets=[partner])
        first = partner.child_ids
        self.assertEqual(len(first), 2)
        self.write_rows(config, {"children": twice}, targets=[partner])
        self.assertEqual(partner.child_ids, first)
        self.write_rows(config, {"children": twice[:1]}, targets=[partner])
        self.assertEqual(len(partner.child_ids), 1)
        self.assertIn(partner.child_ids, first)

    def test_null_and_empty_lists(self):
        for mode, sent, count in [
            ("merge", [], 2),
            ("append", [], 2),
            ("replace", [], 0),
            ("merge", None, 0),
            ("append", None, 0),
            ("replace", None, 0),
        ]:
            with self.subTest(mode=mode, sent=sent):
                config, country = self.make_country(self.state, mode)
                self.write_rows(config, {"states": sent}, targets=[country])
                self.assertEqual(len(country.state_ids), count)

    def test_a_line_of_another_parent_is_not_taken_by_an_object(self):
        mapping = self.make_contacts({})
        config = self.make_contacts({"children": nested("child_ids", mapping)})
        other = self.partners.create({"name": "Other"})
        foreign = self.partners.create(
            {"name": "Foreign", "ref": "C", "parent_id": other.id}
        )
        row = {"ref": "A", "name": "A", "children": [{"ref": "C", "name": "Own"}]}
        partner = self.save(config, row)
        self.assertEqual(partner.child_ids.name, "Own")
        self.assertRecordValues(foreign, [{"name": "Foreign", "parent_id": other.id}])

    def test_a_value_in_a_list_moves_the_record_that_it_names(self):
        mapping = self.make_contacts({})
        config = self.make_contacts({"children": nested("child_ids", mapping)})
        child = self.partners.create({"name": "Child", "ref": "C"})
        partner = self.save(config, {"ref": "A", "name": "A", "children": ["C"]})
        self.assertEqual(partner.child_ids, child)
        row = {"ref": "A", "children": ["C"]}
        self.assertEqual(self.write_rows(config, row).status, "unchanged")
        row["children"].append("X")
        self.assertRefused(config, row, "children[1]", 'with ref "X"')

    def test_lines_that_can_stand_alone_are_taken_out_and_not_deleted(self):
        mapping = self.make_contacts({})
        line = nested("child_ids", mapping, x2many_mode="replace")
        config = self.make_contacts({"children": line})
        row = {"ref": "A", "name": "A", "children": [{"ref": "C", "name": "C"}]}
        partner = self.save(config, row)
        child = partner.child_ids
        self.save(config, {**row, "children": []})
        self.assertFalse(partner.child_ids)
        self.assertFalse(child.parent_id)
        config, country = self.make_country(self.state, "replace")
        states = country.state_ids
        self.write_rows(config, {"states": []}, targets=[country])
        self.assertFalse(states.exists())

    def test_archived_lines_are_found_and_never_removed(self):
        mapping = self.make_contacts({})
        line = nested("child_ids", mapping, x2many_mode="replace")
        config = self.make_contacts({"children": line})
        partner = self.save(config, {"ref": "A", "name": "A"})
        old = self.partners.create(
            [
                {"name": n, "ref": n, "parent_id": partner.id, "active": False}
                for n in "XY"
            ]
        )
        row = {"ref": "A", "children": [{"ref": "X", "name": "Found"}]}
        self.save(config, row)
        self.assertEqual(old.mapped("name"), ["Found", "Y"])
        self.assertEqual([line.parent_id for line in old], [partner, partner])

    def test_lines_that_are_wrong_are_all_named(self):
        config, country = self.make_country(self.state)
        sent = [{"no": [1]}, {"no": "5", "label": {}}, 5.5, None, {"no": "5"}]
        errors = self.refuse(config, {"states": sent}, targets=[country])
        self.assertEqual(
            [error["key"] for error in errors],
            [
                "states[3]",
                "states[0].no",
                "states[4].no",
                "states[2]",
                "states[1].label",
            ],
        )
        self.assertIn("stands twice", errors[2]["message"])
        for wrong in (5, "x", {}):
            self.assertRefused(
                config,
                {"states": wrong},
                "states",
                "expected an array",
                targets=[country],
            )

    def test_two_lines_with_the_identifier_are_refused(self):
        mapping = self.make_config(
            {"name": {"field_path": "name", "is_record_identifier": True}}
        )
        config = self.make_contacts({"children": nested("child_ids", mapping)})
        partner = self.save(config, {"ref": "A", "name": "A"})
        self.partners.create([{"name": "x", "parent_id": partner.id}] * 2)
        row = {"ref": "A", "children": [{"name": "x"}]}
        self.assertRefused(config, row, "children[0].name", "2 records are known as")

    def test_an_id_that_is_no_line_of_the_parent_is_refused(self):
        mapping = self.make_config(
            {"id": {"field_path": "id", "is_record_identifier": True}, "name": "name"}
        )
        config = self.make_contacts({"children": nested("child_ids", mapping)})
        partner = self.save(config, {"ref": "A", "name": "A"})
        stranger = self.partners.create({"name": "Stranger"})
        row = {"ref": "A", "children": [{"name": "new"}]}
        self.save(config, row)
        child = partner.child_ids
        row["children"] = [{"id": child.id, "name": "renamed"}]
        self.save(config, row)
        self.assertEqual(child.name, "renamed")
        row["children"] = [{"id": stranger.id, "name": "taken"}]
        self.assertRefused(config, row, "children[0]", "no res.partner with id")

    def test_a_required_key_of_a_line_counts_for_new_lines_only(self):
        self.state.line_ids[1].required = True
        config, country = self.make_country(self.state)
        sent = [{"no": "1"}, {"no": "3"}]
        self.assertRefused(
            config, {"states": sent}, "states[1].label", "required", targets=[country]
        )

    def test_ids_of_lines_are_taken_from_a_plain_list(self):
        _config, country = self.make_country(self.state)
        config = self.make_config({"states": "state_ids"}, "res.country")
        kept = country.state_ids[0]
        self.write_rows(config, {"states": kept.ids}, targets=[country])
        self.assertEqual(country.state_ids, kept)


class TestMany2many(WriterCase):
    def make_tagged(self, **vals):
        config = self.make_contacts({"tags": nested("category_id", self.tag, **vals)})
        return config, self.save(config, {"ref": "A", "name": "Ann"})

    def test_values_and_objects_make_the_list_or_add_to_it(self):
        red, blue = self.env["res.partner.category"].create(
            [{"name": "Red", "color": 1}, {"name": "Blue", "color": 2}]
        )
        for mode, expected in [
            (False, blue),
            ("replace", blue),
            ("append", red | blue),
            ("merge", red | blue),
        ]:
            for sent in (["Blue"], [{"label": "Blue"}], ["Blue", "Blue"]):
                with self.subTest(mode=mode, sent=sent):
                    config, partner = self.make_tagged(x2many_mode=mode)
                    partner.category_id = red
                    self.save(config, {"ref": "A", "tags": sent})
                    self.assertEqual(partner.category_id, expected)
                    row = {"ref": "A", "tags": sent}
                    self.assertEqual(self.write_rows(config, row).status, "unchanged")
                    partner.unlink()

    def test_ids_are_taken_from_a_plain_list(self):
        tags = self.env["res.partner.category"].create([{"name": "a"}, {"name": "b"}])
        for mode, sent, expected in [
            (False, tags[1].ids, tags[1]),
            ("append", tags[1].ids, tags),
            ("append", [], tags[0]),
            (False, [], tags.browse()),
            ("append", None, tags.browse()),
        ]:
            with self.subTest(mode=mode, sent=sent):
                line = {"field_path": "category_id", "x2many_mode": mode}
                config = self.make_contacts({"tags": line})
                row = {"name": "x", "category_id": tags[0].ids}
                partner = self.partners.create(row)
                self.write_rows(config, {"tags": sent}, targets=[partner])
                self.assertEqual(partner.category_id, expected)

    def test_two_rows_that_name_the_same_new_tag_create_one(self):
        config, _partner = self.make_tagged(create_missing=True)
        rows = [
            {"ref": "1", "name": "1", "tags": ["New", "Old", "New"]},
            {"ref": "2", "name": "2", "tags": [{"label": "New", "color": 5}]},
        ]
        old = self.env["res.partner.category"].create({"name": "Old"})
        results = self.write_rows(config, rows)
        new = self.env["res.partner.category"].search([("name", "=", "New")])
        self.assertRecordValues(new, [{"color": 5}])
        one, two = self.partners.browse([result.record_id for result in results])
        self.assertEqual(one.category_id, new | old)
        self.assertEqual(two.category_id, new)

    def test_what_is_wrong_with_a_shared_tag_is_said_for_each_row(self):
        self.tag.line_ids[1].required = True
        config, _partner = self.make_tagged(create_missing=True)
        rows = [{"ref": str(n), "name": "x", "tags": ["New"]} for n in range(3)]
        errors = self.refuse(config, rows)
        self.assertEqual([error["index"] for error in errors], [0, 1, 2])
        self.assertEqual({error["key"] for error in errors}, {"tags[0].color"})

    def test_unknown_tags_are_all_named(self):
        config, _partner = self.make_tagged()
        errors = self.refuse(config, {"ref": "A", "tags": ["x", {"label": "y"}, [1]]})
        self.assertEqual(
            {error["key"] for error in errors}, {"tags[0]", "tags[1]", "tags[2]"}
        )


class TestDepth(WriterCase):
    def make_chain(self, depth):
        """Return a configuration of contacts with ``depth`` parents inside each other."""
        config = self.make_contacts({})
        for _level in range(depth):
            line = nested("parent_id", config, create_missing=True)
            config = self.make_contacts({"parent": line})
        return config

    def make_row(self, depth):
        row = {"ref": f"D{depth}", "name": f"D{depth}"}
        return {**row, "parent": self.make_row(depth - 1)} if depth else row

    def test_objects_are_written_and_read_eight_levels_deep(self):
        config = self.make_chain(8)
        partner = self.save(config, self.make_row(8))
        names = []
        while partner:
            names.append(partner.name)
            partner = partner.parent_id
        self.assertEqual(names, [f"D{n}" for n in range(8, -1, -1)])
        partner = self.partners.search([("ref", "=", "D8")])
        self.assertEqual(self.read_payloads(config, partner), [self.make_row(8)])
        self.assertEqual(self.write_rows(config, self.make_row(8)).status, "unchanged")

    def test_an_error_deep_inside_says_where_it_is(self):
        config = self.make_chain(3)
        row = self.make_row(3)
        row["parent"]["parent"]["name"] = {}
        self.assertRefused(config, row, "parent.parent.name", "expected a text")

    def test_a_tree_of_one_mapping_ends_at_eight_levels(self):
        config = self.make_contacts({})
        line = nested("parent_id", config, nested_format="identifier")
        config.line_ids = self.make_lines({"parent": {**line, "create_missing": True}})
        self.save(config, self.make_row(8))
        self.assertRefused(
            config, self.make_row(9), ".".join(["parent"] * 9), "deeper than 8"
        )

    def test_the_same_new_record_on_two_levels_is_created_once(self):
        config = self.make_config(
            {"label": {"field_path": "name", "is_record_identifier": True}},
            "res.partner.category",
        )
        line = nested("parent_id", config, nested_format="identifier")
        config.line_ids = self.make_lines({"parent": {**line, "create_missing": True}})
        contacts = self.make_contacts(
            {"tags": nested("category_id", config, create_missing=True)}
        )
        tags = [{"label": "Leaf", "parent": {"label": "Root"}}, {"label": "Root"}]
        partner = self.save(contacts, {"ref": "A", "name": "A", "tags": tags})
        leaf, root = partner.category_id.sorted(lambda tag: tag.name)
        self.assertEqual(leaf.parent_id, root)
        self.assertEqual(len(partner.category_id), 2)


class TestManyRows(WriterCase):
    def test_the_rules_are_not_applied_again_to_what_a_search_has_found(self):
        config = self.make_contacts({})
        rows = [{"ref": ref, "name": ref} for ref in "AB"]
        self.write_rows(config, rows)
        self.env.flush_all()
        self.env.invalidate_all()
        with patch.object(self.registry["res.partner"], "filtered_domain") as check:
            results = self.write_rows(config, rows)
        check.assert_not_called()
        self.assertEqual({result.status for result in results}, {"unchanged"})

    @mute_logger("odoo.sql_db")
    def test_many_rows_are_saved_without_collections_and_one_row_with_them(self):
        config = self.make_contacts({})
        cls, states = self.registry["res.partner"], []

        def spy(records, vals_list, create=cls.create):
            states.append(gc.isenabled())
            return create(records, vals_list)

        with patch.object(cls, "create", spy):
            self.write_rows(config, [{"ref": ref, "name": ref} for ref in "AB"])
            self.write_rows(config, {"ref": "C", "name": "C"})
            self.refuse(config, [{"ref": ref, "name": None} for ref in "DE"])
        self.assertEqual(states[:2], [False, True])
        self.assertTrue(gc.isenabled())

    def test_the_user_of_a_call_follows_nothing_that_it_makes(self):
        config = self.make_contacts({})
        partner = self.save(config, {"ref": "A", "name": "A"})
        self.assertEqual(partner.create_uid, self.user)
        self.assertFalse(partner.message_follower_ids)

    def test_partial_takes_one_create_too_while_all_rows_work(self):
        config = self.make_contacts({})
        rows = [{"ref": f"{n}", "name": f"{n}"} for n in range(20)]
        creates = self.count_creates(config, rows, partial=True)
        self.assertEqual(creates["res.partner"], [20])

    def test_bulk_takes_one_create_and_few_searches_however_many_rows(self):
        bank = self.make_config(
            {"iban": {"field_path": "acc_number", "is_record_identifier": True}},
            "res.partner.bank",
        )
        config = self.make_contacts(
            {
                "country": nested("country_id", self.country),
                "tags": nested("category_id", self.tag, create_missing=True),
                "banks": nested("bank_ids", bank),
            }
        )
        counts = {}
        for size in (5, 10, 100):  # the first fills caches
            rows = [
                {
                    "ref": f"{size}-{n}",
                    "name": f"{n}",
                    "country": "UA" if n % 2 else {"code": "PL"},
                    "tags": [f"tag {n % 5} {size}"],
                    **({"banks": [{"iban": f"{size}-{n}"}]} if n % 3 else {}),
                }
                for n in range(size)
            ]
            creates = self.count_creates(config, rows)
            self.assertEqual(creates["res.partner"], [size])
            self.assertEqual(creates["res.partner.category"], [5])
            self.assertEqual(len(creates["res.partner.bank"]), 1)
            self.env.flush_all()
            self.env.invalidate_all()
            start = self.env.cr.sql_log_count
            results = self.write_rows(config, rows)
            counts[size] = self.env.cr.sql_log_count - start
            self.assertEqual({result.status for result in results}, {"unchanged"})
        self.assertEqual(counts[10], counts[100])
        self.assertLess(counts[100], 30)

    def count_creates(self, config, rows, **options):
        """Return ``{model: [number of records of each call of create]}``."""
        calls = {}
        for name in ("res.partner", "res.partner.category", "res.partner.bank"):
            cls = self.registry[name]

            def spy(records, vals_list, create=cls.create):
                calls.setdefault(records._name, []).append(len(vals_list))
                return create(records, vals_list)

            self.startPatcher(patch.object(cls, "create", spy))
        self.write_rows(config, rows, **options)
        return calls

    def test_records_that_get_the_same_values_share_one_write(self):
        config = self.make_contacts({"city": "city"})
        rows = [{"ref": str(n), "name": str(n)} for n in range(20)]
        self.write_rows(config, rows)
        writes = []
        cls = self.registry["res.partner"]
        original = cls.write

        def spy(records, vals):
            writes.append(len(records))
            return original(records, vals)

        rows = [{**row, "city": "Lviv"} for row in rows]
        with patch.object(cls, "write", spy):
            self.write_rows(config, rows)
        self.assertEqual(writes, [20])

    def test_all_rows_are_checked_and_nothing_is_kept(self):
        config = self.make_contacts(
            {"color": "color", "tags": nested("category_id", self.tag)}
        )
        rows = [
            {"ref": "1", "name": "1"},
            {"ref": "2", "name": "2", "color": "x", "tags": ["none"]},
            {"ref": "3", "name": "3", "tags": "y"},
        ]
        errors = self.refuse(config, rows)
        self.assertEqual(
            [(error["index"], error["key"]) for error in errors],
            [(1, "tags[0]"), (1, "color"), (2, "tags")],
        )
        self.assertFalse(self.partners.search([("ref", "in", ("1", "2", "3"))]))

    def test_rows_that_the_orm_or_postgresql_refuses_are_all_named(self):
        config, rows = self.make_refused_rows()
        with mute_logger("odoo.sql_db"):
            errors = self.refuse(config, rows)
        self.assertEqual([error["index"] for error in errors], [1, 2, 4, 5])
        keyed = [error for error in errors if error.get("key")]
        self.assertEqual(
            [(e["index"], e["key"]) for e in keyed], [(4, "day"), (5, "boom")]
        )

    def make_refused_rows(self):
        """Return a configuration and six rows; the second, third and two last are bad."""
        self.runner = self.env
        currency = self.env["res.currency"].create({"name": "TST", "symbol": "T"})
        config = self.make_config(
            {
                "day": "name",
                "rate": "rate",
                "currency": "currency_id",
                "boom": script(
                    "if request_data.get('boom'): raise UserError('boom')",
                    mode="execute",
                ),
            },
            "res.currency.rate",
        )
        rows = [
            {"day": f"2025-01-0{n}", "rate": 1.0, "currency": currency.id}
            for n in range(1, 7)
        ]
        rows[1]["day"] = "2025-01-01"  # unique index
        rows[2]["rate"] = -1  # check constraint
        rows[4]["day"] = None  # not null
        rows[5]["boom"] = 1
        return config, rows

    def test_partial_keeps_the_rows_that_work(self):
        config, rows = self.make_refused_rows()
        with mute_logger("odoo.sql_db"):
            results = self.write_rows(config, rows, partial=True)
        self.assertEqual(
            [(result.status, result.code) for result in results],
            [
                ("created", 201),
                ("error", 409),
                ("error", 400),
                ("created", 201),
                ("error", 400),
                ("error", 400),
            ],
        )
        self.assertEqual([result.index for result in results], list(range(6)))
        self.assertTrue(results[5].line_id)
        self.assertIn("boom", results[5].message)
        kept = self.env["res.currency.rate"].search(
            [("currency_id.name", "=", "TST")], order="name"
        )
        self.assertEqual([rate.name.day for rate in kept], [1, 4])

    def test_one_bad_row_among_many_costs_few_tries(self):
        config = self.make_contacts({})
        rows = [{"ref": str(n), "name": f"n{n}"} for n in range(128)]
        rows[77]["name"] = None  # a contact needs a name
        tries = []
        writer = self.registry["bj.api.sync.writer"]
        original = writer._try_rows

        def spy(model, job, nodes):
            tries.append(len(nodes))
            return original(model, job, nodes)

        with mute_logger("odoo.sql_db"), patch.object(writer, "_try_rows", spy):
            results = self.write_rows(config, rows, partial=True)
        failed = [result.index for result in results if result.status == "error"]
        self.assertEqual(failed, [77])
        self.assertLess(len(tries), 20)
        self.assertEqual(self.partners.search_count([("name", "=like", "n%")]), 127)

    def test_the_same_identifier_twice_in_a_call_acts_in_order(self):
        config = self.make_contacts({"city": "city"})
        rows = [
            {"ref": "A", "name": "one"},
            {"ref": "A", "name": "two", "city": "Lviv"},
            {"ref": "B", "name": "b"},
            {"ref": "A", "city": None},
        ]
        results = self.write_rows(config, rows)
        self.assertEqual(
            [result.status for result in results],
            ["created", "updated", "created", "updated"],
        )
        partner = self.partners.browse(results[0].record_id)
        self.assertRecordValues(partner, [{"name": "two", "city": False}])
        rows = [{"ref": "C", "name": "c"}, {"ref": "C", "name": "c"}]
        error = self.assertRefused(
            config, rows, "ref", "exists already", operation="create"
        )
        self.assertEqual(error["index"], 1)

    def test_differently_written_numbers_are_one_identifier(self):
        config = self.make_config(
            {
                "no": {"field_path": "color", "is_record_identifier": True},
                "name": "name",
            }
        )
        self.partners.search([]).color = 0
        rows = [{"no": 9001, "name": "a"}, {"no": "09001", "name": "b"}]
        results = self.write_rows(config, rows)
        self.assertEqual([r.status for r in results], ["created", "updated"])

    def test_scripts_of_a_row_that_fails_leave_nothing_behind(self):
        self.runner = self.env
        config = self.make_contacts(
            {
                "note": script(
                    "env['res.partner.category'].create("
                    "{'name': 'by ' + request_data['ref']})",
                    mode="execute",
                ),
                "color": "color",
            }
        )
        rows = [
            {"ref": "1", "name": "1", "color": "bad"},
            {"ref": "2", "name": "2", "color": 2},
        ]
        self.write_rows(config, rows, partial=True)
        tags = self.env["res.partner.category"].search([("name", "=like", "by %")])
        self.assertEqual(tags.mapped("name"), ["by 2"])

    def test_a_serialization_failure_is_not_a_rows_error(self):
        config = self.make_contacts({})
        rows = [{"ref": "1", "name": "1"}, {"ref": "2", "name": "2"}]
        for sent in (rows, rows[:1]):
            with (
                patch.object(
                    self.registry["res.partner"],
                    "create",
                    side_effect=SerializationFailure(),
                ),
                self.assertRaises(SerializationFailure),
                self.env.cr.savepoint(),
            ):
                self.write_rows(config, sent, partial=True)

    def test_an_array_of_one_row_is_answered_like_an_array(self):
        config = self.make_contacts({})
        self.save(config, {"ref": "A", "name": "A"})
        row = [{"ref": "A", "name": "B"}]
        with self.assertRaises(Conflict):
            self.write_rows(config, row, operation="create")
        with self.assertRaises(PayloadError) as caught:
            self.write_rows(config, row, operation="create", bulk=True)
        self.assertEqual(caught.exception.errors[0]["index"], 0)

    def test_a_single_row_lets_the_error_of_odoo_through(self):
        config = self.make_contacts({"parent": "parent_id"})
        partner = self.save(config, {"ref": "A", "name": "A"})
        with self.assertRaisesRegex(ValidationError, "recursive"):
            self.write_rows(config, {"ref": "A", "parent": partner.id})


class TestScripts(WriterCase):
    def test_evaluate_gives_the_value_and_execute_what_result_is(self):
        tag = self.env["res.partner.category"].create({"name": "T"})
        ukraine = self.env.ref("base.ua")
        for field, source, mode, expected in [
            ("city", "request_data['ref'] + '!'", "evaluate", "A!"),
            ("city", "result = request_data['ref'] * 2", "execute", "AA"),
            ("city", "x = 1", "execute", False),
            ("city", "None", "evaluate", False),
            ("color", "'7'", "evaluate", 7),
            ("is_company", "1", "evaluate", True),
            ("country_id", "env.ref('base.ua')", "evaluate", ukraine),
            ("country_id", "env.ref('base.ua').id", "evaluate", ukraine),
            ("country_id", "model.country_id", "evaluate", ukraine.browse()),
            ("category_id", "env['res.partner.category'].browse(TAG)", "evaluate", tag),
            ("category_id", "[TAG]", "evaluate", tag),
            ("category_id", "[(4, TAG)]", "evaluate", tag),
            ("category_id", "(6, 0, [TAG])", "evaluate", tag),
            ("category_id", "[Command.link(TAG)]", "evaluate", tag),
            ("category_id", "Command.set([TAG])", "evaluate", tag),
            (
                "category_id",
                "[env['res.partner.category'].browse(TAG)]",
                "evaluate",
                tag,
            ),
            ("category_id", "[]", "evaluate", tag.browse()),
        ]:
            with self.subTest(field=field, source=source):
                line = script(source.replace("TAG", str(tag.id)), field, mode)
                config = self.make_contacts({"x": line})
                partner = self.save(config, {"ref": "A", "name": "A"})
                self.assertEqual(partner[field], expected)
                partner.unlink()

    def test_lists_of_new_lines_are_created(self):
        for source in (
            "[Command.create({'acc_number': n}) for n in request_data['numbers']]",
            "[(0, 0, {'acc_number': n}) for n in request_data['numbers']]",
            "[{'acc_number': n} for n in request_data['numbers']]",
        ):
            with self.subTest(source=source):
                line = script(source, "bank_ids", value_type="python_relational")
                config = self.make_contacts({"numbers": line})
                row = {"ref": "A", "name": "A", "numbers": ["1", "2"]}
                partner = self.save(config, row)
                self.assertEqual(
                    sorted(partner.bank_ids.mapped("acc_number")), ["1", "2"]
                )
                partner.unlink()

    def test_a_result_that_does_not_fit_is_refused(self):
        for field, source, text in [
            ("color", "'red'", "a whole number"),
            ("type", "'home'", "one of"),
            ("country_id", "env.user", "records of res.country, got res.users"),
            ("country_id", "{'code': 'UA'}", "an id"),
            ("category_id", "5", "records, ids or commands"),
            ("category_id", "['x']", "an id"),
            ("city", "[1]", "a text"),
        ]:
            with self.subTest(source=source):
                config = self.make_contacts({"x": script(source, field)})
                self.assertRefused(config, {"ref": "A", "name": "A"}, "x", text)

    def test_a_failing_script_names_its_line(self):
        config = self.make_contacts(
            {"x": script("a = 1\nresult = a / 0", "city", "execute"), "color": "color"}
        )
        errors = self.refuse(config, {"ref": "A", "name": "A", "color": "red"})
        self.assertEqual({error["key"] for error in errors}, {"x", "color"})
        [error] = [error for error in errors if error["key"] == "x"]
        self.assertIn("line 2", error["message"])
        self.assertIn("ZeroDivisionError", error["message"])
        line = config.line_ids.filtered(lambda line: line.api_key == "x")
        self.assertEqual(error["line_id"], line.id)

    def test_a_script_of_a_nested_line_sees_its_own_record_and_object(self):
        mapping = self.make_contacts(
            {
                "city": script(
                    "'%s %s %s' % (model.env.user.login, record.name, "
                    "request_data['city'])",
                    "city",
                )
            },
            name="Parents",
        )
        config = self.make_contacts({"company": nested("parent_id", mapping)})
        parent = self.partners.create({"name": "Parent", "ref": "P"})
        company = {"ref": "P", "city": "Lviv"}
        self.save(config, {"ref": "A", "name": "A", "company": company})
        self.assertEqual(parent.city, "mapping_user Parent Lviv")

    def test_an_update_runs_a_script_only_for_the_keys_that_it_names(self):
        source = "request_data.get('first', '?') + ' ' + request_data.get('last', '?')"
        config = self.make_config({"ref": REF, "full": script(source, "name")})
        partner = self.save(config, {"ref": "A", "first": "Ann", "last": "Bo"})
        self.assertEqual(partner.name, "Ann Bo")
        self.save(config, {"ref": "A"})
        self.assertEqual(partner.name, "Ann Bo")
        self.save(config, {"ref": "A", "last": "Cid"})
        self.assertEqual(partner.name, "? Cid")

    def test_scripts_run_with_the_rights_of_the_user(self):
        source = "env['ir.config_parameter'].get_param('database.secret')"
        config = self.make_contacts({"x": script(source, "city")})
        self.assertRefused(config, {"ref": "A", "name": "A"}, "x", "has no right")

    def test_a_script_may_change_the_row_and_each_try_begins_anew(self):
        config = self.make_contacts(
            {
                "bump": script("request_data['n'] += 1", mode="execute"),
                "n": "color",
            }
        )
        config.line_ids.filtered(lambda line: line.api_key == "bump").sequence = 0
        rows = [{"ref": str(n), "name": str(n), "n": 1} for n in range(4)]
        rows[2]["name"] = None
        with mute_logger("odoo.sql_db"):
            results = self.write_rows(config, rows, partial=True)
        kept = self.partners.browse([r.record_id for r in results if r.record_id])
        self.assertEqual(kept.mapped("color"), [2, 2, 2])


class TestRights(WriterCase):
    def test_ids_that_do_not_exist_or_are_hidden_are_refused(self):
        hidden = self.partners.create({"name": "Hidden"})
        tag = self.env["res.partner.category"].create({"name": "Seen"})
        self.env["ir.rule"].create(
            {
                "name": "hide",
                "model_id": self.env["ir.model"]._get_id("res.partner"),
                "domain_force": f"[('id', '!=', {hidden.id})]",
            }
        )
        config = self.make_contacts({"company": "parent_id", "tags": "category_id"})
        row = {"ref": "A", "name": "A"}
        self.assertRefused(
            config, {**row, "company": hidden.id}, "company", "no res.partner with id"
        )
        self.assertRefused(
            config, {**row, "tags": [tag.id, 999999999]}, "tags", "999999999"
        )
        self.assertEqual(self.save(config, {**row, "tags": tag.ids}).category_id, tag)

    def test_records_of_another_company_are_neither_found_nor_touched(self):
        other = self.env["res.company"].create({"name": "Other"})
        here = self.env.company
        self.env["ir.rule"].create(
            {
                "name": "company",
                "model_id": self.env["ir.model"]._get_id("res.partner"),
                "domain_force": "['|', ('company_id', '=', False),"
                " ('company_id', 'in', company_ids)]",
            }
        )
        theirs = self.partners.create(
            {"name": "Theirs", "ref": "P", "company_id": other.id}
        )
        mapping = self.make_contacts({})
        config = self.make_contacts(
            {"company": nested("parent_id", mapping), "owner": "company_id"}
        )
        row = {"ref": "A", "name": "A", "company": {"ref": "P", "name": "Mine now"}}
        self.assertRefused(config, row, "company", 'no res.partner with ref "P"')
        config.line_ids.filtered("mapping_config_id").create_missing = True
        partner = self.save(config, row)
        self.assertNotEqual(partner.parent_id, theirs)
        self.assertEqual(theirs.name, "Theirs")
        self.assertRefused(
            config, {"ref": "A", "owner": other.id}, "owner", "no res.company"
        )
        self.assertEqual(self.save(config, {"ref": "A", "owner": here.id}), partner)

    def test_what_the_user_may_not_do_is_forbidden(self):
        reader = new_test_user(self.env, "mapping_reader", groups="base.group_user")
        self.runner = self.env(user=reader)
        config = self.make_contacts({})
        with self.assertRaises(AccessError):
            self.write_rows(config, {"ref": "A", "name": "A"})
        results = self.write_rows(
            config,
            [{"ref": "A", "name": "A"}, {"ref": "B", "name": "B"}],
            partial=True,
        )
        self.assertEqual([result.code for result in results], [403, 403])

    def test_nested_records_are_written_with_the_users_rights(self):
        mapping = self.make_config(
            {
                "code": {"field_path": "code", "is_record_identifier": True},
                "name": "name",
            },
            "res.country",
        )
        config = self.make_contacts({"country": nested("country_id", mapping)})
        row = {"ref": "A", "name": "A", "country": {"code": "UA", "name": "X"}}
        with self.assertRaises(AccessError):
            self.write_rows(config, row)
        row["country"]["name"] = self.env.ref("base.ua").name
        self.assertTrue(self.save(config, row).country_id)

    def test_a_field_of_a_group_is_forbidden_to_others(self):
        config = self.make_config(
            {
                "login": {"field_path": "login", "is_record_identifier": True},
                "keys": "api_key_ids",
                "groups": GROUPS,
            },
            "res.users",
        )
        with self.assertRaises(AccessError):
            self.write_rows(config, {"login": "mapping_user", "groups": []})
