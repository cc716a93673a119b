import json
import re
import time
import traceback
from pathlib import Path

import psycopg2
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import BaseCase, TransactionCase, freeze_time, new_test_user
from odoo.tools import mute_logger, safe_eval

from ..exceptions import NotFound, ScriptError
from ..models.bj_api_sync_script import DEFAULT_TIMEOUT, HELPERS, NOTHING
from ..tools import script_lint
from ..tools.message import OutboundResponse

GUIDE = Path(__file__).parents[1] / "docs" / "scripts.md"
NAMES_OF_SPEC = """
    env model record records request_data params headers method direction config line time
    datetime dateutil timezone timedelta float_compare b64encode b64decode json UserError
    Command log _logger hmac_sha256 sha256 re
""".split()


class TestSandbox(BaseCase):
    """What the check at save knows about Odoo's own sandbox."""

    def test_the_names_of_the_sandbox_are_those_of_odoo(self):
        odoo_names = set(safe_eval._BUILTINS) - {"__import__"}
        self.assertEqual(script_lint.SANDBOX_BUILTINS, odoo_names)
        self.assertLessEqual(
            set(safe_eval._UNSAFE_ATTRIBUTES),
            script_lint._FRAME_NAMES
            | set(script_lint.FORBIDDEN_ATTRIBUTES)
            | {"_co_code_adaptive"},
        )

    def test_a_closure_is_explained_with_its_line(self):
        source = "a = 1\ndef f(n):\n    b = 2\n    return map(lambda x: x + n, [b])\n"
        message = safe_eval.test_python_expr(source, "exec")
        problem = script_lint.explain_opcodes(source, "execute", message)
        self.assertIn(problem.line, (2, 4))
        self.assertIn("give it as a default", problem.message)

    def test_other_opcodes_are_named(self):
        source = "x = 1\na, *b = [1, 2]"
        message = safe_eval.test_python_expr(source, "exec")
        problem = script_lint.explain_opcodes(source, "execute", message)
        self.assertEqual(problem.line, 2)
        self.assertIn("UNPACK_EX", problem.message)

    def test_another_message_is_left_alone(self):
        self.assertIsNone(script_lint.explain_opcodes("x", "execute", "no such thing"))


