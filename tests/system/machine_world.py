"""Plays the rounds of the deliveries' machine on real servers.

    with World() as world:
        outcome = world.play(make_plan(12, 7))

The servers, their database and the automation rules stay; each round has records,
configurations and a receiver, and so a host, of its own.
"""

import itertools
import os
import signal
from contextlib import suppress

import psutil
from harness import Server, wait_until
from machine_plan import CONFIGS
from machine_receiver import READ_TIMEOUT, Ledger
from machine_round import Round

METHODS = {
    "create": "post",
    "save": "put",
    "delete": "delete",
    "batch": "put",
    "pair_post": "post",
    "pair_put": "put",
}
TRANSACTION = """
for what, ids, vals in env.context["steps"]:
    if what == "create":
        env["res.partner"].create(vals)
    elif what == "save":
        env["res.partner"].browse(ids).write(vals)
    elif what == "delete":
        env["res.partner"].browse(ids).unlink()
    else:
        raise UserError("This transaction is rolled back.")
"""
REPOINT = "UPDATE ir_act_server SET bj_api_config_id = %s WHERE id = %s"
LEASED = """SELECT id, attempt_count FROM bj_api_sync_delivery
            WHERE state = 'pending' AND is_claimed"""
END_LEASE = """UPDATE bj_api_sync_delivery
               SET next_attempt_date = timezone('UTC', clock_timestamp())
               WHERE state = 'pending' AND is_claimed AND id = %s
                 AND attempt_count = %s"""
CONNECTED = """SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = ANY(%s)"""


class World:
    """Two servers at most, one database, and the rules that trigger."""

    def __init__(self, tell=lambda text: None):
        self.tell = tell
        self.second = None
        self.dead = set()  # (delivery, attempt) of senders that were killed
        self.names = itertools.count(1)

    def __enter__(self):
        self.first = Server(workers=1).__enter__()
        try:
            self._make_rules()
            fields = self.first.rpc("bj.api.sync.delivery", "fields_get", [], ["type"])
            self.explains = "wait_reason" in fields
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info):
        if self.second:
            self.second.stop()
        self.first.__exit__(*exc_info)

    def play(self, plan):
        """Return the :class:`Outcome` of a round."""
        self._provide_second(plan.has_second)
        name = f"{plan.number}.{next(self.names)}"
        with Ledger(name, f"{plan.seed} {plan.number}") as ledger:
            return Round(self, plan, ledger, f"M{name}.").play()

    @property
    def servers(self):
        return [server for server in (self.first, self.second) if server]

    # -- configurations ----------------------------------------------------------------

    def _make_rules(self):
        """Make rules once: each one has all servers load their registry anew."""
        rpc = self.first.rpc
        self.action_ids = {}
        for name, config_id in self._make_configs("http://127.0.0.1:9", "none").items():
            found = rpc("bj.api.sync.config", "action_create_rule", [config_id])
            if name == "create":
                vals = {"trigger": "on_create"}
                rpc("base.automation", "write", [found["res_id"]], vals)
            (rule,) = rpc(
                "base.automation", "read", [found["res_id"]], ["action_server_ids"]
            )
            (self.action_ids[name],) = rule["action_server_ids"]
        self.transaction_id = rpc(
            "ir.actions.server",
            "create",
            {
                "name": "Several things in one transaction",
                "model_id": self.first.find("base.model_res_partner"),
                "state": "code",
                "code": TRANSACTION,
            },
        )

    def renew_configs(self, url, prefix):
        """Have the rules trigger new configurations; return {name: id}."""
        ids = self._make_configs(url, prefix)
        for name, action_id in self.action_ids.items():
            # Odoo would have every process drop its caches, which costs seconds.
            self.first.query(REPOINT, [ids[name], action_id])
        for table in ("bj_api_sync_delivery", "bj_api_sync_destination"):
            self.first.query(f"DELETE FROM {table}")
        self.dead.clear()
        return ids

    def _make_configs(self, url, prefix):
        own = f"('ref', '=like', '{prefix}%')"
        paired = f"{own}, ('ref', 'like', 'p')"
        domains = {
            "batch": f"[{own}, ('ref', 'like', 'b')]",
            "pair_post": f"[{paired}, ('barcode', '=', False)]",
            "pair_put": f"[{paired}, ('barcode', '!=', False)]",
        }
        paths = {
            "save": "/single/{ref}",
            "delete": "/single/{ref}",
            "batch": "/batch",
            "pair_post": "/pair",
            "pair_put": "/pair/{ext}",
        }
        more = {
            "batch": {"is_paginated": True, "page_size": 4},
            "pair_post": {"response_key": "id", "response_field_path": "barcode"},
        }
        model_id = self.first.find("base.model_res_partner")
        values = []
        for name in CONFIGS:
            lines = {"ref": "ref", "name": "name"}
            if name == "pair_put":
                lines["ext"] = "barcode"
            method_id = self.first.find(f"bj_api_sync.bj_http_method_{METHODS[name]}")
            values.append(
                {
                    "name": f"Machine {prefix} {name}",
                    "request_type": "out",
                    "model_id": model_id,
                    "http_method_ids": [(6, 0, [method_id])],
                    "url": url.rstrip("/") + paths.get(name, "/single"),
                    "auth_type": "none",
                    "filter_domain": domains.get(name, f"[{own}]"),
                    "connect_timeout": 1,
                    "read_timeout": READ_TIMEOUT,
                    "max_attempts": 50,
                    "line_ids": [
                        (0, 0, {"api_key": key, "field_path": path})
                        for key, path in lines.items()
                    ],
                    **more.get(name, {}),
                }
            )
        ids = self.first.rpc("bj.api.sync.config", "create", values)
        return dict(zip(CONFIGS, ids, strict=True))

    # -- servers -----------------------------------------------------------------------

    def _provide_second(self, is_wanted):
        if is_wanted and not self.second:
            self.second = Server(self.first.database).__enter__()
        elif self.second and not is_wanted:
            self.second.stop()
            self.second = None

    def kill_all(self):
        servers = self.servers
        pids = {
            pid for server in servers for pid in (server.pid, *server.worker_pids())
        }
        for server in servers:
            server.kill()
        self._bury(pids)
        for server in servers:
            server.start()
        for server in servers:
            server.wait_ready()

    def kill_senders(self):
        """Kill the processes that send, all at once; those that serve users live on.

        The first server's master stands still meanwhile, so that what is leased when
        they are gone was leased by the dead.
        """
        os.kill(self.first.pid, signal.SIGSTOP)
        try:
            pids = set(self.first.cron_pids()) - {self.first.pid}
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            if self.second:
                pids.add(self.second.pid)
                self.second.kill()
            self._bury(pids)
        finally:
            os.kill(self.first.pid, signal.SIGCONT)
        if self.second:
            self.second.start()
            self.second.wait_ready()

    def _bury(self, pids):
        """Wait until processes and their transactions are gone; keep their leases."""
        names = [f"odoo-{pid}" for pid in pids]
        wait_until(lambda: not any(map(is_alive, pids)), 30)
        wait_until(lambda: self.first.query(CONNECTED, [names]) == [(0,)], 30)
        self.dead.update(self.first.query(LEASED))

    def end_leases(self):
        for dead in self.dead:
            self.first.query(END_LEASE, dead)
        self.dead.clear()


def is_alive(pid):
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False
