"""Remote calls of users of each group, on each of our models and buttons."""

from itertools import product

from .attempts import call, comes, rpc, table

# model -> what (user, manager) may do: read, write, create, delete
ACCESS = {
    "bj.http.method": ("r", "r"),
    "bj.api.sync.config": ("r", "rwcd"),
    "bj.api.sync.config.line": ("r", "rwcd"),
    "bj.api.sync.header": ("r", "rwcd"),
    "bj.api.sync.param": ("r", "rwcd"),
    "bj.api.sync.token": ("r", "rwd"),
    "bj.api.log": ("r", "r"),
    "bj.api.sync.delivery": ("r", "r"),
    "bj.api.sync.event": ("r", "r"),
    "bj.api.sync.destination": ("r", "r"),
    "bj.api.sync.claim": ("", "r"),
    "bj.api.sync.counter": ("", "r"),
    "bj.api.sync.replay": ("", ""),
    "bj.api.sync.preview": ("", "rwcd"),
    "bj.api.sync.preview.line": ("", "rwcd"),
    "bj.api.sync.wizard": ("", "rwcd"),
    "bj.api.sync.wizard.line": ("", "rwcd"),
    "bj.api.sync.wizard.token": ("", "rwcd"),
}
# method -> (the right that it asks for, its arguments)
CALLS = {
    "search_read": ("r", ([], [])),
    "read": ("r", ([1],)),
    "write": ("w", ([1], {})),
    "create": ("c", ({},)),
    "copy": ("c", ([1],)),
    "unlink": ("d", ([1],)),
    "load": ("c", (["id"], [["x"]])),
}
REFUSED = comes(403)
NOTHING = comes(200, 403, 404)  # no record of that id, an import that only complains
NO_COPY = comes(400, 403, 404)
EXPORTED = {
    "bj.api.sync.config": "<out>",
    "bj.api.sync.header": "<header_out>",
    "bj.api.sync.param": "<param_out>",
}
# A row of another company, or a dialog of another user.
OWN_ROWS = ("bj.api.log", "bj.api.sync.wizard", "bj.api.sync.preview")


def expected(model, rights, method):
    """Return what must come, ``None`` for what is really allowed and no attempt."""
    right = CALLS[method][0]
    if right in rights:
        if right != "r":
            return None
        return NOTHING if model.startswith(OWN_ROWS) else comes(200, 404)
    return {"load": NOTHING, "copy": NO_COPY}.get(method, REFUSED)


PRODUCT = [
    (f"{user} {model} {method}", rpc(user, model, method, *CALLS[method][1]), outcome)
    for (model, rights), method in product(ACCESS.items(), CALLS)
    for user, own in (("emp", ""), ("alice", rights[0]), ("mgr", rights[1]))
    if (outcome := expected(model, own, method))
]

# model -> buttons that a user of the group User may press, and those that he may not.
BUTTONS = {
    "bj.api.sync.config": (
        "action_open_deliveries action_open_triggers action_open_logs action_open_errors"
        " action_open_failed_deliveries action_open_tokens action_open_users_of_mapping"
        " action_open_events action_download_openapi action_download_postman",
        "action_rotate_secrets action_pause action_resume action_run_now"
        " action_test_connection action_create_rule action_create_cron"
        " action_create_server_action",
    ),
    "bj.api.log": (
        "action_open_record action_open_config action_open_delivery action_replay",
        "action_replay_many",
    ),
    "bj.api.sync.delivery": (
        "action_open_record action_open_logs",
        "action_send_again action_rebuild_and_send action_cancel",
    ),
    "bj.api.sync.destination": ("", "action_resume"),
    "bj.api.sync.event": (
        "action_open_record",
        "action_process_again action_ignore",
    ),
    "bj.api.sync.token": ("", "action_revoke"),
    "bj.api.sync.preview": ("", "action_preview action_run"),
    "bj.api.sync.wizard": ("action_propose", "action_create_config"),
    "bj.api.sync.wizard.token": ("", "action_generate"),
}
# They only lead to a form that the group may not use.
OPENING = ("action_generate_token", "action_open_preview")
RECORD = {
    "bj.api.sync.config": "<out>",
    "bj.api.log": "<log_a>",
    "bj.api.sync.delivery": "<delivery>",
    "bj.api.sync.destination": "<destination>",
    "bj.api.sync.event": "<event>",
    "bj.api.sync.token": "<token_a>",
}
PRESSED = [
    (
        f"{user} presses {model} {button}",
        rpc(user, model, button, [RECORD.get(model, 1)]),
        # What only opens a list or a form has nothing in it that the list would not ask.
        comes(200, 400, 403, 404) if may else comes(400, 403, 404),
    )
    for model, groups in BUTTONS.items()
    for may, names in zip((True, False), groups, strict=True)
    for button, user in product(names.split(), ("emp", "alice"))
] + [
    (
        f"{user} presses {button}",
        rpc(user, "bj.api.sync.config", button, ["<narrow>"]),
        comes(200, 403),
    )
    for button, user in product(OPENING, ("emp", "alice"))
]

