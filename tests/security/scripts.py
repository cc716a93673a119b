"""What the author of a script may try; whether or not he means it."""

from itertools import product

from .attempts import Received, Script, comes, table

# Refused when it is saved, or when it runs: in both cases nothing has happened.
REFUSED = comes(400, lacks=("root:x", "PGPASSWORD"))
BODY = {"code": "A5", "name": "Own 5"}
# Ways to what a script must not have: the interpreter's inside, the cursor, files.
ESCAPES = (
    "().__class__.__bases__[0].__subclasses__()",
    "env.cr.execute('UPDATE res_partner SET active = false')",
    "env.cr.commit()",
    "env.cr.rollback()",
    "env['res.partner']._cr.commit()",
    "env.registry.clear_cache()",
    "record.pool['res.users']",
    "env._cr.execute('SELECT 1')",
    "model.env.cr",
    "import os",
    "from os import system",
    "__import__('os').system('id')",
    "open('/etc/passwd').read()",
    "eval('1')",
    "exec('1')",
    "compile('1', '', 'eval')",
    "globals()",
    "locals()",
    "vars()",
    "getattr(env, 'cr')",
    "setattr(env, 'x', 1)",
    "type(env)",
    "'{0.__class__}'.format(env)",
    "'{x.__class__}'.format_map({'x': env})",
    "f'{env.cr}'",
    "f'{env.__class__}'",
    "json.__loader__",
    "json.codecs",
    "datetime.sys",
    "datetime.datetime.__class__",
    "re.sre_parse",
    "re.match('a', 'a').re.pattern.__class__",
    "b64encode.__globals__",
    "b64encode.__self__",
    "hmac_sha256.__code__",
    "log.__closure__",
    "_logger.manager",
    "_logger.parent",
    "_logger.handlers",
    "timezone.__wrapped__",
    "time.sleep(60)",
    "(lambda: 0).__code__",
    "(x for x in [1]).gi_frame.f_back.f_globals",
    "[].append.__self__",
    "UserError.mro()",
    "UserError.__init_subclass__",
    "env['ir.actions.server'].sudo().browse(1).run.__func__",
    "Command.__members__",
    "env.user.env.cr.dbname",
    "env['base'].pool",
    "env.transaction.clear()",
    "env.cache.clear()",
    "match env:\n  case object(cr=c):\n    c",
    "class A: pass",
    "async def f(): pass",
    "global env",
    "with env.cr: pass",
    "try:\n  1 / 0\nexcept:\n  pass",
    "while True:\n  try:\n    1 / 0\n  except:\n    pass",
    "assert 0, env.cr",
    "@env.cr.execute\ndef f(): pass",
)
ESCAPING = [
    (f"{where} {text[:60]}", Script(where, text, BODY), REFUSED)
    for text, where in product(ESCAPES, ("request_script",))
] + [
    (f"{where} {text[:60]}", Script(where, text, BODY), REFUSED)
    for text, where in product(ESCAPES[:6], ("response_script",))
]

RAISE = """try:
  env['bj.http.method'].sudo().create({'name': False})
  env.flush_all()
except Exception as e:
"""
CURSORS = [
    (f"h7 {name}", Script("request_script", RAISE + text, BODY), REFUSED)
    for name, text in (
        (
            "the cursor of an error",
            "  c = e.cursor\n"
            "  c.executemany('ROLLBACK', [()])\n"
            "  c.executemany(\"UPDATE res_partner SET comment = 'RAW' WHERE ref = 'A5'\","
            " [()])\n"
            "  c.executemany('COMMIT', [()])",
        ),
        ("the connection of an error", "  x = e.cursor.connection"),
        ("the error's context", "  x = e.__context__"),
        ("the error's traceback", "  x = e.__traceback__.tb_frame"),
        ("copy_expert", "  e.cursor.copy_expert('COPY res_users TO STDOUT', 0)"),
        ("callproc", "  e.cursor.callproc('pg_sleep', [60])"),
        ("mogrify", "  x = e.cursor.mogrify('x')"),
        ("copy_from", "  e.cursor.copy_from(0, 'res_users')"),
    )
]

