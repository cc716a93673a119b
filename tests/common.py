import http.client
import json
import os
import tempfile
from contextlib import nullcontext
from datetime import datetime, timezone
from urllib.parse import urlsplit

import odoo
from odoo.tests.common import HttpCase, new_test_user
from odoo.tools import mute_logger

from ..compat import HAS_19
from ..models.bj_api_sync_counter import window

ROUTE = "/bj_api_sync/v1"
METHODS = ("GET", "POST", "PUT", "DELETE")
# What most tests map: external key -> field path, or the values of the line.
PARTNER_LINES = {
    "customer_id": {"field_path": "ref", "is_record_identifier": True},
    "name": {"field_path": "name", "required": True},
    "email": "email",
    "address.city": "city",
}
# The field with the groups of a user.
GROUPS = "group_ids" if HAS_19 else "groups_id"
_UNSET = object()


class ConfigMixin:
    """Makes configurations, in any test case that has an ``env``."""

    @classmethod
    def make_config(cls, lines, model="res.partner", methods=METHODS, **vals):
        """Return an In configuration; without ``endpoint`` it is only a mapping model.

        :param dict lines: ``{external key: field path or dict of line values}``
        :param tuple methods: names of HTTP methods
        """
        records = cls.env["bj.http.method"].search([("name", "in", methods)])
        return cls.env["bj.api.sync.config"].create(
            {
                "name": vals.get("endpoint") or f"Mapping of {model}",
                "request_type": "in",
                "model_id": cls.env["ir.model"]._get_id(model),
                "http_method_ids": [(6, 0, records.ids)],
                "line_ids": cls.make_lines(lines),
                **vals,
            }
        )

    @classmethod
    def make_lines(cls, lines):
        """Return the commands that create lines, in their order."""
        commands = []
        for sequence, (api_key, line) in enumerate(lines.items(), 1):
            line = {"field_path": line} if isinstance(line, str) else line
            vals = {"api_key": api_key, "sequence": sequence, **line}
            commands.append((0, 0, vals))
        return commands

    @classmethod
    def make_token(cls, config, name="Test", **vals):
        """Return a new bearer token of ``config``, in clear."""
        return cls.env["bj.api.sync.token"]._generate(config, name, **vals)

    @classmethod
    def set_parameter(cls, name, value):
        cls.env["ir.config_parameter"].set_param(f"bj_api_sync.{name}", value)


class ApiCase(ConfigMixin, HttpCase):
    """Calls a real server; ``cls.config`` publishes contacts as ``/contacts``.

    Its user is an internal user who may edit contacts and nothing else. Bearer tokens:
    ``_call`` sends ``cls.token`` unless it is given another Authorization header.
    """

    # Rows about reads go through a cursor of their own, which a test cannot have inside
    # a read-only one.
    readonly_enabled = _registry_readonly_enabled = False  # 18.0's name and 19.0's

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.user = new_test_user(
            cls.env,
            "bj_api_caller",
            groups="base.group_user,base.group_partner_manager",
            tz="Europe/Kyiv",
        )
        cls.config = cls.make_config(
            PARTNER_LINES, endpoint="contacts", user_id=cls.user.id
        )
        cls.token = cls.make_token(cls.config)
        partners = cls.env["res.partner"]
        cls.ann = partners.create({"name": "Ann", "ref": "T-ann", "city": "Lviv"})
        cls.bob = partners.create({"name": "Bob", "ref": "T-bob", "city": "Kyiv"})

    def setUp(self):
        super().setUp()
        # No minute or hour ends between two calls of a test.
        begun = datetime.now(timezone.utc).replace(tzinfo=None)
        self.patch(
            type(self.env["bj.api.sync.counter"]),
            "_get_window",
            lambda _model, seconds: window(begun, seconds),
        )

    def _call(
        self,
        method="GET",
        path="contacts",
        json=_UNSET,
        *,
        data=None,
        headers=None,
        token=_UNSET,
    ):
        """Return the :class:`requests.Response` to a call.

        :param str path: after ``/bj_api_sync/v1/``, with its query string
        :param json: value of the body; ``data`` is its bytes
        :param dict headers: more headers; a value of ``None`` leaves one out
        :param str token: instead of ``cls.token``, ``None`` for none
        """
        token = self.token if token is _UNSET else token
        known = {"Authorization": f"Bearer {token}"} if token else {}
        if json is not _UNSET:
            known["Content-Type"] = "application/json"
            data = dumps(json)
        self.env.flush_all()
        with mute_logger("odoo.http"):  # repeats each refusal as a warning
            response = self.opener.request(
                method,
                self.base_url() + f"{ROUTE}/{path}",
                data=data,
                headers={**known, **(headers or {})},
                timeout=30,
                allow_redirects=False,
            )
        self.env.invalidate_all()
        return response

    def _call_raw(
        self, method, target, *, body=None, headers=(), chunked=False, data=b""
    ):
        """Return ``(status, headers, body)`` of a call that no client library would send.

        :param str target: request target, sent as it is
        :param headers: ``(name, value)`` pairs, repetitions included
        :param bytes data: sent after the headers, without a word about it in them
        """
        address = urlsplit(self.base_url())
        connection = http.client.HTTPConnection(
            address.hostname, address.port, timeout=30
        )
        connection.putrequest(method, target, skip_accept_encoding=True)
        self.env.flush_all()
        with allow_requests(self), mute_logger("odoo.http"):
            cookies = "; ".join(f"{c.name}={c.value}" for c in self.opener.cookies)
            pairs = [("Cookie", cookies), ("Authorization", f"Bearer {self.token}")]
            for name, value in [*pairs, *headers]:
                connection.putheader(name, value)
            if chunked:
                connection.putheader("Transfer-Encoding", "chunked")
            elif body is not None:
                connection.putheader("Content-Length", str(len(body)))
            try:
                connection.endheaders(body, encode_chunked=chunked)
                connection.send(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the server has answered without reading all of it
            response = connection.getresponse()
            answer = response.status, response.headers, response.read()
        connection.close()
        self.env.invalidate_all()
        return answer

    def _use_own_sessions(self):
        """Keep the sessions of this test in a folder that no other process uses."""
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.patch(odoo.http.root.session_store, "path", folder)

    def _list_sessions(self):
        store = odoo.http.root.session_store.path
        return {name for _path, _dirs, names in os.walk(store) for name in names}

    def _logs(self, response=None, **vals):
        """Return the log rows of an answer, or those with the given values."""
        if response is not None:
            vals["request_id"] = response.headers["X-Request-ID"]
        domain = [(name, "=", value) for name, value in vals.items()]
        return self.env["bj.api.log"].search(domain)


# The helpers of Odoo's tests have other names in 19.0, which the first branches use.


def allow_requests(case):
    """Return a context in which an HttpCase lets requests in that bring its cookies."""
    return case.allow_requests() if hasattr(case, "allow_requests") else nullcontext()


def enter_test_mode(case):
    """Let every cursor share the one of the test until its end."""
    if hasattr(case, "registry_enter_test_mode"):
        case.registry_enter_test_mode()
    else:
        case.registry.enter_test_mode(case.cr)
        case.addCleanup(case.registry.leave_test_mode)


def suspend_test_mode(case):
    """Let new cursors have real transactions of their own until the test ends."""
    if hasattr(case, "registry_enter_test_mode"):
        case.registry_leave_test_mode()
        case.addCleanup(case.registry_enter_test_mode, register_cleanup=False)
    else:
        case.registry.leave_test_mode()
        case.addCleanup(case.registry.enter_test_mode, case.cr)


def dumps(value):
    return json.dumps(value).encode()
