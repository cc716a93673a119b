import ast

from ..tools import script_helpers, script_lint, script_rewrite
from .pure_case import PureCase


def messages(source, mode="execute"):
    return [str(problem) for problem in script_lint.check(source, mode)]


class TestCheck(PureCase):
    def test_ordinary_scripts_have_no_problem(self):
        for mode, source in [
            ("evaluate", "request_data.get('amount')"),
            ("evaluate", "\n  datetime.now().strftime('%Y-%m-%d')  \n"),
            ("evaluate", "records.mapped('partner_id.name')"),
            ("evaluate", "sum(line['qty'] * line['price'] for line in request_data)"),
            ("evaluate", "2 ** 10 + 10 ** -2 + 1 << 3"),
            ("evaluate", "'-' * 80 + 'x'.ljust(20) + f'{record.id:>10}'"),
            ("evaluate", "env['res.partner']._make_outbound_http_request(record)"),
            ("execute", ""),
            ("execute", "# only a comment"),
            ("execute", "for _ in range(1000):\n    _logger.info('x')"),
            ("execute", "def f(x):\n    return x\nresult = f(1)"),
            ("execute", "try:\n    f = 1\nexcept Exception as error:\n    log(error)"),
            ("execute", "while True:\n    break"),
            ("execute", "type = 'a'\nresult = type"),
            ("execute", "try:\n  x=1\nfinally:\n  for x in [1]:\n    break"),
        ]:
            with self.subTest(source=source):
                self.assertEqual(messages(source, mode), [])

    def test_what_nests_too_deep_is_told_whatever_looks_at_it(self):
        for source in [
            " + ".join(["1"] * 400),
            " + ".join(["1"] * 200),
            " ** ".join(["1.0"] * 400),
            "record" + ".name" * 400,
            "record" + "()" * 400,
            "record" + "['a']" * 90 + ".name" * 90,
            "-" * 180 + "1",
        ]:
            for mode in ("evaluate", "execute"):
                with self.subTest(source=source[:30], mode=mode):
                    (message,) = messages(source, mode)
                    self.assertIn("nested deeper than", message)
        (problem,) = script_lint.check_domain(f"[('a', '=', {'uid + ' * 400}1)]")
        self.assertIn("nested deeper than", problem.message)

    def test_what_may_nest_can_be_rewritten_and_compiled(self):
        for source in [
            " + ".join(["1"] * (script_lint.MAX_NESTING - 5)),
            "'a'" + ".replace('', 'b')" * (script_lint.MAX_NESTING // 2 - 5),
            "if 1:\n    x = 1\n" + "elif 2:\n    x = 2\n" * 120,
        ]:
            with self.subTest(source=source[:20]):
                self.assertEqual(messages(source), [])
                tree = script_rewrite.rewrite(source, "execute", {"replace"})
                compile(tree, "script", "exec")

    def test_what_leaks_or_breaks_the_transaction_is_refused(self):
        for source in [
            "'{0.__globals__}'.format(log)",
            "f = 'x'.format",
            "map(str.format, ['{0.x}'], [env])",
            "'x'.format_map({})",
            "env.cr",
            "env.ｃｒ",  # full-width letters: Python reads them as cr
            "env._cr",
            "env.registry",
            "model.pool",
            "env.cr.commit()",
            "cr.rollback()",
            "x.execute('select 1')",
            "().__class__",
            "__builtins__",
            "record._write({})",
            "_private = 1",
            "(x for x in y).gi_frame",
            "str.mro()",
            "f = lambda _x: 1",
            "def _f():\n    return 1",
            "def f(cr):\n    return 1",
            "time.sleep(1)",
        ]:
            with self.subTest(source=source):
                self.assertIn("cannot be used", "".join(messages(source)))

    def test_what_hides_the_deadline_is_refused(self):
        for source in [
            "try:\n    x = 1\nexcept:\n    x = 2",
            "while True:\n    try:\n        x = 1\n    finally:\n        continue",
            "while True:\n    try:\n        x = 1\n    finally:\n        break",
            "def f():\n    try:\n        x = 1\n    finally:\n        return 1",
            "def f():\n  try:\n    x = 1\n  finally:\n    if x:\n      return 1",
        ]:
            with self.subTest(source=source):
                self.assertEqual(len(messages(source)), 1)

    def test_constants_that_cannot_be_computed_are_refused(self):
        for source in [
            "10 ** 10 ** 8",
            "x ** 100000",
            "2 ** (10 * 1000)",
            "(10 ** 400) ** 400",
            "x **= 10 ** 6",
            "1 << 10 ** 9",
            "range(10 ** 9)",
            "range(0, -10000000, -1)",
            "'a' * 10 ** 10",
            "10 ** 10 * 'a'",
            "[0] * 99999999",
            "x = 'a' * 99999999",
            "'%9999999999d' % 1",
            "f'{1:>9999999999}'",
            "'a'.ljust(10 ** 10)",
        ]:
            with self.subTest(source=source):
                self.assertEqual(len(messages(source)), 1, messages(source))

    def test_an_exponent_that_a_caller_may_choose_needs_a_bound(self):
        for source in [
            "10 ** request_data['decimals']",
            "x ** -n",
            "x **= n",
            "1 << n",
            "x <<= n",
            "10 ** min(n, m)",
            "10 ** min(n, 10 ** 6)",
            "10 ** -min(n, 9)",
            "10 ** min(n, 9, key=lambda value: -value)",
            "min = max\n10 ** min(n, 3)",
            "float = int\nfloat(10) ** n",
        ]:
            with self.subTest(source=source):
                self.assertEqual(len(messages(source)), 1, messages(source))
        [message] = messages("10 ** n")
        self.assertIn("`10 ** min(n, 9)`", message)
        for source in [
            "10 ** min(request_data['decimals'], 9)",
            "1.05 ** years",
            "float(x) ** years",
            "x ** 2",
            "x ** 0.5",
            "x ** -2",
            "1 << min(n, 8)",
        ]:
            with self.subTest(source=source):
                self.assertEqual(messages(source), [])

    def test_imports_are_answered_with_what_to_use_instead(self):
        for source, expected in [
            ("import json", "`json` is already there"),
            ("import json as j", "`json` is already there"),
            ("from datetime import datetime", "`datetime.now()`"),
            ("import time", "`time` is already there"),
            ("import base64", "`b64encode`"),
            ("import hmac, hashlib", "`hmac_sha256(key, message)`"),
            ("import hmac, hashlib", "`sha256(message)`"),
            ("import re", "`re` is already there"),
            ("from dateutil.relativedelta import relativedelta", "`dateutil`"),
            ("from odoo.exceptions import UserError", "`UserError`"),
            ("import requests", "_make_outbound_http_request"),
            ("import urllib.request", "_make_outbound_http_request"),
            ("import os", "no files"),
            ("import pandas", "only the variables"),
            ("from . import x", "only the variables"),
        ]:
            with self.subTest(source=source):
                text = "\n".join(messages(f"x = 1\n{source}"))
                self.assertIn(expected, text)
                self.assertTrue(text.startswith("line 2: "), text)
        self.assertIn("`json` is already there", messages("import json", "evaluate")[0])

    def test_names_that_the_sandbox_lacks_are_answered_with_advice(self):
        for source, expected in [
            ("print(1)", "use `log(message)`"),
            ("requests.get('x')", "_make_outbound_http_request"),
            ("getattr(record, 'x')", "`record[name]`"),
            ("open('/etc/passwd')", "no files"),
            ("eval('1')", "not available"),
            ("try:\n    x = 1\nexcept ValueError:\n    x = 2", "except Exception"),
            ("record.name = 1", ".write({'name': value})"),
            ("record.count += 1", ".write({'count': value})"),
            ("del x['a']", "values.pop(key)"),
            ("with x:\n    y = 1", "`with` is not available"),
            ("class A:\n    x = 1", "classes cannot be made"),
            ("assert x", "raise UserError"),
        ]:
            with self.subTest(source=source):
                self.assertIn(expected, "\n".join(messages(source)))

    def test_problems_name_the_line_and_come_in_order(self):
        self.assertEqual(
            [
                p.line
                for p in script_lint.check("a = 1\nenv.cr\n\nimport re", "execute")
            ],
            [2, 4],
        )
        self.assertEqual(script_lint.check("\n\n env.cr", "evaluate")[0].line, 3)
        self.assertEqual(script_lint.check("x = (1,\n 2", "execute")[0].line, 1)

    def test_the_wrong_mode_is_explained(self):
        for source in ["x = 1", "for x in y:\n    z = 1", "1\n2", "result = 5"]:
            with self.subTest(source=source):
                self.assertIn("choose Execute", messages(source, "evaluate")[0])
        self.assertIn("is empty", messages(" \n", "evaluate")[0])

    def test_what_cannot_be_parsed_is_a_problem_and_not_an_error(self):
        for source in ["x = (", "\0", "(" * 10000, "-" * 99000 + "1", "x" * 200_000]:
            for mode in script_lint.COMPILE_MODES:
                with self.subTest(source=source[:10], mode=mode):
                    self.assertEqual(len(messages(source, mode)), 1)

    def test_limits_at_save_and_at_run_agree(self):
        self.assertEqual(script_lint.MAX_RANGE, script_helpers.MAX_RANGE)


class TestCheckDomain(PureCase):
    def test_what_administrators_write_is_accepted(self):
        for text in [
            "[]",
            "[('active', '=', True)]",
            "['|', ('user_id', '=', uid), ('user_id', '=', False)]",
            "[('company_id', 'in', [False, company_id])]",
            "[('partner_id', '=', user.partner_id.id)]",
            "[('id', 'in', user.company_ids.ids)]",
            "[('date', '>=', context_today().strftime('%Y-%m-%d'))]",
            "[('date', '>=', (context_today() - relativedelta(days=7))"
            ".strftime('%Y-%m-%d'))]",
            "[('write_date', '>', datetime.datetime.now() - timedelta(hours=1))]",
            "[('write_date', '>', datetime.datetime.combine(context_today(), "
            "datetime.time(0, 0, 0)).to_utc().strftime('%Y-%m-%d %H:%M:%S'))]",
            "[('date', '=', time.strftime('%Y-%m-%d'))]",
            "[('x', '=', 1)] + ([('y', '=', -2)] if uid else [])",
        ]:
            with self.subTest(text=text):
                self.assertEqual(script_lint.check_domain(text), [])

    def test_everything_else_is_refused(self):
        for text in [
            "[('id', 'in', user.env['res.users'].search([]).ids)]",
            "[('id', '=', user.sudo().id)]",
            "[('id', '=', user.sudo)]",
            "[('id', '=', user.has_group('base.group_system'))]",
            "[('id', '=', user.password)]",
            "[('id', '=', user._cr)]",
            "[('id', '=', user.partner_id.env.cr)]",
            "[('id', '=', '{0.env}'.format(user))]",
            "[('id', '=', 'x'.ljust(10))]",
            "[('id', '=', 10 ** 10)]",
            "[('id', '=', 'x' * 10)]",
            "[('id', '=', '%s' % user)]",
            "[('id', '=', f'{user}')]",
            "[x for x in user.ids]",
            "(lambda: [])()",
            "[('id', '=', env.uid)]",
            "[('id', '=', len(user.ids))]",
            "[('id', '=', [].append(1))]",
            "[('id', '=', time.sleep(3))]",
            "[('id', '=', (y := 3))]",
            "[('id', '=',",
            "x = []",
        ]:
            with self.subTest(text=text):
                self.assertTrue(script_lint.check_domain(text))

    def test_the_table_of_nodes_names_real_nodes(self):
        for node in script_lint._DOMAIN_NODES:
            self.assertTrue(issubclass(node, ast.AST))
