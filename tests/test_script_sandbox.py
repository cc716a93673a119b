"""What a script must not reach, and what it must not last."""

import re
import time
from contextlib import suppress

import psycopg2
from odoo import SUPERUSER_ID, api, sql_db
from odoo.exceptions import ValidationError
from odoo.tools import mute_logger

from ..exceptions import ScriptError
from ..tools import script_cursor
from .test_script import ScriptCase
from .test_script_limits import SLOW, TOO_LARGE, nested

FAIL = (
    "try:\n"
    "    env['bj.http.method'].sudo().create({'name': False})\n"
    "    env.flush_all()\n"
    "except Exception as error:\n"
    "    "
)
REFUSED_AT_SAVE = [
    FAIL + "error.cursor.executemany('ROLLBACK', [()])",
    FAIL + "result = f'{error.cursor}'",
    FAIL + "result = [error.cursor for n in [1]]",
    FAIL + "result = error.__context__",
    FAIL + "result = error.pgconn.connection",
    FAIL + "result = (lambda e: e.cursor)(error)",
    FAIL + "match error:\n        case Exception(cursor=c):\n            pass",
    "env.cr.executemany('ROLLBACK', [()])",
    "record.env.cr",
    "record._cr",
    "records.env.transaction.envs",
    "env.cache",
    "env.registry.cursor()",
    "x.copy_expert('COPY res_users TO STDOUT', f)",
    "x.copy_from(f, 'res_partner')",
    "x.copy_to(f, 'res_partner')",
    "x.callproc('pg_sleep', (1,))",
    "x.mogrify('')",
    "env.transaction.flush()",
    "(n for n in [1]).gi_frame.f_back",
]
HARMLESS = [
    "records.mapped('cursor')",
    "records.mapped('env.cr')",
    "records.filtered('cr')",
    "records.sorted(key='cursor')",
    "records.grouped('cr')",
    "record['cr']",
    "record['_cr']",
    "env['cr']",
    "'%(cr)s' % env",
    "model.search([('env.cr', '=', 1)])",
    "record.write({'env': 1, 'cr': 2})",
    "model.with_context(cr=1).read_group([], ['cr'], ['env'])",
    "json.loads('{}').cursor_of",
    "json.dumps(env)",
    "sum([env], env)",
    "Command.create(env)[2].cr_of",
    FAIL + "result = [error['cursor']]",
    FAIL + "result = error.pgerror.nothing",
    FAIL + "result = json.dumps(error)",
]


class TestTransaction(ScriptCase):
    def test_ways_to_the_cursor_are_refused_when_a_script_is_saved(self):
        for source in REFUSED_AT_SAVE:
            with self.subTest(source=source):
                with self.assertRaises(ScriptError):
                    self.script._check(source, "execute")
                with self.assertRaises(ValidationError):
                    self.config.request_script = source
                with self.assertRaises(ScriptError):
                    self._run(source)

    def test_names_in_texts_lead_nowhere(self):
        for source in HARMLESS:
            source = source if "result" in source else f"result = {source}"
            with (
                self.subTest(source=source),
                mute_logger("odoo.sql_db", "odoo.fields", "odoo.models"),
            ):
                before = self._count()
                savepoint = self.env.cr.savepoint(flush=False)
                with suppress(ScriptError):  # one series fails where the other does not
                    self._run(source)
                savepoint.close(rollback=True)
                self.assertEqual(self._count(), before)

    def _count(self):
        self.env.cr.execute("SELECT count(*), max(write_date) FROM res_partner")
        return self.env.cr.fetchone()

    def test_an_error_has_no_cursor_however_it_is_asked(self):
        seen = []
        context = self._make_context(look=seen.append)
        savepoint = self.env.cr.savepoint(flush=False)
        with mute_logger("odoo.sql_db"):
            self._run(FAIL + "look(error)", context=context)
        savepoint.close(rollback=True)
        (error,) = seen
        self.assertIsInstance(error, psycopg2.errors.NotNullViolation)
        self.assertEqual(error.pgcode, "23502")
        self.assertEqual(error.diag.column_name, "name")
        self.assertIn("null value", error.pgerror)
        while error:
            self.assertIsNone(getattr(error, "cursor", None))
            error = error.__cause__ or error.__context__

    def test_an_error_that_leaves_the_script_is_answered_as_before(self):
        savepoint = self.env.cr.savepoint(flush=False)
        with (
            self.assertRaises(psycopg2.IntegrityError) as caught,
            mute_logger("odoo.sql_db"),
        ):
            self._run("env['bj.http.method'].sudo().create({'name': 'GET'})")
        savepoint.close(rollback=True)
        self.assertEqual(caught.exception.pgcode, "23505")
        self.assertTrue(caught.exception.diag.constraint_name)
        self.assertNotIn("execute", vars(self.env.cr))

    def test_methods_that_end_the_transaction_are_out_of_order(self):
        before = dict(vars(self.env.cr))
        for name in script_cursor.REFUSED:
            with self.subTest(name):
                context = self._make_context(get=getattr, cr=self.env.cr, name=name)
                source = "record.write({'ref': 'X'})\nget(c, name)()"
                context["c"] = context.pop("cr")
                self.assertFails(
                    re.compile("cannot be committed"), source, context=context
                )
        for name in (*script_cursor.REFUSED, "execute"):
            self.assertIs(vars(self.env.cr).get(name), before.get(name))

    def test_code_of_a_server_action_cannot_commit_either(self):
        source = (
            "action = env['ir.actions.server'].sudo().create({'name': 'x', "
            "'state': 'code', 'model_id': env['ir.model']._get_id('res.partner'), "
            "'code': 'env.cr.commit()'})\naction.run()"
        ).replace("env['ir.model']._get_id('res.partner')", "config.sudo().model_id.id")
        with mute_logger("odoo.addons.base.models.ir_actions"):
            self.assertFails(re.compile("cannot be committed"), source)


