from ..tools import field_reads
from .pure_case import PureCase


class TestScripts(PureCase):
    def test_names_that_a_script_may_read_of_records_are_found(self):
        for source, expected in [
            ("record.phone", {"phone"}),
            ("record['mobile'] or record[\"phone\"]", {"mobile", "phone"}),
            ("record.parent_id.vat", {"parent_id", "vat"}),
            ("f'{record.street}, {record.zip:>5}'", {"street", "zip"}),
            ("[c.email for c in record.child_ids]", {"email", "child_ids"}),
            ("sum(records.mapped('child_ids.color'))", {"child_ids"}),
            ("record.read(['name', 'ref'])[0]", {"name", "ref"}),
            ("records.sorted('sequence desc, id')", {"sequence", "id"}),
            ("records.sorted(key='rank')", {"rank"}),
            ("records.filtered('active')", {"active"}),
            ("records.filtered(lambda one: one.is_company)", {"is_company"}),
            ("records.filtered_domain([('state', '=', 'x')])", {"state", "x"}),
            ("records.grouped('country_id')", {"country_id"}),
            (
                "a = record\nif a.x:\n    result = a.y\nelse:\n    b = a.z",
                {"x", "y", "z"},
            ),
            ("def f(one):\n    return one.deep\nresult = f(record)", {"deep"}),
            ("record.write({'comment': record.name})", {"name"}),
        ]:
            with self.subTest(source):
                found = field_reads.of_script(source)
                self.assertEqual(found & expected, expected)
                self.assertNotIn("comment", found)

    def test_keys_of_the_payload_are_no_fields(self):
        for source in (
            "request_data['phone']",
            "request_data['customer']['phone']",
            "headers['phone'] + params['phone']",
            "response_data['phone'] = 1",
            "{'phone': 1}['x']",
            "'phone'",
        ):
            with self.subTest(source):
                self.assertNotIn("phone", field_reads.of_script(source))

    def test_what_cannot_be_found_out_breaks_nothing(self):
        for source in (
            "",
            None,
            "record[name]",
            "record[f'{a}_id']",
            "records.mapped(path)",
            "records.mapped('')",
            "records.sorted(lambda one: one[0])",
            "not a script (",
            "(" * 500,
            "record.x\0y",
        ):
            with self.subTest(source):
                self.assertIsInstance(field_reads.of_script(source), frozenset)


class TestDomains(PureCase):
    def test_the_first_step_of_each_term_is_found(self):
        for domain, expected in [
            ([], set()),
            ([("state", "=", "sale")], {"state"}),
            (["|", ["a.b.c", "in", [1]], "!", ("d", "!=", False)], {"a", "d"}),
            ([("line_ids", "any", [("x", "=", 1)])], {"line_ids"}),
            ([(1, "=", 1), (0, "=", 1)], set()),
            (["&", ("a:month", "=", 1), ("b", "=", 1)], {"a:month", "b"}),
        ]:
            with self.subTest(domain=domain):
                self.assertEqual(field_reads.of_domain(domain), expected)
