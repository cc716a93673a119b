"""What a Manager without Settings rights may try, and whoever may edit contacts."""

from itertools import product

from .attempts import Received, Sql, comes, rpc, table

CONFIG, LINE = "bj.api.sync.config", "bj.api.sync.config.line"
HEADER, PREVIEW = "bj.api.sync.header", "bj.api.sync.preview"
PLANTED = "env['res.users'].sudo().browse(2).login  # PLANTED"
SCRIPTS = ("request_script", "response_script")
NO_SCRIPT = [
    (
        """SELECT count(*) FROM bj_api_sync_config
           WHERE concat(request_script, response_script) LIKE '%PLANTED%'""",
        0,
    ),
    (
        """SELECT count(*) FROM bj_api_sync_config_line
           WHERE concat(script, read_script) LIKE '%PLANTED%'""",
        0,
    ),
]
CLEAN = (
    Sql(
        """UPDATE bj_api_sync_config SET request_script = NULL, response_script = NULL
           WHERE concat(request_script, response_script) LIKE '%PLANTED%'"""
    ),
    Sql(
        """DELETE FROM bj_api_sync_config_line
           WHERE concat(script, read_script) LIKE '%PLANTED%'"""
    ),
    Sql("DELETE FROM ir_default WHERE json_value LIKE '%PLANTED%'"),
)
# Refused, or made without what was not to be planted.
PLANTLESS = comes(200, 400, 403, 404, changes=True, facts=NO_SCRIPT)


def config_vals(**vals):
    return {"name": "Planted", "model_id": "<partner_model>", **vals}


def line_vals(**vals):
    vals = {
        "api_key": "x",
        "field_path": "street",
        "value_type": "python_plain",
        **vals,
    }
    return {"config_id": "<reading>", **vals}


PLANTING = [
    (f"h2 {name}", calls, PLANTLESS, CLEAN)
    for name, calls in (
        *(
            (
                f"{field} by a default of the context",
                rpc(
                    "mgr",
                    CONFIG,
                    "create",
                    config_vals(),
                    **{f"default_{field}": PLANTED},
                ),
            )
            for field in SCRIPTS
        ),
        *(
            (
                f"line {field} by a default of the context",
                rpc(
                    "mgr", LINE, "create", line_vals(), **{f"default_{field}": PLANTED}
                ),
            )
            for field in ("script", "read_script")
        ),
        *(
            (
                f"{field} by a personal default",
                (
                    rpc("mgr", "ir.default", "set", model, field, PLANTED, True),
                    rpc("mgr", model, "create", vals),
                ),
            )
            for model, field, vals in (
                (CONFIG, "request_script", config_vals()),
                (CONFIG, "response_script", config_vals()),
                (LINE, "read_script", line_vals()),
                (LINE, "script", line_vals()),
            )
        ),
        (
            "lines by a default of the context",
            rpc(
                *("mgr", CONFIG, "create", config_vals()),
                default_line_ids=[[0, 0, {"api_key": "x", "read_script": PLANTED}]],
            ),
        ),
        (
            "a script by a default while lines are written",
            rpc(
                *("mgr", CONFIG, "write", ["<reading>"]),
                {"line_ids": [[0, 0, {"api_key": "x", "value_type": "python_plain"}]]},
                default_read_script=PLANTED,
            ),
        ),
        (
            "name_create with a default",
            rpc("mgr", CONFIG, "name_create", "x", default_request_script=PLANTED),
        ),
        (
            "the wizard with a default",
            (
                rpc(
                    *("mgr", "bj.api.sync.wizard", "create"),
                    {"model_id": "<partner_model>", "request_type": "in"},
                ),
                rpc(
                    *("mgr", "bj.api.sync.wizard", "action_create_config", ["<last>"]),
                    default_request_script=PLANTED,
                    default_read_script=PLANTED,
                ),
            ),
        ),
        ("values", rpc("mgr", CONFIG, "create", config_vals(request_script=PLANTED))),
        (
            "a write",
            rpc("mgr", CONFIG, "write", ["<reading>"], {"request_script": PLANTED}),
        ),
        ("a line", rpc("mgr", LINE, "create", line_vals(read_script=PLANTED))),
        (
            "a line's write",
            rpc("mgr", LINE, "write", ["<line_a>"], {"script": PLANTED}),
        ),
        (
            "a command",
            rpc(
                *("mgr", CONFIG, "write", ["<reading>"]),
                {"line_ids": [[1, "<line_a>", {"read_script": PLANTED}]]},
            ),
        ),
        (
            "a command that makes",
            rpc(
                "mgr",
                CONFIG,
                "create",
                config_vals(line_ids=[[0, 0, line_vals(script=PLANTED)]]),
            ),
        ),
        (
            "an import",
            rpc(
                *("mgr", CONFIG, "load", ["name", "model_id/.id", "request_script"]),
                [["x", "<partner_model>", PLANTED]],
            ),
        ),
        (
            "a copy",
            rpc("mgr", CONFIG, "copy", ["<reading>"], {"request_script": PLANTED}),
        ),
        (
            "a copy with a default",
            rpc("mgr", CONFIG, "copy", ["<reading>"], default_response_script=PLANTED),
        ),
        (
            "web_save",
            rpc("mgr", CONFIG, "web_save", [], config_vals(request_script=PLANTED), {}),
        ),
        (
            "web_save with a default",
            rpc(
                *("mgr", CONFIG, "web_save", [], config_vals(), {}),
                default_response_script=PLANTED,
            ),
        ),
        (
            "a translation",
            rpc(
                *("mgr", CONFIG, "update_field_translations", ["<reading>"]),
                *("request_script", {"en_US": PLANTED}),
            ),
        ),
    )
]
SEALED = [
    (
        f"h2 the column {field} by a default",
        rpc("mgr", model, "create", vals, **{f"default_{field}": "PLANTED"}),
        comes(
            *(200, 400, 403),
            changes=True,
            facts=[(f"SELECT count(*) FROM {table_name} WHERE {field} = 'PLANTED'", 0)],
        ),
        (Sql(f"DELETE FROM {table_name} WHERE {field} = 'PLANTED'"),),
    )
    for model, table_name, field, vals in (
        (CONFIG, "bj_api_sync_config", "bearer_token_secret", config_vals()),
        (CONFIG, "bj_api_sync_config", "auth_password_secret", config_vals()),
        (CONFIG, "bj_api_sync_config", "signing_secret_secret", config_vals()),
        (
            *(HEADER, "bj_api_sync_header", "value_secret"),
            {"config_id": "<out>", "name": "X-A", "value": "a" * 20},
        ),
    )
]

