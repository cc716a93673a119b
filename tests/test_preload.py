from contextlib import contextmanager
from unittest.mock import patch

from odoo import SUPERUSER_ID, Command, models
from odoo.exceptions import AccessError, UserError
from odoo.sql_db import Cursor
from odoo.tests.common import new_test_user
from odoo.tools import SQL

from .mapping_common import MappingCase


class TestPreload(MappingCase):
    """What is read before Odoo reads it is what Odoo would have read."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.partners = cls.env["res.partner"]

    def test_what_the_chatter_needs_is_read_in_one_statement_and_as_it_is(self):
        user, odoobot = self.env.user, self.env["res.users"].browse(SUPERUSER_ID)
        company = self.env.company
        company.alias_domain_id = self.env["mail.alias.domain"].create(
            {"name": "chatter.example"}
        )
        expected = [user.partner_id, odoobot.partner_id, company.partner_id]
        expected.append(company.alias_domain_id)
        self.env.flush_all()
        self.env.invalidate_all()
        with self.assertQueryCount(1):
            self.env["bj.api.sync.preload"]._read_for_chatter(self.partners)
            found = [user.partner_id, odoobot.partner_id, company.partner_id]
            found.append(company.alias_domain_id)
        self.assertEqual(found, expected)

    def test_a_name_that_a_module_makes_translated_is_left_to_odoo(self):
        field = self.partners._fields["name"]
        self.env.flush_all()
        self.env.invalidate_all()
        with patch.object(field, "translate", True):
            self.env["bj.api.sync.preload"]._read_for_chatter(self.partners)
            partner = self.env.user.partner_id
            self.assertFalse(self.env.cache.contains(partner, field))
        self.env.invalidate_all(flush=False)

    def test_what_the_chatter_needs_is_not_read_for_a_model_without_one(self):
        self.env.flush_all()
        self.env.invalidate_all()
        with self.assertQueryCount(0):
            preload = self.env["bj.api.sync.preload"]
            preload._read_for_chatter(self.env["res.country"])

    def test_lists_without_lines_are_known_to_be_empty_and_others_are_read(self):
        preload = self.runner["bj.api.sync.preload"]
        names = ["alone", "login", "parent", "archived child", "late", "new child"]
        contacts = self.partners.create([{"name": name} for name in names])
        alone, login, parent, archived, late, new = contacts.with_env(self.runner)
        user = new_test_user(self.env, "preload", partner_id=login.id)
        child = self.partners.create({"name": "child", "parent_id": parent.id})
        self.partners.create(
            {"name": "gone", "parent_id": archived.id, "active": False}
        )
        self.env.flush_all()
        self.env.invalidate_all()
        late._fields["parent_id"].write(late, new.id)  # which is not flushed
        preload._note_empty_lists(contacts.with_env(self.runner))
        with self.assertQueryCount(0):
            self.assertFalse(alone.user_ids)
            self.assertFalse(alone.child_ids)
            self.assertFalse(parent.user_ids)
            self.assertFalse(login.child_ids)
        self.assertEqual(login.user_ids, user)
        self.assertEqual(parent.child_ids, child)
        self.assertFalse(archived.child_ids)
        self.assertEqual(new.child_ids, late)
        child.parent_id = alone.id
        self.assertEqual(alone.child_ids, child)

    def test_lists_are_not_looked_at_where_odoo_does_not_read_them(self):
        preload = self.env["bj.api.sync.preload"]
        country = self.env.ref("base.ua")
        with self.assertQueryCount(0):
            preload._note_empty_lists(country)
            preload._note_empty_lists(self.partners)

    def test_what_contacts_to_delete_are_asked_is_read_in_one_statement(self):
        names = ["alone", "login", "account", "late"]
        contacts = self.partners.create([{"name": name} for name in names])
        company = self.env["res.company"].create({"name": "Elsewhere"})
        alone, login, account, late = contacts
        user = new_test_user(self.env, "preload", partner_id=login.id)
        banks = self.env["res.partner.bank"].create(
            [
                {"acc_number": f"{number}", "partner_id": owner.id}
                for number, owner in enumerate([account, login])
            ]
        )
        contacts[2].company_id = company
        self.env.flush_all()
        self.env.invalidate_all()
        banks[1]._fields["partner_id"].write(banks[1], late.id)  # which is not flushed
        with self.assertQueryCount(2):  # one of them is the bank account's
            self.runner["bj.api.sync.preload"]._read_for_unlink(
                contacts.with_env(self.runner)
            )
        with self.assertQueryCount(0):
            self.assertEqual(contacts.mapped("company_id"), company)
            self.assertEqual(
                contacts.mapped("partner_share"), [True, False, True, True]
            )
            self.assertTrue(self.runner.company.active)
            self.assertEqual(self.runner.company.parent_ids, self.runner.company)
            self.assertFalse(alone.user_ids + account.user_ids + late.user_ids)
            self.assertFalse(alone.bank_ids + login.bank_ids)
        self.assertEqual(login.user_ids, user)
        self.assertEqual(account.bank_ids, banks[0])
        self.assertEqual(late.bank_ids, banks[1])

    def test_nothing_is_read_of_contacts_that_are_not_saved(self):
        partners = self.runner["res.partner"].with_context(bj_api_sync_preload=True)
        self.assertTrue(partners.has_access("unlink"))  # fills what Odoo keeps
        with self.assertQueryCount(0):
            self.assertTrue(partners.has_access("unlink"))
            self.assertTrue(partners.new({"name": "draft"}).has_access("unlink"))

    def test_messages_that_are_deleted_are_looked_through_in_one_statement(self):
        contact = self.partners.create({"name": "noted"})
        note, file, letter = (
            contact.message_post(body=f"{number}") for number in range(3)
        )
        attachment = self.env["ir.attachment"].create(
            {"name": "a", "res_model": "mail.message", "res_id": file.id}
        )
        file.attachment_ids = attachment
        letter.partner_ids = self.env.user.partner_id
        notice = self.env["mail.notification"].create(
            {
                "mail_message_id": letter.id,
                "res_partner_id": self.env.user.partner_id.id,
            }
        )
        self.env.flush_all()
        self.env.invalidate_all()
        with self.assertQueryCount(1):
            self.env["bj.api.sync.preload"]._note_empty_lists(note + file + letter)
            self.assertFalse(note.attachment_ids + letter.attachment_ids)
            self.assertFalse(note.partner_ids + file.partner_ids)
            self.assertFalse(note.notification_ids + file.notification_ids)
        self.assertEqual(file.attachment_ids, attachment)
        self.assertEqual(letter.partner_ids, self.env.user.partner_id)
        self.assertEqual(letter.notification_ids, notice)
        self.delete(self.make_contacts(), contact)
        self.assertFalse((note + file + letter).exists())
        self.assertFalse(attachment.exists())

    def test_a_contact_is_deleted_without_reading_all_of_it(self):
        config = self.make_contacts()
        contacts = self.partners.create([{"name": "A"}, {"name": "B"}])
        self.delete(config, contacts[0])  # fills what Odoo keeps between calls
        self.env.flush_all()
        self.env.invalidate_all()
        with self.spy() as seen:
            self.delete(config, contacts[1])
        self.assertFalse(contacts.exists())
        spared = ('"email_normalized"', '"report_header"', 'SELECT "res_partner_bank"')
        self.assertFalse(
            [text for text in seen if any(part in text for part in spared)]
        )

    def test_a_rule_on_deletion_is_obeyed_whatever_it_looks_at(self):
        config = self.make_contacts()
        domains = {
            "share": [("partner_share", "=", False)],
            "company": [("company_id", "!=", False)],
            "name": [("name", "=", "other")],
            "login": [("user_ids", "!=", False)],
        }
        for name, domain in domains.items():
            with self.subTest(name=name):
                contact = self.partners.create({"name": name})
                rule = self.env["ir.rule"].create(
                    {
                        "name": name,
                        "model_id": self.env["ir.model"]._get_id("res.partner"),
                        "domain_force": repr(domain),
                        "perm_read": False,
                        "perm_write": False,
                        "perm_create": False,
                    }
                )
                with self.assertRaises(AccessError), self.env.cr.savepoint():
                    self.delete(config, contact)
                rule.active = False
                self.assertTrue(contact.exists())
                self.delete(config, contact)
                self.assertFalse(contact.exists())

    def test_a_contact_with_a_login_is_not_deleted(self):
        contact = self.partners.create({"name": "login"})
        new_test_user(self.env, "preload", partner_id=contact.id)
        with self.assertRaises(UserError), self.env.cr.savepoint():
            self.delete(self.make_contacts(), contact)
        self.assertTrue(contact.exists())

    def test_contacts_that_change_differently_are_looked_up_together(self):
        config = self.make_contacts("street")
        counts = {}
        for size in (3, 5, 25):  # the first fills caches
            rows = [{"ref": f"{size}-{n}", "name": f"{n}"} for n in range(size)]
            self.write_rows(config, rows)
            owners = self.partners.search([("ref", "=like", f"{size}-%")])
            child, *_others = self.partners.create(
                [
                    {
                        "name": "child",
                        "parent_id": owner.id,
                        "active": owner.name == "0",  # so that it is read, in vain
                    }
                    for owner in owners.sorted("ref")
                ]
            )
            self.env.flush_all()
            self.env.invalidate_all()
            rows = [{**row, "street": f"{n} Street"} for n, row in enumerate(rows)]
            counts[size] = self.count_lookups(config, rows)
            self.assertEqual(child.street, "0 Street")  # Odoo hands addresses down
        self.assertEqual(counts[5], counts[25])

    def count_lookups(self, config, rows):
        """Write ``rows`` and return how many statements read contacts or users."""
        with self.spy() as seen:
            self.write_rows(config, rows)
        return sum(
            'FROM "res_partner"' in text or 'FROM "res_users"' in text for text in seen
        )

    def make_contacts(self, *names, **vals):
        """Return a configuration of contacts that are known by ``ref``."""
        ref = {"field_path": "ref", "is_record_identifier": True}
        names = {name: name for name in ("name", *names)}
        return self.make_config({"ref": ref, **names}, **vals)

    def delete(self, config, contacts):
        self.runner["bj.api.sync.inbound"]._delete(
            config, contacts.with_env(self.runner)
        )

    @contextmanager
    def spy(self):
        """Gather the SQL of the statements that run meanwhile."""
        seen = []

        def note(cursor, query, *args, execute=Cursor.execute, **options):
            seen.append(query.code if isinstance(query, SQL) else query)
            return execute(cursor, query, *args, **options)

        with patch.object(Cursor, "execute", note):
            yield seen


class TestJoin(MappingCase):
    """What a single record refers to is read with it, if that changes nothing else."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ukraine, cls.germany = cls.env.ref("base.ua"), cls.env.ref("base.de")
        cls.contact = cls.env["res.partner"].create(
            {"name": "Ann", "ref": "J", "country_id": cls.ukraine.id}
        )
        country = cls.make_config(
            {"code": {"field_path": "code", "is_record_identifier": True}},
            "res.country",
        )
        nested = {
            "field_path": "country_id",
            "value_type": "relational_mapping",
            "mapping_config_id": country.id,
        }
        cls.config = cls.make_config(
            {
                "name": "name",
                "number": "id",
                "code": "country_id.code",
                "land": "country_id.name",
                "industry": "industry_id.name",
                "country": nested,
                "identifier": {**nested, "nested_format": "identifier"},
            }
        )
        cls.payload = {
            "name": "Ann",
            "number": cls.contact.id,
            "code": "UA",
            "land": "Ukraine",
            "industry": None,
            "country": {"code": "UA"},
            "identifier": "UA",
        }

    def find(self, config=None, ref="J"):
        """Return the payloads of what a search finds, as GET does of one record."""
        config = config or self.config
        plan, call = self.plan(config), self.make_call(config)
        reader = self.runner["bj.api.sync.reader"]
        records = self.runner["bj.api.sync.preload"]._search_few(
            self.runner["res.partner"],
            [("ref", "=", ref)],
            reader._get_field_paths(plan, call),
            limit=1,
        )
        return reader._read_payloads(plan, records, call, is_fetched=True)

    def empty_cache(self):
        self.env.flush_all()
        self.env.invalidate_all()

    def test_a_record_and_what_it_refers_to_are_one_statement(self):
        self.assertEqual(self.find(), [self.payload])  # fills what Odoo keeps
        self.empty_cache()
        self.env.company.fetch(["parent_path", "active"])  # as the gate has it
        with self.assertQueryCount(1):
            self.assertEqual(self.find(), [self.payload])
        self.assertEqual(self.find(ref="nobody"), [])

    def test_the_language_of_the_call_is_joined(self):
        self.env["res.lang"]._activate_lang("fr_FR")
        self.ukraine.with_context(lang="fr_FR").name = "L'Ukraine"
        self.assertEqual(self.find(), [self.payload])
        self.runner = self.runner(context={"lang": "fr_FR"})
        self.assertEqual(self.find(), [{**self.payload, "land": "L'Ukraine"}])

    def test_a_mapping_with_a_list_is_read_as_ever(self):
        config = self.make_config({"land": "country_id.name", "tags": "category_id"})
        self.assertEqual(self.find(config), [{"land": "Ukraine", "tags": []}])

    def test_a_value_of_each_company_is_left_to_odoo(self):
        self.contact.barcode = "B1"  # whose column has every company
        config = self.make_config({"land": "country_id.name", "barcode": "barcode"})
        self.assertEqual(self.find(config), [{"land": "Ukraine", "barcode": "B1"}])
        preload, partners = self.runner["bj.api.sync.preload"], self.contact
        self.assertTrue(preload._are_columns(partners, ["country_id"]))
        self.assertFalse(preload._are_columns(partners, ["country_id", "barcode"]))

    def test_what_is_not_saved_yet_is_not_overwritten(self):
        self.find()
        self.empty_cache()
        fields = self.contact._fields
        fields["name"].write(self.contact, "Anna")
        fields["country_id"].write(self.contact, self.germany.id)
        self.germany._fields["code"].write(self.germany, "DX")
        [payload] = self.find()
        self.assertEqual(
            [payload[key] for key in ("name", "code", "land", "identifier")],
            ["Anna", "DX", "Germany", "DX"],
        )

    def test_a_rule_hides_what_could_be_joined(self):
        self.assertEqual(self.find(), [self.payload])
        self.env["ir.rule"].create(
            {
                "name": "hide",
                "model_id": self.env["ir.model"]._get_id("res.country"),
                "domain_force": "[('code', '!=', 'UA')]",
            }
        )
        hidden = dict.fromkeys(("code", "land", "country", "identifier"))
        self.assertEqual(self.find(), [{**self.payload, **hidden}])

    def test_what_one_user_may_see_all_of_is_not_joined_for_another_one(self):
        other = new_test_user(self.env, "joined", "base.group_erp_manager")
        self.env["ir.rule"].create(
            {
                "name": "hide",
                "model_id": self.env["ir.model"]._get_id("res.country"),
                "domain_force": "[('code', '!=', 'UA')]",
                "groups": [Command.link(self.env.ref("base.group_erp_manager").id)],
            }
        )
        self.assertEqual(self.find(), [self.payload])
        self.runner = self.runner(user=other)
        hidden = dict.fromkeys(("code", "land", "country", "identifier"))
        self.assertEqual(self.find(), [{**self.payload, **hidden}])

    def test_a_model_that_searches_in_its_own_way_is_asked(self):
        search = models.BaseModel._search

        def skip(model, domain, *args, **options):
            return search(model, [*domain, ("code", "!=", "UA")], *args, **options)

        self.registry.clear_cache()  # an installed module begins with an empty one
        self.addCleanup(self.registry.clear_cache)
        with patch.object(self.registry["res.country"], "_search", skip):
            [payload] = self.find()
        self.assertEqual((payload["name"], payload["land"]), ("Ann", None))

    def test_a_field_of_a_group_or_a_model_without_access_is_refused(self):
        code = self.ukraine._fields["code"]
        is_secret = patch.object(code, "groups", "base.group_system")
        self.registry.clear_cache()  # a restarted server begins with an empty one
        with is_secret, self.assertRaises(AccessError):
            self.find()
        self.registry.clear_cache()
        self.assertEqual(self.find(), [self.payload])
        self.env["ir.model.access"].search(
            [("model_id.model", "=", "res.country")]
        ).active = False
        with self.assertRaises(AccessError):
            self.find()
