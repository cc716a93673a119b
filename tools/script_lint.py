"""What a script or a domain may contain, judged on its syntax tree before it runs.

Odoo's ``safe_eval`` decides what can run at all. The rules here refuse on top of it what
is known to leak (``str.format`` reads any attribute, so any Python global), to break the
transaction (``commit``) or to outlive a deadline (``10 ** 10 ** 8`` is one operation in C),
and they say in the author's terms what ``safe_eval`` would call a forbidden opcode.
"""

import ast
import builtins
import dis
import math
import re
from dataclasses import dataclass

MAX_SOURCE = 100_000  # characters
MAX_NESTING = 150  # levels of the tree; what visits it takes some frames for each
MAX_RANGE = 1_000_000  # numbers; also the limit of `range` when the script runs
MAX_REPEAT = 1_000_000  # copies or characters
MAX_POWER = 1_000  # exponent or shift
HUGE = math.inf

COMPILE_MODES = {"evaluate": "eval", "execute": "exec"}

PRIVATE_NAMES = {"_", "_logger", "_make_outbound_http_request"}

# Names of safe_eval, which has no `getattr`, `type`, `print`, ...
SANDBOX_BUILTINS = frozenset(
    "True False None bytes str unicode bool int float enumerate dict list tuple map abs "
    "min max sum reduce filter sorted round len repr set all any ord chr divmod "
    "isinstance range xrange zip Exception".split()
)

_USE_ORM = "use the ORM, e.g. `model.search([...])` or `record.write({...})`"
_USE_FSTRING = (
    "it can read private attributes; use an f-string, e.g. "
    '`f"{record.name}: {amount:.2f}"`'
)
_ONE_TRANSACTION = (
    "everything a script does belongs to one transaction; `raise UserError(...)` cancels "
    "it, and success needs nothing"
)
_NO_PRIVATE = "names that start with `_` belong to the framework"
_NO_FRAME = "it opens the inside of Python"

# Refused as a name and as an attribute.
FORBIDDEN = {
    "cr": _USE_ORM,
    "execute": _USE_ORM,
    "registry": "use `env['model.name']`",
    "pool": "use `env['model.name']`",
    "commit": _ONE_TRANSACTION,
    "rollback": _ONE_TRANSACTION,
}
# Refused as an attribute only.
FORBIDDEN_ATTRIBUTES = {
    **FORBIDDEN,
    "format": _USE_FSTRING,
    "format_map": _USE_FSTRING,
    "sleep": "a script that waits holds a worker and its transaction; let an automation "
    "rule or a scheduled action do it later",
    "mro": _NO_FRAME,
    "tb_frame": _NO_FRAME,
    **dict.fromkeys(
        (
            *("cursor", "connection", "transaction", "cache", "executemany", "mogrify"),
            *("callproc", "copy_expert", "copy_from", "copy_to"),
        ),
        "it leads past the ORM and its transaction; " + _USE_ORM,
    ),
}
_FRAME_NAMES = frozenset(
    "f_back f_builtins f_code f_globals f_lasti f_lineno f_locals f_trace func_code "
    "func_globals co_code co_consts co_names gi_code gi_frame gi_yieldfrom cr_await "
    "cr_code cr_frame ag_await ag_code ag_frame".split()
)

_HTTP = (
    "it would keep the transaction open while the other side answers, without log or "
    "retry; make an Out configuration and use a trigger, or call "
    "`env['bj.api.sync.config']._make_outbound_http_request(record, "
    "'my_module.my_config')`"
)
_FILES = "scripts have no files and no processes; put that into a method of a module"
# Modules that are there already under some name.
OFFERED_MODULES = {
    "json": "`json` is already there",
    "datetime": "`datetime` is already there, both `datetime.now()` and "
    "`datetime.datetime.now()`, and so is `timedelta`",
    "time": "`time` is already there",
    "base64": "`b64encode` and `b64decode` are already there",
    "hmac": "`hmac_sha256(key, message)` is already there",
    "hashlib": "`sha256(message)` is already there",
    "re": "`re` is already there",
    "dateutil": "`dateutil` is already there",
    "pytz": "`timezone('Europe/Kyiv')` is already there",
    "odoo": "`env`, `Command`, `UserError` and `float_compare` are already there",
    "logging": "`_logger` and `log(message, level)` are already there",
}
OTHER_MODULES = {
    **dict.fromkeys(
        "requests urllib urllib3 http httplib httpx aiohttp socket".split(), _HTTP
    ),
    **dict.fromkeys(("os", "sys", "io", "pathlib", "shutil", "subprocess"), _FILES),
    "math": "use `round`, `abs`, `divmod`, `**` and `float_compare`",
    "decimal": "use `round(value, 2)` and `float_compare`",
    "uuid": "use `sha256(...)` of values that are unique together",
    "random": "results must be the same when a request is repeated",
}
_OTHER_MODULE = (
    "a script has only the variables of the guide and basic functions of Python"
)