class TestBrokenTransaction(ScriptCase):
    """With a cursor of its own, so that what is committed would really be there."""

    def setUp(self):
        super().setUp()
        self.cr = sql_db.db_connect(self.env.cr.dbname).cursor()
        self.addCleanup(self.cr.close)
        self.own = api.Environment(self.cr, SUPERUSER_ID, {})
        self.name = f"Raw {time.monotonic()}"

    def run_with(self, *statements, later="", name="amount"):
        """Run a script that gets past everything to psycopg2's cursor."""

        def raw():
            cursor = self.cr._cnx.cursor()
            for statement in statements:
                cursor.execute(statement)

        script = self.own["bj.api.sync.script"]
        config = self.own["bj.api.sync.config"].new({"model_name": "res.partner"})
        context = script._make_context(config, direction="in", records=None)
        context.update(raw=raw, name=self.name)
        source = "model.create({'name': name})\nenv.flush_all()\nraw()\n" + later
        with mute_logger("odoo.sql_db"):
            script._run(source, "execute", context, name=name, line_id=7)

    def test_a_transaction_that_was_ended_makes_the_call_fail(self):
        for statement in ("ROLLBACK", "COMMIT"):
            with self.subTest(statement), self.assertRaises(ScriptError) as caught:
                self.run_with(statement)
            self.assertIn("cannot be committed", caught.exception.description)
            self.assertEqual(caught.exception.line_id, 7)
            self.cr.execute("DELETE FROM res_partner WHERE name = %s", (self.name,))
            # What the script did must be seen by the next one.
            self.cr.commit()  # pylint: disable=invalid-commit

    def test_nothing_more_is_committed_once_it_was_ended(self):
        later = (
            "try:\n    model.create({'name': name})\n    env.flush_all()\n"
            "except Exception:\n    pass"
        )
        with self.assertRaises(ScriptError):
            self.run_with("ROLLBACK", later=later)
        self.cr.rollback()
        self.cr.execute("SELECT 1 FROM res_partner WHERE name = %s", (self.name,))
        self.assertFalse(self.cr.fetchall())

    def test_an_ordinary_script_costs_no_statement(self):
        script = self.own["bj.api.sync.script"]
        script._timeout()
        before = self.cr.sql_log_count
        context = {"x": 1}
        self.assertEqual(script._run("x + 1", "evaluate", context, name="x"), 2)
        self.assertEqual(self.cr.sql_log_count, before)


