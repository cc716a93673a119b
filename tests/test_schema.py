from unittest.mock import patch

from odoo.modules.migration import load_script
from odoo.tests import tagged
from odoo.tools import mute_logger, sql

from ..models.bj_api_sync_schema import PARAMETER, STEPS
from .outbound_common import OutboundCase

LOG = "odoo.modules.migration"
PARAMS = "bj_api_sync_param"


@tagged("post_install", "-at_install")
class TestSchema(OutboundCase):
    """The number of the tables, and what the steps to it do and leave alone."""

    def _init(self):
        """Do what an upgrade begins with; return how often scripts were run."""
        with patch(
            "odoo.addons.bj_api_sync.models.bj_api_sync_schema.exec_script"
        ) as run:
            self.env.registry.init_models(
                self.env.cr, ["bj.api.sync.schema"], {"module": "bj_api_sync"}, False
            )
        return [call.args[4:] for call in run.call_args_list]

    def _run(self, name):
        load_script(str(STEPS / name), "step").migrate(self.env.cr, "0")
        self.env.invalidate_all()

    def _make_params(self, **values):
        params = [(0, 0, {"name": name, "value": values[name]}) for name in values]
        return self._make_config(param_ids=params).param_ids

    def _lose(self, params):
        """Leave the values where an upgrade without migrations left them."""
        values = {param.id: param.value for param in params}
        params.value = False
        self.env.flush_all()
        cr = self.env.cr
        cr.execute(f"ALTER TABLE {PARAMS} ADD COLUMN value varchar")
        cr.execute(
            """UPDATE ir_model_data SET create_date = timezone('UTC', now())
               WHERE name = 'field_bj_api_sync_param__value_clear'"""
        )
        for param_id, value in values.items():
            cr.execute(
                f"""UPDATE {PARAMS} SET value = %s,
                        write_date = timezone('UTC', now()) - interval '1 day'
                    WHERE id = %s""",
                [value, param_id],
            )
        self.env.invalidate_all()

    def test_each_step_runs_once_and_in_order_and_the_number_tells(self):
        newest = str(max(self.env["bj.api.sync.schema"]._get_steps()))
        parameters = self.env["ir.config_parameter"]
        self.assertEqual(parameters.get_param(PARAMETER), newest, "of a new database")
        self.assertEqual(self._init(), [])
        parameters.set_param(PARAMETER, False)
        stages = self._init()
        self.assertEqual(
            [stage for stage, _number in stages],
            sorted((stage for stage, _number in stages), reverse=True),
            "pre, then post",
        )
        for wanted in ("pre", "post"):
            numbers = [number for stage, number in stages if stage == wanted]
            self.assertEqual(numbers[0], "0.1")
            self.assertEqual(numbers, sorted(numbers))
        self.assertEqual(parameters.get_param(PARAMETER), newest)
        parameters.set_param(PARAMETER, "1")
        self.assertEqual({number for _stage, number in self._init()}, {"0.2"})

    def test_the_number_of_newer_code_stays(self):
        self.env["ir.config_parameter"].set_param(PARAMETER, "999")
        self.assertEqual(self._init(), [])
        self.assertEqual(self.env["ir.config_parameter"].get_param(PARAMETER), "999")

    def test_odoo_finds_nothing_to_run_or_to_warn_about(self):
        for folder in STEPS.iterdir():
            self.assertRegex(folder.name, r"^0\.[1-9][0-9]*$")
            for path in folder.glob("*.py"):
                self.assertRegex(path.name, r"^(pre|post)-\w+\.py$")

    def test_all_steps_leave_a_database_of_today_alone(self):
        param, secret = self._make_params(src="odoo", api_key="s3cret")
        delivery = self._enqueue(param.config_id, self._make_partner())
        before = (secret.value_secret, delivery.url, delivery.url_secret)
        for stage in ("pre", "post"):
            for path in sorted(STEPS.glob(f"0.*/{stage}-*.py")):
                self._run(path.relative_to(STEPS))
        self.assertEqual((param.value, secret._get_value()), ("odoo", "s3cret"))
        after = (secret.value_secret, delivery.url, delivery.url_secret)
        self.assertEqual(after, before)

    def test_values_that_were_left_behind_are_back_but_not_in_a_neutralized_copy(self):
        for is_neutralized in (False, True):
            with self.subTest(is_neutralized=is_neutralized):
                params = self._make_params(src="odoo")
                self._lose(params)
                self.env["ir.config_parameter"].set_param(
                    "database.is_neutralized", is_neutralized
                )
                self._run("0.1/pre-parameter_values.py")
                self.assertEqual(params.value, not is_neutralized and "odoo")
                self.assertFalse(sql.column_exists(self.env.cr, PARAMS, "value"))

    def test_secrets_in_clear_are_sealed_where_the_key_is_the_right_one(self):
        config = self._make_config(
            auth_type="bearer",
            bearer_token="token",
            param_ids=[(0, 0, {"name": "api_key", "value": "s3cret"})],
        )
        delivery = self._enqueue(config, self._make_partner())
        shown, sealed = delivery.url, config.sudo().bearer_token_secret
        whole = self.env["bj.api.sync.outbound"]._get_url(shown, delivery.url_secret)
        self.assertIn("api_key=s3cret", whole)
        self.env.flush_all()
        self.env.cr.execute(
            f"UPDATE {PARAMS} SET value_clear = 's3cret', value_secret = NULL"
            " WHERE config_id = %s",
            [config.id],
        )
        self.env.cr.execute(
            "UPDATE bj_api_sync_delivery SET url = %s, url_secret = NULL WHERE id = %s",
            [whole, delivery.id],
        )
        config.env.invalidate_all()
        config.sudo().bearer_token_secret = "of another key"
        self.env.flush_all()
        with mute_logger("bj.api.migration"):
            self._run("0.1/post-seal.py")
        self.assertEqual((config.param_ids.value, delivery.url), ("s3cret", whole))
        config.sudo().bearer_token_secret = sealed
        self.env.flush_all()
        self._run("0.1/post-seal.py")
        self.assertFalse(config.param_ids.value_clear)
        self.assertEqual(config.param_ids._get_value(), "s3cret")
        self.assertEqual(delivery.url, shown)
        self.assertEqual(
            self.env["bj.api.sync.outbound"]._get_url(shown, delivery.url_secret), whole
        )

    def test_a_host_that_asked_to_wait_waits_for_each_credential_in_use(self):
        configs = self._make_config(auth_type="bearer", bearer_token="one")
        configs |= self._make_config(auth_type="bearer", bearer_token="two")
        destinations = self.env["bj.api.sync.destination"]
        name = self._enqueue(configs[0], self._make_partner()).destination
        destinations.create({"name": name, "hold_until": "2100-01-01"})
        self.env.flush_all()
        self._run("0.2/post-destinations.py")
        rows = destinations.search([("name", "=", name)])
        self.assertEqual(
            set(rows.mapped("credential")), {c._get_credential() for c in configs}
        )
        self.assertEqual(set(rows.mapped("state")), {"held"})