# Names that scripts often use and that safe_eval does not have.
MISSING_NAMES = {
    "print": "use `log(message)`",
    "getattr": "use `record[name]`",
    "setattr": "use `record.write({name: value})`",
    "hasattr": "use `name in record`",
    "type": "use `isinstance(value, str)`",
    "open": _FILES,
    "next": "use a loop, or `[...][:1]`",
    "iter": "use a loop",
    "reversed": "use `values[::-1]`",
    "pow": "use `**`",
    "format": "use an f-string",
    "input": _FILES,
    "ValidationError": "use `UserError`",
    **{name: OFFERED_MODULES[name] for name in "base64 hmac hashlib logging".split()},
    **{
        name: OTHER_MODULES[name]
        for name in "requests urllib os sys math decimal uuid random subprocess".split()
    },
}
_EXCEPTION = (
    "only `Exception` and `UserError` are there: write `except Exception as error`"
)

_STATEMENTS = {
    ast.With: "`with` is not available in scripts",
    ast.ClassDef: "classes cannot be made in scripts; use a dict or a function",
    ast.Assert: "`assert` is not available; write `if not ...: raise UserError(...)`",
    ast.Global: "`global` is not available; return the value from the function",
    ast.Nonlocal: "`nonlocal` is not available; return the value from the function",
    ast.AsyncFunctionDef: "`async` is not available in scripts",
    ast.AsyncFor: "`async` is not available in scripts",
    ast.AsyncWith: "`async` is not available in scripts",
    ast.Await: "`await` is not available in scripts",
}

_CLOSURE = re.compile(
    r"MAKE_CELL|COPY_FREE_VARS|(LOAD|STORE|DELETE)_\w*(CLOSURE|DEREF)"
)
CLOSURE_ADVICE = (
    "a function, lambda or comprehension inside a function uses a variable of that "
    "function, which the sandbox refuses; give it as a default, e.g. "
    "`lambda line, rate=rate: line.amount * rate`, or use a loop"
)


@dataclass(frozen=True)
class Problem:
    """One thing to mend: ``line`` counts from 1 in the source, 0 is the whole of it."""

    line: int
    message: str

    def __str__(self):
        return f"line {self.line}: {self.message}" if self.line else self.message


_TOO_DEEP = Problem(
    0,
    f"it is nested deeper than {MAX_NESTING} levels; give parts of it a name first, and "
    "add up many values with `sum([...])` or `''.join([...])`",
)


def check(source, mode):
    """Return what this script must not contain, as ``[Problem]``, in line order.

    :param str mode: ``evaluate`` (one expression) or ``execute`` (statements)
    """
    tree, problem = _parse(source, mode)
    if problem:
        return [problem]
    linter = _Linter()
    linter.visit(tree)
    shift = line_shift(source, mode)
    found = {Problem(line + shift, message) for line, message in linter.found}
    return sorted(found, key=lambda p: (p.line, p.message))


def line_shift(source, mode):
    """Return how many lines ``safe_eval`` strips before an expression."""
    if mode == "execute":
        return 0
    return source[: len(source) - len(source.lstrip())].count("\n")


def explain_opcodes(source, mode, message):
    """Turn safe_eval's ``forbidden opcode(s) in ...: A, B`` into a :class:`Problem`.

    :return: ``None`` for a message of another kind
    """
    match = re.search(r"forbidden opcode\(s\) in .*: ([A-Z0-9_, ]+)$", message, re.S)
    if not match:
        return None
    names = set(match[1].split(", "))
    text = source.strip() if mode == "evaluate" else source
    code = compile(text, "", COMPILE_MODES[mode])
    line = _find_opcode(code, names) + line_shift(source, mode)
    if any(_CLOSURE.fullmatch(name) for name in names):
        return Problem(line, CLOSURE_ADVICE)
    return Problem(
        line,
        f"this form of Python is not available in scripts ({', '.join(sorted(names))}); "
        "write it in simpler steps",
    )