FOREIGN_LOG = [
    (
        f"h5 {name}",
        (
            rpc(
                "mgr", PREVIEW, "create", {"config_id": "<reading>", **vals}, **context
            ),
            *more,
            rpc("mgr", PREVIEW, "read", ["<last>"], [field]),
        ),
        comes(200, 403, 404, lacks=("NEWB", "b-key")),
    )
    for field, (name, vals, context, more) in product(
        ("body", "query", "method", "record_key", "log_id"),
        (
            ("a log row of company b", {"log_id": "<log_b>"}, {}, ()),
            ("by a default", {}, {"default_log_id": "<log_b>"}, ()),
        ),
    )
    if field in ("body", "query") or name != "by a default"
] + [
    (
        "h5 a log row of company b written afterwards",
        (
            rpc("mgr", PREVIEW, "create", {"config_id": "<reading>"}),
            rpc("mgr", PREVIEW, "write", ["<last>"], {"log_id": "<log_b>"}),
        ),
        comes(400, 403, changes=True),
    ),
    (
        "h5 a log row of company b in a form that is not saved",
        rpc(
            *("mgr", PREVIEW, "onchange", []),
            {"config_id": "<reading>", "log_id": "<log_b>"},
            ["log_id"],
            {"config_id": {}, "log_id": {}, "body": {}, "query": {}},
        ),
        comes(200, 400, 403, lacks="NEWB"),
    ),
    (
        "h5 a log row of another configuration of the same company",
        rpc(
            *("mgr", PREVIEW, "create"),
            {"config_id": "<reading>", "log_id": "<log_a>"},
        ),
        comes(400, 403),
    ),
    (
        "h5 replay of company b",
        rpc("mgr", "bj.api.log", "action_replay", ["<log_b>"]),
        comes(403),
    ),
    (
        "h5 replay of many of company b",
        rpc("mgr", "bj.api.log", "action_replay_many", ["<log_b>"]),
        comes(403),
    ),
]