# Loops that would hold a worker, and results that would fill its memory.
LOOPS = [
    (f"loop {name}", Script("request_script", text, BODY), REFUSED)
    for name, text in (
        ("without end", "while True:\n  pass"),
        (
            "that catches",
            "while True:\n  try:\n    1 / 0\n  except Exception:\n    pass",
        ),
        ("of range", "x = [n for n in range(10 ** 12)]"),
        ("of powers", "x = 10 ** 10 ** 10"),
        ("of a long text", "x = 'a' * 10 ** 11"),
        ("of a long list", "x = [0] * 10 ** 11"),
        ("of a long shift", "x = 1 << 10 ** 11"),
        ("of zeros", "x = b'a' * 10 ** 11"),
        ("of recursion", "def f(n):\n  return f(n + 1)\nf(0)"),
        ("of a format", "x = '%0*d' % (10 ** 10, 1)"),
        ("of an f-string", "x = f'{1:{10 ** 10}}'"),
        ("of a regular expression", "re.match('(a+)+$', 'a' * 40 + 'b')"),
        ("of many records", "while True:\n  env['res.partner'].search([])"),
    )
]

# W12: a result that is no JSON is the script's mistake and no fault of the server.
VALUES = {
    "lambda": "lambda: 1",
    "env": "env",
    "nan": "float('nan')",
    "infinity": "1.5e308 * 10",
    "timedelta": "timedelta(1)",
    "surrogate": "'\\ud800'",
    "map": "map(str, [1])",
    "itself": "response_data",
    "bytes": "b'\\xff'",
    "key": "{(1, 2): 1}",
}
# One script for all, as storing one takes longer than calling it.
VALUED = "wanted = headers.get('x-value')\n" + "\n".join(
    f"if wanted == '{name}':\n  response_data['x'] = {text}"
    for name, text in VALUES.items()
)
RESULTS = [
    (
        f"w12 {name}",
        Script("response_script", VALUED, BODY, "?dry_run=1", (("X-Value", name),)),
        # Bytes may be told as text; what is no JSON at all is the script's mistake.
        comes(
            *((200, 400) if name == "bytes" else (400,)),
            lacks=("Traceback", "INTERNAL_ERROR"),
        ),
    )
    for name in VALUES
]

# What a script changes in a dry run, and sends, is not there afterwards.
DRY = [
    (
        f"dry run that {name}",
        Script("request_script", text, BODY, "?dry_run=true"),
        comes(200, 201, 400),
    )
    for name, text in (
        ("writes as superuser", "env['res.partner'].sudo().browse(<b1>).name = 'DRY'"),
        ("makes a user", "env['res.users'].sudo().create({'name': 'x', 'login': 'x'})"),
        ("sends a mail", "env['mail.mail'].sudo().create({'subject': 'x'}).send()"),
        (
            "sets a parameter",
            "env['ir.config_parameter'].sudo().set_param('bj_api_sync.x', '1')",
        ),
        (
            "w3 sends",
            "env['bj.api.sync.config'].sudo().browse(<out>)"
            "._make_outbound_http_request(<a1>)",
        ),
    )
] + [
    (
        "w3 nothing was sent of a dry run",
        (
            Received(),
            Script(
                *(
                    "response_script",
                    "env['bj.api.sync.config'].sudo().browse(<out>)"
                    "._make_outbound_http_request(<a5>)",
                    BODY,
                    "?dry_run=true",
                )
            ),
            Received("/sent/A5"),
        ),
        comes(404),
    ),
    (
        "a refused script leaves nothing of what it wrote",
        Script(
            "request_script",
            "env['res.partner'].sudo().browse(<b1>).name = 'LEFT'\nraise UserError('no')",
            BODY,
        ),
        comes(400),
    ),
    (
        "a line break in the log is none",
        (Script("request_script", "log('a\\n2026 ERROR forged')", BODY, "?dry_run=1"),),
        comes(200, 201, 400),
    ),
]

ATTEMPTS = [
    *table("scripts", "author of a script", ESCAPING + CURSORS + RESULTS + DRY),
    *table("loops", "author of a script", LOOPS),
]
