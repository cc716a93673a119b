"""One round of the deliveries' machine: the steps, the quiet after them, the outcome."""

import itertools
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPException

import psycopg2
from machine_judge import Delivery, Facts, Violation, judge

QUIET_SECONDS = 80  # longer than a lease, should one be left that nobody knows of
HURRY_SECONDS = 1.0
DUE = """UPDATE bj_api_sync_delivery
         SET next_attempt_date = timezone('UTC', clock_timestamp())
         WHERE state = 'pending' AND is_claimed IS NOT TRUE
           AND next_attempt_date > timezone('UTC', clock_timestamp())
           AND config_id = ANY(%s)"""
RESUME_HOSTS = """UPDATE bj_api_sync_destination
                  SET hold_until = NULL, failures = 0, openings = 0,
                      opened_until = NULL, probing = false"""
CUT = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()"""
# What a call comes to whose server or connection was ended under it, or whose
# transaction was overtaken too often. Whether it was committed is then looked up.
UNSURE = (RuntimeError, OSError, ValueError, HTTPException)
PENDING = """SELECT id FROM bj_api_sync_delivery
             WHERE state = 'pending' AND config_id = ANY(%s)"""
UNCLAIMED = """SELECT id FROM bj_api_sync_delivery
               WHERE state = 'pending' AND is_claimed IS NOT TRUE
                 AND config_id = ANY(%s)"""
FAILED = """SELECT id FROM bj_api_sync_delivery
            WHERE state = 'failed' AND config_id = ANY(%s)"""
DELIVERIES = """SELECT id, config_id, uuid, method, COALESCE(url, ''),
                       COALESCE(payload, ''), state, attempt_count, last_status_code,
                       COALESCE(last_error, '')
                FROM bj_api_sync_delivery WHERE config_id = ANY(%s) ORDER BY id"""


@dataclass
class Outcome:
    """What a round came to."""

    plan: object
    counts: Counter
    violations: list
    evidence: str
    seconds: float

    def __str__(self):
        counts = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        return f"round {self.plan.number}: {self.seconds:.1f} s, {counts}"


class Round:
    """Does the steps of a plan, each by the method of its name."""

    def __init__(self, world, plan, ledger, prefix):
        self.world = world
        self.plan = plan
        self.ledger = ledger
        self.prefix = prefix
        self.counts = Counter(
            edits=0, requests=0, repeats=0, kills=0, overlaps=0, superseded=0
        )
        self.versions = itertools.count(1)
        self.rolled_back = set()
        self.written = {}  # ref: newest version, None if it is not sure
        self.made = set()  # refs that certainly existed
        self.threads = []
        self.killed = 0
        self.violations = []

    def play(self):
        start = time.monotonic()
        self.config_ids = self.world.renew_configs(self.ledger.url(), self.prefix)
        for step in self.plan.steps:
            self.world.tell(f"  {step}")
            getattr(self, step.name)(**step.values)
            self._look()
        for thread in self.threads:
            thread.join()
        self._check_explained()
        self._come_to_rest()
        facts = self._gather()
        self.violations += judge(facts)
        self.counts["requests"] = len(self.ledger.visits)
        self.counts["repeats"] = self.ledger.repeats
        self.counts["overlaps"] = len(self.ledger.overlaps)
        self.counts["superseded"] = sum(
            row.state == "superseded" for row in facts.deliveries
        )
        evidence = facts.tell(self.violations) if self.violations else ""
        return Outcome(
            self.plan,
            self.counts,
            self.violations,
            evidence,
            time.monotonic() - start,
        )

    # -- steps -------------------------------------------------------------------------

    def create(self, records):
        refs = [self._ref(number) for number in records]
        vals = [self._vals(ref) for ref in refs]
        self._note(vals, self._call("res.partner", "create", vals))

    def edit(self, records, times, gap):
        """Save the same in one transaction, time and again."""
        for _time in range(times):
            self._save(records)
            time.sleep(gap)

    def edit_each(self, records, times, gap):
        for _time in range(times):
            for number in records:
                self._save([number])
            time.sleep(gap)

    def mix(self, created, saved, deleted, fails):
        known = self._find()
        vals = [self._vals(self._ref(number)) for number in created]
        steps = [("create", [], vals)]
        for number in saved:
            ref = self._ref(number)
            if ref in known:
                vals = [*vals, self._vals(ref)]
                steps.append(("save", [known[ref]], {"name": vals[-1]["name"]}))
        gone = [self._ref(number) for number in deleted if self._ref(number) in known]
        steps.append(("delete", [known[ref] for ref in gone], {}))
        if fails:
            steps.append(("fail", [], {}))
            self.rolled_back.update(int(row["name"][1:]) for row in vals)
        is_done = self._call(
            "ir.actions.server",
            "run",
            [self.world.transaction_id],
            context={"steps": steps},
        )
        if not fails:
            self._note(vals, is_done)

    def delete(self, records):
        known = self._find()
        ids = [known[ref] for ref in map(self._ref, records) if ref in known]
        if ids:
            self._call("res.partner", "unlink", ids)

    def pause(self, configs):
        self._sure_call("bj.api.sync.config", "action_pause", self._ids(configs))

    def resume(self, configs):
        self._sure_call("bj.api.sync.config", "action_resume", self._ids(configs))

    def fail(self, faults):
        self.ledger.fail_next(faults)

    def wait(self, seconds):
        time.sleep(seconds)

    def hang_up(self):
        self.ledger.hang_up()

    def hurry(self):
        """Let all times that somebody waits for pass at once, those of the living aside."""
        # What is still worked on over there would otherwise be overtaken by a retry that
        # comes an hour early.
        self.ledger.wait_idle()
        self.world.end_leases()
        self.world.first.query(DUE, [self._ids()])
        self.world.first.query(RESUME_HOSTS)
        paused = self.world.first.query(
            "SELECT id FROM bj_api_sync_config WHERE id = ANY(%s) AND is_paused",
            [self._ids()],
        )
        awake = set(self._ids()) - {config_id for (config_id,) in paused}
        if awake:  # which wakes the senders
            self._sure_call("bj.api.sync.config", "action_resume", sorted(awake))

    def send_again(self):
        ids = [row_id for (row_id,) in self.world.first.query(FAILED, [self._ids()])]
        if ids:
            self._call("bj.api.sync.delivery", "action_send_again", ids)
        return len(ids)

    def cut_connections(self, records):
        saver = threading.Thread(target=self._save, args=(records,))
        saver.start()
        time.sleep(0.02)
        self.world.first.query(CUT)
        saver.join()

    def lock(self, records, seconds):
        """Hold a record for a while, as somebody's long transaction does."""
        known = self._find()
        ids = [known[ref] for ref in map(self._ref, records) if ref in known]
        thread = threading.Thread(target=self._hold, args=(ids, seconds))
        thread.start()
        self.threads.append(thread)

    def kill(self, is_whole):
        self.counts["kills"] += 1
        self.ledger.wait_busy()
        if is_whole:
            self.world.kill_all()
        else:
            self.world.kill_senders()
        self.killed = time.monotonic()

    # -- what they need ----------------------------------------------------------------

    def _ref(self, number):
        return f"{self.prefix}{number}{self.plan.kinds[number]}"

    def _vals(self, ref):
        return {"ref": ref, "name": f"v{next(self.versions)}"}

    def _ids(self, names=None):
        return [self.config_ids[name] for name in names or self.config_ids]

    def _find(self):
        """Return {ref: id} of the records that there are."""
        return dict(
            self.world.first.query(
                "SELECT ref, id FROM res_partner WHERE ref LIKE %s", [f"{self.prefix}%"]
            )
        )

    def _look(self):
        self.made.update(self._find())

    def _save(self, records):
        known = self._find()
        refs = [ref for ref in map(self._ref, records) if ref in known]
        if not refs:
            return
        vals = {"name": f"v{next(self.versions)}"}
        ids = [known[ref] for ref in refs]
        is_done = self._call("res.partner", "write", ids, vals)
        self._note([{"ref": ref, **vals} for ref in refs], is_done)

    def _note(self, rows, is_sure):
        self.counts["edits"] += len(rows)
        for row in rows:
            self.written[row["ref"]] = int(row["name"][1:]) if is_sure else None
            if is_sure:
                self.made.add(row["ref"])

    def _call(self, *args, **kwargs):
        """Call as a user, through one server after the other; return whether it is sure
        to have been done."""
        servers = self.world.servers
        server = servers[self.counts["edits"] % len(servers)]
        try:
            server.rpc(*args, **kwargs)
        except UNSURE:
            return False
        return True

    def _sure_call(self, *args):
        for _try in range(20):
            if self._call(*args):
                return
            time.sleep(0.1)
        raise AssertionError(f"{args} was refused twenty times")

    def _hold(self, ids, seconds):
        with closing(self.world.first.connect()) as connection:
            connection.autocommit = False
            with connection.cursor() as cursor:
                try:
                    cursor.execute(
                        "SELECT FROM res_partner WHERE id = ANY(%s) FOR UPDATE", [ids]
                    )
                    time.sleep(seconds)
                    connection.rollback()
                except psycopg2.Error:  # it was cut
                    return

    # -- the end -----------------------------------------------------------------------

    def _check_explained(self):
        """What waits and is not being sent says why, if it goes on to wait."""
        if not self.world.explains:
            return
        silent = self._find_unexplained()
        if silent:
            time.sleep(1.5)
            silent &= self._find_unexplained()
        self.violations += [
            Violation("unexplained", f"delivery {row_id}", "waits without a reason")
            for row_id in sorted(silent)
        ]

    def _find_unexplained(self):
        ids = [row_id for (row_id,) in self.world.first.query(UNCLAIMED, [self._ids()])]
        rows = self.world.first.rpc(
            "bj.api.sync.delivery", "search_read", [("id", "in", ids)], ["wait_reason"]
        )
        return {row["id"] for row in rows if not row["wait_reason"]}

    def _come_to_rest(self):
        """Let everything that can be sent be sent, and what was refused once more."""
        self.ledger.heal()
        self.resume(None)
        self._drain()
        if self.send_again():
            self._drain()

    def _drain(self):
        deadline = time.monotonic() + QUIET_SECONDS
        hurried = 0
        while self.world.first.query(PENDING, [self._ids()]):
            if time.monotonic() > deadline:
                text = f"something waits after {QUIET_SECONDS} s"
                self.violations.append(Violation("stuck", "-", text))
                return
            if time.monotonic() - hurried > HURRY_SECONDS:
                self.hurry()
                hurried = time.monotonic()
            time.sleep(0.1)

    def _gather(self):
        rows = self.world.first.rpc(
            "res.partner",
            "search_read",
            [("ref", "=like", f"{self.prefix}%")],
            ["ref", "name", "barcode"],
        )
        names = {config_id: name for name, config_id in self.config_ids.items()}
        return Facts(
            ledger=self.ledger,
            records={
                row["ref"]: (int(row["name"][1:]), row["barcode"]) for row in rows
            },
            made=self.made,
            written=self.written,
            rolled_back=self.rolled_back,
            killed=self.killed,
            deliveries=[
                Delivery(row_id, names[config_id], *row)
                for row_id, config_id, *row in self.world.first.query(
                    DELIVERIES, [self._ids()]
                )
            ],
        )