SENDING = [
    (
        f"h6 {user} runs a send action {name}",
        rpc(user, "ir.actions.server", "run", ["<action>"], **context),
        comes(*status),
    )
    for user, (name, context, status) in product(
        ("runas", "emp", "mgr"),
        (
            ("without records", {"lang": "en_US"}, (200, 400, 403)),
            (
                "with no ids",
                {"active_model": "res.partner", "active_ids": []},
                (200, 400, 403),
            ),
            (
                "with no id",
                {"active_model": "res.partner", "active_id": False},
                (200, 400, 403),
            ),
            ("as a cron", {"cron_id": 1, "lastcall": "2020-01-01"}, (200, 400, 403)),
            (
                "with records of others",
                {"active_model": "res.partner", "active_ids": ["<b1>", "<h1>"]},
                (403, 404),
            ),
            (
                "with a hidden one among its own",
                {"active_model": "res.partner", "active_ids": ["<a1>", "<ah>"]},
                (403, 404),
            ),
        ),
    )
    # A manager may press Send Now, so this is nothing more.
    if user != "mgr" or name.startswith("with ")
] + [
    (
        "h6 a cron of others is not run",
        rpc("runas", "ir.cron", "method_direct_trigger", [1]),
        comes(403),
    ),
]

EVIL = "<receiver>/evil"
RESTORED = (
    rpc(
        *("admin", CONFIG, "write", ["<out>"]),
        {"url": "<receiver>/sent/{ref}", "bearer_token": "<out_bearer>"},
    ),
    rpc("admin", HEADER, "write", ["<header_out>"], {"value": "<out_header>"}),
    rpc(
        "admin", "bj.api.sync.param", "write", ["<param_out>"], {"value": "<out_param>"}
    ),
)
ELSEWHERE = [
    (
        f"w4 {name}",
        (
            Received(),
            rpc("mgr", CONFIG, "write", ["<out>"], {"url": url}),
            rpc("mgr", CONFIG, *button),
            Received(path),
        ),
        comes(200, 404),
        RESTORED,
    )
    for name, url, path, button in (
        (
            "another host gets no secret by test connection",
            "<other_host>/evil/{ref}",
            "/evil/",
            ("action_test_connection", ["<out>"]),
        ),
    )
] + [
    (
        "w4 nor by a header of another name",
        (
            rpc("mgr", HEADER, "write", ["<header_out>"], {"is_secret": False}),
            rpc("mgr", HEADER, "read", ["<header_out>"]),
        ),
        comes(200),
        (
            rpc(
                *("admin", HEADER, "write", ["<header_out>"]),
                {"is_secret": True, "value": "<out_header>"},
            ),
        ),
    ),
    (
        "w4 a copy has no secret",
        (
            Received(),
            rpc("mgr", CONFIG, "copy", ["<out>"], {"name": "Copy", "url": EVIL}),
            rpc("mgr", CONFIG, "action_test_connection", ["<last>"]),
            Received("/evil"),
        ),
        comes(200, 404),
    ),
]

SCRIPT_LINE = rpc(
    *("admin", LINE, "create"),
    {
        "config_id": "<scripted>",
        "api_key": "made",
        "field_path": "street",
        "value_type": "python_plain",
        "script": "'x'",
    },
)
MOVING = [
    (
        f"w17 {name}",
        (SCRIPT_LINE, rpc("mgr", *what)),
        comes(400, 403),
        (
            Sql(
                "DELETE FROM bj_api_sync_config_line WHERE api_key IN ('made', 'moved')"
            ),
        ),
    )
    for name, what in (
        (
            "an administrator's script is not moved",
            (LINE, "write", ["<last>"], {"config_id": "<narrow>"}),
        ),
        (
            "nor by a command",
            (CONFIG, "write", ["<narrow>"], {"line_ids": [[4, "<last>"]]}),
        ),
        ("nor deleted", (LINE, "unlink", ["<last>"])),
        (
            "nor by a command of deletion",
            (CONFIG, "write", ["<scripted>"], {"line_ids": [[2, "<last>"]]}),
        ),
        ("nor of another kind", (LINE, "write", ["<last>"], {"value_type": "plain"})),
        (
            "nor of another mode",
            (LINE, "write", ["<last>"], {"script_mode": "execute"}),
        ),
    )
]
UNSEEN = [
    (
        f"w18 {user} {button} of {ref}",
        (
            rpc(user, PREVIEW, "create", {"config_id": "<out>", "res_id": f"<{ref}>"}),
            rpc(user, PREVIEW, button, ["<last>"]),
        ),
        comes(400, 403, 404),
    )
    for user, button, ref in product(
        ("mgr",), ("action_run", "action_preview"), ("ah", "ab", "b1", "h1")
    )
] + [
    (
        "w18 nothing was sent of what its sender may not see",
        Received("/sent/A" + letter),
        comes(404),
    )
    for letter in "HB"
]

