import base64
import json
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from http import HTTPStatus

from odoo import api, models
from odoo.exceptions import UserError
from odoo.modules.module import get_manifest

from ..tools import redact, retry, signature, transport
from ..tools import url as url_tools
from ..tools.message import OutboundRequest
from .bj_api_sync_config import split_list
from .bj_api_sync_delivery import TRICKLE_SECONDS, Settlement

MAX_SNIPPET = 300  # characters of an answer in an error message
MAX_PULL_BYTES = 10 * 1024 * 1024

# What an administrator does about a status that is final.
ADVICE = {
    400: "Check the payload against what the other side expects.",
    401: "Check the Authorization of the configuration.",
    403: "Check the rights of the credentials on the other side.",
    404: "Check the Request URL.",
    405: "Check the HTTP method of the configuration.",
    409: "The other side reports a conflict with what it has.",
    410: "The address is gone for good; the configuration has been paused.",
    413: "Send fewer or smaller records: lower Page Size.",
    415: "Check the Content Type of the configuration.",
    422: "Check the payload against what the other side expects.",
}


@dataclass(frozen=True)
class Target:
    """What sending needs of an Out configuration, with secrets in clear: never logged,
    never cached beyond a pass."""

    config_id: int
    name: str
    model: str
    method: str
    headers: dict
    secret_headers: tuple
    content_type: str
    signing_secrets: tuple
    connect_timeout: int
    read_timeout: int
    max_attempts: int
    verify_tls: bool
    log_level: str
    blocked_networks: tuple
    max_response_bytes: int
    handles_answer: bool
    credential: str = ""  # as whom it is sent, see ``_get_credential``
    watches_arrival: bool = False  # see ``_find_arrived``
    url: str = ""  # with its placeholders; the credentials are for where it leads to

    @property
    def total_timeout(self):
        """Seconds of one attempt in all; a read timeout is per chunk."""
        return self.connect_timeout + self.read_timeout + TRICKLE_SECONDS