class TestLasting(ScriptCase):
    """Every script ends with its deadline and a bit, whatever it does."""

    def setUp(self):
        super().setUp()
        parameters = self.env["ir.config_parameter"].sudo()
        parameters.set_param("bj_api_sync.script_timeout", "2")

    def run_for(self, source, mode="evaluate"):
        context = self._make_context(text="a" * 10**6, deep=nested(1), deep2=nested(2))
        begin = time.monotonic()
        with self.subTest(source=source):
            with self.assertRaises(ScriptError):
                self._run(source, mode, context)
            # Three seconds are promised; a machine under load may take longer.
            self.assertLess(time.monotonic() - begin, 20)

    def test_what_is_too_large_or_too_slow_ends(self):
        for source in [*TOO_LARGE, *SLOW]:
            self.run_for(source)

    def test_expressions_of_re_end(self):
        for source in [
            "re.search('x*x*x*y', 'x' * 3000)",
            "re.search('x*x*y', 'x' * 20000)",
            "re.match('x', 'x').re.search('x' * 10 ** 6)",
            "re.sub('(a?){30}b', '', 'a' * 30)",
            "re.split('x*[yz]', 'x' * 40000)",
            "[re.findall('x*[yz]', 'x' * 5000) for n in range(10 ** 6)]",
            "re.sub('', lambda m: 'x' * 10 ** 6, 'a' * 10 ** 6)",
        ]:
            self.run_for(source)

    def test_other_ways_to_keep_a_worker_end(self):
        for source in [
            "time.sleep(1)",
            "list(dateutil.rrule.rrule(dateutil.rrule.SECONDLY))",
            "json.loads('[' * 10 ** 6)",
            "datetime.strptime('1' * 10 ** 6, '%Y' * 10 ** 6)",
            "float_compare(1, 2, precision_digits=-10 ** 9)",
            "[b64encode(b'a' * 10 ** 6) for n in range(10 ** 6)]",
            "sorted([text] * 10 ** 6, key=lambda t: t[::-1])",
        ]:
            self.run_for(source)


class TestResults(ScriptCase):
    def setUp(self):
        super().setUp()
        # However slow the machine is, what is too much is noticed first.
        parameters = self.env["ir.config_parameter"].sudo()
        parameters.set_param("bj_api_sync.script_timeout", "300")

    def test_what_is_no_data_is_an_error_that_says_what_and_where(self):
        for source, message in [
            ("lambda x: x", "`result` is a function"),
            ("env", "`result` is an environment"),
            ("[env]", "`result[0]` is an environment"),
            ("{'a': {'b': map(str, [1])}}", "`result['a']['b']` is a function|a map"),
            ("{'a': (n for n in [1])}", "`result['a']` is a generator.*use `list"),
            ("range(3)", "`result` is a range.*use `list"),
            ("timedelta(1)", "`result` is a timedelta.*total_seconds"),
            ("datetime.time(1)", "`result` is a time"),
            ("{(1, 2): 3}", "a key of `result` is a tuple"),
            ("{None: 3}", "a key of `result` is a nonetype"),
            ("{b'a': 3}", "a key of `result` is a bytes"),
            ("float('nan')", "NaN is not a number"),
            ("1.5e308 * 10", "Infinity is not a number"),
            ("[-1.5e308 * 10]", "-Infinity is not a number"),
            ("int('9' * 400)", "a number of .* bits is not a number"),
            ("'\\ud800'", "`result` holds half of a character"),
            ("{'a': ['\\udfff']}", r"`result\['a'\]\[0\]` holds half"),
            ("{'\\ud800': 1}", "holds half"),
            ("str", "`result` is a type"),
            ("log", "`result` is a log"),
            ("Command", "`result` is an enum"),
            ("UserError('x')", "`result` is an usererror|a usererror"),
            ("Exception", "`result` is a type"),
            ("timezone('Europe/Kyiv')", "`result` is an europe/kyiv"),
        ]:
            with self.subTest(source=source):
                pattern = message.replace("[0]`", r"\[0\]`").replace("['", r"\['")
                pattern = pattern.replace("']", r"'\]").replace("\\\\", "\\")
                self.assertFails(
                    re.compile(f"^Script amount: .*({pattern})"), source, "evaluate"
                )

    def test_what_contains_itself_is_an_error(self):
        for source in [
            "result = []\nresult.append(result)",
            "result = {}\nresult['a'] = [result]",
            "result = []\nfor n in range(70):\n    result = [result]",
            "result = [1]\nfor n in range(40):\n    result = [result, result]",
        ]:
            self.assertFails(re.compile("contains itself"), source)

    def test_what_the_request_holds_afterwards_is_looked_at_as_well(self):
        for name in ("request_data", "response_data", "headers", "params"):
            context = self._make_context(**{name: {}})
            with self.assertRaises(ScriptError) as caught:
                source = f"{name}['a'] = env"
                self.script._run(source, "execute", context, name="Request Script")
            self.assertIn(f"`{name}['a']` is an", caught.exception.description)

    def test_data_passes(self):
        for source in [
            "None",
            "True",
            "1.5",
            "2 ** 60",
            "'ї'",
            "b'\\xff'",
            "record",
            "[record]",
            "{1, 2}",
            "{'a': (1, [None, {'b': records}])}",
            "{1: 'a'}",
            "datetime.now()",
            "datetime.now().date()",
            "Command.create({'a': 1})",
            "map(str, [1])",
            "[Command.set(records.ids)]",
            "record.read(['name'])",
            "env.context",
        ]:
            with self.subTest(source=source):
                self._run(source, "evaluate")
