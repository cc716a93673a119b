"""Plays attempts on a server and judges what comes of them."""

import http.client
import json
import select
import socket
from contextlib import closing, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from harness import dev, receiver
from security.attempts import (
    ROUTE,
    Http,
    Pull,
    Received,
    Rpc,
    Script,
    ServerLog,
    Sql,
    Wire,
    fill,
)

from security import world

# What an attempt may not change unless its row says so: the records that are not its
# own, who may do what, and all that a configuration does or knows.
WATCHED = """SELECT md5(concat_ws('|',
    (SELECT count(*) FROM res_partner),
    (SELECT string_agg(concat_ws(',', id, name, ref, email, city, comment, parent_id,
            company_id, active, "function", phone), ';' ORDER BY id)
     FROM res_partner WHERE ref IN %(refs)s),
    (SELECT string_agg(concat_ws(',', id, login, password, active, company_id), ';'
            ORDER BY id) FROM res_users),
    (SELECT string_agg(concat_ws(',', gid, uid), ';' ORDER BY gid, uid)
     FROM res_groups_users_rel),
    (SELECT string_agg(concat_ws(',', id, name, active, user_id, company_id, endpoint,
            url, auth_type, auth_login, filter_domain,
            CASE WHEN endpoint IS DISTINCT FROM 'scripted'
                 THEN concat(request_script, response_script) END,
            auth_password_secret, bearer_token_secret, signing_secret_secret), ';'
            ORDER BY id) FROM bj_api_sync_config),
    (SELECT string_agg(concat_ws(',', id, config_id, field_path, api_key, value_type,
            script, read_script, mapping_config_id), ';' ORDER BY id)
     FROM bj_api_sync_config_line),
    (SELECT string_agg(concat_ws(',', id, config_id, name, value_clear, value_secret),
            ';' ORDER BY id) FROM bj_api_sync_header),
    (SELECT string_agg(concat_ws(',', id, config_id, name, value_clear, value_secret),
            ';' ORDER BY id) FROM bj_api_sync_param),
    (SELECT string_agg(concat_ws(',', id, config_id, active, token_hash, expiry_date),
            ';' ORDER BY id) FROM bj_api_sync_token),
    (SELECT string_agg(concat_ws(',', key, value), ';' ORDER BY key)
     FROM ir_config_parameter WHERE key LIKE 'bj_api%%'),
    (SELECT count(*) FROM ir_default), (SELECT count(*) FROM ir_rule),
    (SELECT string_agg(concat_ws(',', id, state, code), ';' ORDER BY id)
     FROM ir_act_server),
    (SELECT count(*) FROM mail_mail)))"""
QUEUES = """SELECT (SELECT count(*) FROM bj_api_sync_delivery),
                   (SELECT count(*) FROM bj_api_sync_event)"""
REFS = (
    "A1",
    "A2",
    "A3",
    "A4",
    "A5",
    "P1",
    "X1",
    "OUT1",
    "B1",
    "PB",
    "H1",
    "AH",
    "AB",
    "E1",
    "E2",
    "D1",
    "PH",
)
# What a person may see of the world besides, and nobody else.
MARKERS = (world.CONFIDENTIAL, world.HIDDEN, world.OUTSIDE)
PATIENCE = 30  # seconds
RPC_STATUS = {
    "AccessError": 403,
    "AccessDenied": 403,
    "UserError": 400,
    "ValidationError": 400,
    "MissingError": 404,
}


@dataclass(frozen=True)
class Came:
    """What came: a status, the answer as text with its headers, and its CODE."""

    status: int
    text: str = ""
    code: str | None = None


