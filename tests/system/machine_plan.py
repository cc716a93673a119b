"""What a round of the deliveries' machine does, made up by hypothesis.

Nothing in here talks to a server: a seed and the number of a round say all that is going
to happen, so that a round that went wrong can be done again alone.

    make_plan(seed=7, number=12).steps

Real servers are too slow, and their timing too different each time, to let hypothesis
shrink on them. It invents the story; ``machine_world`` plays it.
"""

import random
from dataclasses import dataclass, field

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

STEPS = 12
MOST_RECORDS = 14
CONFIGS = ("create", "save", "delete", "batch", "pair_post", "pair_put")
# By letters: p has its pair of configurations that create, then update; b is in batches
# as well. All of them are created, saved and deleted by single requests.
KINDS = ("s", "b", "p", "bp")
FAULTS = (
    "503",
    "429",
    "429 long",
    "500",
    "reset",
    "reset after",
    "close",
    "close after",
    "silent",
    "504 after",
)
KILL_ROUNDS = 4  # each fourth round kills
BLOCK = 4  # so many rounds in a row have the same servers, which are slow to start


@dataclass(frozen=True)
class Step:
    """One thing to be done, by the name of a method of ``machine_world.Round``."""

    name: str
    values: dict = field(default_factory=dict)

    def __str__(self):
        values = ", ".join(f"{name}={value!r}" for name, value in self.values.items())
        return f"{self.name}({values})"


@dataclass(frozen=True)
class Plan:
    seed: int
    number: int
    steps: tuple
    kinds: tuple  # of the records, in the order in which they are made
    has_second: bool  # two servers on the database

    def __str__(self):
        servers = "two servers" if self.has_second else "one server"
        steps = "\n".join(
            f"  {position:>3}. {step}" for position, step in enumerate(self.steps, 1)
        )
        return f"Round {self.number} of seed {self.seed}, {servers}:\n{steps}"