class BjApiSyncOutbound(models.AbstractModel):
    """One attempt, from its request to what its answer means."""

    _inherit = "bj.api.sync.outbound"

    @api.model
    def _get_target(self, config):
        """Return what sending needs of a configuration.

        :raise UserError: a secret cannot be read with the keys of this installation
        """
        config = config.sudo()
        parameters = self.env["ir.config_parameter"].sudo()
        networks = parameters.get_param("bj_api_sync.blocked_networks")
        method = config.http_method_ids.name
        headers = self._get_headers(config)
        return Target(
            config_id=config.id,
            name=config.name,
            model=config.model_name,
            method=method,
            headers=headers,
            secret_headers=tuple(config._get_secret_header_names()),
            content_type={
                "json": "application/json",
                "form": "application/x-www-form-urlencoded",
            }[config.content_type],
            signing_secrets=tuple(config._get_secret("signing_secret").split()),
            connect_timeout=config.connect_timeout,
            read_timeout=config.read_timeout,
            max_attempts=config.max_attempts,
            verify_tls=config.verify_tls,
            log_level=config.log_level,
            blocked_networks=split_list(networks)
            if networks
            else transport.DEFAULT_BLOCKED,
            max_response_bytes=MAX_PULL_BYTES if method == "GET" else 1024 * 1024,
            handles_answer=bool(
                config.response_script or config.response_field_path or method == "GET"
            ),
            credential=self._get_credential(config, headers),
            watches_arrival=self._is_watching_arrival(config),
            url=config.url,
        )

    @api.model
    def _get_headers(self, config):
        """Return the headers of a configuration, with Authorization, in clear."""
        headers = {
            "User-Agent": f"bj_api_sync/{get_manifest('bj_api_sync')['version']}",
            "Accept": "application/json",
        }
        for header in config.header_ids:
            merge(headers, {header.name: header._get_value()})
        if config.auth_type == "basic":
            login = f"{config.auth_login or ''}:{config._get_secret('auth_password')}"
            merge(headers, {"Authorization": f"Basic {b64(login)}"})
        elif config.auth_type == "bearer":
            token = config._get_secret("bearer_token")
            if token:
                # A stored token may start with the word; it is never said twice.
                token = re.sub(r"^\s*bearer\s+", "", token, flags=re.IGNORECASE)
                merge(headers, {"Authorization": f"Bearer {token.strip()}"})
        return headers

    @api.model
    def _get_credential(self, config, headers):
        """Return a name for whom requests are sent as, ``""`` for nobody.

        The same for configurations that send the same Authorization, secret headers and
        secret parameters: limits of the other side are theirs together. It tells nothing
        about the secrets.

        :param dict headers: from :meth:`_get_headers`
        """
        secret = {"authorization", *map(str.lower, config._get_secret_header_names())}
        parts = [[n.lower(), v] for n, v in headers.items() if n.lower() in secret]
        parts += [[p.name, p._get_value()] for p in config.param_ids if p.value_secret]
        if not parts:
            return ""
        text = json.dumps(sorted(parts, key=str))
        return self.env["bj.api.sync.secret"]._name_secret(text)

    @api.model
    def _prepare_request(self, claim, target, timeouts=None):
        """Return the :class:`OutboundRequest` of one attempt, signed over its bytes.

        Precedence of headers: what the sender needs to say, then what a script has set,
        then Authorization, then the Headers of the configuration, then defaults.

        :param timeouts: ``(connect, read)`` seconds instead of the configuration's
        :raise UserError: the credentials are for another address by now
        """
        url = self._get_url(claim.url, claim.url_secret)
        self._check_address(target, url)
        body = claim.body
        headers = {}
        if body:
            headers["Content-Type"] = target.content_type
        merge(headers, target.headers)
        if claim.headers:
            changed = json.loads(self.env["bj.api.sync.secret"]._decrypt(claim.headers))
            merge(headers, changed)
        merge(
            headers,
            {
                "X-Request-ID": get_request_id(claim),
                "Idempotency-Key": claim.uuid,
            },
        )
        if target.signing_secrets:
            now = datetime.now(timezone.utc).timestamp()
            secrets = target.signing_secrets
            merge(headers, signature.headers(secrets, claim.uuid, now, body))
        connect, read = timeouts or (target.connect_timeout, target.read_timeout)
        return OutboundRequest(
            method=claim.method,
            url=url,
            headers=headers,
            body=body,
            connect_timeout=connect,
            read_timeout=read,
            total_timeout=connect + read + TRICKLE_SECONDS,
            verify_tls=target.verify_tls,
            blocked_networks=target.blocked_networks,
            max_response_bytes=target.max_response_bytes,
        )

    @api.model
    def _check_address(self, target, url):
        """Refuse to send credentials to where the Request URL does not lead any more.

        They may have been typed for the new address only, or a delivery may have been
        made while somebody had the Request URL lead to a host of his own.
        """
        has_secret = target.credential or target.signing_secrets
        if has_secret and url and not url_tools.leads_to(target.url, url):
            raise UserError(
                self.env._(
                    "It was made for %(here)s, but the Request URL of %(config)s leads to "
                    "%(there)s now, and so the credentials are not sent. Press Rebuild "
                    "and Send, or Pull Now for a pull; for a deletion, put the Request "
                    "URL back and press Send Again.",
                    here=describe_address(url),
                    there=describe_address(target.url),
                    config=target.name,
                )
            )

    @api.model
    def _judge(self, claim, target, request, response):
        """Return what an answer means for its delivery, as a :class:`Settlement`."""
        attempt_409 = 2 if claim.last_status_code == 409 else 1
        now = datetime.now(timezone.utc)
        wait = retry.get_wait(response.status, response.headers, response.body, now)
        verdict = retry.classify(
            response.status,
            response.error_kind,
            attempt_409,
            method=claim.method,
            wait=wait,
        )
        if self._is_pull_end(claim, response):
            verdict = retry.DELIVERED
        state, delay, error = "delivered", 0.0, ""
        throttled_for = self._get_throttled_seconds(claim, response, wait, now)
        is_throttled = throttled_for is not None
        is_free = is_throttled and throttled_for < retry.FREE_SECONDS
        if verdict != retry.DELIVERED:
            error = self._explain(response, self._find_echoes(target, request))
            state = "failed"
            tries = claim.attempt_count - claim.attempts_before
            if verdict == retry.RETRY and (is_free or tries < target.max_attempts):
                state = "pending"
                delay = retry.delay(
                    tries,
                    response.status,
                    response.error_kind,
                    wait,
                    throttled_for=throttled_for or 0,
                )
        return Settlement(
            claim,
            state,
            response.status,
            error,
            delay,
            self._prepare_log(claim, target, request, response, error),
            credential=target.credential,
            wait=wait if wait is None else min(wait, retry.MAX_RETRY_AFTER),
            is_throttled=is_throttled,
            is_free=is_free,
            is_unsure=retry.is_unsure(response.status, response.error_kind),
            # A DELETE that found nothing is delivered, without an answer to be used.
            is_used=target.handles_answer
            and state == "delivered"
            and (response.ok or claim.method == "GET"),
        )

    @api.model
    def _get_throttled_seconds(self, claim, response, wait, now):
        """Return for how long a delivery has met a limit, ``None`` if it met none."""
        if not retry.is_throttled(response.status, wait):
            return None
        if not claim.throttled_date:
            return 0.0
        since = claim.throttled_date.replace(tzinfo=timezone.utc)
        return (now - since).total_seconds()

    @api.model
    def _find_echoes(self, target, request):
        """Return the secrets of a request, which its answer may repeat."""
        redactor, _limit = self.env["bj.api.log"]._get_redactor(target.secret_headers)
        return redactor.find_echoes(request.url, request.headers)

    @api.model
    def _explain(self, response, echoes=()):
        """Return a sentence for an attempt that failed: what happened, what to do.

        :param echoes: secrets that the answer may repeat
        """
        redactor, _limit = self.env["bj.api.log"]._get_redactor()
        if response.status is None:
            error = redact.hide(redactor.text(response.error), echoes)
            return redact.storable(error)
        parts = [f"HTTP {response.status} {get_phrase(response.status)}."]
        location = redactor.query(response.headers.get("location", ""))
        location = redact.hide(location, echoes)
        if 300 <= response.status < 400 and location:
            location = redact.cut(location, MAX_SNIPPET)
            parts.append(
                f"Redirects are not followed; it leads to {location}. If that is right, "
                "make it the Request URL."
            )
        elif response.status in ADVICE:
            parts.append(ADVICE[response.status])
        if response.body:
            text = redactor.body(
                response.body, response.headers.get("content-type", "")
            )
            text = " ".join(redact.hide(text, echoes).split())[:MAX_SNIPPET]
            parts.append(f"It answered: {text}")
        return redact.storable(" ".join(parts))

    @api.model
    def _prepare_log(self, claim, target, request, response, error):
        return {
            "level": target.log_level,
            "name": f"{claim.method} {claim.model}",
            "config_id": claim.config_id,
            "company_id": claim.company_id,
            "direction": "out",
            "status": "error" if error else "success",
            "method": request.method,
            "url": request.url,
            "request_headers": request.headers,
            "request_data": request.body or None,
            "response_headers": dict(response.headers),
            "response_data": response.body or None,
            "response_code": response.status,
            "error_message": error,
            "duration": response.duration,
            "model": claim.model,
            "record_id": claim.res_ids[0] if len(claim.res_ids) == 1 else None,
            "record_count": len(claim.res_ids),
            "request_id": get_request_id(claim),
            "user_id": claim.user_id,
            "attempt": claim.attempt_count,
            "delivery_id": claim.id,
            "action": claim.event,
            "secret_headers": target.secret_headers,
            "content_type": target.content_type,
        }

    @api.model
    def _get_outcome(self, settlement, response):
        """Return what an attempt says about its host, see ``_record_outcomes``.

        That it asked to wait, or gave no way to ask, says nothing about how it does.
        """
        claim = settlement.claim
        verdict = retry.classify(
            response.status, response.error_kind, method=claim.method
        )
        if settlement.is_throttled or response.error_kind in ("invalid", "blocked"):
            ok = None
        elif response.status is None:
            ok = False
        else:
            ok = verdict != retry.RETRY or response.status == 409
        return ok, settlement.wait, claim.config_id, settlement.error


def describe_address(url):
    scheme, host, port = url_tools.get_address(url)
    return f"{scheme}://{host}:{port}"


def merge(headers, more):
    """Change ``headers`` in place; names are compared in any case, ``None`` removes."""
    for name, value in more.items():
        for known in [known for known in headers if known.lower() == name.lower()]:
            del headers[known]
        if value is not None:
            headers[name] = value


def get_request_id(claim):
    """Return the name of one attempt."""
    return f"{claim.uuid}-{claim.attempt_count}"


def b64(text):
    return base64.b64encode(text.encode()).decode()


def get_phrase(status):
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
