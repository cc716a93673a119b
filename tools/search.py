"""Finding the bad rows among many, when a refusal does not say which they were."""

REPEATS = 3  # times that all records of a wave are tried again together with others


class Search:
    """The parts of a wave that are still to be tried, the last one first.

    Halves find one bad row among a thousand in some twenty tries. Where many are bad,
    each level of halves costs as much again as all of them. So after ``REPEATS`` times
    of that the rows that are left are tried alone, each once: whatever a caller sends
    costs no more than ``REPEATS + 2`` times what it would have cost in order.

    :param list indexes: rows of the wave
    :param weigh: function of an index: how many records that row is about
    """

    def __init__(self, indexes, weigh):
        self.parts = [list(indexes)] if indexes else []
        self._indexes = list(indexes)
        self._weigh = weigh
        self._weights = {}
        self._left = None

    def divide(self, indexes):
        """Try the halves of a part of which nobody knows what was wrong."""
        half = len(indexes) // 2
        self._push([indexes[:half], indexes[half:]])

    def repeat(self, indexes):
        """Try a part again, without the rows that were found out."""
        self._push([indexes] if indexes else [])

    def _push(self, parts):
        if self._left is None:  # most calls need no second try, so none was weighed
            self._weights = {index: self._weigh(index) for index in self._indexes}
            self._left = REPEATS * sum(self._weights.values())
        indexes = [index for part in parts for index in part]
        cost = sum(self._weights[index] for index in indexes)
        if cost > self._left:
            parts = [[index] for index in indexes]
        else:
            self._left -= cost
        self.parts += reversed(parts)
