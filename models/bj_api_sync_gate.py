import ipaddress
import logging
import time

from odoo import api, fields, models, tools

from ..exceptions import Forbidden, RateLimited, Unauthorized
from ..tools import credential
from ..tools.proxy import ProxyWatch
from .bj_api_sync_config import split_list
from .bj_api_sync_counter import own_transaction
from .bj_api_sync_transaction import LOST

_logger = logging.getLogger("bj.api.http")

FAILURE_WINDOW = 300  # seconds
MAX_FAILURES = 20  # wrong credentials of one address in a window, unless configured
MAX_STRANGER_ROWS = 100  # log rows in a window about a caller with no credential
LAST_USE_STEP = 60  # seconds between two notes of a token's last use

proxy_watch = ProxyWatch()


class BjApiSyncGate(models.AbstractModel):
    """Who may call an endpoint, and how often."""

    _name = "bj.api.sync.gate"
    _description = "API Gate"

    @api.model
    def _authenticate(self, endpoint, request):
        """Check networks and credentials of a call.

        :param Endpoint endpoint: what is called
        :param InboundRequest request: its head; the body has not been read
        :return: name of the credential, e.g. ``token:7``; an address without one
        :raise Unauthorized: never saying which part was wrong
        :raise RateLimited: too many wrong tries from this address
        """
        self._warn_of_proxy(request)
        self._check_network(endpoint.allowed_networks, request.remote_addr)
        if is_open(endpoint):
            return request.remote_addr
        checks = credential.Checks()
        name = self._identify(endpoint, request, checks)
        if not name:
            checks.make_up()
            self._note_failure(request.remote_addr)
            scheme = {"basic": "Basic", "bearer": "Bearer"}.get(endpoint.auth_type)
            challenge = f'{scheme or "ApiKey"} realm="bj_api_sync"'
            raise Unauthorized(
                self.env._("Authentication failed"),
                headers={"WWW-Authenticate": challenge},
            )
        return name

    @api.model
    def _identify(self, endpoint, request, checks):
        """Return the name of a call's credential, ``None`` for a wrong one.

        :raise RateLimited: too many wrong tries from this address
        """
        given = credential.parse_authorization(request.headers.get("authorization"))
        if endpoint.auth_type == "bearer":
            name = self._check_token(endpoint, given, request.remote_addr, checks)
        else:
            self._check_failures(request.remote_addr)
            name = request.remote_addr
            if endpoint.auth_type == "basic":
                name = self._check_password(endpoint, given, checks)
        # Evaluated whatever the result above, so that both failures take as long.
        headers_match = self._check_headers(endpoint, request.headers, checks)
        return name if headers_match else None

    @api.model
    def _check_token(self, endpoint, given, remote_addr, checks):
        """Return the name of the token of a call, ``None`` for a wrong one.

        Nobody guesses 32 random bytes, so a right generated token passes whatever others
        behind the same address have tried; unless a header, which can be guessed, has
        to be right as well.
        """
        text = given.token if isinstance(given, credential.Bearer) else ""
        digest = credential.hash_token(text)
        rows, failures, left = self._find_tokens(endpoint, digest, remote_addr)
        now = fields.Datetime.now()
        usable = [row for row in rows if is_usable(row, remote_addr, now)]
        found = [row for row in usable if text and is_random(row, digest)]
        if not found or endpoint.headers:
            self._refuse_guessing(failures, left)
        if not found:
            # Of all, so that a wrong token takes as long as one that has expired.
            typed = [
                row
                for row in rows
                if row["is_typed"] and checks.is_typed(text, row["token_hash"])
            ]
            found = [row for row in typed if row in usable]
        if not found:
            return None
        last = found[0]["last_use_date"]
        if not last or (now - last).total_seconds() > LAST_USE_STEP:
            self._note_use(found[0]["id"], remote_addr, now)
        return f"token:{found[0]['id']}"

    @api.model
    def _find_tokens(self, endpoint, digest, remote_addr):
        """Return ``(tokens, failures of the address, seconds until these are forgotten)``.

        The tokens are the generated one with this SHA-256, and those that were typed.
        """
        counter = self.env["bj.api.sync.counter"]
        start, left = counter._get_window(FAILURE_WINDOW)
        # One statement on indexes instead of a cached list: a token that is revoked in
        # one worker is refused by all others at once.
        self.env.cr.execute(
            """SELECT id, token_hash, is_typed, expiry_date, last_use_date,
                      allowed_networks,
                      (SELECT count FROM bj_api_sync_counter
                       WHERE name = %s AND start_date = %s)
               FROM bj_api_sync_token
               WHERE config_id = %s AND (token_hash = %s OR is_typed) AND active""",
            [failure_counter(remote_addr), start, endpoint.config_id, digest],
        )
        rows = self.env.cr.dictfetchall()
        if rows:
            return rows, rows[0]["count"] or 0, left
        return [], *counter._peek(failure_counter(remote_addr), FAILURE_WINDOW)

    @api.model
    def _check_password(self, endpoint, given, checks):
        config = self.env["bj.api.sync.config"].sudo().browse(endpoint.config_id)
        if not (
            isinstance(given, credential.Basic)
            and endpoint.auth_login
            and credential.same(given.login, endpoint.auth_login)
        ):
            credential.dummy_verify()
            return None
        hashed = config.auth_password_secret or ""
        if not checks.is_password(given.password, hashed):
            return None
        if credential.needs_update(hashed):
            self._renew_password(config, hashed, given.password)
        return f"login:{given.login}"

    @api.model
    def _renew_password(self, config, hashed, text):
        """Keep a right password at today's cost; nobody else has it in clear."""
        hashed_anew = credential.hash_password(text)
        try:
            with own_transaction(self.env.registry) as cr:
                cr.execute(
                    """UPDATE bj_api_sync_config SET auth_password_secret = %s
                       WHERE id IN (SELECT id FROM bj_api_sync_config
                                    WHERE id = %s AND auth_password_secret = %s
                                    FOR NO KEY UPDATE SKIP LOCKED)""",
                    [hashed_anew, config.id, hashed],
                )
        except LOST as error:  # the next use renews it
            _logger.debug("Configuration %s keeps its hash: %s", config.id, error)

    @api.model
    def _check_headers(self, endpoint, headers, checks):
        if not endpoint.headers:
            return True
        config = self.env["bj.api.sync.config"].sudo().browse(endpoint.config_id)
        matches = [
            header._matches(headers.get(header.name.lower()), checks)
            for header in config.header_ids
        ]
        # Of all, so that the first wrong one takes no less time. None is none that is
        # right: the endpoint was read when it had some.
        return bool(matches) and all(matches)

    @api.model
    def _check_network(self, networks, remote_addr):
        if not is_in_networks(remote_addr, networks):
            raise Forbidden(self.env._("This address may not call the endpoint."))

    @api.model
    def _is_in_networks(self, endpoint, request):
        return is_in_networks(request.remote_addr, endpoint.allowed_networks)

    @api.model
    def _check_failures(self, remote_addr):
        counter = self.env["bj.api.sync.counter"]
        count, left = counter._peek(failure_counter(remote_addr), FAILURE_WINDOW)
        self._refuse_guessing(count, left)

    @api.model
    def _refuse_guessing(self, count, left):
        """Raise ``RateLimited`` after too many failures.

        :param int left: seconds until they are forgotten
        """
        if not count:
            return
        limit = self.env["bj.api.sync.inbound"]._get_int_parameter(
            "bj_api_sync.max_auth_failures", MAX_FAILURES
        )
        if limit and count >= limit:
            error = RateLimited(
                self.env._("Too many failed attempts. Try again in %s seconds.", left),
                headers={"Retry-After": str(left)},
            )
            error.is_logged = False  # a flood of guesses must not flood the log too
            raise error

    @api.model
    def _note_failure(self, remote_addr, times=1):
        """Count a wrong credential, once for each endpoint that it was tried at."""
        counter = self.env["bj.api.sync.counter"]
        counter._add_instead({failure_counter(remote_addr): FAILURE_WINDOW}, times)

    @api.model
    def _warn_of_proxy(self, request):
        fault = self._find_proxy_fault(request)
        if fault and proxy_watch.is_news(time.monotonic()):
            _logger.warning(
                "A call came with X-Forwarded-For, but counts as one of %s, as all calls "
                "through that proxy do: %s. Without a proxy in front the caller has made "
                "it up, and nothing is wrong.",
                request.remote_addr,
                fault,
            )

    @api.model
    def _find_proxy_fault(self, request):
        is_proxy_mode = tools.config["proxy_mode"]
        return proxy_watch.find_fault(request.headers, is_proxy_mode)

    @api.model
    def _count_row(self, remote_addr, status):
        """Return how many more rows about a caller whom nobody knows may be written.

        Counts this one, in this cursor: one of the row's own.

        Whoever tries one path after the other must not be able to fill the disk. What
        is refused has a count of its own, which the many preflights of a page's users
        leave alone.

        :return: below 0 when not even this one may be
        """
        name = f"stranger:{status}:{get_caller(remote_addr)}"
        counter = self.env["bj.api.sync.counter"]
        counted = counter._count_in(self.env.cr, {name: FAILURE_WINDOW})
        [(count, _left)] = counted.values()
        return MAX_STRANGER_ROWS - count

    @api.model
    def _note_use(self, token_id, remote_addr, now):
        """Note it if a connection is to be had: the call is worth more than the note."""
        try:
            with own_transaction(self.env.registry) as cr:
                # SKIP LOCKED: of many calls at once one takes the note, nobody waits.
                cr.execute(
                    """UPDATE bj_api_sync_token SET last_use_date = %s, last_use_addr = %s
                       WHERE id IN (SELECT id FROM bj_api_sync_token WHERE id = %s
                                    FOR NO KEY UPDATE SKIP LOCKED)""",
                    [now, remote_addr, token_id],
                )
        except LOST as error:
            _logger.debug("The use of token %s is not noted: %s", token_id, error)

    @api.model
    def _check_rate(self, endpoint, request):
        """Count this call; return the ``X-RateLimit-*`` headers of the tightest limit.

        :raise RateLimited: with ``Retry-After``
        """
        limits = {}
        if endpoint.rate_limit_per_minute:
            name = f"minute:{endpoint.config_id}:{get_caller(request.remote_addr)}"
            limits[name] = (endpoint.rate_limit_per_minute, 60)
        if endpoint.rate_limit_per_hour:
            name = f"hour:{endpoint.config_id}:{request.credential}"
            limits[name] = (endpoint.rate_limit_per_hour, 3600)
        if not limits:
            return {}
        counted = self.env["bj.api.sync.counter"]._add(
            {name: seconds for name, (_limit, seconds) in limits.items()}
        )
        left = {
            name: limits[name][0] - count for name, (count, _left) in counted.items()
        }
        tightest = min(left, key=left.get)
        seconds = counted[tightest][1]
        headers = {
            "X-RateLimit-Limit": str(limits[tightest][0]),
            "X-RateLimit-Remaining": str(max(left[tightest], 0)),
            "X-RateLimit-Reset": str(seconds),
        }
        if left[tightest] < 0:
            raise RateLimited(
                self.env._("Too many calls. Try again in %s seconds.", seconds),
                headers={**headers, "Retry-After": str(seconds)},
            )
        return headers

    @api.model
    def _get_user_context(self, endpoint, request):
        """Return the context that the call runs in: company, language, time zone."""
        if not endpoint.is_user_usable:
            raise Forbidden(
                self.env._("The user that this endpoint runs as is archived.")
            )
        lang = endpoint.lang
        wished = request.headers.get("accept-language")
        if wished:
            installed = [code for code, _name in self.env["res.lang"].get_installed()]
            lang = pick_language(wished, installed) or lang
        return {
            "lang": lang,
            "tz": endpoint.tz,
            "allowed_company_ids": [endpoint.company_id],
        }

    @api.model
    def _spare_company(self, endpoint):
        """Let the record rules of multi-company models not read the whole company.

        They only need whether it is active and its place in the hierarchy.
        """
        company = self.env["res.company"].browse(endpoint.company_id)
        for name, value in endpoint.company_facts:
            self.env.cache.insert_missing(company, company._fields[name], [value])


