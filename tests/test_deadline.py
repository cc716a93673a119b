import os
import signal
import threading
import time
from contextlib import suppress

from ..tools import deadline
from .pure_case import PureCase

SECONDS = 0.03  # of what must be stopped
LONG = 60  # of what must not: a busy machine may leave a thread aside for a while


def loop():
    while True:
        pass


def loop_that_catches():
    while True:
        try:
            sum(range(1000))
            raise ValueError
        except Exception:
            continue


def loop_that_swallows_once():
    try:
        loop()
    except BaseException:
        loop()


class TestRun(PureCase):
    def setUp(self):
        super().setUp()
        self.change("TICK", 0.005)
        self.change("REPEAT", 0.02)

    def change(self, name, value):
        self.addCleanup(setattr, deadline, name, getattr(deadline, name))
        setattr(deadline, name, value)

    def assertEnds(self, function, **kwargs):
        begin = time.monotonic()
        with self.assertRaises(deadline.DeadlineExceeded):
            deadline.run(function, SECONDS, **kwargs)
        self.assertLess(time.monotonic() - begin, LONG)
        self.assertFalse(deadline._watchdog.ends)

    def test_a_value_and_an_exception_pass(self):
        for evented in (False, True):
            self.assertEqual(deadline.run(lambda: 5, LONG, evented=evented), 5)
            with self.assertRaises(ZeroDivisionError):
                deadline.run(lambda: 1 / 0, LONG, evented=evented)
            self.assertFalse(deadline._watchdog.ends)

    def test_a_loop_ends_however_it_catches(self):
        for function in (loop, loop_that_catches, loop_that_swallows_once):
            with self.subTest(function.__name__):
                self.assertEnds(function)

    def test_a_loop_ends_in_the_evented_server(self):
        for function in (loop, loop_that_catches):
            with self.subTest(function.__name__):
                self.assertEnds(function, evented=True)

    def test_a_loop_ends_in_other_threads_and_each_has_its_own_clock(self):
        ended = []

        def work(function, seconds):
            try:
                deadline.run(function, seconds)
            except deadline.DeadlineExceeded:
                ended.append(seconds)

        threads = [
            threading.Thread(target=work, args=args)
            for args in [
                (loop, 0.03),
                (loop, 0.06),
                (lambda: time.sleep(2 * SECONDS), LONG),
            ]
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
        self.assertEqual(sorted(ended), [0.03, 0.06])

    def test_nothing_is_raised_after_the_end(self):
        # Ends race the watchdog on purpose: a late exception would leave run() or hit
        # the assertions below. Who wins is up to the machine, but for the last one.
        for step in range(20):
            with suppress(deadline.DeadlineExceeded):
                deadline.run(lambda step=step: self.spin(0.002 + step / 2000), 0.005)
            self.spin(0.001)
            self.assertFalse(deadline._watchdog.raised)
        with self.assertRaises(deadline.DeadlineExceeded):
            deadline.run(lambda: self.spin(LONG), 0.005)
        self.spin(deadline.REPEAT + 2 * deadline.TICK)
        self.assertFalse(deadline._watchdog.raised)

    def spin(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass

    def test_inside_another_run_the_outer_deadline_holds(self):
        def outer():
            try:
                deadline.run(loop, LONG)
            except Exception:
                self.fail("the inner run must let it pass")

        self.assertEnds(outer)

    def test_the_clock_stands_still_while_paused(self):
        ends, ident = deadline._watchdog.ends, threading.get_ident()

        def send():
            end = ends[ident]
            with deadline.paused():
                self.assertEqual(ends[ident], float("inf"))
                time.sleep(SECONDS)
            self.assertGreaterEqual(ends[ident], end + SECONDS)
            return "sent"

        self.assertEqual(deadline.run(send, LONG), "sent")
        with deadline.paused():
            self.assertFalse(deadline._watchdog.ends)

        def send_and_loop():
            with deadline.paused():
                time.sleep(2 * SECONDS)
            loop()

        self.assertEnds(send_and_loop)

    def test_a_forked_process_has_a_watchdog_of_its_own(self):
        deadline.run(lambda: None, LONG)  # the parent's thread is running
        child = os.fork()
        if not child:
            signal.alarm(LONG)  # ends the loop if the watchdog does not
            try:
                deadline.run(loop, SECONDS)
            except deadline.DeadlineExceeded:
                os._exit(7)
            os._exit(1)
        _pid, status = os.waitpid(child, 0)
        self.assertEqual(os.waitstatus_to_exitcode(status), 7)

    def test_runs_that_follow_one_another_share_a_thread(self):
        self.change("IDLE_TICKS", 10**6)  # however slow it is between two runs
        deadline.run(lambda: None, LONG)
        thread = deadline._watchdog.thread
        for _ in range(1000):
            deadline.run(lambda: None, LONG)
        self.assertIs(deadline._watchdog.thread, thread)

    def test_the_thread_ends_when_there_is_nothing_to_watch(self):
        self.change("IDLE_TICKS", 2)
        watchdog = deadline._Watchdog()
        watchdog.start(threading.get_ident(), LONG)
        thread = watchdog.thread
        watchdog.stop(threading.get_ident())
        thread.join(LONG)
        self.assertFalse(thread.is_alive())
        self.assertIsNone(watchdog.thread)