class ScriptCase(TransactionCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.script = cls.env["bj.api.sync.script"]
        cls.config = cls.env["bj.api.sync.config"].create(
            {
                "name": "Contacts",
                "model_id": cls.env["ir.model"]._get_id("res.partner"),
                "request_type": "in",
            }
        )
        cls.partner = cls.env["res.partner"].create(
            {
                "name": "Anna Kovalenko",
                "child_ids": [(0, 0, {"name": "Olha Kovalenko"})],
            }
        )

    def _make_context(self, script=None, **kwargs):
        script = self.script if script is None else script
        values = {"direction": "in", "records": self.partner, "method": "POST"}
        return script._make_context(self.config, **{**values, **kwargs})

    def _run(self, source, mode="execute", context=None, **kwargs):
        context = self._make_context(**kwargs) if context is None else context
        return self.script._run(source, mode, context, name="amount", line_id=7)

    def assertFails(self, message, source, mode="execute", **kwargs):
        with self.assertRaises(ScriptError) as caught:
            self._run(source, mode, **kwargs)
        self.assertEqual(caught.exception.line_id, 7)
        if isinstance(message, str):
            self.assertEqual(caught.exception.description, message)
        else:
            self.assertRegex(caught.exception.description, message)
        return caught.exception


class TestRun(ScriptCase):
    def test_the_samples_of_the_documentation_run(self):
        data = {"amount": 12}
        for mode, source, expected in [
            ("evaluate", "request_data.get('amount')", 12),
            ("evaluate", "datetime.now() == datetime.datetime.now()", True),
            ("evaluate", "datetime.strptime('2025-01-31', '%Y-%m-%d').day", 31),
            ("evaluate", "records.mapped('name')", ["Anna Kovalenko"]),
            ("evaluate", "record.name", "Anna Kovalenko"),
            ("evaluate", "Command.create({'name': 'x'})", (0, 0, {"name": "x"})),
            ("evaluate", "json.loads(json.dumps(request_data))", data),
            ("evaluate", "b64encode(b'a').decode()", "YQ=="),
            ("evaluate", "float_compare(0.1 + 0.2, 0.3, precision_digits=2)", 0),
            ("evaluate", "timezone('Europe/Kyiv').zone", "Europe/Kyiv"),
            ("evaluate", "re.sub('[0-9]', '#', 'a1')", "a#"),
            ("evaluate", "model.search_count([('id', '=', record.id)])", 1),
            ("evaluate", "\n\n  1 +\\\n 1", 2),
            ("execute", "result = [i for i in range(3)]", [0, 1, 2]),
            ("execute", "record.write({'ref': 'X'})\nresult = record.ref", "X"),
            ("execute", "_logger.info('%s', record.id)\nlog('x')", NOTHING),
        ]:
            with self.subTest(source=source), freeze_time("2025-01-31 10:00:00"):
                context = self._make_context(request_data=dict(data))
                self.assertEqual(self._run(source, mode, context), expected)

    def test_a_script_may_write_a_log_row_whoever_it_runs_as(self):
        user = new_test_user(self.env, "script_runner", "base.group_user")
        script = self.script.with_user(user)
        source = (
            "env['bj.api.log'].create({'name': 'by script', 'status': 'error', "
            "'error_message': 'no', 'duration': 0.5, 'request_data': '{}', "
            "'response_code': 400})"
        )
        script._run(source, "execute", self._make_context(script), name="x")
        log = self.env["bj.api.log"].search([("name", "=", "by script")])
        self.assertRecordValues(log, [{"status": "error", "response_code": 400}])
        with self.assertRaises(AccessError):
            self.env["bj.api.log"].with_user(user).create({"name": "directly"})

    def test_every_variable_is_there(self):
        self.assertLessEqual(set(NAMES_OF_SPEC), set(self._make_context()))

    def test_a_script_runs_with_the_rights_of_the_environment(self):
        user = new_test_user(self.env, "script_runner", "base.group_user")
        script = self.script.with_user(user)
        context = self._make_context(script)
        source = (
            "[env.uid, record.env.uid, model.env.uid, config.env.uid, line.env.uid]"
        )
        value = script._run(source, "evaluate", context, name="x")
        self.assertEqual(value, [user.id] * 5)
        with self.assertRaises(ScriptError), mute_logger("odoo.addons.base"):
            script._run(
                "env['ir.config_parameter'].create({'key': 'x', 'value': 'y'})",
                "execute",
                context,
                name="x",
            )

    def test_the_caller_sees_what_a_script_changes(self):
        data, headers = {"a": 1}, {}
        context = self._make_context(request_data=data, headers=headers)
        self._run("request_data['b'] = 2\nheaders['X-Key'] = 'k'", context=context)
        self.assertEqual((data, headers), ({"a": 1, "b": 2}, {"X-Key": "k"}))
        self._run("request_data = [request_data]", context=context)
        self.assertEqual(context["request_data"], [data])
        self.assertNotIn("__builtins__", context)

    def test_execute_gives_result_or_nothing(self):
        context = self._make_context()
        self.assertEqual(self._run("result = 5", context=context), 5)
        # The result of the run before does not count.
        self.assertIs(self._run("x = 1", context=context), NOTHING)
        self.assertIsNone(self._run("result = None", context=context))
        self.assertIs(self._run("", context=context), NOTHING)

    def test_lazy_values_are_computed_inside(self):
        for source in ["map(str, [1, 2])", "(str(i) for i in [1, 2])"]:
            self.assertEqual(self._run(source, "evaluate"), ["1", "2"])
        expected = "Script amount, line 1: ZeroDivisionError: division by zero"
        self.assertFails(expected, "result = map(lambda x: 1 / x, [0])")

    def test_without_records_or_data_the_variables_are_empty(self):
        context = self._make_context(records=None)
        source = "[len(record), len(records), request_data, params, headers, len(line)]"
        self.assertEqual(self._run(source, "evaluate", context), [0, 0, {}, {}, {}, 0])


class TestRunErrors(ScriptCase):
    def test_the_message_has_name_line_and_error(self):
        for source, message in [
            ("x = {}\n\nx['price']", "line 3: KeyError: 'price'"),
            ("x = 1\ny = x / 0", "line 2: ZeroDivisionError: division by zero"),
            ("def f(x):\n    return x[5]\n\nf([])", "line 2: IndexError: "),
            ("int('abc')", "line 1: ValueError: invalid literal for int"),
            ("requestdata", "line 1: NameError: name 'requestdata' is not defined"),
            ("\nrecord.nothing", "line 2: AttributeError: "),
            ("datetime.nothing", "line 1: AttributeError: `datetime.nothing` is not"),
            ("raise Exception('no')", "line 1: Exception: no"),
            ("x = 1\nraise UserError('Too cheap')", "line 2: Too cheap"),
            ("re.search('(a+)+', 'a')", "line 1: ValueError: re: '(a+)+' repeats"),
        ]:
            with self.subTest(source=source):
                expected = re.compile(f"^Script amount, {re.escape(message)}")
                self.assertFails(expected, source)

    def test_an_expression_counts_its_lines_from_the_top(self):
        expected = re.compile("^Script amount, line 4: ZeroDivisionError")
        self.assertFails(expected, "\n\n(\n1/0)", "evaluate")

    def test_the_cause_has_the_traceback(self):
        error = self.assertFails(re.compile("KeyError"), "x = {}\nx['a']")
        self.assertIsInstance(error.__cause__, KeyError)
        text = "".join(traceback.format_exception(error))
        self.assertIn('File "<bj_api_sync script>", line 2', text)
        self.assertNotIn("while evaluating", text)

    def test_errors_of_odoo_are_script_errors_with_their_own_words(self):
        def fail(error):
            raise error

        for error, message in [
            (UserError("Own words"), "Script amount, line 1: Own words"),
            (ValidationError("Not valid"), "Script amount, line 1: Not valid"),
            (
                AccessError("John may not read Contact 'Secret'"),
                "Script amount, line 1: AccessError: The user that this endpoint runs "
                "as has no right to do this.",
            ),
            (NotFound("No such"), "Script amount, line 1: No such"),
            (ScriptError("Script b: no"), "Script amount, line 1: Script b: no"),
        ]:
            with self.subTest(error=error):
                context = self._make_context(fail=fail, error=error)
                self.assertFails(message, "fail(error)", context=context)

    def test_errors_of_postgresql_pass_unchanged(self):
        def fail(error):
            raise error

        for error in [
            psycopg2.errors.SerializationFailure("again"),
            psycopg2.errors.DeadlockDetected("again"),
            psycopg2.errors.UniqueViolation("twice"),
        ]:
            for source in ("fail(error)", "result = fail(error)"):
                context = self._make_context(fail=fail, error=error)
                with self.assertRaises(type(error)) as caught:
                    self._run(source, context=context)
                self.assertIs(caught.exception, error)

    def test_a_refused_script_does_not_run_at_all(self):
        self.assertFails(
            "Script amount, line 2: `commit` cannot be used: everything a script does "
            "belongs to one transaction; `raise UserError(...)` cancels it, and success "
            "needs nothing",
            "record.write({'name': 'changed'})\nenv['x'].commit()",
        )
        self.assertEqual(self.partner.name, "Anna Kovalenko")

    def test_a_commit_in_some_method_is_noticed(self):
        def hidden_commit():
            # What Cursor.commit() does to its hooks; a test cannot commit.
            self.env.cr.postrollback.clear()

        context = self._make_context(call=hidden_commit)
        self.assertFails(re.compile("committed"), "call()", context=context)
        self._run("x = 1")

    def test_a_script_may_run_another(self):
        def inner():
            return self._run("result = 3")

        self.assertEqual(
            self._run("result = f()", context=self._make_context(f=inner)), 3
        )


class TestTimeout(ScriptCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.parameters = cls.env["ir.config_parameter"].sudo()

    def test_runaway_loops_end(self):
        self.parameters.set_param("bj_api_sync.script_timeout", "0.2")
        for source, line in [
            ("while True:\n    pass", "[12]"),
            ("x = 0\nwhile True:\n    x += 1", "[23]"),
            (
                "while True:\n"
                "    try:\n"
                "        x = 1 / 0\n"
                "    except Exception:\n"
                "        x = 2",
                "[1-5]",
            ),
            ("def f(x):\n    while x:\n        x += 1\nf(1)", "[23]"),
            ("while True:\n    model.search_count([])", "2"),
            ("[0 for i in range(1000) for j in range(1000000)]", "1"),
        ]:
            with self.subTest(source=source):
                begin = time.monotonic()
                self.assertFails(
                    re.compile(
                        f"^Script amount, line {line}: stopped after 0.2 seconds "
                        r"\(bj_api_sync.script_timeout\)$"
                    ),
                    source,
                )
                self.assertLess(time.monotonic() - begin, 30)

    def test_the_parameter_is_a_positive_number(self):
        for value, expected in [
            ("3", 3),
            ("0.5", 0.5),
            (False, DEFAULT_TIMEOUT),
            ("abc", DEFAULT_TIMEOUT),
            ("0", DEFAULT_TIMEOUT),
            ("-1", DEFAULT_TIMEOUT),
            ("nan", DEFAULT_TIMEOUT),
            ("inf", DEFAULT_TIMEOUT),
        ]:
            with self.subTest(value=value):
                self.parameters.set_param("bj_api_sync.script_timeout", value)
                self.assertEqual(self.script._timeout(), expected)


class TestCheck(ScriptCase):
    def assertRefused(self, source, mode="execute"):
        with self.assertRaises(ScriptError) as caught:
            self.script._check(source, mode)
        return caught.exception.description

    def test_a_script_that_can_run_passes(self):
        self.script._check("request_data.get('a')", "evaluate")
        self.script._check("import_date = 1\nresult = import_date", "execute")
        self.script._check("", "execute")

    def test_advice_and_line_are_in_the_message(self):
        self.assertEqual(
            self.assertRefused("import json\n\nx = env.cr"),
            "Line 1: `import json` is not needed: `json` is already there\n"
            "Line 3: `cr` cannot be used: use the ORM, e.g. `model.search([...])` or "
            "`record.write({...})`",
        )

    def test_what_the_sandbox_refuses_is_refused_at_save(self):
        for source in [
            "def f(n):\n    return lambda: n",
            "a, *b = [1, 2]",
            "match record:\n    case int(real=x):\n        pass",
        ]:
            with self.subTest(source=source):
                self.assertRegex(self.assertRefused(source), r"^Line \d")

    def test_ways_out_of_the_sandbox_are_refused(self):
        for source in [
            "'{0._call.__globals__}'.format(sha256)",
            "f'{sha256.__class__}'",
            "sha256._call",
            "().__class__.__bases__[0].__subclasses__()",
            "(x for x in [1]).gi_frame",
            "open('/etc/passwd').read()",
            "env.registry",
            "datetime._class",
            "__import__('os')",
        ]:
            with self.subTest(source=source):
                self.assertRefused(source)
                with self.assertRaises(ScriptError):
                    self._run(source)

    def test_no_variable_leads_to_a_module(self):
        for name, value in HELPERS.items():
            with self.subTest(name=name):
                self.assertFalse(hasattr(value, "__globals__"))

    def test_a_script_cannot_be_saved_that_cannot_run(self):
        with self.assertRaisesRegex(ValidationError, "`json` is already there"):
            self.config.request_script = "import json"


class TestEvalDomain(ScriptCase):
    def test_literals_and_names_give_a_list(self):
        user = new_test_user(
            self.env, "domain_user", "base.group_user", tz="Europe/Kyiv"
        )
        with freeze_time("2025-01-31 23:30:00"):  # 1 February in Kyiv
            for text, expected in [
                (False, []),
                ("", []),
                (" [] ", []),
                (
                    "[('a', '=', 1), ['b', 'in', [2]]]",
                    [("a", "=", 1), ["b", "in", [2]]],
                ),
                ("[('user_id', '=', uid)]", [("user_id", "=", user.id)]),
                ("[('a', '=', user.partner_id.id)]", [("a", "=", user.partner_id.id)]),
                ("[('a', '=', company_id)]", [("a", "=", 42)]),
                (
                    "[('a', '=', context_today().isoformat())]",
                    [("a", "=", "2025-02-01")],
                ),
                ("[('a', '=', time.strftime('%Y'))]", [("a", "=", "2025")]),
                (
                    # as the domain editor writes it for "is today"
                    "[('a', '>=', datetime.datetime.combine(context_today(), "
                    "datetime.time(0, 0, 0)).to_utc().strftime('%Y-%m-%d %H:%M:%S'))]",
                    [("a", ">=", "2025-01-31 22:00:00")],
                ),
                (
                    "[('a', '=', (context_today() + relativedelta(months=1)).isoformat())]",
                    [("a", "=", "2025-03-01")],
                ),
            ]:
                with self.subTest(text=text):
                    script = self.script.with_user(user)
                    value = script._eval_domain_text(text, user, 42)
                    self.assertEqual(value, expected)
                    same = script._eval_domain(("res.partner", text), user, 42)
                    self.assertEqual(same, expected)

    def test_it_is_taken_from_the_configuration(self):
        self.config.filter_domain = "[('create_uid', '=', uid)]"
        domain = self.script._eval_domain(self.config)
        self.assertEqual(domain, [("create_uid", "=", self.env.uid)])
        domain = self.script._eval_domain_text("[('company_id', '=', company_id)]")
        self.assertEqual(domain, [("company_id", "=", self.env.company.id)])

    def test_a_cached_domain_cannot_be_changed_by_a_caller(self):
        text = "[('a', 'in', [1])]"
        self.script._eval_domain_text(text)[0][2].append(2)
        self.assertEqual(self.script._eval_domain_text(text), [("a", "in", [1])])

    def test_what_cannot_be_used_is_an_error_with_the_domain(self):
        for text in [
            "[('id', '=', user.env.uid)]",
            "[('id', '=', user.sudo().id)]",
            "[('id', '=', env.uid)]",
            "[('id', '=', user.nothing)]",
            "[('id', '=', timedelta(years=1))]",
            "uid",
            "('a', '=', 1)",
            "{}",
            "[(",
        ]:
            with self.subTest(text=text):
                with self.assertRaises(ValidationError) as caught:
                    self.script._eval_domain_text(text)
                self.assertIn(text, str(caught.exception))


class TestGuide(ScriptCase):
    """Runs every example of docs/scripts.md; ``# result:`` says what it must give."""

    def test_every_example_does_what_the_guide_says(self):
        blocks = re.findall(r"```(\S+) ?(\w*)\n(.*?)```", GUIDE.read_text(), re.S)
        payload = next(text for language, _kind, text in blocks if language == "json")
        counts = {"evaluate": 0, "execute": 0, "refused": 0, "domain": 0}
        for _language, kind, source in blocks:
            if kind not in counts:
                continue
            counts[kind] += 1
            with self.subTest(source=source):
                getattr(self, f"_try_{kind}")(source, json.loads(payload))
        self.assertGreater(min(counts.values()), 2, counts)

    def _try_evaluate(self, source, data, mode="evaluate"):
        self.script._check(source, mode)
        context = self._make_context(
            request_data=data,
            response_data={},
            response=OutboundResponse(status=201, body=b'{"id": 5}'),
        )
        value = self._run(source, mode, context)
        self.assertTrue(mode == "execute" or value is not NOTHING)
        found = dict(re.findall(r"^# (result|request_data): (.*)$", source, re.M))
        if "result" in found:
            self.assertEqual(value, self._run(found["result"], "evaluate"))
        if "request_data" in found:
            expected = self._run(found["request_data"], "evaluate")
            self.assertLessEqual(expected.items(), context["request_data"].items())

    def _try_execute(self, source, data):
        self._try_evaluate(source, data, "execute")

    def _try_refused(self, source, data):
        with self.assertRaises(ScriptError):
            self.script._check(source, "execute")

    def _try_domain(self, source, data):
        domain = self.script._eval_domain_text(source)
        self.env["res.partner"].search(domain, limit=1)
