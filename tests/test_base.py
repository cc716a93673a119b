from odoo.tests import new_test_user, tagged

from .outbound_common import OutboundCase


@tagged("post_install", "-at_install")
class TestDuplicate(OutboundCase):
    def _make_keyed(self, field="barcode", **vals):
        return self._make_config(response_field_path=field, response_key="id", **vals)

    def test_the_value_of_an_answer_is_not_copied(self):
        partner = self._make_partner(function="7", color=5)
        self.assertEqual(partner.copy().function, "7")
        config = self._make_keyed("function")
        for is_active in (True, False):
            config.active = is_active
            copy = partner.copy()
            self.assertFalse(copy.function)
            self.assertEqual((copy.ref, copy.color), (partner.ref, 5))
        config.response_field_path = "color"
        copy = partner.copy()
        self.assertEqual((copy.function, copy.color), ("7", 0))
        config.unlink()
        self.assertEqual(partner.copy().color, 5)

    def test_what_the_caller_gives_is_kept(self):
        self._make_keyed("function")
        partner = self._make_partner(function="7")
        self.assertEqual(partner.copy({"function": "8"}).function, "8")
        (vals,) = partner.copy_data({"function": "9"})
        self.assertEqual(vals["function"], "9")

    def test_lines_that_are_copied_along_lose_it_too(self):
        config = self._make_config(
            lines={
                "source": {"value_type": "constant", "constant_value": "odoo"},
                "name": "name",
            }
        )
        self._make_config(
            model_id=self.env["ir.model"]._get_id("bj.api.sync.config.line"),
            lines={"key": "api_key"},
            response_field_path="script",
            response_key="id",
        )
        config.line_ids.write({"script": "1"})
        copy = config.copy()
        self.assertEqual(copy.line_ids.mapped("api_key"), ["source", "name"])
        self.assertFalse(any(copy.line_ids.mapped("script")))

    def test_a_record_that_is_part_of_another_one_loses_it_with_that(self):
        self._make_keyed("function")
        user = new_test_user(self.env, "bj_dup", groups="base.group_user")
        user.write({"function": "7", "city": "Lviv"})
        copy = user.copy({"login": "bj_dup_2"})
        self.assertFalse(copy.partner_id.function)
        self.assertEqual(copy.partner_id.city, "Lviv")
        self._make_config(
            model_id=self.env["ir.model"]._get_id("res.users"),
            lines={"login": "login"},
            response_field_path="city",
            response_key="id",
        )
        self.assertFalse(user.partner_id.copy().city)

    def test_only_this_model_and_only_direct_fields(self):
        self._make_keyed("parent_id.function")
        partner = self._make_partner(function="7")
        self.assertEqual(partner.copy().function, "7")
        self._make_keyed("function")
        bank = self.env["res.bank"].create({"name": "Bank", "bic": "B", "email": "e"})
        self.assertEqual(bank.copy().email, "e")

    def test_a_required_field_is_copied_all_the_same(self):
        config = self._make_config(
            model_id=self.env["ir.model"]._get_id("res.bank"),
            lines={"bic": "bic"},
            response_field_path="name",
            response_key="id",
        )
        self.assertTrue(config)
        bank = self.env["res.bank"].create({"name": "Bank"})
        self.assertIn("Bank", bank.copy().name)

    def test_translations_do_not_bring_it_back(self):
        self.env["res.lang"]._activate_lang("fr_FR")
        self._make_config(
            model_id=self.env["ir.model"]._get_id("res.country"),
            lines={"name": "name"},
            response_field_path="vat_label",
            response_key="id",
        )
        country = self.env["res.country"].create(
            {"name": "Any", "code": "X7", "vat_label": "a"}
        )
        country.with_context(lang="fr_FR").vat_label = "b"
        for given, expected in ({}, False), ({"vat_label": "c"}, "c"):
            with self.subTest(given=given):
                copy = country.copy({"name": f"O{expected}", "code": "X8", **given})
                self.env.flush_all()
                for lang in ("en_US", "fr_FR"):
                    label = copy.with_context(lang=lang).vat_label
                    self.assertEqual(label, expected)
                copy.unlink()

    def test_it_costs_no_query_once_known(self):
        self._make_keyed("function")
        partner = self._make_partner(function="7")
        partner.copy_data()
        self.env.flush_all()
        with self.assertQueryCount(0):
            partner.copy_data()
