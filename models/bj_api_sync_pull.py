import json
import logging
import re

from odoo import api, fields, models
from odoo.exceptions import UserError

from ..exceptions import ApiError
from ..tools import mapping, payload
from ..tools.message import Call
from .bj_api_sync_delivery import Row
from .bj_api_sync_outbound import get_destination

_logger = logging.getLogger("bj.api.pull")

# The parameters that ask for a page, by Pagination Style.
PAGE_PARAMS = {
    "offset": ("limit", "offset"),
    "page": ("limit", "page"),
    "cursor": ("limit", "cursor"),
    "link": (),
}
# Where an answer has its list, and the cursor of the next page, when nobody says.
ROOTS = ("data", "items", "results", "records", "value")
CURSORS = (
    "next_cursor",
    "nextCursor",
    "cursor",
    "next",
    "next_page_token",
    "nextPageToken",
)
CURSOR_HOLDERS = ("", "pagination", "paging", "meta", "page_info", "pageInfo", "links")
MAX_REPORTED = 20  # failed items that a log row names
EPOCH = "1970-01-01T00:00:00Z"


class BjApiSyncOutbound(models.AbstractModel):
    """GET: each page is a delivery whose answer is written through the lines and enqueues
    the next page. So a pull is retried, logged and resumed like everything else."""

    _inherit = "bj.api.sync.outbound"

    @api.model
    def _enqueue_pull(self, config, records=None):
        """Have the other side asked for its list, or for each of these records."""
        self = self.sudo()
        deliveries = self.env["bj.api.sync.delivery"]
        config = config.with_env(self.env)
        if records:
            records = self._filter_records(config, records.with_env(self.env))
            rows = self._build_rows(config, records)
        elif deliveries._has_open_pull(config):
            _logger.info("Configuration %s: the last pull is not over yet", config.id)
            return
        else:
            rows = [self._build_pull_row(config)]
        deliveries._insert_rows(config, self.env, "pull", rows)
        self._wake_senders()

    @api.model
    def _build_pull_row(
        self, config, record=None, data=None, *, token=None, sync_date=None
    ):
        """Return the row that asks for one page.

        Parameters may say how the other side calls them: ``skip`` = ``{offset}``. Those
        that no Parameter holds are added under their own names.

        :param dict data: payload of ``record``, for placeholders
        :param str token: offset, page number, cursor or URL of the page
        """
        params = self._get_params(config)
        style = config.pagination_style
        values = {
            **(self._get_url_values(record, data) if record else {}),
            "last_sync_date": to_iso(config.last_sync_date),
            "limit": config.page_size,
            "offset": token or 0,
            "page": token or 1,
            "cursor": token or "",
        }
        taken = " ".join([config.url, *map(str, params.values())])
        for name in PAGE_PARAMS.get(style, ()):
            is_given = f"{{{name}}}" in taken or name in params
            if not is_given and (name != "cursor" or token):
                params[name] = str(values[name])
        headers = {
            h.name: h.value_clear or "" for h in config.header_ids if not h.is_secret
        }
        given = dict(headers)
        if config.request_script:
            call = Call(config.id, "out", "GET")
            records = record if record else self.env[config.model_name]
            _data, headers, params = self._run_request_script(
                config, records, {}, headers, params, call
            )
        url = token if style == "link" and token else None
        url = url or self._expand_url(config.url, params, values)
        changed = {
            name: text for name, text in headers.items() if given.get(name) != text
        }
        sealed = json.dumps(changed) if changed else None
        return Row(
            "GET",
            url,
            get_destination(url),
            headers=self.env["bj.api.sync.secret"]._encrypt(sealed) if sealed else None,
            res_id=record.id if record else None,
            page_token=token,
            sync_date=sync_date or fields.Datetime.now(),
        )

    @api.model
    def _write_pulled(self, claim, config, response):
        """Write the items of a page, and return the row of the next one or ``None``."""
        if response.truncated:
            raise UserError(
                self.env._("The answer is larger than 10 MiB: lower the Page Size.")
            )
        plan = self.env["bj.api.sync.config"]._get_plan(config.id)
        style = config.pagination_style
        if not plan.writable and not style:
            return None  # nothing but a script is interested
        try:
            answer = payload.loads(response.body)
        except ApiError as error:
            raise UserError(
                self.env._("The answer is not JSON: %s", error.description)
            ) from error
        items = self._get_items(config, answer)
        if plan.writable and items:
            self._write_items(claim, config, plan, items)
        token = self._get_next_token(config, claim, answer, response, len(items))
        if token and not claim.res_ids:
            return self._build_pull_row(config, token=token, sync_date=claim.sync_date)
        if claim.sync_date and not claim.res_ids:
            config._update_quietly(last_sync_date=claim.sync_date)
        return None

    @api.model
    def _get_items(self, config, answer):
        """Return the list in an answer: at Response Root, else where lists usually are."""
        found = answer
        if config.response_root:
            found = mapping.take_path(answer, config.response_root)
            if found is mapping.ABSENT:
                raise UserError(
                    self.env._(
                        "The answer has nothing at Response Root %s.",
                        config.response_root,
                    )
                )
        elif isinstance(answer, dict):
            lists = [answer[key] for key in ROOTS if isinstance(answer.get(key), list)]
            found = lists[0] if lists else answer
        return found if isinstance(found, list) else [found] if found else []

    @api.model
    def _write_items(self, claim, config, plan, items):
        """Write items through the lines; those that fail do not keep back the others."""
        results = self.env["bj.api.sync.writer"]._write_rows(
            plan, items, Call(config.id, "out", "GET"), operation="upsert", partial=True
        )
        failed = [result for result in results if result.status == "error"]
        if not failed:
            return
        _logger.warning(
            "Configuration %s: %s of %s items could not be written",
            config.id,
            len(failed),
            len(items),
        )
        messages = [
            f"[{result.index}] {result.message}" for result in failed[:MAX_REPORTED]
        ]
        self.env["bj.api.log"]._record(
            config.log_level,
            {
                "name": self.env._("Pulled items that could not be written"),
                "config_id": config.id,
                "company_id": claim.company_id,
                "direction": "out",
                "status": "error",
                "method": "GET",
                "url": claim.url,
                "model": config.model_name,
                "record_count": len(failed),
                "error_message": "\n".join(messages),
                "user_id": self.env.uid,
                "delivery_id": claim.id,
                "action": "pull",
                "line_id": failed[0].line_id,
            },
        )

    @api.model
    def _get_next_token(self, config, claim, answer, response, count):
        """Return what asks for the next page, ``None`` after the last one."""
        style = config.pagination_style
        if style == "offset":
            offset = int(claim.page_token or 0)
            return str(offset + count) if count and count >= config.page_size else None
        if style == "page":
            page = int(claim.page_token or 1)
            return str(page + 1) if count and count >= config.page_size else None
        if style == "cursor":
            token = get_cursor(answer)
        elif style == "link":
            token = get_next_link(response.headers.get("link", ""))
        else:
            return None
        if not token or token == claim.page_token or token == claim.url:
            return None
        if "://" in token and get_destination(token) != claim.destination:
            # Credentials go only where the configuration says.
            raise UserError(
                self.env._(
                    "The next page is on another host, which is not asked: %s", token
                )
            )
        return token


def get_cursor(answer):
    """Return the cursor of the next page in an answer, or ``None``."""
    if not isinstance(answer, dict):
        return None
    for holder in CURSOR_HOLDERS:
        place = answer.get(holder) if holder else answer
        for name in CURSORS if isinstance(place, dict) else ():
            if isinstance(place.get(name), str | int) and place[name]:
                return str(place[name])
    return None


def get_next_link(header):
    """Return the URL of ``rel="next"`` in a ``Link`` header (RFC 8288), or ``None``."""
    for match in re.finditer(r"<([^<>]*)>([^<]*)", header):
        if re.search(r';\s*rel\s*=\s*"?[^";]*\bnext\b', match[2], re.IGNORECASE):
            return match[1]
    return None


def to_iso(date):
    return date.strftime("%Y-%m-%dT%H:%M:%SZ") if date else EPOCH
