from odoo.tests import tagged
from odoo.tools import mute_logger

from .common import ApiCase
from .mapping_common import MappingCase

INSIDE = "[('city', '=', 'Lviv')]"


def nested(field, mapping, **vals):
    return {
        "field_path": field,
        "value_type": "relational_mapping",
        "mapping_config_id": mapping.id,
        **vals,
    }


class TestMappingDomain(MappingCase):
    """What lies outside the Filter Domain of a mapping model is not there for a call."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.partners = cls.env["res.partner"]
        cls.lviv = cls.partners.create({"name": "In", "ref": "IN", "city": "Lviv"})
        cls.kyiv = cls.partners.create({"name": "Out", "ref": "OUT", "city": "Kyiv"})
        cls.by_ref = cls.make_config(
            {
                "ref": {"field_path": "ref", "is_record_identifier": True},
                "name": "name",
                "city": "city",
            },
            filter_domain=INSIDE,
        )
        cls.unnamed = cls.make_config(
            {"name": "name", "email": "email", "city": "city"}, filter_domain=INSIDE
        )

    def make_contacts(self, lines, **vals):
        known = {"ref": {"field_path": "ref", "is_record_identifier": True}}
        return self.make_config({**known, "name": "name", **lines}, **vals)

    def make_partner(self, **vals):
        return self.partners.create({"name": "Ann", "ref": "ANN", **vals})

    # -- read ------------------------------------------------------------------------

    def test_a_parent_outside_reads_null(self):
        lines = {
            "object": nested("parent_id", self.by_ref),
            "value": nested("parent_id", self.by_ref, nested_format="identifier"),
        }
        config = self.make_contacts(lines)
        ann, bob = self.make_partner(), self.make_partner(ref="BOB")
        ann.parent_id, bob.parent_id = self.kyiv, self.lviv
        for direction in ("in", "out"):
            for is_cached in (False, True):
                self.env.flush_all()
                self.env.invalidate_all()
                if is_cached:
                    (self.kyiv | self.lviv).fetch(["name", "ref", "city"])
                payloads = self.read_payloads(
                    config, ann | bob, {"object", "value"}, direction
                )
                shown = {"ref": "IN", "name": "In", "city": "Lviv"}
                self.assertEqual(
                    payloads,
                    [{"object": None, "value": None}, {"object": shown, "value": "IN"}],
                )

    def test_lists_leave_out_what_lies_outside(self):
        tag = self.make_config(
            {"name": {"field_path": "name", "is_record_identifier": True}},
            "res.partner.category",
            filter_domain="[('name', 'like', 'web')]",
        )
        config = self.make_contacts(
            {
                "people": nested("child_ids", self.unnamed),
                "tags": nested("category_id", tag, nested_format="identifier"),
            }
        )
        tags = self.env["res.partner.category"].create(
            [{"name": "web one"}, {"name": "hidden"}]
        )
        ann = self.make_partner(category_id=[(6, 0, tags.ids)])
        self.partners.create(
            [
                {"name": "a", "parent_id": ann.id, "city": "Lviv", "type": "other"},
                {"name": "b", "parent_id": ann.id, "city": "Kyiv", "type": "other"},
            ]
        )
        [payload] = self.read_payloads(config, ann, {"people", "tags"})
        self.assertEqual([person["name"] for person in payload["people"]], ["a"])
        self.assertEqual(payload["tags"], ["web one"])

    def test_the_domain_costs_no_statement_per_record(self):
        config = self.make_contacts({"parent": nested("parent_id", self.by_ref)})
        partners = self.partners.create(
            [
                {"name": "x", "parent_id": (self.lviv if n % 2 else self.kyiv).id}
                for n in range(40)
            ]
        )
        counts = []
        for number in (2, 40, 40):
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            self.read_payloads(config, partners[:number])
            counts.append(self.env.cr.sql_log_count - before)
        self.assertEqual(counts[1], counts[2])
        self.assertLessEqual(counts[1], counts[0])

    # -- one record ------------------------------------------------------------------

    def test_an_object_without_identifier_never_changes_a_parent_outside(self):
        config = self.make_contacts({"parent": nested("parent_id", self.unnamed)})
        ann = self.make_partner(parent_id=self.kyiv.id)
        row = {"ref": "ANN", "parent": {"email": "stolen@example.com"}}
        self.assertRefused(config, row, "parent")
        self.assertFalse(self.kyiv.email)
        config.line_ids.filtered("mapping_config_id").create_missing = True
        row = {"ref": "ANN", "parent": {"name": "New", "city": "Lviv"}}
        self.save(config, row)
        self.assertEqual(self.kyiv.name, "Out")
        self.assertEqual(ann.parent_id.name, "New")
        self.save(config, {"ref": "ANN", "parent": {"email": "new@example.com"}})
        self.assertEqual(ann.parent_id.mapped("name"), ["New"], "it is inside")
        self.assertEqual(ann.parent_id.email, "new@example.com")

    def test_null_as_a_get_shows_it_leaves_a_parent_outside_alone(self):
        config = self.make_contacts({"parent": nested("parent_id", self.by_ref)})
        ann = self.make_partner(parent_id=self.kyiv.id)
        result = self.write_rows(config, {"ref": "ANN", "parent": None})
        self.assertEqual((result.status, ann.parent_id), ("unchanged", self.kyiv))
        self.save(config, {"ref": "ANN", "parent": "IN"})
        self.assertEqual(ann.parent_id, self.lviv)
        self.save(config, {"ref": "ANN", "parent": None})
        self.assertFalse(ann.parent_id)

    # -- lists -----------------------------------------------------------------------

    def _make_people(self, ann):
        vals = {"parent_id": ann.id, "type": "other"}
        return self.partners.create(
            [
                {**vals, "name": "a", "ref": "A", "city": "Lviv"},
                {**vals, "name": "b", "ref": "B", "city": "Kyiv"},
            ]
        )

    def test_lines_outside_are_neither_removed_nor_changed_nor_found(self):
        for mapping in (self.by_ref, self.unnamed):
            for mode in ("replace", "merge"):
                with self.subTest(mapping=mapping.id, mode=mode):
                    ref = f"{mapping.id}{mode}"
                    ann = self.make_partner(ref=ref)
                    a, b = self._make_people(ann)
                    people = nested("child_ids", mapping, x2many_mode=mode)
                    config = self.make_contacts({"people": people})
                    item = {"ref": "B", "name": "new", "city": "Lviv"}
                    if mapping == self.unnamed:
                        del item["ref"]
                    self.save(config, {"ref": ref, "people": [item]})
                    self.assertEqual(b.parent_id, ann, "it stays")
                    self.assertRecordValues(b, [{"name": "b", "city": "Kyiv"}])
                    is_replaced = mode == "replace"
                    self.assertEqual(a.parent_id, self.partners if is_replaced else ann)
                    self.assertIn("new", ann.child_ids.mapped("name"))
                    self.save(config, {"ref": ref, "people": None})
                    self.assertEqual(ann.child_ids, b)

    def test_two_lines_on_one_list_each_own_what_lies_in_their_domain(self):
        left, right = (
            self.make_config(
                {"name": "name", "job": "function"},
                filter_domain=f"[('function', '=', '{job}')]",
            )
            for job in ("left", "right")
        )
        config = self.make_contacts(
            {
                "left": nested("child_ids", left, x2many_mode="replace"),
                "right": nested("child_ids", right, x2many_mode="replace"),
            }
        )
        row = {
            "ref": "TWO",
            "name": "Two",
            "left": [{"name": "l1", "job": "left"}],
            "right": [{"name": "r1", "job": "right"}, {"name": "r2", "job": "right"}],
        }
        two = self.save(config, row)
        self.assertEqual(sorted(two.child_ids.mapped("name")), ["l1", "r1", "r2"])
        self.save(config, {"ref": "TWO", "right": [{"name": "r3", "job": "right"}]})
        self.assertEqual(sorted(two.child_ids.mapped("name")), ["l1", "r3"])
        row["left"], row["right"] = [{"name": "l2", "job": "left"}], []
        self.save(config, row)
        self.assertEqual(two.child_ids.mapped("name"), ["l2"])
        [payload] = self.read_payloads(config, two)
        self.assertEqual(payload["left"], [{"name": "l2", "job": "left"}])
        self.assertEqual(payload["right"], [])

    def test_many2many_lists_keep_what_lies_outside(self):
        names = ("web one", "web two", "other", "shop")
        tags = {
            name: self.env["res.partner.category"].create({"name": name})
            for name in names
        }
        line = {"name": {"field_path": "name", "is_record_identifier": True}}
        web, shop = (
            self.make_config(
                line,
                "res.partner.category",
                filter_domain=f"[('name', 'like', '{name}')]",
            )
            for name in ("web", "shop")
        )
        config = self.make_contacts(
            {"web": nested("category_id", web), "shop": nested("category_id", shop)}
        )
        ann = self.make_partner(
            category_id=[(6, 0, [tags["web one"].id, tags["other"].id])]
        )
        self.save(config, {"ref": "ANN", "web": ["web two"]})
        self.assertEqual(ann.category_id, tags["web two"] | tags["other"])
        result = self.write_rows(config, {"ref": "ANN", "web": ["web two"]})
        self.assertEqual(result.status, "unchanged")
        self.save(config, {"ref": "ANN", "web": ["web one"], "shop": ["shop"]})
        wanted = tags["web one"] | tags["other"] | tags["shop"]
        self.assertEqual(ann.category_id, wanted)
        self.save(config, {"ref": "ANN", "web": [], "shop": None})
        self.assertEqual(ann.category_id, tags["other"])
        new = self.save(
            config, {"ref": "N", "name": "N", "web": ["web one"], "shop": ["shop"]}
        )
        self.assertEqual(new.category_id, tags["web one"] | tags["shop"])


@tagged("post_install", "-at_install")
class TestNestedFilters(ApiCase):
    """A filter finds what the answer shows, whyever it shows ``null``."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        partners = cls.env["res.partner"]
        mapping = cls.make_config(
            {"ref": {"field_path": "ref", "is_record_identifier": True}},
            filter_domain="[('city', '!=', 'Outside')]",
        )
        cls.config.line_ids = cls.make_lines(
            {
                "parent": {
                    "field_path": "parent_id",
                    "value_type": "relational_mapping",
                    "mapping_config_id": mapping.id,
                    "nested_format": "identifier",
                },
                "parent_city": "parent_id.city",
            }
        )
        parents = partners.create(
            [
                {"name": "Seen", "ref": "P-seen", "city": "Lviv"},
                {"name": "Hidden", "ref": "P-hidden", "city": "Secret"},
                {"name": "Out", "ref": "P-out", "city": "Outside"},
                {"name": "Blank", "city": "Odesa"},
                {"name": "Old", "ref": "P-old", "active": False, "city": "Ternopil"},
            ]
        )
        cls.env["ir.rule"].create(
            {
                "name": "hide",
                "model_id": cls.env.ref("base.model_res_partner").id,
                "domain_force": str([("id", "!=", parents[1].id)]),
            }
        )
        names = ("seen", "hidden", "out", "blank", "old", "none")
        for name, parent in zip(names, [*parents, partners], strict=True):
            # Not through the ORM, which would copy the parent's address.
            child = partners.create({"name": name, "ref": f"C-{name}", "type": "other"})
            cls.env.cr.execute(
                "UPDATE res_partner SET parent_id = %s WHERE id = %s",
                [parent.id or None, child.id],
            )
        cls.env.invalidate_all()

    def _find(self, query):
        with mute_logger("odoo.http"):
            response = self._call("GET", f"contacts?customer_id__startswith=C-&{query}")
        self.assertEqual(response.status_code, 200, response.text)
        self.assertEqual(
            int(response.headers["X-Total-Count"]), len(response.json()), query
        )
        return {row["customer_id"][2:]: row for row in response.json()}

    def test_hidden_and_outside_are_null_for_every_filter(self):
        everything = self._find("")
        shown = {name: row["parent"] for name, row in everything.items()}
        self.assertEqual(
            shown,
            {
                "seen": "P-seen",
                "hidden": None,
                "out": None,
                "blank": None,
                "old": "P-old",
                "none": None,
            },
        )
        nothing = {name for name, value in shown.items() if value is None}
        for query, expected in (
            ("parent__isnull=true", nothing),
            ("parent__isnull=false", {"seen", "old"}),
            ("parent=P-seen", {"seen"}),
            ("parent=P-hidden", set()),
            ("parent=P-out", set()),
            ("parent__like=P-", {"seen", "old"}),
            ("parent__in=P-out,P-hidden,P-old", {"old"}),
            ("parent__ne=P-seen", nothing | {"old"}),
            ("parent__ne=P-out", set(shown)),
            ("parent__nin=P-hidden,P-seen", nothing | {"old"}),
            ('domain=[["parent","=",null]]', nothing),
            ('domain=[["parent","!=",null]]', {"seen", "old"}),
            ('domain=["!",["parent","=","P-out"]]', set(shown)),
            ('domain=["!",["parent","=",null]]', {"seen", "old"}),
            ('domain=[["parent","in",["P-out",null]]]', nothing),
            ('domain=[["parent","not in",["P-seen",null]]]', {"old"}),
            ('domain=[["parent","not ilike","seen"]]', nothing | {"old"}),
            (
                'domain=["|",["parent","=","P-old"],["parent","=",null]]',
                nothing | {"old"},
            ),
        ):
            with self.subTest(query):
                self.assertEqual(set(self._find(query)), expected)

    def test_a_path_through_a_hidden_record_is_null_too(self):
        shown = {name: row["parent_city"] for name, row in self._find("").items()}
        nothing = {name for name, value in shown.items() if value is None}
        self.assertEqual(nothing, {"hidden", "none"})
        for query, expected in (
            ("parent_city__isnull=true", nothing),
            ("parent_city__isnull=false", set(shown) - nothing),
            ("parent_city=Secret", set()),
            ("parent_city__ne=Secret", set(shown)),
            ("parent_city__ne=Lviv", set(shown) - {"seen"}),
        ):
            with self.subTest(query):
                self.assertEqual(set(self._find(query)), expected)

    def test_a_walk_by_cursor_goes_through_all_of_them(self):
        target = "contacts?customer_id__startswith=C-&parent__isnull=true&limit=1"
        cursor, found = "", []
        for _page in range(10):
            response = self._call("GET", f"{target}&cursor={cursor}")
            found += [row["name"] for row in response.json()]
            cursor = response.headers.get("X-Next-Cursor")
            if not cursor:
                break
        self.assertEqual(sorted(found), ["blank", "hidden", "none", "out"])