def is_open(endpoint):
    """Tell whether nobody has to prove anything; a header without a value is not open,
    but shut."""
    return endpoint.auth_type == "none" and not endpoint.headers


def is_random(row, digest):
    """Tell whether a token is a generated one with this SHA-256."""
    return not row["is_typed"] and credential.same(digest, row["token_hash"])


def is_usable(row, remote_addr, now):
    """Tell whether a token is good at this moment, for this address."""
    is_expired = row["expiry_date"] and row["expiry_date"] <= now
    networks = split_list(row["allowed_networks"])
    return not is_expired and is_in_networks(remote_addr, networks)


def failure_counter(remote_addr):
    return f"failure:{get_caller(remote_addr)}"


def get_caller(address):
    """Return as whom the calls of an address are counted.

    Whoever has one IPv6 address has the 2^64 of its network, each good for more guesses.
    """
    if ":" not in address:
        return address
    try:
        ip = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))


def is_in_networks(address, networks):
    """Tell whether an address is in one of the networks; no networks admit everybody."""
    networks = [text.strip() for text in networks if text.strip()]
    if not networks:
        return True
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return any(ip in ipaddress.ip_network(text, strict=False) for text in networks)


def pick_language(header, installed):
    """Return the installed language an ``Accept-Language`` header likes most.

    ``uk`` and ``uk-UA`` both find ``uk_UA``.
    """
    wishes = []
    for position, part in enumerate(header.split(",")[:20]):
        name, _separator, parameters = part.strip().partition(";")
        quality = parameters.strip().removeprefix("q=") or "1"
        try:
            wishes.append((-float(quality), position, name.strip().replace("-", "_")))
        except ValueError:
            continue
    for quality, _position, name in sorted(wishes):
        if quality >= 0 or not name:
            continue
        for code in installed:
            if code.lower() == name.lower():
                return code
        for code in installed:
            if code.split("_")[0].lower() == name.split("_")[0].lower():
                return code
    return None