OPEN_TEXT = [
    (
        f"w9 {name} is sealed without the mark",
        rpc(
            "mgr",
            HEADER,
            "create",
            {"config_id": "<out>", "name": name, "value": "KEPTCLEAR-" + "k" * 16},
        ),
        comes(
            *(200, 400),
            changes=True,
            facts=[
                (
                    "SELECT count(*) FROM bj_api_sync_header WHERE value_clear LIKE 'KEPTCLEAR%'",
                    0,
                )
            ],
        ),
        (
            Sql(
                f"DELETE FROM bj_api_sync_header WHERE name = '{name}' AND id <> <header_out>"
            ),
        ),
    )
    for name in ("X-Auth-Token", "Authorization", "X-Api-Key", "X-Secret", "Api-Key")
]
ODD = (
    [
        (name, rpc("mgr", CONFIG, "write", ["<out>"], vals), comes(400, 403))
        for name, vals in (
            ("a file as address", {"url": "file:///etc/passwd"}),
            ("gopher as address", {"url": "gopher://127.0.0.1/"}),
            ("a line break in the address", {"url": "http://127.0.0.1/\r\nX-A: 1"}),
            ("no address", {"url": "http://"}),
            ("a person in the address", {"url": "ftp://user@127.0.0.1/"}),
            ("code as a filter", {"filter_domain": "__import__('os').getcwd()"}),
            ("a lambda as a filter", {"filter_domain": "(lambda: [])()"}),
            ("a private name as a filter", {"filter_domain": "user.__class__"}),
        )
    ]
    + [
        (name, rpc("mgr", CONFIG, "write", ["<reading>"], vals), comes(400, 403))
        for name, vals in (
            ("a reserved endpoint", {"endpoint": "openapi.json"}),
            ("a path as endpoint", {"endpoint": "../web"}),
            ("an endpoint of unicode", {"endpoint": "n\u0430rrow"}),
            ("an endpoint in capitals", {"endpoint": "NARROW"}),
            ("an endpoint that is taken", {"endpoint": "narrow"}),
            ("an endpoint with a line break", {"endpoint": "x\n"}),
            ("a network that is none", {"allowed_networks": "everywhere"}),
        )
    ]
    + [
        (
            f"a line to {path}",
            rpc(
                "mgr",
                LINE,
                "create",
                line_vals(api_key="y", field_path=path, value_type="plain"),
            ),
            comes(400, 403),
        )
        for path in (
            "user_ids.__class__",
            "env.cr",
            "nothing",
            "user_ids..password",
            "_name",
        )
    ]
    + [
        (
            f"a header {name!r}",
            rpc(
                "mgr",
                HEADER,
                "create",
                {"config_id": "<out>", "name": name, "value": value},
            ),
            comes(400, 403),
        )
        for name, value in (
            ("X-A\r\nX-B", "v" * 20),
            ("X A", "v" * 20),
            ("X-A", "v" * 20 + "\r\nX-B: 1"),
            ("", "v" * 20),
            ("X:A", "v" * 20),
            ("\u0416", "v" * 20),
        )
    ]
)
ATTEMPTS = [
    *table("planting", "manager", PLANTING + SEALED),
    *table("foreign-log", "manager of company A", FOREIGN_LOG),
    *table("send-actions", "user who edits contacts", SENDING),
    *table("elsewhere", "manager", ELSEWHERE),
    *table("moving", "manager", MOVING),
    *table("unseen", "manager", UNSEEN),
    *table("clear-text", "manager", OPEN_TEXT),
    *table("odd", "manager", ODD),
]
