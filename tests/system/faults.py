"""`./dev faults`: rounds of the deliveries' machine, as many as are wanted.

Prints what is needed to do a round again: its seed and its number.
"""

import argparse
import random
import sys
import time
from collections import Counter

from harness import dev
from machine_plan import make_plan
from machine_world import World

SHOWN = 30  # violations of one round


def play(seed, numbers, goes_on=False, tells=False):
    """Play rounds until one goes wrong; return how many did.

    :param bool goes_on: after one that went wrong
    :param bool tells: each step, when it begins
    """
    start = time.monotonic()
    counts, wrong = Counter(), 0
    with World(tell=say if tells else lambda text: None) as world:
        say(f"Seed {seed}, rounds {numbers[0]} to {numbers[-1]}")
        for number in numbers:
            outcome = world.play(make_plan(number, seed))
            counts.update(outcome.counts)
            say(outcome)
            if outcome.violations:
                wrong += 1
                say(report(outcome))
                if not goes_on:
                    break
    totals = ", ".join(f"{count} {what}" for what, count in counts.items())
    say(f"{number - numbers[0] + 1} rounds of seed {seed}: {totals}")
    say(f"{wrong} went wrong in {time.monotonic() - start:.0f} s")
    return wrong


def report(outcome):
    plan = outcome.plan
    kinds = Counter(violation.kind for violation in outcome.violations)
    tally = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    lines = [str(plan), f"What is wrong: {tally}"]
    lines += [f"  {violation}" for violation in outcome.violations[:SHOWN]]
    lines += ["What happened:", outcome.evidence]
    lines += [f"Again: ./dev faults --seed {plan.seed} --round {plan.number}"]
    return "\n".join(lines)


def say(text):
    print(text, flush=True)


def main():
    parser = argparse.ArgumentParser(prog="./dev faults", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10**6)
    )
    parser.add_argument("--rounds", type=int, default=25, help="how many (25)")
    parser.add_argument("--round", type=int, help="this one alone")
    parser.add_argument("--all", action="store_true", help="go on after a violation")
    parser.add_argument("--steps", action="store_true", help="print each step")
    parser.add_argument("--series", help=argparse.SUPPRESS)
    args = parser.parse_args()
    numbers = range(args.rounds) if args.round is None else [args.round]
    try:
        return min(play(args.seed, numbers, args.all, args.steps), 1)
    finally:
        dev.end_started()


if __name__ == "__main__":
    sys.exit(main())
