from graphlib import CycleError
from types import SimpleNamespace

from ..tools.message import Plan, Rule
from ..tools.node import Errors, Links, Node, by_plan, layers
from .pure_case import PureCase

CODE = Rule(1, "code", ("code",), field_path="code", is_identifier=True)
NAME = Rule(2, r"names\.first", ("names.first",))
PARENT = Rule(3, "parent", ("parent",), field_type="many2one")
LINES = Rule(4, "lines", ("lines",), field_type="one2many")
PLAN = Plan(1, "Things", "x.thing", (CODE, NAME, PARENT, LINES), CODE)
OTHER = Plan(2, "Others", "x.other", ())


def link(node, other, rule=PARENT, mode="one"):
    node.links.append(Links(rule, mode, [other]))
    return node


class TestLayers(PureCase):
    def test_what_others_refer_to_comes_first_and_the_rest_together(self):
        tag = Node(PLAN, {}, 0, "tag.")
        first = link(Node(PLAN, {}, 0), tag)
        second = Node(PLAN, {}, 1)
        self.assertEqual(layers([first, second]), [[tag], [first, second]])

    def test_a_row_that_another_row_refers_to_is_saved_before_it(self):
        parent = Node(PLAN, {}, 1)
        child = link(Node(PLAN, {}, 0), parent)
        self.assertEqual(layers([child, parent]), [[parent], [child]])

    def test_what_a_line_refers_to_is_saved_before_its_parent(self):
        tag = Node(PLAN, {}, 0, "lines[0].tag.")
        line = link(Node(PLAN, {}, 0, "lines[0].", is_line=True), tag)
        row = link(Node(PLAN, {}, 0), line, LINES, "merge")
        self.assertEqual(layers([row]), [[tag], [row]])

    def test_new_records_in_a_ring_are_refused_and_present_ones_are_not(self):
        first = Node(PLAN, {}, 0)
        second = link(Node(PLAN, {}, 1), first)
        link(first, second)
        with self.assertRaises(CycleError) as caught:
            layers([first, second])
        self.assertEqual(set(caught.exception.args[1]), {first, second})
        first.record = object()
        self.assertEqual(layers([first, second]), [[second], [first]])

    def test_nodes_are_grouped_by_mapping_in_their_order(self):
        nodes = [Node(PLAN, {}, 0), Node(OTHER, {}, 0), Node(PLAN, {}, 1)]
        self.assertEqual(
            by_plan(nodes), [(PLAN, [nodes[0], nodes[2]]), (OTHER, [nodes[1]])]
        )


class TestErrors(PureCase):
    def test_an_error_says_row_key_and_line(self):
        child = Node(PLAN, {}, 3, "lines[0].", rule=LINES)
        value = Node(PLAN, {}, 3, "parent.", rule=PARENT, lookup_only=True)
        for node, rule, options, key, line_id in [
            (Node(PLAN, {}, 3), CODE, {}, "code", 1),
            (child, NAME, {}, r"lines[0].names\.first", 2),
            (child, None, {}, "lines[0]", 4),
            (child, None, {"key": "x"}, "lines[0].x", 4),
            (value, CODE, {}, "parent", 1),
            (value, NAME, {}, r"parent.names\.first", 2),
        ]:
            with self.subTest(key=key):
                errors = Errors()
                errors.add(node, rule, "wrong.", code=409, **options)
                error = {"index": 3, "key": key, "line_id": line_id}
                error["message"] = f"{key}: wrong."
                self.assertEqual(errors.by_index, {3: [(409, error)]})
                self.assertTrue(node.has_error)

    def test_every_place_that_means_the_record_has_the_error(self):
        node, twin = Node(PLAN, {}, 0, "tag."), Node(PLAN, {}, 5, "tag.")
        node.absorb(twin)
        errors = Errors()
        errors.add(node, CODE, "wrong.")
        self.assertEqual(list(errors.by_index), [0, 5])


class TestAbsorb(PureCase):
    def test_the_later_place_wins_but_the_row_itself_over_all(self):
        said, again = {"code": "A", "a": 1}, {"code": "A", "a": 2}
        nested = Node(PLAN, said, 0, "tag.")
        nested.absorb(Node(PLAN, again, 1, "tag."))
        self.assertEqual(nested.row["a"], 2)
        row = Node(PLAN, said, 0)
        row.absorb(Node(PLAN, again, 1, "tag."))
        self.assertEqual(row.row["a"], 1)

    def test_the_lines_to_remove_are_those_shown_and_not_sent(self):
        kept = Node(PLAN, {}, 0, "lines[0].", record=SimpleNamespace(id=7))
        lines = {7: "kept", 8: "gone", 9: "archived"}
        for mode, removed in [("replace", [8]), ("merge", []), ("append", [])]:
            links = Links(LINES, mode, [kept], lines, frozenset([9]))
            self.assertEqual(links.remove, removed)
