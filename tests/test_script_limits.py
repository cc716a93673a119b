"""What a script's operators and functions do in place of Python's own."""

# What Python itself does with the same sources is what is compared.
# pylint: disable=eval-used,exec-used

import time
import traceback
from functools import reduce
from unittest.mock import patch

from ..tools import script_helpers, script_limits, script_rewrite
from .pure_case import PureCase

METHODS = {name for _kind, name in script_limits.METHODS}
# Two values each: what the same source gives without anything replaced.
SAME = """
1 + 2 * 3 - 4 // 3 % 2 ** 3
-7 // 2, -7 % 3, divmod(-7, 3), 2 ** -1, 1 << 10, 7.5 % 2, 2.5 ** 2
"a" + "b" * 3, [1] + [2] * 2, (1,) * 2 + (3,), b"a" * 2, 3 * "x", 0 * "x", -1 * [1]
"%s is %d, %5.2f" % ("a", 3, 2.5), "%(a)s%%" % {"a": 1}, b"%d" % 5, "%s" % [1], "%-5s|" % "a"
f"{1 + 1:>5}|{'a'!r:<6}|{2.345:.2f}|{'x':{'>'}{4}}|plain|{{}}", f"{3!s}{None}", f""
"a-b-c".replace("-", "+", 1), "a".replace("", "x"), b"aXa".replace(b"X", b""), "aa".replace("a", "b", 0)
"-".join(["a", "b"]), ",".join(str(n) for n in [1, 2]), b"".join([b"a"]), str.join("+", "ab")
"a".ljust(3, "."), "a".rjust(3), "a".center(4, "*"), "7".zfill(3), "a\tb".expandtabs(4)
"a.b.c".rsplit(".", 1), "a b".rsplit(), "a.b.c".rpartition("."), "abcb".rfind("b"), "abcb".rindex("b", 0, 2)
"abc".translate({97: "x", 98: None}), b"abc".translate(None, b"b")
(5).to_bytes(2, "big"), (5).to_bytes(2, byteorder="little")
[1 < 2 < 3, 3 > 2 >= 2 != 1, [1] == [1], (1, 2) in [(1, 2)], "a" in "abc", 1 not in {1}, None is None]
sum([1, 2]), sum([0.1] * 10), sum([[1], [2]], []), sum((x for x in [1, 2]), 10), sum([])
min(3, 1), max([1, 3], default=0), min([], default=5), max("ab", "c", key=len), sorted([3, 1], reverse=True)
sorted(["b", "A"], key=str.lower), round(2.567, 2), round(7), round(1250, -2), round(2.5)
list(map(lambda a, b: a + b, [1, 2], [3, 4])), list(map(str, [1])), list(filter(None, [0, 1])), list(filter(lambda x: x > 1, [1, 2]))
list(zip([1, 2], "ab")), list(zip()), dict(zip([1], [2])), list(zip([1], [2, 3])), list(zip([1, 2], [3]))
reduce(lambda a, b: a * b, [1, 2, 3]), reduce(lambda a, b: a + b, [], 5)
str(5), str(b"a", "ascii"), repr("a"), bytes([1, 2]), bytes(2), bytes("a", "utf-8"), isinstance("a", str), str.upper("a")
[*[1], *(2, 3)], (*[1], 2), {*[1, 1]}, {**{"a": 1}, "b": 2}, {1, 2}, [x * 2 for x in [1, 2] if x == 2]
[n for n in range(3)][::-1], {k: v + 1 for k, v in {"a": 1}.items()}, (lambda x, y=2: x * y)(3)
""".strip().splitlines()
STATEMENTS = {
    "x = 1\nx += 2\nx *= 3\nx **= 2\nx //= 4\nx %= 6\nx <<= 2": "x",
    "a = [1]\nb = a\nb += [2]\nb *= 2\nb += (3,)": "(a, b is a)",
    "d = {'a': {'n': 1}, 'l': [1]}\nd['a']['n'] += 5\nd['l'] += [2]\nd['l'][0] *= 4": "d",
    "calls = []\ndef key():\n    calls.append(1)\n    return 'a'\nd = {'a': 1}\n"
    "d[key()] += 1\nd[key()] *= 7": "(d, calls)",
    "s = 'a'\ns += 'b'\ns *= 2\ns %= ()": "s",
    "def f(d, k):\n    d[k] += 1\n    d[k] -= 3\n    return d\nd = f({'a': 1}, 'a')": "d",
    "a = [1, 2, 3]\na[0:1] += [9]\na.extend([4])\na.sort(key=lambda n: -n)": "a",
    "t = 0\nfor n in range(5):\n    t += n * 2": "t",
    "str = 5\nx = str + 1": "x",
}
TOO_LARGE = """
int('f' * 200000, 16) % int('f' * 100000, 16)
int('f' * 200000, 16) * int('f' * 200000, 16)
int('f' * 200000, 16) // 3
divmod(int('f' * 200000, 16), 3)
reduce(lambda a, b: a * b, range(1, 50000))
2 ** int('100000')
1 << int('1000000000')
10 ** 5 ** 8
round(5, -int('1000000000'))
'a' * int('1000000000')
int('1000000000') * [0]
b'a' * int('1000000000')
('a' * 9000000) + ('b' * 9000000)
'%*d' % (10 ** 9, 1)
'%1000000000d' % 1
'%.*f' % (int('1000000000'), 1.5)
'%s' * 1000 % ((text,) * 1000)
'%(a)s' * 1000 % {'a': text}
f"{1:{10 ** 9}}"
f"{1.5:.{10 ** 9}f}"
f"{text}" + "".join([f"{text}{text}{text}{text}{text}{text}{text}{text}{text}{text}{text}"])
text.replace('', text)
text.replace('a', 'b' * 1000)
text.translate({97: 'b' * 1000})
'-'.join([text] * 100)
str.join('-', [text] * 100)
text.join(['a'] * 1000)
'a'.ljust(10 ** 9)
'a'.zfill(10 ** 9)
str.center('a', 10 ** 9)
('\\t' * 1000).expandtabs(10 ** 6)
('a' * 10 ** 6).rfind('a' * 10 ** 5 + 'b' + 'a' * 10 ** 5)
text.rsplit('a' * 10 ** 5 + 'b')
(5).to_bytes(10 ** 10, 'big')
bytes(10 ** 10)
deep == deep2
sorted([text] * 10 ** 6)
(text[1:] + 'b') in [text] * 10 ** 6
(text[1:] + 'b') not in [text] * 10 ** 6
[text] * 10 ** 6 == [text[1:] + 'a'] * 10 ** 6
str([text] * 10 ** 4)
f"{[text] * 1000}"
'%r' % ([text] * 1000,)
json.dumps([text] * 1000)
json.dumps([1] * 1000, indent=10 ** 9)
json.dumps([1], separators=('x' * 10 ** 6, ':'))
range(10 ** 9)
""".strip().splitlines()
# What is made of so few lists that only their values, counted each time, are too many.
TOO_DEEP = """
str(deep)
repr(deep)
f"{deep}"
f"{deep!r}"
'%s' % deep
'%s' % (deep,)
deep in [deep2]
sorted([deep, deep2])
max([deep, deep2])
json.dumps(deep)
""".strip().splitlines()
SLOW = """
all(map(list, [range(10 ** 6)] * 10 ** 6))
all(filter(list, [range(10 ** 6)] * 10 ** 6))
sorted([range(10 ** 6)] * 10 ** 6, key=list)
sum([[1] * 1000] * 10 ** 5, [])
reduce(divmod, [0.5] * 10 ** 6)
""".strip().splitlines()


