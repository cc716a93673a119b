"""Who has a dump of the database, the server's log, or a neutralized copy."""

from itertools import product
from pathlib import Path

from .attempts import ServerLog, Sql, call, comes, table

ROOT = Path(__file__).resolve().parents[2]
TABLES = (
    *("bj_api_sync_config", "bj_api_sync_config_line", "bj_api_sync_header"),
    *("bj_api_sync_param", "bj_api_sync_token", "bj_api_sync_delivery"),
    *("bj_api_log", "bj_api_sync_event", "bj_api_sync_replay", "bj_api_sync_claim"),
    *("bj_api_sync_counter", "bj_api_sync_destination", "bj_api_sync_preview"),
    *("bj_api_sync_preview_line", "bj_api_sync_wizard", "bj_api_sync_wizard_token"),
    *("ir_config_parameter", "ir_attachment", "mail_message", "ir_act_server"),
    *("ir_logging", "ir_default", "ir_cron"),
)
CLEAR = [
    (
        f"no clear secret in {name}",
        Sql(f"SELECT id FROM {name} t WHERE t::text ~ '<all_secrets>' LIMIT 3"),
        comes(404),
    )
    for name in TABLES
]
HASHES = (
    [
        (
            f"w14 {name} is no plain hash of what was typed",
            Sql(
                f"""SELECT 1 FROM {table_name}
                WHERE {column} IN (encode(sha256('<{secret}>'), 'hex'),
                                   encode(sha256('<{secret}>'), 'base64'))"""
            ),
            comes(404),
        )
        for name, table_name, column, secret in (
            ("a typed token", "bj_api_sync_token", "token_hash", "narrow_token"),
            ("a secret header", "bj_api_sync_header", "value_secret", "guard_key"),
            ("a plain header", "bj_api_sync_header", "value_secret", "plain_key"),
        )
    ]
    + [
        (
            "w14 a password has as many rounds as odoo's own",
            Sql(
                """SELECT 1 FROM bj_api_sync_config
               WHERE auth_password_secret ~ '^[$]pbkdf2-sha512[$][0-9]{1,4}[$]'"""
            ),
            comes(404),
        ),
        (
            "what is sent is encrypted",
            Sql(
                "SELECT id FROM bj_api_sync_config WHERE bearer_token_secret LIKE 'fernet:gAAAA%'"
            ),
            comes(200),
        ),
        (
            "the key is not in the database",
            Sql(
                """SELECT id FROM ir_config_parameter
               WHERE key LIKE 'bj_api%' AND value ~ '^[A-Za-z0-9_-]{43}=$'"""
            ),
            comes(404),
        ),
    ]
    + [
        (
            f"a stored {column} lets nobody in",
            (
                call(
                    "GET", "/narrow/A1", headers={"Authorization": f"Bearer <{column}>"}
                )
            ),
            comes(401),
        )
        for column in ("dumped_hash", "dumped_prefix")
    ]
)
LOGS = [
    (f"{name} in the server's log", ServerLog(from_start=True), comes(200, lacks=text))
    for name, text in (
        ("a secret", ()),
        ("a forged line", "\nERROR forged"),
        # 19.0 would warn at each wrong credential.
        ("a warning for nothing", "Missing default_env"),
    )
]
NEUTRALIZE = Sql((ROOT / "data" / "neutralize.sql").read_text())
SHUT = comes(401, 403, 404)
COPY = [
    (
        f"a copy: {name}",
        (NEUTRALIZE, what) if number == 0 else what,
        expected,
    )
    for number, (name, what, expected) in enumerate(
        (
            (
                "no token is left",
                Sql("SELECT id FROM bj_api_sync_token"),
                comes(404),
            ),
            *(
                (
                    f"h1 {endpoint} {label}",
                    call(method, f"/{endpoint}{key}", body, headers=given),
                    SHUT,
                )
                for endpoint, (method, key, body), (label, given) in product(
                    ("guarded", "plainkey", "emptykey"),
                    (("GET", "?limit=1", None), ("PUT", "/A1", {"name": "BROKEN IN"})),
                    (
                        (
                            "empty",
                            {"X-Guard-Key": "", "X-Plain-Key": "", "X-Empty-Key": ""},
                        ),
                        ("none", {}),
                    ),
                )
            ),
            *(
                (
                    f"{endpoint} is shut",
                    call("GET", f"/{endpoint}", token="narrow"),
                    SHUT,
                )
                for endpoint in ("narrow", "reading", "page")
            ),
            (
                "the password is gone",
                call("GET", "/basic", headers={"Authorization": "<basic_login>"}),
                SHUT,
            ),
            (
                "w15 no answer is kept",
                Sql("SELECT id FROM bj_api_sync_replay"),
                comes(404),
            ),
            (
                "w15 no preview is kept",
                Sql("SELECT id FROM bj_api_sync_preview WHERE body IS NOT NULL"),
                comes(404),
            ),
            (
                "nothing waits to be sent",
                Sql("SELECT id FROM bj_api_sync_delivery WHERE state = 'pending'"),
                comes(404),
            ),
            (
                "no address is left",
                Sql("SELECT id FROM bj_api_sync_config WHERE url LIKE 'http://127%'"),
                comes(404),
            ),
            (
                "no secret of the other side is left",
                Sql(
                    """SELECT id FROM bj_api_sync_header
                       WHERE concat(value_secret, value_clear) <> ''"""
                ),
                comes(404),
            ),
        )
    )
]

ATTEMPTS = [
    *table("dump", "who has a dump", CLEAR + HASHES),
    *table("server-log", "who reads the server's log", LOGS),
    *table("copy", "who has a copy", COPY),  # the last: it shuts everything
]
