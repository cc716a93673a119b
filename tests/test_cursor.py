import itertools
import random
from datetime import date, datetime

from ..exceptions import BadRequest
from ..tools import cursor
from ..tools.query import OrderTerm
from .pure_case import PureCase

MOMENT = datetime(2025, 1, 31, 10, 0)


class TestCursor(PureCase):
    def test_values_come_back_with_their_types(self):
        values = [
            None, True, 5, 1.1, "ї", MOMENT, MOMENT.replace(microsecond=1),
            date(2025, 1, 31),
        ]  # fmt: skip
        text = cursor.encode_cursor(values, "name, id", "abc", b"key")
        self.assertRegex(text, r"^[A-Za-z0-9_-]+$")
        back = cursor.decode_cursor(text, "name, id", "abc", b"key")
        self.assertEqual(back, values)
        self.assertEqual([type(value) for value in back], [type(v) for v in values])

    def test_an_altered_or_foreign_cursor_is_refused(self):
        text = cursor.encode_cursor([1], "id", "abc", b"key")
        for altered, order, digest, key in [
            (text, "name, id", "abc", b"key"),
            (text, "id", "other", b"key"),
            (text, "id", "abc", b"another"),
            (text + "=", "id", "abc", b"key"),
            (text + "A", "id", "abc", b"key"),
            (text[:-1], "id", "abc", b"key"),
            ("", "id", "abc", b"key"),
            ("ї", "id", "abc", b"key"),
            ("A" * 10**6, "id", "abc", b"key"),
            *(
                (text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :],
                 "id", "abc", b"key")
                for at in range(len(text))
            ),
        ]:  # fmt: skip
            with (
                self.subTest(altered=altered[:80], order=order, key=key),
                self.assertRaisesRegex(BadRequest, "cursor"),
            ):
                cursor.decode_cursor(altered, order, digest, key)

    def test_the_digest_tells_filters_apart(self):
        self.assertEqual(cursor.digest([("a", "=", 1)]), cursor.digest([("a", "=", 1)]))
        self.assertNotEqual(
            cursor.digest([("a", "=", 1)]), cursor.digest([("a", "=", "1")])
        )


COLUMNS = {
    "char": [None, "", "a", "b"],
    "integer": [None, -1, 0, 1],
    "float": [None, -0.5, 0.0, 0.5],
    "boolean": [None, False, True],
    "selection": [None, "a", "b"],
    "date": [None, date(2025, 1, 1), date(2025, 1, 2)],
    "datetime": [None, MOMENT, MOMENT.replace(microsecond=5)],
}


class TestCursorDomain(PureCase):
    """Walks over small tables, against a table sorted as PostgreSQL sorts."""

    def walk(self, rows, terms, size):
        """Return the ids seen page by page, each page found by the domain alone."""
        rows = sort(rows, terms)
        seen, values = [], None
        while len(seen) <= len(rows):
            domain = cursor.cursor_domain(terms, values) if values else []
            page = [row for row in rows if holds(domain, row, terms)][:size]
            if not page:
                break
            seen += [row["id"] for row in page]
            values = [page[-1][term.field] for term in terms]
        return seen

    def test_a_walk_sees_every_row_once_whatever_the_columns(self):
        columns = [
            (field_type, descending)
            for field_type in COLUMNS
            for descending in (False, True)
        ]
        draw = random.Random(5)
        for (type_a, desc_a), (type_b, desc_b) in itertools.product(columns, columns):
            desc_id = draw.random() < 0.5
            terms = (
                OrderTerm("a", desc_a, type_a),
                OrderTerm("b", desc_b, type_b),
                OrderTerm("id", desc_id, nullable=False),
            )
            rows = [
                {"a": a, "b": b}
                for a in COLUMNS[type_a]
                for b in COLUMNS[type_b]
                for _twin in range(2)
            ]
            draw.shuffle(rows)
            for number, row in enumerate(rows, 1):
                row["id"] = number
            with self.subTest(terms=list(map(str, terms)), types=(type_a, type_b)):
                self.assertEqual(
                    self.walk(rows, terms, 3), [row["id"] for row in sort(rows, terms)]
                )

    def test_a_column_without_nulls_needs_no_words_about_them(self):
        self.assertEqual(
            cursor.cursor_domain((OrderTerm("id", nullable=False),), [5]),
            [("id", ">", 5)],
        )
        self.assertEqual(
            cursor.cursor_domain(
                (OrderTerm("n", True, "char", False), OrderTerm("id", nullable=False)),
                ["x", 5],
            ),
            ["|", ("n", "<", "x"), "&", ("n", "=", "x"), ("id", ">", 5)],
        )

    def test_false_means_null_as_the_orm_reads_it(self):
        terms = (OrderTerm("a", False, "char"), OrderTerm("id", nullable=False))
        self.assertEqual(
            cursor.cursor_domain(terms, [False, 5]),
            cursor.cursor_domain(terms, [None, 5]),
        )


def sort(rows, terms):
    """Sort as PostgreSQL does, NULL above all; the ORM has NULL booleans sort as false."""

    def key(value, field_type):
        if field_type == "boolean":
            return (bool(value),)
        return (1,) if value is None else (0, value)

    rows = list(rows)
    for term in reversed(terms):
        keys = {row["id"]: key(row[term.field], term.field_type) for row in rows}
        rows.sort(key=lambda row, keys=keys: keys[row["id"]], reverse=term.descending)
    return rows


def holds(domain, row, terms):
    """Evaluate a domain as the ORM's SQL does, its ways with NULL included."""
    types = {term.field: term.field_type for term in terms}
    stack = []
    for item in reversed(domain):
        if item == "&":
            stack.append(stack.pop() & stack.pop())
        elif item == "|":
            stack.append(stack.pop() | stack.pop())
        else:
            stack.append(term_holds(item, row[item[0]], types[item[0]]))
    return all(stack)


def term_holds(term, value, field_type):
    name, operator, wanted = term
    number = field_type in ("integer", "float") and name != "id"
    if operator == "like":
        return value is not None
    if operator == "not like":
        return value is None
    if field_type == "boolean":
        assert operator == "="
        return bool(value) == wanted
    if wanted is False:
        wanted = 0 if number else "" if field_type == "char" else None
    if operator == "=":
        return value == wanted or (value is None and not wanted)
    if operator == "!=":
        assert wanted is None
        return value is not None
    if value is None:
        return number and (wanted < 0 if operator == ">" else wanted > 0)
    return value > wanted if operator == ">" else value < wanted