def _find_opcode(code, names):
    line = code.co_firstlineno
    for instruction in dis.get_instructions(code):
        starts = getattr(instruction, "line_number", instruction.starts_line)
        line = starts or line
        if instruction.opname in names:
            return line
    inner = [const for const in code.co_consts if hasattr(const, "co_code")]
    return min((_find_opcode(const, names) for const in inner), default=0)


def _parse(source, mode):
    """Return ``(tree, None)`` or ``(None, problem)``."""
    if len(source) > MAX_SOURCE:
        return None, Problem(0, f"the script is longer than {MAX_SOURCE} characters")
    shift = line_shift(source, mode)
    text = source.strip() if mode == "evaluate" else source
    try:
        tree = ast.parse(text, mode=COMPILE_MODES[mode])
        return (None, _TOO_DEEP) if _nests_too_deep(tree) else (tree, None)
    except SyntaxError as error:
        problem = Problem((error.lineno or 1) + shift, f"SyntaxError: {error.msg}")
    except (RecursionError, MemoryError):
        return None, _TOO_DEEP
    except ValueError as error:
        return None, Problem(0, f"the script cannot be read: {error}")
    if mode == "evaluate":
        problem = _explain_expression(text, problem)
    return None, problem


def _nests_too_deep(tree):
    level = [tree]
    for _depth in range(MAX_NESTING):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return bool(level)


