import gc
import weakref

from ..tools import collector
from .pure_case import PureCase


class Ring:
    """What only the collector can free."""

    def __init__(self):
        self.me = self


class TestPaused(PureCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(gc.enable if gc.isenabled() else gc.disable)
        gc.enable()

    def test_nothing_is_collected_inside_and_rings_are_collected_afterwards(self):
        gc.collect()
        with collector.paused():
            ring = weakref.ref(Ring())
            self.make_garbage()
            self.assertIsNotNone(ring())
        self.make_garbage()
        self.assertIsNone(ring())

    def test_collections_go_on_after_an_error(self):
        with self.assertRaises(ValueError), collector.paused():
            raise ValueError
        self.assertTrue(gc.isenabled())

    def test_only_the_outermost_block_resumes_collections(self):
        with collector.paused():
            with collector.paused():
                pass
            self.assertFalse(gc.isenabled())
        self.assertTrue(gc.isenabled())

    def test_a_pause_of_somebody_else_is_not_ended(self):
        gc.disable()
        with collector.paused():
            self.assertFalse(gc.isenabled())
        self.assertFalse(gc.isenabled())

    def make_garbage(self):
        return [[] for _number in range(gc.get_threshold()[0] * 2)]