# What only our own code may call, and what nobody may: each is refused, for all.
PRIVATE = [
    (
        f"{user} {model} {method}",
        rpc(user, model, method, *args),
        comes(400, 403, 404),
    )
    for (model, method, args), user in product(
        (
            ("bj.api.sync.config", "_make_outbound_http_request", (["<out>"],)),
            ("bj.api.sync.config", "_run_schedule", (["<out>"],)),
            ("bj.api.sync.config", "_get_endpoint", ("narrow",)),
            ("bj.api.sync.token", "_generate", ("<narrow>", "x")),
            ("bj.api.sync.token", "_store", ("<narrow>", "x")),
            ("bj.api.sync.secret", "_decrypt", ("x",)),
            ("bj.api.sync.secret", "_encrypt", ("x",)),
            ("bj.api.sync.script", "_run", ("x",)),
            ("bj.api.sync.inbound", "_handle", ({}, {})),
            ("bj.api.sync.sender", "_send_due", ()),
            ("bj.api.sync.outbound", "_trigger", (1, [1])),
            ("bj.api.sync.writer", "_write", ()),
            ("bj.api.log", "_record", ({},)),
            ("bj.api.sync.guide", "_get_page", ("security",)),
        ),
        ("emp", "mgr", "admin"),
    )
]

# Secrets are in no answer, whoever asks and however.
COLUMNS = (
    ("bj.api.sync.config", "auth_password_secret"),
    ("bj.api.sync.config", "bearer_token_secret"),
    ("bj.api.sync.config", "signing_secret_secret"),
    ("bj.api.sync.header", "value_secret"),
    ("bj.api.sync.param", "value_secret"),
    ("bj.api.sync.token", "token_hash"),
)
HIDDEN = (
    [
        (
            f"{user} {way} {model} {field}",
            rpc(
                user, model, method, *(part if part != "F" else field for part in args)
            ),
            comes(400, 403, lacks="gAAAA"),
        )
        for (model, field), user in product(COLUMNS, ("alice", "mgr", "admin"))
        for way, method, args in (
            ("reads", "search_read", ([], [field])),
            ("searches", "search_count", ([[field, "like", "a"]],)),
            ("sorts by", "search", ([], 0, 1, field)),
        )
    ]
    + [
        (
            f"{user} {method} {model} {field}",
            rpc(user, model, method, *args),
            comes(200, 400, 403, lacks="gAAAA"),
        )
        for user, (model, field) in product(
            ("alice", "mgr", "admin"),
            (
                ("bj.api.sync.config", "bearer_token"),
                ("bj.api.sync.config", "auth_password"),
                ("bj.api.sync.config", "signing_secret"),
                ("bj.api.sync.header", "value"),
                ("bj.api.sync.header", "value_clear"),
                ("bj.api.sync.param", "value"),
            ),
        )
        for method, args in (
            ("search_read", ([], [field])),
            ("export_data", ([EXPORTED[model]], [field, "display_name"])),
        )
    ]
    + [
        (
            f"alice reads the url of what was sent with {model}",
            rpc("alice", model, "search_read", [], []),
            comes(200),
        )
        for model in ("bj.api.sync.delivery", "bj.api.log", "bj.api.sync.token")
    ]
)

