from odoo.tests.common import TransactionCase, new_test_user

from ..exceptions import ApiError, PayloadError
from ..tools.message import Call
from .common import ConfigMixin


class MappingCase(ConfigMixin, TransactionCase):
    """Reads and writes records along a mapping, below HTTP.

    ``cls.user`` may edit contacts and nothing else; mappings run with the rights of
    ``self.runner``, which is that user unless a test says otherwise.
    """

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.user = new_test_user(
            cls.env,
            "mapping_user",
            groups="base.group_user,base.group_partner_manager",
        )
        cls.runner = cls.env(user=cls.user)

    def make_call(self, config, direction="in", **vals):
        return Call(config.id, direction, **vals)

    def plan(self, config):
        return self.env["bj.api.sync.config"]._get_plan(config.id)

    def read_payloads(self, config, records, keys=None, direction="in"):
        """Return one payload per record."""
        return self.runner["bj.api.sync.reader"]._read_payloads(
            self.plan(config),
            records.with_env(self.runner),
            self.make_call(config, direction),
            keys,
        )

    def write_rows(self, config, rows, **options):
        """Return one result per row, or the only one for a row that is no list."""
        is_list = isinstance(rows, list)
        results = self.runner["bj.api.sync.writer"]._write_rows(
            self.plan(config),
            rows if is_list else [rows],
            self.make_call(config),
            **options,
        )
        return results if is_list else results[0]

    def save(self, config, row, **options):
        """Return the record that a row was written to."""
        result = self.write_rows(config, row, **options)
        return self.env[config.model_name].browse(result.record_id)

    def refuse(self, config, rows, **options):
        """Return the errors for which rows are refused, and undo what was done.

        :return: ``[{"index": …, "key": …, "line_id": …, "message": …}]``
        """
        with self.assertRaises(ApiError) as caught, self.env.cr.savepoint():
            self.write_rows(config, rows, **options)
        error = caught.exception
        if isinstance(error, PayloadError):
            return error.errors
        return error.details["errors"]

    def assertRefused(self, config, row, key, *texts, **options):
        """Check that one thing is wrong with a row: where, and words of the message."""
        errors = self.refuse(config, row, **options)
        self.assertEqual([error.get("key") for error in errors], [key])
        for text in texts:
            self.assertIn(text, errors[0]["message"])
        return errors[0]
