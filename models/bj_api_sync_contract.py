from dataclasses import replace
from datetime import datetime, timezone

from odoo import api, models, release
from odoo.exceptions import UserError
from psycopg2 import OperationalError
from psycopg2.pool import PoolError

from ..exceptions import BadRequest, NotFound, RateLimited, Unauthorized
from ..tools import credential, example, openapi, postman
from ..tools.message import ApiResponse, Contract
from .bj_api_sync_config import ROUTE
from .bj_api_sync_gate import is_open

STANDARD_NAMES = ("id", "active", "create_date", "write_date")


class BjApiSyncContract(models.AbstractModel):
    """What clients may know about endpoints: documents, and whether the API is well.

    A caller sees the endpoints that his credential opens, and public ones.
    """

    _name = "bj.api.sync.contract"
    _description = "API Contract"

    @api.model
    def _get_document(self, kind, request):
        """Answer the document of the endpoints that the caller may see.

        :param str kind: ``openapi`` or ``postman``
        :param InboundRequest request: ``?endpoint=a,b`` restricts the document
        :raise Unauthorized: a credential was given that opens nothing
        :raise NotFound: an endpoint was asked for that the caller cannot see
        """
        visible = self._get_visible(request)[0]
        wanted = [
            name
            for key, text in request.query
            if key == "endpoint"
            for name in text.split(",")
            if name
        ]
        by_name = {endpoint.endpoint: endpoint for endpoint in visible}
        for name in wanted:
            if name not in by_name:
                raise NotFound(
                    self.env._("There is no endpoint %s that you may see.", name)
                )
        if wanted:
            visible = [by_name[name] for name in dict.fromkeys(wanted)]
        return ApiResponse(
            payload=self._build_document(kind, visible, self._get_base_url()),
            kind="raw",
        )

    @api.model
    def _get_index(self, _request):
        """Answer where to find what describes the API."""
        url = f"{self._get_base_url()}{ROUTE}"
        return ApiResponse(
            payload={
                "openapi": f"{url}/openapi.json",
                "postman": f"{url}/postman.json",
                "health": f"{url}/health",
            },
            kind="raw",
        )

    @api.model
    def _get_health(self, request):
        """Answer 200, or 503 when the database cannot be used, or nobody sends.

        The latter when there is something to be sent by and Odoo's scheduler is off, see
        ``_get_scheduler_problem``. A credential of any endpoint is also told how long the outbox waits, and may have
        503 answered when that is more than ``?max_queue_age=`` seconds; and whether this
        call came through a proxy that Odoo does not heed.

        :raise Unauthorized: a credential was given that opens nothing
        """
        gate = self.env["bj.api.sync.gate"]
        is_known = self._get_visible(request)[1]
        limits = [text for key, text in request.query if key == "max_queue_age"]
        if limits and not is_known:
            raise Unauthorized(
                self.env._("max_queue_age needs the credential of an endpoint."),
                headers={"WWW-Authenticate": 'Bearer realm="bj_api_sync"'},
            )
        if limits and not (limits[-1].isascii() and limits[-1].isdigit()):
            raise BadRequest(
                self.env._("max_queue_age must be a whole number of seconds."),
                details={"key": "max_queue_age"},
            )
        queue = self._measure_queue()
        is_called = queue is None or queue.pop("is_called")
        is_well = queue is not None and is_called
        if limits and queue:
            is_well = is_well and queue["oldest_due_seconds"] <= int(limits[-1][:12])
        payload = {"status": "ok" if is_well else "error"}
        if is_known:
            payload.update(
                database="error" if queue is None else "ok",
                queue=queue,
                scheduler="ok" if is_called else "error",
                proxy="error" if gate._find_proxy_fault(request) else "ok",
                odoo=release.version,
                time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            )
        return ApiResponse(status=200 if is_well else 503, payload=payload, kind="raw")

    @api.model
    def _measure_queue(self):
        """Return what waits in the outbox and whether it is sent (``is_called``),
        ``None`` if the database cannot be asked.

        Over a connection of its own to the primary: the request's may go to a replica.
        """
        try:
            with self.env.registry.cursor() as cr:
                cr.execute(
                    """SELECT count(*), count(*) FILTER (WHERE age >= 0),
                              COALESCE(GREATEST(max(age), 0), 0)
                       FROM (SELECT EXTRACT(EPOCH FROM timezone('UTC', now())
                                            - next_attempt_date) AS age
                             FROM bj_api_sync_delivery
                             WHERE state = 'pending') AS pending"""
                    if "bj.api.sync.delivery" in self.env
                    else "SELECT 0, 0, 0"
                )
                pending, due, age = cr.fetchone()
                is_called = self.with_env(self.env(cr=cr))._is_sender_called()
        except (OperationalError, PoolError):
            return None
        return {
            "pending": pending,
            "due": due,
            "oldest_due_seconds": int(age),
            "is_called": is_called,
        }

    @api.model
    def _is_sender_called(self):
        """Tell whether what is to be sent is sent, as far as Odoo's scheduler goes."""
        if "bj.api.sync.sender" not in self.env:
            return True
        configs = self.env["bj.api.sync.config"].sudo()
        if not configs.search_count([("request_type", "=", "out")], limit=1):
            return True
        return not self.env["bj.api.sync.sender"].sudo()._get_scheduler_problem()

    # -- who sees what ---------------------------------------------------------------

    @api.model
    def _get_visible(self, request):
        """Return ``(endpoints the caller may see, whether a credential opened one)``.

        :raise Unauthorized: a credential was given that opens nothing
        :raise RateLimited: too many wrong tries from this address
        """
        gate = self.env["bj.api.sync.gate"]
        endpoints = [
            endpoint
            for endpoint in self._get_endpoints()
            if gate._is_in_networks(endpoint, request)
        ]
        given = credential.parse_authorization(request.headers.get("authorization"))
        known = {name for endpoint in endpoints for name, _id in endpoint.headers}
        is_given = "authorization" in request.headers or known & set(request.headers)
        public = [endpoint for endpoint in endpoints if is_open(endpoint)]
        if not is_given:
            return public, False
        candidates = [
            endpoint
            for endpoint in endpoints
            if not is_open(endpoint) and may_open(endpoint, given, request.headers)
        ]
        opened = self._open(candidates, request)
        return [e for e in endpoints if is_open(e) or e in opened], True

    @api.model
    def _open(self, candidates, request):
        """Return those of the endpoints that the credential of a call opens.

        :raise Unauthorized: none
        :raise RateLimited: none, after too many wrong tries from this address
        """
        gate = self.env["bj.api.sync.gate"]
        checks = credential.Checks()
        opened, refusal = [], None
        if not candidates:
            gate._check_failures(request.remote_addr)
            credential.dummy_verify()  # a login that nobody has takes as long
        for endpoint in candidates:
            try:
                if gate._identify(endpoint, request, checks):
                    opened.append(endpoint)
            except RateLimited as error:  # a generated token may open the next one yet
                refusal = error
        if opened:
            checks.remember_failed()
            return opened
        if refusal:
            raise refusal
        checks.make_up()
        gate._note_failure(request.remote_addr, max(len(candidates), 1))
        raise Unauthorized(
            self.env._("Authentication failed"),
            headers={"WWW-Authenticate": 'Bearer realm="bj_api_sync"'},
        )

    @api.model
    def _get_endpoints(self):
        """Return the :class:`Endpoint` of all active In configurations that have one."""
        config_model = self.env["bj.api.sync.config"]
        configs = config_model.sudo().search(
            [("request_type", "=", "in"), ("endpoint", "!=", False)], order="endpoint"
        )
        return [config_model._get_endpoint(name) for name in configs.mapped("endpoint")]

    # -- documents -------------------------------------------------------------------

    @api.model
    def _build_document(self, kind, endpoints, base_url):
        contracts = [self._make_contract(endpoint) for endpoint in endpoints]
        if kind == "openapi":
            return openapi.build(contracts, f"{base_url}{ROUTE}")
        return postman.build(contracts, base_url, ROUTE)

    @api.model
    def _get_base_url(self):
        return self.env["bj.api.sync.config"].sudo().get_base_url()

    @api.model
    def _make_contract(self, endpoint):
        """Return the :class:`~..tools.message.Contract` of an :class:`Endpoint`."""
        config = self.env["bj.api.sync.config"].sudo().browse(endpoint.config_id)
        # The filters that are open to the endpoint's user, not to whoever asks.
        inbound = self.env["bj.api.sync.inbound"].with_user(endpoint.user_id)
        plan = config._get_plan(endpoint.config_id)
        plans = self._get_nested_plans(plan)
        fields, orders, params, keys = inbound._get_query_spec(endpoint.config_id)
        closed = inbound._get_closed_names(plan)
        lines = self._get_list_lines([plan, *plans.values()])
        plan = self._with_choices(plan)
        plans = {key: self._with_choices(nested) for key, nested in plans.items()}
        return Contract(
            endpoint=endpoint.endpoint,
            title=endpoint.name,
            description=config.description or "",
            plan=plan,
            plans=plans,
            methods=endpoint.methods,
            auth_type=endpoint.auth_type,
            headers=tuple(config.header_ids.mapped("name")),
            response_format=endpoint.response_format,
            is_paginated=endpoint.is_paginated,
            limit=min(endpoint.limit, endpoint.max_limit),
            max_limit=endpoint.max_limit,
            max_bulk=inbound._get_int_parameter("bj_api_sync.max_bulk", 1000),
            upsert=endpoint.upsert,
            delete_mode=endpoint.delete_mode,
            is_rate_limited=bool(
                endpoint.rate_limit_per_minute or endpoint.rate_limit_per_hour
            ),
            has_request_script=bool(endpoint.request_script),
            has_response_script=bool(endpoint.response_script),
            # Field names work too, but a contract is in external keys.
            filters=tuple(
                filtered
                for name, filtered in fields.items()
                if filtered.path.split(".")[0] not in closed
                and (name in STANDARD_NAMES or is_external(plan, name))
            ),
            params=params,
            orders=tuple(
                name
                for name, field in orders.items()
                if field not in closed
                and (name in STANDARD_NAMES or is_external(plan, name))
            ),
            keys=keys,
            list_lines=lines,
            read_example=example.read(plan, plans, lines),
            create_example=example.create(plan, plans),
            update_example=example.update(plan, plans),
        )

    @api.model
    def _get_nested_plans(self, plan):
        """Return ``{configuration id: Plan}`` of all mapping models below a plan."""
        config_model = self.env["bj.api.sync.config"]
        found, waiting = {}, [plan]
        while waiting:
            for rule in waiting.pop().rules:
                config_id = rule.mapping_config_id
                if config_id and config_id not in found:
                    found[config_id] = config_model._get_plan(config_id)
                    waiting.append(found[config_id])
        return found

    @api.model
    def _with_choices(self, plan):
        """Return the plan with the choices of selections that are computed, as languages."""
        rules = tuple(
            replace(
                rule, selection=tuple(self._get_field(plan, rule).get_values(self.env))
            )
            if rule.field_type == "selection" and not rule.selection
            else rule
            for rule in plan.rules
        )
        identifier = plan.identifier and rules[plan.rules.index(plan.identifier)]
        return replace(plan, rules=rules, identifier=identifier)

    @api.model
    def _get_field(self, plan, rule):
        model = self.env[plan.model]
        for name in rule.path[:-1]:
            model = self.env[model._fields[name].comodel_name]
        return model._fields[rule.path[-1]]

    @api.model
    def _get_list_lines(self, plans):
        """Return the ids of the lines whose path goes through a list on its way."""
        found = set()
        for plan in plans:
            for rule in plan.rules:
                model = self.env[plan.model]
                for name in rule.path[:-1]:
                    field = model._fields[name]
                    if field.type in ("one2many", "many2many"):
                        found.add(rule.line_id)
                    model = self.env[field.comodel_name]
        return frozenset(found)


