import re
import uuid

from odoo import models
from odoo.http import request

from ..exceptions import NotFound
from ..tools.message import InboundRequest
from .bj_api_sync_config import ROUTE

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
# What these modules do before a route is called is for pages: they choose a language, and
# let parameters of the query into the context and the session.
PAGE_MODULES = (
    "base",
    "web",
    "http_routing",
    "web_editor",
    "html_editor",  # its name on 19.0
    "auth_signup",
    "website",
    "website_sale",
    "bj_api_sync",
)


class IrHttp(models.AbstractModel):
    _inherit = "ir.http"

    @classmethod
    def _match(cls, path_info):
        # No rule takes a path that starts with a slash or has a line break, and the page
        # that Odoo answers then is not JSON. What is called is read from the request.
        is_odd = path_info.startswith(f"{ROUTE}//") or (
            path_info.startswith(f"{ROUTE}/") and "\n" in path_info
        )
        return super()._match(ROUTE if is_odd else path_info)

    @classmethod
    def _authenticate_explicit(cls, auth):
        """Authenticate our routes without looking at the session.

        Core takes any unexpected exception there for wrong credentials, a failing
        database included.
        """
        if not auth.startswith("bj_api_sync"):
            return super()._authenticate_explicit(auth)
        return getattr(cls, f"_auth_method_{auth}")()

    @classmethod
    def _pre_dispatch(cls, rule, args):
        """Spare a call what Odoo does for pages; its language is known already."""
        is_call = request.dispatcher.routing_type == "bj_api_sync"
        if not (is_call and request.env.context.get("lang")) or any(
            "_pre_dispatch" in part.__dict__ and part._module not in PAGE_MODULES
            for part in cls.__mro__
        ):
            return super()._pre_dispatch(rule, args)
        return request.dispatcher.pre_dispatch(rule, args)

    @classmethod
    def _auth_method_bj_api_sync(cls):
        """Find the endpoint of the path, check who calls, and become its user.

        A session is ignored on purpose: a page that a logged-in browser has open must
        not be able to use the API in the user's name.
        """
        dispatcher = request.dispatcher
        dispatcher.inbound = head = cls._read_bj_api_sync_head()
        env = request.env(user=None, su=False, context={})
        endpoint = env["bj.api.sync.config"]._get_endpoint(head.endpoint)
        if not endpoint:
            raise NotFound(env._("There is no endpoint %s.", head.endpoint or "/"))
        dispatcher.endpoint = endpoint
        gate = env["bj.api.sync.gate"]
        if head.method != "OPTIONS":  # a preflight carries no credentials
            dispatcher.authenticate(gate._authenticate(endpoint, head))
        context = gate._get_user_context(endpoint, head)
        gate._spare_company(endpoint)
        request.update_env(user=endpoint.user_id, context=context, su=False)

    @classmethod
    def _auth_method_bj_api_sync_contract(cls):
        """Read the call and run as the public user, whatever session comes with it.

        What the caller may see is decided later, endpoint by endpoint.
        """
        request.dispatcher.inbound = cls._read_bj_api_sync_head()
        public = request.env(user=None, su=True).ref("base.public_user")
        request.update_env(user=public.id, context={}, su=False)

    @classmethod
    def _read_bj_api_sync_head(cls):
        """Return the call without its body, which is read only after authentication."""
        httprequest = request.httprequest
        path = httprequest.path.removeprefix(ROUTE).removeprefix("/").rstrip("/")
        endpoint, _separator, record_key = path.partition("/")
        return InboundRequest(
            method=httprequest.method,
            endpoint=endpoint,
            record_key=record_key or None,
            query=tuple(httprequest.args.items(multi=True)),
            headers={
                name.lower(): value for name, value in httprequest.headers.items()
            },
            request_id=read_request_id(httprequest),
            remote_addr=httprequest.remote_addr or "",
            url=httprequest.full_path.rstrip("?"),
            base_url=f"{httprequest.scheme}://{httprequest.host}",
        )


def read_request_id(httprequest):
    """Return how a call is named: by the caller, or by a name of its own."""
    request_id = httprequest.headers.get("X-Request-ID", "").strip()
    return request_id if REQUEST_ID.fullmatch(request_id) else str(uuid.uuid4())
