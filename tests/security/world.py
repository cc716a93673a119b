"""The world that the attempts are made in: companies, users, records, configurations.

Company A is the main one. ``B1`` belongs to company B, ``H1`` is hidden from everybody
by a global rule, ``OUT1`` and ``X1`` lie outside the Filter Domains.
"""

import secrets
from base64 import b64encode

from harness import wait_until

CONFIDENTIAL = "COMPANY-B-CONFIDENTIAL"
HIDDEN = "HIDDEN-BY-A-RULE"
OUTSIDE = "OUTSIDE-THE-DOMAIN"
PASSWORD = "admin"  # of all users, which saves a second of hashing for each
GROUPS = {
    "emp": ("base.group_user",),
    "alice": ("base.group_user", "bj_api_sync.group_bj_api_user"),
    "mgr": ("base.group_user", "bj_api_sync.group_bj_api_manager"),
    "runas": ("base.group_user", "base.group_partner_manager"),
    "runas_b": ("base.group_user", "base.group_partner_manager"),
}
# What is in nobody's answer, in no table and in no log: made anew for each world.
SECRETS = (
    *("narrow_token", "bravo_token", "gone_token"),
    *("guard_key", "plain_key", "basic_password", "out_bearer", "out_header"),
    *("out_param", "out_password", "limited_token", "scripted_token", "typed_secret"),
)
KEPT = (
    "body",
    "broken_body",
    "escaped_key",
    "query",
    "domain",
    "filter_of_a_like_name",
)
KEPT += ("header", "cookie", "proxy", "nested")
SECRETS += tuple(f"kept_{name}" for name in KEPT)
GENERATED = ("random_token", "old_token", "revoked_token")


def make_world(server, receiver, both, other):
    """Fill a server's database; return ``{name: id, token or address}``.

    :param both: the receiver that speaks TLS and plain HTTP on one port
    :param other: the one that stands for another host
    """
    world = World(server, receiver)
    world.names |= {
        "receiver": receiver.url("").rstrip("/"),
        "secure": both.url("").rstrip("/"),
        "plain": both.url("").rstrip("/").replace("https:", "http:"),
        "other_host": other.url("", host="localhost").rstrip("/"),
    }
    return world.make()