class BjApiSyncConfig(models.Model):
    _inherit = "bj.api.sync.config"

    def action_download_openapi(self):
        return self._download_contract("openapi")

    def action_download_postman(self):
        return self._download_contract("postman")

    def _download_contract(self, kind):
        self.ensure_one()
        self._check_has_contract()
        return {
            "type": "ir.actions.act_url",
            "url": f"/bj_api_sync/contract/{self.id}/{kind}.json",
            "target": "download",
        }

    def _check_has_contract(self):
        if self.request_type != "in" or not self.endpoint:
            raise UserError(
                self.env._(
                    "%s has no endpoint: only an In configuration with an Endpoint can "
                    "be described to clients.",
                    self.name,
                )
            )

    def _get_contract_document(self, kind):
        """Return ``(file name, document)`` of this configuration, archived or not.

        :raise AccessError: the user may not read the configuration
        """
        self.ensure_one()
        self.check_access("read")
        self._check_has_contract()
        contract = self.env["bj.api.sync.contract"]
        document = contract._build_document(
            kind, [self.sudo()._compile_endpoint()], contract._get_base_url()
        )
        return f"{self.endpoint}.{kind}.json", document


def is_external(plan, name):
    return any(rule.api_key == name for rule in plan.readable)


def may_open(endpoint, given, headers):
    """Tell whether it is worth checking a credential, which is slow for what was typed."""
    if any(name not in headers for name, _id in endpoint.headers):
        return False
    if endpoint.auth_type == "bearer":
        return isinstance(given, credential.Bearer)
    if endpoint.auth_type == "basic":
        return isinstance(given, credential.Basic) and credential.same(
            given.login, endpoint.auth_login
        )
    return True
