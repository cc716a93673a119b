from odoo import Command, models


class BjBenchOutbound(models.AbstractModel):
    """The ways to send: each ``_run_<way>`` sends or enqueues one call a partner."""

    _name = "bj.bench.outbound"
    _description = "Benchmark of Sending"

    def _set_up(self, url):
        """Make an Out configuration, an action of each kind, and an inactive rule."""
        config = self.env["bj.api.sync.config"].create(
            {
                "name": "Bench out",
                "request_type": "out",
                "model_id": self.env["ir.model"]._get_id("res.partner"),
                "url": url,
                "auth_type": "none",
                "http_method_ids": [
                    Command.set(
                        self.env["bj.http.method"].search([("name", "=", "POST")]).ids
                    )
                ],
                "line_ids": [
                    Command.create(
                        {
                            "field_path": path,
                            "api_key": key,
                            "is_record_identifier": path == "id",
                        }
                    )
                    for path, key in [
                        ("id", "odoo_id"),
                        ("name", "name"),
                        ("email", "email"),
                    ]
                ],
            }
        )
        fields = self.env["ir.model.fields"]._get("res.partner", "name")
        fields += self.env["ir.model.fields"]._get("res.partner", "email")
        common = {"model_id": config.model_id.id}
        self.env["ir.actions.server"].create(
            [
                {
                    **common,
                    "name": "Bench ours",
                    "state": "bj_api_sync",
                    "bj_api_config_id": config.id,
                },
                {
                    **common,
                    "name": "Bench webhook",
                    "state": "webhook",
                    "webhook_url": url,
                    "webhook_field_ids": [Command.set(fields.ids)],
                },
            ]
        )
        rule = self.env["base.automation"].create(
            {
                **common,
                "name": "Bench rule",
                "trigger": "on_create_or_write",
                "trigger_field_ids": [
                    Command.link(
                        self.env["ir.model.fields"]._get("res.partner", "street2").id
                    )
                ],
                "active": False,
            }
        )
        self.env["ir.actions.server"].create(
            {
                **common,
                "name": "Bench rule action",
                "state": "bj_api_sync",
                "bj_api_config_id": config.id,
                "base_automation_id": rule.id,
            }
        )

    def _set_rule(self, active):
        rules = self.env["base.automation"].with_context(active_test=False)
        rules.search([("name", "=", "Bench rule")]).active = active

    def _run_ours(self, partners, _url):
        self._run_action("Bench ours", partners)

    def _run_webhook(self, partners, _url):
        self._run_action("Bench webhook", partners)

    def _run_write(self, partners, url):
        partners.write({"street2": url})

    def _run_action(self, name, partners):
        action = self.env["ir.actions.server"].search([("name", "=", name)])
        action.with_context(
            active_model="res.partner",
            active_ids=partners.ids,
            active_id=partners[:1].id,
        ).run()
