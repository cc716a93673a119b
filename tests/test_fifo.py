from ..tools.fifo import Waiting, choose
from .pure_case import PureCase

PUT, POST = (1, "PUT"), (2, "POST")


def rows(*specs):
    """Return ``Waiting`` of ``(group, records, flags)``, numbered from 1."""
    return [
        Waiting(
            number,
            group,
            frozenset(records),
            is_due="late" not in flags,
            in_flight="flying" in flags,
            is_kept="kept" in flags,
        )
        for number, (group, records, flags) in enumerate(specs, 1)
    ]


class TestChoose(PureCase):
    def test_who_goes_and_whom_it_replaces(self):
        for name, specs, expected in [
            ("nothing", [], {}),
            ("strangers", [(PUT, "a", ""), (PUT, "b", "")], {1: set(), 2: set()}),
            ("the newest of a group", [(PUT, "a", "")] * 3, {3: {1, 2}}),
            ("one that waits is replaced", [(PUT, "a", "late"), (PUT, "a", "")], {2: {1}}),
            ("another group goes first", [(POST, "a", ""), (PUT, "a", "")], {1: set()}),
            ("and is waited for", [(POST, "a", "late"), (PUT, "a", "")], {}),
            ("on its way", [(PUT, "a", "late flying"), (PUT, "a", "")], {}),
            ("a newer one on its way", [(PUT, "a", ""), (POST, "a", "flying")], {}),
            ("of a batch on its way", [(PUT, "a", ""), (PUT, "ab", "flying")], {}),
            ("on its way elsewhere", [(PUT, "a", ""), (PUT, "b", "flying")], {1: set()}),
            ("one that is kept goes first", [(POST, "a", "kept"), (POST, "a", "")],
             {1: set()}),
            ("and nothing passes it", [(POST, "a", "kept late"), (POST, "a", "")], {}),
            ("nor a batch", [(POST, "a", "kept late"), (POST, "ab", "")], {}),
            ("it replaces older ones", [(POST, "a", ""), (POST, "a", "kept")], {2: {1}}),
            ("between", [(PUT, "a", ""), (POST, "a", ""), (PUT, "a", "")], {1: set()}),
            ("pulls never wait", [(PUT, "", ""), (PUT, "", "")], {1: set(), 2: set()}),
            ("a bigger batch", [(PUT, "a", ""), (PUT, "ab", "")], {2: {1}}),
            ("the same batch", [(PUT, "ab", ""), (PUT, "ab", "")], {2: {1}}),
            ("part of a batch", [(PUT, "ab", ""), (PUT, "a", "")], {1: set()}),
            ("overlap", [(PUT, "ab", ""), (PUT, "bc", ""), (PUT, "d", "")],
             {1: set(), 3: set()}),
            ("a batch over two", [(PUT, "a", ""), (PUT, "b", ""), (PUT, "ab", "")],
             {3: {1, 2}}),
            ("a batch behind a stranger", [(PUT, "a", ""), (POST, "b", ""),
             (PUT, "ab", "")], {1: set(), 2: set()}),
        ]:  # fmt: skip
            with self.subTest(name):
                self.assertEqual(choose(rows(*specs)), expected)
                self.assertEqual(choose(reversed(rows(*specs))), expected)

    def test_many_changes_of_one_record_take_no_square_of_time(self):
        chosen = choose(rows(*[(PUT, "a", "")] * 10_000))
        self.assertEqual(list(chosen), [10_000])
        self.assertEqual(len(chosen[10_000]), 9_999)
