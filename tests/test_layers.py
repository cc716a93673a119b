"""The layering rule of the architecture, read from the source.

``controllers -> models -> tools -> exceptions``: imports go that way only.
"""

import ast
from functools import cache
from pathlib import Path

from .pure_case import PureCase

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("controllers", "wizards", "models", "tools", "exceptions")
NETWORK = ("requests", "urllib3", "http.client", "urllib.request", "socket")
OWN = "odoo.addons.bj_api_sync."


def sources(*layers):
    """Return ``[(path inside the addon, tree)]`` of the files that the layers have."""
    files = [
        file
        for layer in layers
        for file in (ROOT / f"{layer}.py", *sorted((ROOT / layer).rglob("*.py")))
        if file.exists()
    ]
    return [(file.relative_to(ROOT).as_posix(), parsed(file)) for file in files]


@cache
def parsed(file):
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def walked(tree):
    return list(ast.walk(tree))


def imports(path, tree):
    """Return dotted names; those of this addon begin with a dot: ``.tools.message``."""
    package = Path(path).parent.parts
    names = []
    for node in walked(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                kept = package[: len(package) - node.level + 1]
                base = OWN + ".".join([*kept, base])
            names += [f"{base.rstrip('.')}.{alias.name}" for alias in node.names]
    return [
        "." + name.removeprefix(OWN) if name.startswith(OWN) else name for name in names
    ]


def importing(files, modules, but=()):
    """Return ``["path imports name"]`` for what the files import of ``modules``."""
    return [
        f"{path} imports {name}"
        for path, tree in files
        for name in imports(path, tree)
        if within(name, modules) and not within(name, but)
    ]


def within(name, modules):
    return any(name == module or name.startswith(module + ".") for module in modules)


def nodes(files, *kinds):
    return [
        (path, node)
        for path, tree in files
        for node in walked(tree)
        if isinstance(node, kinds)
    ]


def places(found):
    return [f"{path}, line {node.lineno}" for path, node in found]


class TestLayers(PureCase):
    def test_every_file_is_looked_at(self):
        paths = [path for path, _tree in sources(*LAYERS)]
        self.assertIn("exceptions.py", paths)
        self.assertIn("tools/message.py", paths)
        self.assertEqual(
            imports("tools/x.py", ast.parse("from . import a\nfrom ..models import b")),
            [".tools.a", ".models.b"],
        )

    def test_imports_never_go_upwards(self):
        for rank, layer in enumerate(LAYERS):
            upper = [f".{name}" for name in LAYERS[:rank]]
            self.assertEqual(importing(sources(layer), upper), [])

    def test_tools_import_neither_odoo_nor_each_other(self):
        files = sources("tools", "exceptions")
        self.assertEqual(importing(files, ["odoo"]), [])
        # What others are made of, and needs nothing of tools itself.
        names = ("message", "address", "script_limits", "script_patterns")
        spared = [f".tools.{name}" for name in names]
        self.assertEqual(importing(files, [".tools"], but=spared), [])

    def test_controllers_do_not_import_each_other(self):
        files = [
            file
            for file in sources("controllers")
            if file[0] != "controllers/__init__.py"
        ]
        self.assertEqual(importing(files, [".controllers"]), [])

    def test_only_transport_opens_connections(self):
        # tools/stream.py only breaks one that the server has opened.
        spared = ("tools/transport.py", "tools/stream.py")
        files = [file for file in sources(*LAYERS) if file[0] not in spared]
        self.assertEqual(importing(files, NETWORK), [])

    def test_only_ir_http_sees_the_request_below_the_controllers(self):
        files = [
            file
            for file in sources("models", "tools")
            if file[0] != "models/ir_http.py"
        ]
        self.assertEqual(importing(files, ["odoo.http.request"]), [])
        attributes = [
            (path, node)
            for path, node in nodes(files, ast.Attribute)
            if node.attr == "request"
            and ast.unparse(node) in ("http.request", "odoo.http.request")
        ]
        self.assertEqual(places(attributes), [])

    def test_safe_eval_is_called_in_one_place(self):
        calls = [
            (path, node)
            for path, node in nodes(sources(*LAYERS), ast.Call)
            if ast.unparse(node.func)
            in ("safe_eval", "safe_eval.safe_eval", "eval", "exec")
            and path != "models/bj_api_sync_script.py"
        ]
        self.assertEqual(places(calls), [])

    def test_controllers_have_no_search_no_sudo_and_no_try(self):
        files = sources("controllers")
        found = nodes(files, ast.Try) + [
            (path, node)
            for path, node in nodes(files, ast.Attribute)
            if node.attr in ("sudo", "search", "search_read", "search_fetch")
        ]
        self.assertEqual(places(found), [])

    def test_no_object_keeps_an_environment(self):
        stores = [
            (path, node)
            for path, node in nodes(sources(*LAYERS), ast.Attribute)
            if isinstance(node.ctx, ast.Store) and node.attr in ("env", "_env")
        ]
        self.assertEqual(places(stores), [])