def _explain_expression(text, problem):
    """Say so when an expression was wanted and statements, or nothing, were written."""
    if not text:
        return Problem(0, "the script is empty; Evaluate needs one expression")
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return problem
    imports = [
        node for node in statements if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    if imports:
        linter = _Linter()
        linter.visit(imports[0])
        line, message = linter.found[0]
        return Problem(line, message)
    return Problem(
        problem.line,
        "Evaluate needs one expression; put it in parentheses to use several lines, or "
        "choose Execute for statements and set `result`",
    )


class _Linter(ast.NodeVisitor):
    """Collects ``(line, message)`` in ``found``."""

    def __init__(self):
        self.found = []
        self.bound = set()

    def visit(self, node):
        if isinstance(node, ast.Module | ast.Expression):
            self.bound = _bound_names(node)
        if type(node) in _STATEMENTS:
            self.refuse(node, _STATEMENTS[type(node)])
        return super().visit(node)

    def refuse(self, node, message):
        self.found.append((getattr(node, "lineno", 0), message))

    def check_name(self, node, name, forbidden):
        if name in forbidden:
            self.refuse(node, f"`{name}` cannot be used: {forbidden[name]}")
        elif name.startswith("_") and name not in PRIVATE_NAMES or "__" in name:
            self.refuse(node, f"`{name}` cannot be used: {_NO_PRIVATE}")
        elif name in _FRAME_NAMES:
            self.refuse(node, f"`{name}` cannot be used: {_NO_FRAME}")

    def visit_Import(self, node):
        for alias in node.names:
            self.refuse_import(node, f"import {alias.name}", alias.name)

    def visit_ImportFrom(self, node):
        names = ", ".join(alias.name for alias in node.names)
        module = node.module or "." * node.level
        self.refuse_import(node, f"from {module} import {names}", module)

    def refuse_import(self, node, statement, module):
        root = module.split(".")[0]
        if root in OFFERED_MODULES:
            self.refuse(node, f"`{statement}` is not needed: {OFFERED_MODULES[root]}")
        else:
            why = OTHER_MODULES.get(root, _OTHER_MODULE)
            self.refuse(node, f"`{statement}` is not possible: {why}")

    def visit_Name(self, node):
        self.check_name(node, node.id, FORBIDDEN)
        if node.id in self.bound or node.id in SANDBOX_BUILTINS:
            return
        if node.id in MISSING_NAMES:
            self.refuse(node, f"`{node.id}` is not available: {MISSING_NAMES[node.id]}")
        elif node.id in vars(builtins) and not node.id.startswith("_"):
            missing = vars(builtins)[node.id]
            is_error = isinstance(missing, type) and issubclass(missing, BaseException)
            why = _EXCEPTION if is_error else _OTHER_MODULE
            self.refuse(node, f"`{node.id}` is not available: {why}")

    def visit_Attribute(self, node):
        self.check_name(node, node.attr, FORBIDDEN_ATTRIBUTES)
        if isinstance(node.ctx, ast.Store):
            self.refuse(
                node,
                f"`.{node.attr} = ...` is not available: use "
                f"`.write({{'{node.attr}': value}})`",
            )
        elif isinstance(node.ctx, ast.Del):
            self.refuse(node, f"`del .{node.attr}` is not available")
        self.generic_visit(node)

    def visit_Subscript(self, node):
        if isinstance(node.ctx, ast.Del):
            self.refuse(
                node, "`del values[key]` is not available: use `values.pop(key)`"
            )
        self.generic_visit(node)

    def visit_FunctionDef(self, node):
        self.check_name(node, node.name, FORBIDDEN)
        self.generic_visit(node)

    def visit_arg(self, node):
        self.check_name(node, node.arg, FORBIDDEN)

    def visit_ExceptHandler(self, node):
        if node.type is None:
            self.refuse(
                node, "`except:` also stops the deadline; write `except Exception:`"
            )
        self.generic_visit(node)

    def visit_Try(self, node):
        # Leaving a `finally` this way drops the exception that is on its way, the
        # deadline's included.
        for leaving in _leaving_statements(node.finalbody):
            self.refuse(
                leaving,
                "`return`, `break` and `continue` in `finally` hide errors; move it after "
                "the `try`",
            )
        self.generic_visit(node)

    visit_TryStar = visit_Try

    def visit_BinOp(self, node):
        self.check_operation(node, node.left, node.op, node.right)
        self.generic_visit(node)

    def visit_AugAssign(self, node):
        self.check_operation(node, node.target, node.op, node.value)
        self.generic_visit(node)

    def check_operation(self, node, left, op, right):
        if isinstance(op, ast.Pow | ast.LShift):
            base, exponent = _constant(left), self.bound_of(right)
            if base == HUGE or exponent is not None and exponent > MAX_POWER:
                self.refuse(
                    node, f"the number is too large (exponent over {MAX_POWER})"
                )
            elif exponent is None and not self.is_float(left):
                self.refuse(
                    node,
                    "whoever chooses the exponent could stop the server; bound it, e.g. "
                    "`10 ** min(n, 9)`, or begin with a float, e.g. `10.0 ** n`",
                )
        elif isinstance(op, ast.Mult):
            for text, count in ((left, right), (right, left)):
                times = _constant(count)
                if _is_sequence(text) and times is not None and times > MAX_REPEAT:
                    self.refuse(node, f"more than {MAX_REPEAT} repetitions")
        elif isinstance(op, ast.Mod) and _is_sequence(left):
            self.check_width(node, getattr(left, "value", ""))

    def bound_of(self, node):
        """Return a number that this expression never exceeds, ``None`` if unknown."""
        if not self.is_call_of(node, "min") or node.keywords:  # key= may turn it round
            return _constant(node)
        known = [_constant(argument) for argument in node.args]
        return min((n for n in known if n is not None), default=None)

    def is_float(self, node):
        """Tell whether a power of this is computed as a float, which has a fixed size."""
        if self.is_call_of(node, "float"):
            return True
        return isinstance(node, ast.Constant) and isinstance(node.value, float)

    def is_call_of(self, node, name):
        return (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == name
            and name not in self.bound
        )

    def visit_FormattedValue(self, node):
        for part in getattr(node.format_spec, "values", ()):
            self.check_width(node, getattr(part, "value", ""))
        self.generic_visit(node)

    def check_width(self, node, text):
        if isinstance(text, str) and re.search(r"\d{7}", text):
            self.refuse(node, f"more than {MAX_REPEAT} characters wide")

    def visit_Call(self, node):
        func = node.func
        if isinstance(func, ast.Name) and func.id in ("range", "xrange"):
            limit, what = MAX_RANGE, f"`range` of more than {MAX_RANGE} numbers"
        elif isinstance(func, ast.Attribute) and func.attr in (
            ("ljust", "rjust", "center", "zfill", "expandtabs")
        ):
            limit, what = MAX_REPEAT, f"more than {MAX_REPEAT} characters wide"
        else:
            return self.generic_visit(node)
        numbers = [_constant(argument) for argument in node.args]
        if any(number is not None and abs(number) > limit for number in numbers):
            self.refuse(node, what)
        return self.generic_visit(node)


def _bound_names(tree):
    """Return the names that the script itself gives a value."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ExceptHandler):
            names.add(node.name)
    return names


def _leaving_statements(statements, in_loop=False):
    """Yield what leaves these statements: return, and break or continue of an outer loop."""
    for node in statements:
        if isinstance(node, ast.Return):
            yield node
        elif isinstance(node, ast.Break | ast.Continue) and not in_loop:
            yield node
        elif not isinstance(node, ast.FunctionDef | ast.ClassDef):
            is_loop = isinstance(node, ast.For | ast.While)
            for name in ("body", "orelse", "handlers", "finalbody", "cases"):
                inside = in_loop or is_loop and name == "body"
                yield from _leaving_statements(getattr(node, name, ()), inside)


def _is_sequence(node):
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str | bytes)
    return isinstance(node, ast.List | ast.Tuple | ast.JoinedStr)


def _constant(node):
    """Return the number that this expression always has, ``HUGE``, or ``None``."""
    if isinstance(node, ast.Constant):
        value = node.value
        return value if isinstance(value, int | float) else None
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _constant(node.operand)
        return -value if value is not None and isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp):
        left, right = _constant(node.left), _constant(node.right)
        if left is None or right is None:
            return None
        return _fold(left, node.op, right)
    return None


def _fold(left, op, right):
    """Return a rough value, as a float: it is only compared with limits."""
    try:
        left, right = float(left), float(right)
        if isinstance(op, ast.Pow):
            return abs(left) ** right
        if isinstance(op, ast.LShift):
            return left * 2.0**right
        if isinstance(op, ast.Mult):
            return left * right
        if isinstance(op, ast.Add):
            return left + right
        if isinstance(op, ast.Sub):
            return left - right
        if isinstance(op, ast.Div | ast.FloorDiv):
            return left / right
    except OverflowError:
        return HUGE
    except ZeroDivisionError:
        return None
    return None


# -- domains ---------------------------------------------------------------------------

DOMAIN_NAMES = frozenset(
    "uid user company_id time datetime timedelta relativedelta context_today".split()
)
_DOMAIN_CALLS = DOMAIN_NAMES - {"uid", "user", "company_id"}
_DOMAIN_ATTRIBUTES = {
    **FORBIDDEN_ATTRIBUTES,
    **dict.fromkeys(
        ("env", "sudo", "with_env", "with_user", "password", "api_key_ids"),
        "a domain reads plain fields of `user`",
    ),
}
_DOMAIN_NODES = (
    *(ast.Expression, ast.List, ast.Tuple, ast.Constant, ast.Name, ast.Load),
    *(ast.Attribute, ast.Call, ast.keyword, ast.Subscript, ast.UnaryOp, ast.USub),
    *(ast.BinOp, ast.Add, ast.Sub, ast.BoolOp, ast.And, ast.Or, ast.IfExp, ast.Compare),
    *(ast.Not, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn),
    *(ast.Is, ast.IsNot),
)


def check_domain(text):
    """Return what this domain must not contain, as ``[Problem]``.

    Literals, the names of ``DOMAIN_NAMES``, date arithmetic, plain fields of ``user``;
    calls only of the date helpers and of methods of what they return.
    """
    tree, problem = _parse(text, "evaluate")
    if problem:
        return [problem]
    found = []
    for node in ast.walk(tree):
        message = _domain_message(node)
        if message:
            line = getattr(node, "lineno", 0) + line_shift(text, "evaluate")
            found.append(Problem(line, message))
    return found


def _domain_message(node):
    """Return what is wrong with one node, its children apart, or ``None``."""
    if not isinstance(node, _DOMAIN_NODES):
        return f"{type(node).__name__} cannot be used in a domain"
    if isinstance(node, ast.Name) and node.id not in DOMAIN_NAMES:
        names = ", ".join(sorted(DOMAIN_NAMES))
        return f"`{node.id}` is not known in a domain; there are {names}"
    if isinstance(node, ast.Attribute):
        why = _DOMAIN_ATTRIBUTES.get(node.attr)
        if node.attr.startswith("_") or node.attr in _FRAME_NAMES:
            why = _NO_PRIVATE
        return why and f"`{node.attr}` cannot be used in a domain: {why}"
    if isinstance(node, ast.Call) and _domain_root(node.func) not in _DOMAIN_CALLS:
        return "only the date helpers can be called in a domain"
    return None


def _domain_root(node):
    """Return the name that ``(name() - other).attribute.method`` starts with."""
    while True:
        if isinstance(node, ast.Name):
            return node.id
        if isinstance(node, ast.Attribute):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        elif isinstance(node, ast.BinOp):
            node = node.left
        else:
            return None
