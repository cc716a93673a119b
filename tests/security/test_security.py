"""Plays every attempt of the tables on servers with two workers, as in production.

BJ_ATTEMPTS=doors,h3 ./dev test --system -k Security plays those whose id begins so.
"""

import os
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from operator import attrgetter

from harness import Receiver, Server
from security.judge import Judge
from security.tables import CALLERS, USERS, list_attempts
from security.world import make_world


class SecurityCase(unittest.TestCase):
    modules = ()

    @classmethod
    def setUpClass(cls):
        plain, other = (cls.enterClassContext(Receiver()) for _side in range(2))
        both = Receiver(tls=("127.0.0.1",), is_plain_too=True)
        sides = (plain, cls.enterClassContext(both), other)
        cls.server = cls.enterClassContext(Server(workers=2))
        for name, value in (
            # Some hundred wrong credentials come from one address; guessing has its own
            # rows.
            ("max_auth_failures", "0"),
            ("script_timeout", "1"),
        ):
            cls.server.rpc(
                *("ir.config_parameter", "set_param", f"bj_api_sync.{name}", value)
            )
        start = time.monotonic()
        names = make_world(cls.server, *sides)
        print(f"\nworld: {time.monotonic() - start:.1f} s", end="", flush=True)
        cls.judge = Judge(cls.server, sides, names)
        cls.addClassCleanup(cls.judge.close)

    def play(self):
        wanted = tuple(filter(None, os.environ.get("BJ_ATTEMPTS", "").split(",")))
        rows = list_attempts(self.modules)
        chosen = [row for row in rows if row.id.startswith(wanted or "")]
        slow = [attempt for attempt in chosen if attempt.area == "slow"]
        with ThreadPoolExecutor(len(slow) + 1) as pool:
            results = [pool.submit(self.judge.judge, attempt) for attempt in slow]
            rest = [attempt for attempt in chosen if attempt not in slow]
            for area, attempts in groupby(rest, attrgetter("area")):
                start = time.monotonic()
                for attempt in attempts:
                    self.check(attempt.id, self.judge_in_window(attempt))
                print(f"\n{area}: {time.monotonic() - start:.1f} s", end="", flush=True)
            for attempt, result in zip(slow, results, strict=True):
                self.check(attempt.id, result.result())

    def judge_in_window(self, attempt):
        """Judge an attempt, once more if a window of the counters ended meanwhile."""
        minute = time.time() // 60
        wrong = self.judge.judge(attempt)
        if wrong and attempt.area == "guessing" and time.time() // 60 != minute:
            return self.judge.judge(attempt)
        return wrong

    def check(self, name, wrong):
        with self.subTest(name):
            if wrong:
                # At once: whoever looks at the log need not wait for the end.
                print("\n" + "\n".join(wrong), flush=True)
                self.fail(wrong[-1])


class TestSecurityOfUsers(SecurityCase):
    """Who has a login to Odoo, and the other side."""

    modules = USERS

    def test_every_attempt_comes_to_what_its_table_says(self):
        self.play()


class TestSecurityOfCallers(SecurityCase):
    """Who calls, with a credential or without, and who has a dump or a copy."""

    modules = CALLERS

    def test_every_attempt_comes_to_what_its_table_says(self):
        self.play()
