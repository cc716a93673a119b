"""A script with its operators and methods replaced by those of ``script_limits``.

    total += price * 2      total = _bj_iAdd(total, _bj_Mult(price, 2))
    f"{name:>{width}}"      _bj_fstring(_bj_format(name, -1, _bj_fstring(">", ...)))
    text.replace(a, b)      _bj_attribute(text, "replace")(a, b)

The tree keeps its line numbers, and its evaluation order. What is replaced costs one more
call, some tens of nanoseconds.
"""

import ast

VALUE = "_bj_value"  # what an expression comes to
_TARGET, _KEY = "_bj_target", "_bj_key"
OWN_NAMES = (VALUE, _TARGET, _KEY)

_OPERATORS = (ast.Add, ast.Mult, ast.Mod, ast.FloorDiv, ast.Pow, ast.LShift)
_COMPARISONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn)
# Types that are called by their names and stay types for `isinstance`.
_TYPES = {"str": "_bj_str", "bytes": "_bj_bytes"}


def rewrite(source, mode, methods):
    """Return the syntax tree of a script, to be compiled as a module.

    The value of an expression is left in the variable :data:`VALUE`.

    :param str mode: ``evaluate`` or ``execute``
    :param methods: names of the methods that are guarded
    """
    if mode == "evaluate":
        value = ast.parse(source.strip(), mode="eval").body
        target = ast.Name(VALUE, ast.Store())
        tree = ast.Module([ast.Assign([target], value)], [])
    else:
        tree = ast.parse(source)
    tree = _Rewriter(frozenset(methods), set(_bound_names(tree))).visit(tree)
    return ast.fix_missing_locations(tree)


def _bound_names(tree):
    """Yield the names that the script itself gives a value."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef):
            yield node.name


def _load(name):
    return ast.Name(name, ast.Load())


def _call(place, name, *args):
    return ast.copy_location(ast.Call(_load(name), list(args), []), place)


class _Rewriter(ast.NodeTransformer):
    def __init__(self, methods, bound):
        self.methods = methods
        self.bound = bound  # names that the script gives a value itself

    def visit_BinOp(self, node):
        self.generic_visit(node)
        if not isinstance(node.op, _OPERATORS):
            return node
        return _call(node, f"_bj_{type(node.op).__name__}", node.left, node.right)

    def visit_AugAssign(self, node):
        self.generic_visit(node)
        if not isinstance(node.op, _OPERATORS):
            return node
        found = self.split_target(node.target)
        if found is None:
            return node
        before, target = found
        operation = f"_bj_i{type(node.op).__name__}"
        value = _call(node, operation, before, node.value)
        return ast.copy_location(ast.Assign([target], value), node)

    def split_target(self, target):
        """Return how the old value is read and the new one stored, each part once."""
        if isinstance(target, ast.Name):
            return _load(target.id), target
        if not isinstance(target, ast.Subscript) or isinstance(target.slice, ast.Slice):
            return None
        holder = ast.NamedExpr(ast.Name(_TARGET, ast.Store()), target.value)
        key = ast.NamedExpr(ast.Name(_KEY, ast.Store()), target.slice)
        before = ast.Subscript(holder, key, ast.Load())
        after = ast.Subscript(_load(_TARGET), _load(_KEY), ast.Store())
        return ast.copy_location(before, target), ast.copy_location(after, target)

    def visit_Compare(self, node):
        self.generic_visit(node)
        if len(node.ops) == 1 and isinstance(node.ops[0], ast.In | ast.NotIn):
            name = f"_bj_{type(node.ops[0]).__name__}"
            return _call(node, name, node.left, node.comparators[0])
        operands = [node.left, *node.comparators]
        for index, operator in enumerate(node.ops):
            is_constant = isinstance(operands[index], ast.Constant)
            if isinstance(operator, _COMPARISONS) and not is_constant:
                operands[index] = _call(node, "_bj_operand", operands[index])
        node.left, *node.comparators = operands
        return node

    def visit_JoinedStr(self, node):
        self.generic_visit(node)
        return _call(node, "_bj_fstring", *node.values)

    def visit_FormattedValue(self, node):
        self.generic_visit(node)
        spec = node.format_spec or ast.Constant("")
        return _call(
            node, "_bj_format", node.value, ast.Constant(node.conversion), spec
        )

    def visit_Attribute(self, node):
        self.generic_visit(node)
        if node.attr not in self.methods or not isinstance(node.ctx, ast.Load):
            return node
        return _call(node, "_bj_attribute", node.value, ast.Constant(node.attr))

    def visit_Call(self, node):
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id not in self.bound:
            name = _TYPES.get(node.func.id, node.func.id)
            node.func = ast.copy_location(_load(name), node.func)
        return node

    def visit_List(self, node):
        self.generic_visit(node)
        is_new = isinstance(node.ctx, ast.Load)
        if is_new and any(isinstance(item, ast.Starred) for item in node.elts):
            return _call(node, "_bj_sized", node)
        return node

    visit_Tuple = visit_List

    def visit_Set(self, node):
        self.generic_visit(node)
        return _call(node, "_bj_sized", node)