class Judge:
    """Plays attempts in a world, one after the other."""

    def __init__(self, server, sides, names):
        self.server = server
        self.sides = sides  # plain, plain and TLS on one port, plain on another host
        self.names = names
        self.secrets = {names[name] for name in (*world.SECRETS, *world.GENERATED)}
        self.uids = {login: names[login] for login in (*world.GROUPS, "admin")}
        self.cookies = {}
        self.connection = server.connect()
        self.log_start = 0
        self.script = None  # the one that is stored
        self.before = None  # what is watched, as it was after the last attempt

    def close(self):
        self.connection.close()

    def query(self, statement, parameters=None):
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def watched(self, attempt):
        """Return what tells whether anything is another than before."""
        if attempt.comes.changes:
            return None
        queues = [] if is_pull(attempt) else self.query(QUEUES)
        return self.query(WATCHED, {"refs": REFS}) + queues

    def judge(self, attempt):
        """Return what is wrong about what came of an attempt, as a list of texts."""
        self.log_start = self.server.log_path.stat().st_size
        *first, last = attempt.calls
        for call in first:
            came = self.play(call)
            if isinstance(call, Rpc) and call.user == "admin" and came.status != 200:
                return [f"its preparation came to nothing: {came}"]
        known = self.before
        if first or is_pull(attempt) or attempt.comes.changes or known is None:
            known = self.watched(attempt)
        came = self.play(last)
        wrong = [*self._compare(attempt, last, came)]
        after = self.watched(attempt)
        if after != known:
            wrong.append("something has changed that must not")
        # What nothing has changed since is not looked at again.
        self.before = None if attempt.undo or is_pull(attempt) else after
        for call in attempt.undo:
            self.play(call)
        if not wrong:
            return []
        return [
            f"{attempt.id}, by {attempt.actor}",
            f"call:     {fill(repr(last), {})[:600]}",
            f"came:     {came.status} {came.code or ''} {came.text[-700:]}",
            f"expected: {attempt.comes}",
            *(f"wrong:    {text}" for text in wrong),
        ]

    def _compare(self, attempt, last, came):
        expected = fill_comes(attempt.comes, self.names)
        if came.status not in expected.status:
            yield f"status {came.status}"
        if expected.code and came.code != expected.code:
            yield f"code {came.code}"
        for text in expected.has:
            if text not in came.text:
                yield f"there is no {text!r}"
        for text in (*expected.lacks, *MARKERS):
            if text in came.text and text not in expected.has:
                yield f"there is {text!r}"
        if any(secret in came.text for secret in self.secrets):
            yield "there is a secret"
        for statement, value in expected.facts:
            rows = self.query(statement)
            found = rows[0][0] if rows else None
            if found != value:
                yield f"{statement} gives {found!r}, not {value!r}"

    # -- calls -------------------------------------------------------------------------

    def play(self, call):
        kinds = {
            Http: self._http,
            Wire: self._wire,
            Rpc: self._rpc,
            Sql: self._sql,
            Pull: self._pull,
            ServerLog: self._log,
            Received: self._received,
            Script: self._script,
        }
        return kinds[type(call)](call)

    def _http(self, call):
        path, body = fill(call.path, self.names), fill(call.body, self.names)
        headers = [*fill(call.headers, self.names)]
        if isinstance(body, dict | list | str | int | float | bool):
            body = json.dumps(body).encode()
        given = {name.lower() for name, _value in headers}
        if body and "content-type" not in given:
            headers.append(("Content-Type", "application/json"))
        if call.token:
            token = self.names.get(f"{call.token}_token", call.token)
            headers.append(("Authorization", f"Bearer {token}"))
        if call.session:
            headers.append(("Cookie", f"session_id={self._session(call.session)}"))
        return self._send(call, path, headers, body)

    def _send(self, call, path, headers, body):
        address = urlsplit(self.server.url)
        source = (call.source, 0)
        connection = http.client.HTTPConnection(
            address.hostname, address.port, timeout=PATIENCE, source_address=source
        )
        with closing(connection):
            given = {name.lower() for name, _value in headers}
            connection.putrequest(
                call.method, path, "host" in given, "accept-encoding" in given
            )
            if body is not None and "content-length" not in given:
                headers = [*headers, ("Content-Length", len(body))]
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders()
            with suppress(BrokenPipeError, ConnectionResetError):
                if body:  # the answer may be there before all is sent
                    connection.send(body)
            try:
                answer = connection.getresponse()
            except TimeoutError:
                return Came(0, f"no answer within {PATIENCE} s")
            head = "\n".join(f"{key}: {value}" for key, value in answer.getheaders())
            text = answer.read().decode("utf-8", "replace")
        return Came(answer.status, f"{head}\n\n{text}", json_code(text))

    def _wire(self, call):
        address = urlsplit(self.server.url)
        received = b""
        with (
            socket.create_connection(
                (address.hostname, address.port), 20, (call.source, 0)
            ) as sock,
            suppress(ConnectionResetError, BrokenPipeError, TimeoutError),
        ):
            for number, part in enumerate(call.parts):
                # An answer that is not read before more is sent may be lost.
                if number and call.pause and is_answered(sock, call.pause):
                    break
                sock.sendall(fill(part, self.names))
            while chunk := sock.recv(65536):
                received += chunk
        text = received.decode("utf-8", "replace")
        words = text.split(None, 2)
        status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        return Came(status, text, json_code(text.rpartition("\r\n\r\n")[2]))

    def _rpc(self, call):
        login = (self.server.database, self.uids[call.user], world.PASSWORD)
        options = {"context": fill(dict(call.context), self.names)}
        if not call.context:
            options = {}
        args = fill(list(call.args), self.names)
        parameters = {
            "service": "object",
            "method": "execute_kw",
            "args": [*login, call.model, call.method, args, options],
        }
        body = {"jsonrpc": "2.0", "method": "call", "params": parameters, "id": 1}
        answer = json.loads(dev.http("POST", f"{self.server.url}/jsonrpc", body).text)
        result = answer.get("result")
        last = result[0] if isinstance(result, list) and len(result) == 1 else result
        self.names["last"] = last if isinstance(last, int) else 0
        if "error" in answer:
            data = answer["error"]["data"]
            name = data["name"].rpartition(".")[2]
            text = data["message"] if call.user == "admin" else json.dumps(data)
            return Came(RPC_STATUS.get(name, 500), text, name)
        return Came(200, json.dumps(result))

    def _sql(self, call):
        rows = self.query(fill(call.statement, self.names))
        return Came(200 if rows else 404, str(rows))

    def _log(self, call):
        with self.server.log_path.open("rb") as file:
            file.seek(0 if call.from_start else self.log_start)
            text = file.read().decode("utf-8", "replace")
        # Odoo's access log has the URLs of callers as they were asked for.
        lines = [line for line in text.split("\n") if " werkzeug: " not in line]
        return Came(200, "\n".join(lines))

    def _received(self, call):
        if not call.path:
            for side in self.sides:
                side.clear()
        requests = [one for side in self.sides for one in side.requests]
        found = [str(one) for one in requests if one.path.startswith(call.path)]
        return Came(200 if found else 404, "\n".join(found))

    def _script(self, call):
        text = fill(call.text, self.names)
        if (call.field, text) != self.script:
            vals = {"request_script": False, "response_script": False}
            vals[call.field] = text
            ids = [self.names["scripted"]]
            came = self.play(Rpc("admin", "bj.api.sync.config", "write", (ids, vals)))
            if came.status != 200:
                return came
            self.script = (call.field, text)
        path = f"{ROUTE}/scripted/A5{call.query}"
        return self.play(Http("PUT", path, call.body, "scripted", call.headers))

    def _pull(self, call):
        """Let the other side answer so, and fetch."""
        side = self.sides[1] if call.host == "secure" else self.sides[0]
        for path, name, arguments in call.answers:
            arguments = fill(arguments, self.names)
            side.on(path, receiver.behaviour(name, arguments))
        self.query(
            "UPDATE bj_api_sync_config SET url = %s, verify_tls = %s WHERE id = %s",
            [
                self.names[call.host] + call.answers[0][0],
                call.host != "secure",
                self.names["pull"],
            ],
        )
        self.query("DELETE FROM bj_api_sync_destination")  # its pauses
        return self.play(
            Rpc("admin", "ir.actions.server", "run", ([self.names["fetch"]],))
        )

    def _session(self, user):
        if user not in self.cookies:
            params = {"db": self.server.database, "login": user}
            params["password"] = world.PASSWORD
            body = {"jsonrpc": "2.0", "params": params}
            answer = self.server.http("POST", "/web/session/authenticate", body)
            cookie = answer.headers["Set-Cookie"].partition("session_id=")[2]
            self.cookies[user] = cookie.partition(";")[0]
        return self.cookies[user]


def is_pull(attempt):
    """Tell whether an attempt makes deliveries, as each fetch is one."""
    return any(isinstance(call, Pull) for call in attempt.calls)


def fill_comes(expected, names):
    return type(expected)(
        **{name: fill(value, names) for name, value in vars(expected).items()}
    )


def json_code(text):
    """Return the CODE of an error in any of the three formats."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    error = value.get("error")
    return value.get("status_code") or (
        error.get("code") if isinstance(error, dict) else None
    )


def is_answered(sock, seconds):
    """Wait so long; tell whether something has come meanwhile."""
    return bool(select.select([sock], [], [], seconds)[0])
