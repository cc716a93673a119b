from ..tools import propose
from ..tools.propose import Field
from .pure_case import PureCase

PARTNER = (
    Field("id", "ID", "integer"),
    Field("ref", "Reference", "char"),
    Field("name", "Name", "char"),
    Field("email", "Email", "char"),
    Field("phone", "Phone", "char"),
    Field("zip", "Zip", "char"),
    Field("active", "Active", "boolean"),
    Field("color", "Color Index", "integer"),
    Field("credit_limit", "Credit Limit", "float"),
    Field("country_id", "Country", "many2one", "res.country"),
    Field("state_id", "State", "many2one", "res.country.state"),
    Field("category_id", "Tags", "many2many", "res.partner.category"),
    Field("child_ids", "Contact", "one2many", "res.partner"),
    Field("message_ids", "Messages", "one2many", "mail.message"),
)


class TestKeys(PureCase):
    def test_a_field_gets_the_key_that_another_system_would_use(self):
        for field, expected in [
            (Field("name", "Name", "char"), "name"),
            (Field("country_id", "Country", "many2one"), "country"),
            (Field("tag_ids", "Tags", "many2many"), "tags"),
            (Field("category_ids", "Categories", "many2many"), "categories"),
            (Field("child_ids", "Contact", "one2many"), "children"),
            (Field("category_id", "Tags", "many2many"), "tags"),
            (Field("categ_id", "Product Category", "many2one"), "category"),
            (Field("order_line", "Order Lines", "one2many"), "order_line"),
            (Field("x_studio_level", "Level", "char"), "level"),
            (Field("x_level", "Level", "char"), "level"),
            (Field("id", "ID", "integer"), "id"),
        ]:
            with self.subTest(field=field.name):
                self.assertEqual(propose.to_key(field), expected)

    def test_any_way_to_write_a_key_gives_the_same_snake_case(self):
        for text in (
            "firstName",
            "FirstName",
            "first-name",
            "First Name",
            "first_name",
        ):
            with self.subTest(text=text):
                self.assertEqual(propose.to_snake(text), "first_name")


class TestIdentifier(PureCase):
    def test_a_reference_identifies_before_a_code_and_an_id_is_the_last_resort(self):
        code, ref = Field("code", "Code", "char"), Field("ref", "Reference", "char")
        name = Field("name", "Name", "char")
        for model, fields, expected in [
            ("x.a", (name, code, ref), "ref"),
            ("x.a", (name, code), "code"),
            ("x.a", (name,), "id"),
            ("sale.order", (name,), "name"),
            ("x.a", (Field("ref", "Ref", "many2one"),), "id"),
            ("x.a", (Field("ref", "Ref", "char", is_stored=False),), "id"),
        ]:
            with self.subTest(model=model, fields=[field.name for field in fields]):
                self.assertEqual(propose.identifier(model, fields), expected)


CATEGORY = (
    Field("id", "ID", "integer"),
    Field("name", "Name", "char"),
    Field("complete_name", "Complete Name", "char"),
    Field("parent_id", "Parent", "many2one", "product.category"),
    Field("x_number", "Number", "char"),
    Field("x_note", "Note", "text"),
    Field("x_shown", "Shown", "char", is_stored=False),
)


class TestPickIdentifier(PureCase):
    def test_a_nested_object_is_told_by_a_reference_or_a_code_before_its_name(self):
        names = ("complete_name", "name")
        for chosen, expected in [
            ({"name": "name"}, "name"),
            ({"name": "name", "complete_name": "path"}, "complete_name"),
            ({"name": "name", "id": "id"}, "id"),
            ({"name": "name", "x_number": "Code"}, "x_number"),
            ({"name": "name", "x_number": "external-id"}, "x_number"),
            ({"name": "name", "x_number": "phoneCode"}, "name"),
            ({"name": "name", "x_note": "code", "x_shown": "ref"}, "name"),
            ({"parent_id": "id"}, None),
            ({}, None),
        ]:
            with self.subTest(chosen=chosen):
                found = propose.pick_identifier("x.a", CATEGORY, chosen, names)
                self.assertEqual(found, expected)

    def test_a_number_that_is_the_name_identifies_orders_and_the_like(self):
        chosen = {"name": "order_number", "note": "note"}
        fields = [Field(name, name, "char") for name in ("name", "note")]
        fields.append(Field("client_order_ref", "Customer Reference", "char"))
        self.assertEqual(propose.pick_identifier("sale.order", fields, chosen), "name")
        chosen["client_order_ref"] = "reference"
        self.assertEqual(
            propose.pick_identifier("sale.order", fields, chosen), "client_order_ref"
        )

    def test_a_name_alone_does_not_identify_where_no_names_are_given(self):
        self.assertIsNone(propose.pick_identifier("x.a", CATEGORY, {"name": "name"}))
        self.assertEqual(
            propose.pick_identifier("x.a", PARTNER, {"name": "code", "ref": "no"}),
            "ref",
        )


class TestFind(PureCase):
    def test_a_key_finds_the_field_that_it_means(self):
        for key, value, expected in [
            ("name", "Ann", "name"),
            ("Email", "a@example.com", "email"),
            ("emailAddress", "a@example.com", "email"),
            ("contactPhone", "+380", "phone"),
            ("customer_id", "C-1", "ref"),
            ("postalCode", "01001", "zip"),
            ("country", "UA", "country_id"),
            ("country", {"code": "UA"}, "country_id"),
            ("country_id", 12, "country_id"),
            ("id", "12", "id"),
            ("region", "Kyiv", "state_id"),
            ("tags", ["vip"], "category_id"),
            ("addresses", [{"city": "Lviv"}], "child_ids"),
            ("deliveryAddresses", [{"city": "Lviv"}], "child_ids"),
            ("shippingCountry", {"code": "UA"}, "country_id"),
            ("shippingCountry", "UA", None),
            ("isActive", True, None),
            ("active", True, "active"),
            ("creditLimits", 5, "credit_limit"),
        ]:
            with self.subTest(key=key, value=value):
                found = propose.find(PARTNER, key, value)
                self.assertEqual(found and found.name, expected)

    def test_what_is_unclear_or_of_another_type_finds_nothing(self):
        for key, value in [
            ("loyaltyLevel", 3),
            ("name", ["Ann"]),
            ("active", "yes"),
            ("country", ["UA"]),
            ("message_ids", [{"id": 1}]),
            ("id", "C-1"),
            ("creditLimit", "12 USD"),
        ]:
            with self.subTest(key=key, value=value):
                self.assertIsNone(propose.find(PARTNER, key, value))


class TestMerge(PureCase):
    def test_objects_of_a_list_become_one_with_all_keys(self):
        rows = [{"a": None, "b": 1}, {"a": 2, "c": 3}]
        self.assertEqual(propose.merge_objects(rows), {"a": 2, "b": 1, "c": 3})

    def test_what_is_inside_the_objects_is_merged_as_well(self):
        rows = [
            {"lines": [], "country": {"code": "UA"}},
            {"lines": [{"sku": 1}], "country": {"name": "Ukraine"}},
            {"lines": None, "country": "UA"},
        ]
        self.assertEqual(
            propose.merge_objects(rows),
            {"lines": [{"sku": 1}], "country": {"code": "UA", "name": "Ukraine"}},
        )