def make_plan(number, of_seed):
    """Return the plan of a round."""
    stories = []

    @seed(random.Random(f"{of_seed} {number}").getrandbits(64))
    class Told(Story):
        may_kill = number % KILL_ROUNDS == KILL_ROUNDS - 1

        def teardown(self):
            stories.append(self)

    # The first story is always the simplest one there is, which says nothing.
    run_state_machine_as_test(
        Told,
        settings=settings(
            max_examples=2,
            stateful_step_count=STEPS,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    story = stories[-1]
    block = random.Random(f"{of_seed} block {number // BLOCK}")
    return Plan(
        of_seed, number, tuple(story.steps), tuple(story.kinds), block.random() < 0.4
    )


numbers = st.lists(st.integers(0, 99), min_size=1, max_size=5, unique=True)
moments = st.sampled_from((0, 0.03, 0.1, 0.25))
kinds = st.lists(st.sampled_from(KINDS), min_size=1, max_size=4)
some_configs = st.lists(st.sampled_from(CONFIGS), min_size=1, max_size=3, unique=True)


class Story(RuleBasedStateMachine):
    """Keeps in mind which records there are and what is paused, and notes the steps.

    Records are numbers: those that a step names are taken from the ones alive.
    """

    may_kill = False

    def __init__(self):
        super().__init__()
        self.steps = []
        self.kinds = []
        self.alive = []
        self.paused = set()
        self.kills = self.backlogs = self.locks = self.cuts = 0
        self.has_failed = self.has_refused = False

    def note(self, name, **values):
        self.steps.append(Step(name, values))

    def pick(self, numbers):
        return sorted({self.alive[number % len(self.alive)] for number in numbers})

    def make(self, kinds):
        made = list(range(len(self.kinds), len(self.kinds) + len(kinds)))
        self.kinds += kinds
        self.alive += made
        return made

    @initialize(kinds=st.lists(st.sampled_from(KINDS), min_size=4, max_size=8))
    def begin(self, kinds):
        self.note("create", records=self.make(kinds))

    @precondition(lambda self: len(self.kinds) < MOST_RECORDS)
    @rule(kinds=kinds)
    def create(self, kinds):
        self.note("create", records=self.make(kinds))

    @precondition(lambda self: self.alive)
    @rule(numbers=numbers, times=st.integers(1, 4), gap=moments)
    def edit(self, numbers, times, gap):
        self.note("edit", records=self.pick(numbers), times=times, gap=gap)

    @precondition(lambda self: self.alive)
    @rule(numbers=numbers, times=st.integers(2, 6), gap=moments)
    def edit_each(self, numbers, times, gap):
        self.note("edit_each", records=self.pick(numbers), times=times, gap=gap)

    @precondition(lambda self: len(self.alive) > 3)
    @rule(numbers=numbers, kinds=kinds, is_deleted=st.booleans(), fails=st.booleans())
    def mix(self, numbers, kinds, is_deleted, fails):
        """Create, save and delete in one transaction, which may be rolled back."""
        saved = self.pick(numbers)
        created = [] if len(self.kinds) > MOST_RECORDS else list(kinds)
        deleted = saved[-1:] if is_deleted else []
        made = self.make(created)
        for number in made if fails else deleted:
            self.alive.remove(number)
        self.note("mix", created=made, saved=saved, deleted=deleted, fails=fails)

    @precondition(lambda self: len(self.alive) > 3)
    @rule(numbers=st.lists(st.integers(0, 99), min_size=1, max_size=2))
    def delete(self, numbers):
        gone = self.pick(numbers)
        self.alive = [number for number in self.alive if number not in gone]
        self.note("delete", records=gone)

    @rule(configs=some_configs)
    def pause(self, configs):
        self.paused.update(configs)
        self.note("pause", configs=configs)

    @precondition(lambda self: self.paused)
    @rule()
    def resume(self):
        self.note("resume", configs=sorted(self.paused))
        self.paused.clear()

    @precondition(lambda self: len(self.alive) > 3 and self.backlogs < 2)
    @rule(configs=some_configs, rows=st.integers(60, 220))
    def let_wait(self, configs, rows):
        """Pause, save until so many rows wait, resume: claims look at a hundred."""
        self.backlogs += 1
        self.note("pause", configs=sorted({*configs, "save"}))
        each = sum(len(self.kinds[number].strip("s")) + 1 for number in self.alive)
        times = rows // each + 1
        self.note("edit", records=sorted(self.alive), times=times, gap=0)
        self.note("resume", configs=sorted({*configs, "save", *self.paused}))
        self.paused.clear()

    @precondition(lambda self: self.alive)
    @rule(
        faults=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=8),
        numbers=numbers,
        times=st.integers(1, 3),
        gap=moments,
    )
    def fail(self, faults, numbers, times, gap):
        """Have the next requests fail, which newer saves follow."""
        self.has_failed = True
        self.note("fail", faults=faults)
        self.note("edit_each", records=self.pick(numbers), times=times, gap=gap)

    @precondition(lambda self: self.alive)
    @rule(count=st.integers(1, 3), numbers=numbers)
    def refuse(self, count, numbers):
        self.has_refused = True
        self.note("fail", faults=["422"] * count)
        self.note("edit", records=self.pick(numbers), times=1, gap=0.25)

    @precondition(lambda self: self.has_refused)
    @rule()
    def send_again(self):
        self.has_refused = False
        self.note("send_again")

    @precondition(lambda self: self.has_failed)
    @rule(seconds=st.sampled_from((0, 0.2, 0.5)), is_cut=st.booleans())
    def hurry(self, seconds, is_cut):
        """Let the waits between attempts pass; the other side may hang up before."""
        self.note("wait", seconds=seconds)
        if is_cut:
            self.note("hang_up")
        self.note("hurry")

    @precondition(lambda self: self.alive and self.cuts < 3)
    @rule(numbers=numbers)
    def cut_connections(self, numbers):
        """End what the servers have open at the database, while a save is under way."""
        self.cuts += 1
        self.note("cut_connections", records=self.pick(numbers))

    @precondition(lambda self: self.alive and self.locks < 3)
    @rule(number=st.integers(0, 99), seconds=st.sampled_from((0.3, 0.8, 1.5)))
    def lock(self, number, seconds):
        self.locks += 1
        self.note("lock", records=self.pick([number]), seconds=seconds)

    @precondition(lambda self: self.may_kill and self.kills < 2 and self.alive)
    @rule(numbers=numbers, is_whole=st.sampled_from((False, False, True)))
    def kill(self, numbers, is_whole):
        self.kills += 1
        self.has_failed = True  # what was on its way waits for its lease
        self.note("edit", records=self.pick(numbers), times=1, gap=0)
        self.note("kill", is_whole=is_whole)