class World:
    def __init__(self, server, receiver):
        self.server = server
        self.receiver = receiver
        self.configs = {}  # those to be made, by name
        # With a letter in front, so that no number of the world is in it by chance.
        self.names = {name: f"s{secrets.token_hex(16)}" for name in SECRETS}

    def make(self):
        self._make_users()
        self._make_records()
        self._make_mappings()
        self._make_endpoints()
        self._make_guarded()
        self._make_sent()
        self._make_configs()
        self._finish_configs()
        self._make_tokens()
        self._make_traces()
        # What Odoo does by night would count as what an attempt has changed.
        self.server.query(
            """UPDATE ir_cron SET active = false WHERE id NOT IN (
                   SELECT res_id FROM ir_model_data
                   WHERE model = 'ir.cron' AND module = 'bj_api_sync')"""
        )
        return self.names

    def make_one(self, model, **vals):
        (record_id,) = self.server.rpc(model, "create", [vals])
        return record_id

    def create_named(self, model, vals_by_name, **options):
        """Make many records by one call, which is much faster than one by one."""
        ids = self.server.rpc(model, "create", list(vals_by_name.values()), **options)
        self.names |= dict(zip(vals_by_name, ids, strict=True))

    def _make_users(self):
        find, names = self.server.find, self.names
        names["company_a"] = find("base.main_company")
        names["company_b"] = self.make_one("res.company", name="Company B")
        admin = [find("base.user_admin")]
        both = {"company_ids": [(4, names["company_b"])]}
        self.server.rpc("res.users", "write", admin, both)
        fields = self.server.rpc("res.users", "fields_get", [], ["type"])
        groups = "groups_id" if "groups_id" in fields else "group_ids"
        users = {}
        for login, xml_ids in GROUPS.items():
            company = names["company_b" if login == "runas_b" else "company_a"]
            users[login] = {
                "name": login,
                "login": login,
                "company_id": company,
                "company_ids": [(6, 0, [company])],
                groups: [(6, 0, [find(xml_id) for xml_id in xml_ids])],
            }
        context = {"no_reset_password": True}
        self.create_named("res.users", users, context=context)
        self.server.query(
            """UPDATE res_users SET password = admin.password FROM res_users admin
               WHERE admin.login = 'admin' AND res_users.login IN %s""",
            [tuple(GROUPS)],
        )
        names["admin"] = find("base.user_admin")
        names["group_system"] = find("base.group_system")
        names["group_manager"] = find("bj_api_sync.group_bj_api_manager")
        names["groups"] = groups

    def _make_records(self):
        company = {"a": self.names["company_a"], "b": self.names["company_b"]}
        self.names["partner_model"] = self.server.find("base.model_res_partner")
        self.names["user_model"] = self.server.find("base.model_res_users")
        self.names["tag"] = self.make_one("res.partner.category", name="Tag")
        records = {
            ref.lower(): {
                "name": name,
                "ref": ref,
                "email": f"{ref.lower()}@example.com",
                "company_id": company[which],
                "function": "HIDDEN" if name == HIDDEN else False,
            }
            for ref, name, which in (
                *((f"A{number}", f"Own {number}", "a") for number in range(1, 6)),
                *(("E1", "Own", "a"), ("E2", "Own", "a"), ("D1", "Own", "a")),
                *(("P1", "Parent", "a"), ("X1", OUTSIDE, "a"), ("OUT1", OUTSIDE, "a")),
                *(("B1", CONFIDENTIAL, "b"), ("PB", CONFIDENTIAL, "b")),
                *(("H1", HIDDEN, "a"), ("AH", HIDDEN, "a"), ("PH", HIDDEN, "a")),
                *(("AB", CONFIDENTIAL, "b"),),
            )
        }
        self.create_named("res.partner", records)
        parents = {"a2": "p1", "a4": "ph"}
        for child, parent in parents.items():
            vals = {"parent_id": self.names[parent]}
            self.server.rpc("res.partner", "write", [self.names[child]], vals)
        self.make_one(
            "ir.rule",
            name="Hidden from everybody",
            model_id=self.names["partner_model"],
            domain_force="[('function', '!=', 'HIDDEN')]",
        )

    def _make_mappings(self):
        own = {"code": ("ref", True), "name": "name"}
        self._config(
            *("m_parent", {**own, "email": "email"}),
            filter_domain="[('ref', '=like', 'P%')]",
        )
        self._config("m_child", own)
        tag = "base.model_res_partner_category"
        self._config("m_tag", {"name": ("name", True)}, model=tag)
        self._make_configs()

    def _make_configs(self):
        self.create_named("bj.api.sync.config", self.configs)
        self.configs = {}

    def _config(self, name, lines, model="base.model_res_partner", **vals):
        commands = []
        for key, line in lines.items():
            if isinstance(line, str):
                line = {"field_path": line}
            elif isinstance(line, tuple):
                line = {"field_path": line[0], "is_record_identifier": line[1]}
            commands.append((0, 0, {"api_key": key, **line}))
        self.configs[name] = {
            "name": name,
            "model_id": self.server.find(model),
            "company_id": self.names["company_a"],
            "line_ids": commands,
            **vals,
        }

    def _endpoint(self, endpoint, lines=None, methods=None, user="runas", **vals):
        names = methods or ("get", "post", "put", "delete")
        find = self.server.find
        self._config(
            endpoint,
            lines or {"code": ("ref", True), "name": "name"},
            endpoint=endpoint,
            user_id=self.names[user],
            http_method_ids=[
                (6, 0, [find(f"bj_api_sync.bj_http_method_{name}") for name in names])
            ],
            **{"response_format": "success", **vals},  # which tells the CODE of errors
        )

    def _make_endpoints(self):
        names = self.names
        relational = {"value_type": "relational_mapping"}
        lines = {
            "code": ("ref", True),
            "name": "name",
            "email": "email",
            "address.city": "city",
            "country": "country_id.code",
            "note": {"field_path": "comment", "access": "read"},
            "phone": {"field_path": "phone", "access": "write"},
            "parent": {
                **relational,
                "field_path": "parent_id",
                "mapping_config_id": names["m_parent"],
            },
            "children": {
                **relational,
                "field_path": "child_ids",
                "mapping_config_id": names["m_child"],
                "create_missing": True,
            },
            "tags": {
                **relational,
                "field_path": "category_id",
                "mapping_config_id": names["m_tag"],
            },
        }
        own = "[('ref', '=like', 'A%')]"
        token = {"bearer_token": names["narrow_token"]}
        self._endpoint("narrow", lines, filter_domain=own, **token)
        self._endpoint("reading", methods=("get",), filter_domain=own, **token)
        self._endpoint(
            "bravo",
            user="runas_b",
            company_id=names["company_b"],
            bearer_token=names["bravo_token"],
        )
        self._endpoint("gone", bearer_token=names["gone_token"], active=False)
        self._endpoint(
            "limited",
            methods=("get",),
            bearer_token=names["limited_token"],
            allowed_networks="127.0.0.77",
            rate_limit_per_minute=3,
        )
        self._endpoint(
            "page", methods=("get",), cors_origins="https://shop.example.com", **token
        )
        self._endpoint(
            "scripted", filter_domain=own, bearer_token=names["scripted_token"]
        )

    def _make_tokens(self):
        narrow = self.names["narrow"]
        for name in ("random", "old", "revoked"):
            self.names[f"{name}_token"] = self._generate(narrow, name)
        self.server.query(
            "UPDATE bj_api_sync_token SET expiry_date = '2020-01-01' WHERE name = 'old'"
        )
        self.server.query(
            "UPDATE bj_api_sync_token SET active = false WHERE name = 'revoked'"
        )

    def _generate(self, config_id, name):
        wizard = self.make_one(
            "bj.api.sync.wizard.token", config_id=config_id, name=name, expiry="30"
        )
        shown = self.server.rpc("bj.api.sync.wizard.token", "action_generate", [wizard])
        return shown["context"]["default_token"]

    def _make_guarded(self):
        names = self.names
        login = f"shop:{names['basic_password']}".encode()
        names["basic_login"] = f"Basic {b64encode(login).decode()}"
        self._endpoint(
            "basic",
            auth_type="basic",
            auth_login="shop",
            auth_password=names["basic_password"],
        )
        key = {"name": "X-Guard-Key", "is_secret": True, "value": names["guard_key"]}
        self._endpoint(
            "guarded", auth_type="none", user="runas", header_ids=[(0, 0, key)]
        )
        key = {"name": "X-Plain-Key", "value": names["plain_key"]}
        self._endpoint("plainkey", auth_type="none", header_ids=[(0, 0, key)])
        key = {"name": "X-Empty-Key", "value": "to be taken away"}
        self._endpoint("emptykey", auth_type="none", header_ids=[(0, 0, key)])
        own = "[('ref', '=', 'A1')]"
        self._endpoint("open", methods=("get",), auth_type="none", filter_domain=own)

    def _finish_configs(self):
        """Do what creating cannot: see to the user, and to what nobody can store."""
        names = self.names
        open_ones = ("guarded", "plainkey", "emptykey", "open")
        ids = [names[endpoint] for endpoint in open_ones]
        vals = {"user_id": names["runas"]}  # not the public user
        self.server.rpc("bj.api.sync.config", "write", ids, vals)
        # What neither a form nor a call can store any more, and old databases have.
        self.server.query(
            """UPDATE bj_api_sync_header SET value_clear = NULL, value_secret = NULL
               WHERE config_id = %s""",
            [names["emptykey"]],
        )
        for name, code in (
            ("action", None),
            (
                "fetch",
                f"env['bj.api.sync.config'].browse({names['pull']})"
                "._make_outbound_http_request()",
            ),
        ):
            names[name] = self.make_one(
                "ir.actions.server",
                name=name,
                model_id=names["partner_model"],
                state="code" if code else "bj_api_sync",
                code=code,
                bj_api_config_id=False if code else names["out"],
            )

    def _make_sent(self):
        names = self.names
        parts = {
            "header_ids": [
                (
                    0,
                    0,
                    {
                        "name": "X-Api-Key",
                        "is_secret": True,
                        "value": names["out_header"],
                    },
                )
            ],
            "param_ids": [(0, 0, {"name": "api_key", "value": names["out_param"]})],
        }
        lines = {"ref": ("ref", True), "name": "name"}
        method = self.server.find("bj_api_sync.bj_http_method_put")
        self._config(
            "out",
            lines,
            request_type="out",
            url=self.receiver.url("/sent/{ref}"),
            http_method_ids=[(6, 0, [method])],
            auth_type="bearer",
            bearer_token=names["out_bearer"],
            filter_domain="[('ref', '=like', 'A%')]",
            max_attempts=1,
            **parts,
        )
        self._config(
            "out_b",
            lines,
            request_type="out",
            url=self.receiver.url("/sent-b/{ref}"),
            http_method_ids=[(6, 0, [method])],
            auth_type="basic",
            auth_login="odoo",
            auth_password=names["out_password"],
            company_id=names["company_b"],
        )
        self._config(
            "pull",
            lines,
            request_type="out",
            url=self.receiver.url("/pull"),
            http_method_ids=[
                (6, 0, [self.server.find("bj_api_sync.bj_http_method_get")])
            ],
            auth_type="bearer",
            bearer_token=names["out_bearer"],
            filter_domain="[('ref', '=like', 'A%')]",
            user_id=names["runas"],
            max_attempts=1,
            is_paginated=True,
            pagination_style="link",
            connect_timeout=1,
            read_timeout=2,
        )
        self._config(
            "probe",
            lines,
            request_type="out",
            url=self.receiver.url("/probe"),
            http_method_ids=[(6, 0, [method])],
            auth_type="none",
            connect_timeout=1,
            read_timeout=1,
        )

    def _make_traces(self):
        """Make rows that tell of company B and of secrets, as work leaves them."""
        names = self.names
        body = {"code": "NEWB", "name": CONFIDENTIAL, "password": names["typed_secret"]}
        headers = {"Idempotency-Key": "b-key"}
        path = "/bj_api_sync/v1/bravo?token=" + names["typed_secret"]
        self.server.http("POST", path, body, headers, names["bravo_token"])
        path = "/bj_api_sync/v1/bravo"
        answer = self.server.http("POST", path, body, headers, names["bravo_token"])
        assert answer.status == 201, (answer.status, answer.text)
        [(names["log_b"],)] = self.server.query(
            "SELECT max(id) FROM bj_api_log WHERE config_id = %s", [names["bravo"]]
        )
        answer = self.server.http(
            "GET", "/bj_api_sync/v1/narrow/A1", token=names["narrow_token"]
        )
        assert answer.status == 200, (answer.status, answer.text)
        [(names["log_a"],)] = self.server.query(
            "SELECT max(id) FROM bj_api_log WHERE config_id = %s", [names["narrow"]]
        )
        names["token_a"] = self._first("token", f"config_id = {names['narrow']}")
        # What was sent, for whoever looks at it and presses its buttons.
        action = [names["action"]]
        context = {"active_model": "res.partner", "active_ids": [names["a1"]]}
        self.server.rpc("ir.actions.server", "run", action, context=context)
        wait_until(lambda: self._first("delivery", "state = 'delivered'"))
        names["delivery"] = self._first("delivery")
        names["destination"] = self._first("destination") or 0
        [(names["event"],)] = self.server.query(
            """INSERT INTO bj_api_sync_event
                   (uuid, config_id, company_id, source_event, state, body)
               VALUES ('event', %s, %s, 'A1', 'failed', '{}') RETURNING id""",
            [names["pull"], names["company_a"]],
        )
        names["token_b"] = self._first("token", f"config_id = {names['bravo']}")
        names["param_out"] = self._first("param", f"config_id = {names['out']}")
        names["all_secrets"] = "|".join(names[name] for name in (*SECRETS, *GENERATED))
        [(names["dumped_hash"], names["dumped_prefix"])] = self.server.query(
            "SELECT token_hash, prefix FROM bj_api_sync_token WHERE id = %s",
            [names["token_a"]],
        )
        names["line_a"] = self._first("config_line", f"config_id = {names['narrow']}")
        names["line_b"] = self._first("config_line", f"config_id = {names['bravo']}")
        names["header_out"] = self._first("header", f"config_id = {names['out']}")
        names["header_guard"] = self._first("header", f"config_id = {names['guarded']}")

    def _first(self, table, where="true"):
        statement = f"SELECT min(id) FROM bj_api_sync_{table} WHERE {where}"
        return self.server.query(statement)[0][0]
