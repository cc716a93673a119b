import random

from ..tools.search import REPEATS, Search
from .pure_case import PureCase


def find(count, bad, weights=None):
    """Play a search; return the rows found and how much was tried, first try included."""
    weights = weights or [1] * count
    search = Search(range(count), weights.__getitem__)
    good, found, tried = [], [], []
    while search.parts:
        part = search.parts.pop()
        tried.append(part)
        if not bad.intersection(part):
            good += part
        elif len(part) == 1:
            found += part
        else:
            search.divide(part)
    cost = sum(weights[index] for part in tried for index in part)
    return good, found, tried, cost


class TestSearch(PureCase):
    def test_every_row_is_judged_and_in_order(self):
        draw = random.Random(3)
        for count in (1, 2, 3, 7, 64, 200):
            for _round in range(20):
                bad = {
                    n for n in range(count) if draw.random() < draw.choice((0.02, 0.5))
                }
                good, found, _tried, _cost = find(count, bad)
                self.assertEqual(found, sorted(bad))
                self.assertEqual(good, sorted(set(range(count)) - bad))

    def test_one_bad_row_among_a_thousand_costs_some_twenty_tries(self):
        for bad in (0, 500, 777, 999):
            _good, _found, tried, cost = find(1000, {bad})
            self.assertLess(len(tried), 24)
            self.assertLess(cost, 4 * 1000)

    def test_the_worst_call_costs_a_small_factor_of_what_it_would_in_order(self):
        draw = random.Random(4)
        for count in (10, 100, 1000):
            for weights in (
                [1] * count,
                [1000] * count,
                [draw.choice((1, 1, 1, 5000)) for _n in range(count)],
            ):
                for share in (0.01, 0.1, 0.5, 1):
                    bad = {n for n in range(count) if draw.random() < share}
                    _good, _found, _tried, cost = find(count, bad, weights)
                    self.assertLessEqual(cost, (REPEATS + 2) * sum(weights))

    def test_nothing_is_weighed_until_something_goes_wrong(self):
        search = Search([0, 1], None)
        self.assertEqual(search.parts.pop(), [0, 1])
        self.assertFalse(search.parts)
        self.assertFalse(Search([], None).parts)

    def test_a_part_without_those_that_were_found_out_is_tried_again(self):
        search = Search(range(5), lambda _index: 1)
        search.parts.pop()
        search.repeat([0, 2, 4])
        self.assertEqual(search.parts, [[0, 2, 4]])
        for _time in range(20):
            search.repeat(search.parts.pop())
        self.assertEqual({len(part) for part in search.parts}, {1}, "alone by now")
