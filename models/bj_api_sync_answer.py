import json

from odoo import api, models
from odoo.exceptions import UserError

from ..exceptions import ApiError
from ..tools import convert, mapping, payload
from ..tools.message import loads_foreign
from .bj_api_sync_outbound import parse_json
from .bj_api_sync_phrase import translate
from .bj_api_sync_trigger import ANSWERED, Answered


class BjApiSyncOutbound(models.AbstractModel):
    """What is done with a good answer."""

    _inherit = "bj.api.sync.outbound"

    @api.model
    def _handle_answer(self, claim, config, response):
        """Do with a good answer what the configuration says, in this transaction.

        What this changes in the records of the delivery does not trigger the
        configuration itself; see :meth:`_leave_out_answered`.

        :return: row of the next page of a pull, or its ``PullStop``, else ``None``
        :raise Exception: whatever the response script or the mapping raises
        """
        data = self.env.cr.postcommit.data
        before = data.get(ANSWERED)  # of the delivery whose script has sent this one
        data[ANSWERED] = Answered(config.id, tuple(claim.res_ids or ()), claim.event)
        try:
            service = self.with_env(self._get_answer_env(claim, config))
            return service._use_answer(claim, config, response)
        finally:
            data[ANSWERED] = before

    @api.model
    def _use_answer(self, claim, config, response):
        records = self.env[claim.model].browse(claim.res_ids).exists()
        next_row = None
        if claim.method == "GET":
            next_row = self._write_pulled(claim, config, response)
        if not response.ok:
            return next_row  # the end of a pull: nothing that a script could read
        # Without a body, as under 204, there is nothing to be written.
        if config.response_field_path and records and response.body.strip():
            without = self._filter_without_value(config, records)
            self._write_answer(claim, config, response)
            self._trigger_updates(config, without)
        if config.response_script:
            script = self.env["bj.api.sync.script"]
            context = script._make_context(
                config,
                direction="out",
                records=records,
                request_data=parse_json(claim.payload),
                headers=dict(response.headers),
                method=claim.method,
                response=ScriptResponse(response),
            )
            script._run(
                config.response_script,
                "execute",
                context,
                name=self.env._("Response Script"),
            )
        self.env.flush_all()
        return next_row

    @api.model
    def _write_answer(self, claim, config, response):
        """Write one value of the answer to the field that the configuration names.

        Nothing is written unless there is a value for each record of the delivery.
        """
        values = [
            self._get_answer_value(config, item)
            for item in self._get_answers(claim, config, response)
        ]
        *path, name = config.response_field_path.split(".")
        model = self.env[claim.model]
        known = set(model.browse(claim.res_ids).exists()._ids)
        for record_id, value in zip(claim.res_ids, values, strict=True):
            if record_id in known:
                record = model.browse(record_id)
                holder = record.mapped(".".join(path)) if path else record
                holder.write({name: value})

    @api.model
    def _get_answers(self, claim, config, response):
        """Return the part of the answer that is about each record of the delivery.

        Paired by position with all that were sent, also those that are gone by now: a
        list that is shorter or longer cannot be told apart from one that has been shifted.
        """
        try:
            answer = payload.loads(response.body)
        except ApiError as error:
            raise UserError(
                self.env._("The answer is not JSON, so there is no Answer Key in it.")
            ) from error
        count = len(claim.res_ids)
        if isinstance(answer, list) and len(answer) == count:
            return answer
        if count == 1:
            return [answer]
        if isinstance(answer, list):
            got = self.env._("a list of %(count)s", count=len(answer))
        else:
            got = translate(self.env, convert.describe(answer))
        raise UserError(
            self.env._(
                "Answer Key %(key)s: the answer to a batch of %(count)s records must be a "
                "list of %(count)s entries in the same order, but it is %(got)s. Nothing "
                "was written to %(field)s: read such an answer in the Response Script.",
                key=config.response_key or "",
                count=count,
                got=got,
                field=config.response_field_path,
            )
        )

    @api.model
    def _get_answer_value(self, config, item):
        value = mapping.take_path(item, config.response_key or "")
        if value is mapping.ABSENT:
            raise UserError(
                self.env._(
                    "The answer has no %(key)s, which should be written to %(field)s.",
                    key=config.response_key,
                    field=config.response_field_path,
                )
            )
        if isinstance(value, dict | list):
            return json.dumps(value, ensure_ascii=False)
        return value


class ScriptResponse:
    """The answer as scripts see it: plain values, nothing of ours behind them."""

    __slots__ = ("headers", "ok", "status_code", "text")

    def __init__(self, response):
        self.status_code = response.status
        self.ok = response.ok
        self.headers = dict(response.headers)
        self.text = response.text

    def json(self):
        return loads_foreign(self.text)
