"""Deliveries are true, whatever happens: a state machine on real servers.

Hypothesis makes up rounds of saves, deletions, pauses and faults (``machine_plan``), a
server or two live through them (``machine_world``), and what the other side holds after
the quiet has to be what Odoo holds (``machine_judge``). More rounds: ``./dev faults``.
"""

import time
import unittest
from types import SimpleNamespace

from faults import report, say
from machine_judge import Delivery, Facts, judge
from machine_plan import Step, make_plan
from machine_receiver import Applied, Visit
from machine_world import World

SEED = 1
ROUNDS = 4  # the last one kills
BUDGET_SECONDS = 60  # no round begins later, on a machine that is busy


class TestDeliveriesMachine(unittest.TestCase):
    def test_every_record_has_its_newest_value_over_there_after_all_faults(self):
        with World() as world:
            start = time.monotonic()
            for number in range(ROUNDS):
                if time.monotonic() - start > BUDGET_SECONDS:
                    break
                outcome = world.play(make_plan(number, SEED))
                say(f"seed {SEED}, {outcome}")
                self.assertFalse(outcome.violations, report(outcome))


class TestMachinePlan(unittest.TestCase):
    def test_a_seed_and_a_number_always_make_the_same_round(self):
        first, again, other = (make_plan(number, 5) for number in (0, 0, 1))
        self.assertEqual(str(first), str(again))
        self.assertNotEqual(first.steps, other.steps)

    def test_a_round_is_told_as_a_list_of_steps(self):
        text = str(make_plan(2, 5))
        self.assertRegex(text, r"(?m)^Round 2 of seed 5, (one|two) servers?:$")
        self.assertRegex(text, r"(?m)^ +1\. create\(records=\[0, 1, 2, 3")

    def test_each_kind_of_step_comes_within_a_hundred_rounds(self):
        plans = [make_plan(number, 5) for number in range(100)]
        names = {step.name for plan in plans for step in plan.steps}
        wanted = "create edit edit_each mix delete pause resume fail send_again"
        wanted += " hurry wait hang_up cut_connections lock kill"
        self.assertEqual(names, set(wanted.split()))
        self.assertEqual({plan.has_second for plan in plans}, {False, True})
        self.assertEqual(str(Step("wait", {"seconds": 1})), "wait(seconds=1)")


class TestMachineJudge(unittest.TestCase):
    """It finds each kind of untruth, and nothing where there is none."""

    REF = "M0.1.0bp"

    def setUp(self):
        self.ledger = SimpleNamespace(
            applied=[],
            visits=[],
            overlaps=[],
            strangers=[],
            answers={"key": (200, b"")},
            single={self.REF: [2]},
            batch={self.REF: 2},
            pair={"7": (self.REF, 2)},
        )
        self.facts = Facts(
            ledger=self.ledger,
            records={self.REF: (2, "7")},
            made={self.REF},
            written={self.REF: 2},
            rolled_back={9},
            killed=100,
            deliveries=[],
        )
        self.apply("single", "POST", 1)
        self.apply("pair", "POST", 1)
        self.apply("single", "PUT", 2)
        self.apply("batch", "PUT", 2)
        self.apply("pair", "PUT", 2)

    def apply(self, part, method, version):
        order = len(self.ledger.applied)
        self.ledger.applied.append(
            Applied(order, part, method, self.REF, version, f"key {order}")
        )

    def deliver(self, state="delivered", key="key", status_code=200):
        self.facts.deliveries.append(
            Delivery(1, "save", key, "PUT", "", "{}", state, 1, status_code, "")
        )

    def assertFound(self, *kinds):
        self.assertEqual([violation.kind for violation in judge(self.facts)], [*kinds])

    def test_nothing_where_all_is_well(self):
        self.deliver()
        self.deliver("superseded", "unsent", None)
        self.deliver("failed", "refused", 422)
        self.assertFound()

    def test_an_old_value_over_there(self):
        self.ledger.single[self.REF] = [1]
        self.ledger.batch[self.REF] = 1
        self.ledger.pair["7"] = (self.REF, 1)
        self.assertFound("single", "batch", "pair")

    def test_two_objects_for_one_record(self):
        self.ledger.single[self.REF] = [2, 2]
        self.ledger.pair["8"] = (self.REF, 1)
        self.assertFound("single", "pair")

    def test_no_object_at_all(self):
        self.ledger.single.clear()
        self.ledger.batch.clear()
        self.ledger.pair.clear()
        self.assertFound("single", "batch", "pair")

    def test_a_number_of_another_object(self):
        self.facts.records[self.REF] = (2, "8")
        self.assertFound("pair")

    def test_an_older_version_after_a_newer_one(self):
        self.apply("single", "PUT", 1)
        self.assertFound("order")

    def test_an_update_before_the_creation_and_one_after_the_deletion(self):
        self.ledger.applied.pop(0)
        self.apply("single", "DELETE", None)
        self.apply("batch", "PUT", 2)
        self.assertFound("order", "order")

    def test_a_deleted_record_that_is_still_over_there(self):
        self.facts.records.clear()
        self.assertFound("single")

    def test_what_was_rolled_back(self):
        self.apply("single", "PUT", 9)
        self.assertFound("rolled back")

    def test_what_is_green_and_never_came_what_waits_and_what_failed(self):
        self.deliver(key="unknown")
        self.deliver("pending")
        self.deliver("failed", status_code=500)
        self.assertFound("lost", "lost", "lost")

    def test_what_was_answered_and_came_again_unless_its_sender_was_killed(self):
        for begun, key in [(99, "before"), (101, "after"), (102, "once")]:
            headers = {"idempotency-key": key}
            request = SimpleNamespace(headers=headers, method="PUT", path="/single")
            items = [(self.REF, 2)]
            visit = Visit(1, request, None, "single", items, begun, begun + 0.1)
            self.ledger.visits += [visit] * (1 if key == "once" else 2)
        self.assertFound("repeat")

    def test_two_requests_of_a_record_at_once(self):
        visit = SimpleNamespace(refs={self.REF}, key="")
        self.ledger.overlaps.append((visit, visit))
        self.assertFound("overlap")