# Company B is another world to a manager of company A.
FOREIGN = (
    [
        (
            f"mgr {method} {model} {record}",
            rpc("mgr", model, method, [record], *args),
            # Odoo refuses exports of who is not in the group for it by 400.
            comes(400, 403, 404) if method == "export_data" else comes(403, 404),
        )
        for model, record in (
            ("bj.api.sync.config", "<bravo>"),
            ("bj.api.sync.config", "<out_b>"),
            ("bj.api.sync.config.line", "<line_b>"),
            ("bj.api.log", "<log_b>"),
            ("bj.api.sync.token", "<token_b>"),
        )
        for method, args in (
            ("read", ()),
            ("write", ({"name": "STOLEN"},)),
            ("unlink", ()),
            ("copy", ()),
            ("export_data", (["id", "display_name"],)),
        )
        if (model, method) != ("bj.api.log", "copy")
    ]
    + [
        (
            f"mgr presses {button} of company b",
            rpc("mgr", "bj.api.sync.config", button, ["<out_b>"]),
            comes(403, 404),
        )
        for button in (
            *(
                "action_run_now",
                "action_test_connection",
                "action_pause",
                "action_resume",
            ),
            *("action_rotate_secrets", "action_download_openapi", "action_create_rule"),
        )
    ]
    + [
        (
            "mgr makes a configuration of company b",
            rpc(
                *("mgr", "bj.api.sync.config", "create"),
                {
                    "name": "x",
                    "model_id": "<partner_model>",
                    "company_id": "<company_b>",
                },
            ),
            comes(403),
        ),
        (
            "mgr hands a configuration to company b",
            rpc(
                *("mgr", "bj.api.sync.config", "write", ["<reading>"]),
                {"company_id": "<company_b>"},
            ),
            comes(400, 403),
        ),
        (
            "mgr asks for company b in the context",
            rpc(
                *("mgr", "bj.api.log", "search_read", [["id", "=", "<log_b>"]], []),
                allowed_company_ids=["<company_b>"],
            ),
            comes(200, 400, 403),
        ),
        (
            "mgr moves a line to a configuration of company b",
            rpc(
                *("mgr", "bj.api.sync.config.line", "write", ["<line_a>"]),
                {"config_id": "<bravo>"},
            ),
            comes(400, 403),
        ),
        (
            "mgr makes a header of a configuration of company b",
            rpc(
                *("mgr", "bj.api.sync.header", "create"),
                {"config_id": "<bravo>", "name": "X-Own", "value": "a" * 32},
            ),
            comes(403),
        ),
        (
            "mgr makes a token of a configuration of company b",
            (
                rpc(
                    *("mgr", "bj.api.sync.wizard.token", "create"),
                    {"config_id": "<bravo>", "name": "x"},
                ),
                rpc("mgr", "bj.api.sync.wizard.token", "action_generate", ["<last>"]),
            ),
            comes(403, 404),
        ),
        (
            "mgr previews a configuration of company b",
            (
                rpc(
                    *("mgr", "bj.api.sync.preview", "create"),
                    {"config_id": "<out_b>", "res_id": "<b1>"},
                ),
                # Nothing was made, so this is none of company B either.
                rpc("mgr", "bj.api.sync.preview", "action_preview", ["<last>"]),
            ),
            comes(400, 403, 404),
        ),
        (
            "mgr takes a configuration of company b as mapping model",
            rpc(
                *("mgr", "bj.api.sync.config.line", "create"),
                {
                    "config_id": "<reading>",
                    "api_key": "stolen",
                    "field_path": "parent_id",
                    "value_type": "relational_mapping",
                    "mapping_config_id": "<bravo>",
                },
            ),
            comes(400, 403),
        ),
    ]
)

# The trail and the queue are nobody's to write.
TRAIL = [
    (
        f"{user} {method} {model}",
        rpc(user, model, method, *args),
        comes(400, 403),
    )
    for user, (model, record), (method, args) in product(
        ("mgr", "admin"),
        (("bj.api.log", "<log_a>"), ("bj.api.sync.delivery", "<delivery>")),
        (
            ("write", (["R"], {"name": "forged", "method": "GET"})),
            ("unlink", (["R"],)),
            ("create", ({"name": "forged", "method": "GET"},)),
        ),
    )
    for args in [tuple([record] if part == ["R"] else part for part in args)]
]
OWN_RIGHTS = [
    (f"{user} {model} {method}", rpc(user, model, method, *args), comes(*status))
    for user in ("emp", "alice", "mgr")
    for model, method, args, status in (
        (
            *("res.users", "write"),
            (["<mgr>"], {"<groups>": [[4, "<group_system>"]]}),
            (403,),
        ),
        (
            *("res.groups", "write"),
            (["<group_manager>"], {"implied_ids": [[4, "<group_system>"]]}),
            (403,),
        ),
        (
            *("ir.config_parameter", "set_param"),
            ("bj_api_sync.blocked_networks", ""),
            (403,),
        ),
        (
            *("ir.config_parameter", "get_param"),
            ("bj_api_sync.max_auth_failures",),
            (403,),
        ),
        (
            *("ir.actions.server", "create"),
            (
                {
                    "name": "x",
                    "model_id": "<partner_model>",
                    "state": "code",
                    "code": "1",
                },
            ),
            (403,),
        ),
        (
            *("ir.actions.server", "write"),
            (["<action>"], {"bj_api_config_id": "<out_b>"}),
            (403,),
        ),
        ("ir.rule", "unlink", ([1],), (403,)),
    )
]
PAGES = [
    (
        f"json {user or 'stranger'} {method}",
        call(
            "POST",
            f"!/web/dataset/call_kw/bj.api.sync.config/{method}",
            {
                "params": {
                    "model": "bj.api.sync.config",
                    "method": method,
                    "args": [[], ["name"]] if method == "search_read" else [[1], {}],
                    "kwargs": {},
                }
            },
            session=user,
        ),
        comes(200, has='"error"', lacks='"result"'),
    )
    for user, method in product((None, "emp"), ("search_read", "write"))
]

ATTEMPTS = [
    *table("rights", "users of each group", PRODUCT),
    *table("buttons", "users without the group Manager", PRESSED),
    *table("private", "users of each group", PRIVATE),
    *table("secrets", "users of each group", HIDDEN),
    *table("foreign", "manager of company A", FOREIGN),
    *table("trail", "manager and administrator", TRAIL),
    *table("own-rights", "users without Settings", OWN_RIGHTS),
    *table("pages", "users without the groups", PAGES),
]