def evaluate(source, mode="evaluate", names=()):
    """Return the value as a script gets it."""
    names = {
        **script_limits.FUNCTIONS,
        **script_limits.OPERATIONS,
        "json": script_helpers.Json(),
        "range": script_helpers.limited_range,
        **dict(names),
    }
    tree = script_rewrite.rewrite(source, mode, METHODS)
    exec(compile(tree, "script", "exec"), names)
    return names.get(script_rewrite.VALUE), names


def nested(last):
    value = [last]
    for _ in range(40):
        value = [value, value]
    return value


class TestRewrite(PureCase):
    def test_expressions_give_what_python_gives(self):
        for source in SAME:
            with self.subTest(source):
                expected = eval(source, {"reduce": reduce})
                value, _names = evaluate(source)
                self.assertEqual(value, expected)
                self.assertIs(type(value), type(expected))

    def test_statements_do_what_python_does(self):
        for source, asked in STATEMENTS.items():
            with self.subTest(source):
                names = {}
                exec(source, names)
                expected = eval(asked, names)
                _value, names = evaluate(source, "execute")
                self.assertEqual(eval(asked, names), expected)

    def test_errors_are_pythons_and_keep_their_lines(self):
        for source, error, line in [
            ("x = 1\ny = (\n  'a' +\n  1)", TypeError, (2, 3)),
            ("x = 1\n'a' % (1,)", TypeError, [2]),
            ("x = {}\nx['a'] += 1", KeyError, [2]),
            ("'abc'.join([1])", TypeError, [1]),
            ("\n'abc'.rindex('z')", ValueError, [2]),
            ("(5).join([])", AttributeError, [1]),
            ("map(str)", TypeError, [1]),
        ]:
            with self.subTest(source):
                raised = self.raised(source)
                self.assertIsInstance(raised, error)
                lines = [
                    frame.lineno
                    for frame in traceback.extract_tb(raised.__traceback__)
                    if frame.filename == "script"
                ]
                self.assertIn(lines[-1], line)

    def raised(self, source):
        try:
            evaluate(source, "execute")
        except Exception as error:
            return error


class TestLimits(PureCase):
    def test_what_could_not_be_stopped_is_not_begun(self):
        names = {"text": "a" * 10**6, "deep": nested(1), "deep2": nested(2)}
        for source in TOO_LARGE:
            self.assert_refused(source, names)

    def test_what_holds_itself_too_often_is_not_begun(self):
        names = {"deep": nested(1), "deep2": nested(2)}
        with patch.object(script_limits, "MAX_WEIGHT", 10**6):  # the count takes time
            for source in TOO_DEEP:
                self.assert_refused(source, names)

    def assert_refused(self, source, names):
        with self.subTest(source):
            begin = time.monotonic()
            with self.assertRaises(ValueError):
                evaluate(source, names=names)
            self.assertLess(time.monotonic() - begin, 20)

    def test_what_grows_step_by_step_ends(self):
        for source in [
            "a = 'x'\nwhile True:\n    a += a",
            "a = [1]\nwhile True:\n    a = a + a",
            "a = [1]\nwhile True:\n    a = [*a, *a]",
            "a = [1]\nwhile True:\n    a.extend(a)",
            "a = 'x'\nwhile True:\n    a = f'{a}{a}'",
            "a = 3\nwhile True:\n    a *= a",
            "a = {'x': 'y'}\nwhile True:\n    a['x'] *= 2",
        ]:
            with self.subTest(source), self.assertRaises(ValueError):
                evaluate(source, "execute")
