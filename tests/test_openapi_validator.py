import importlib.util
import unittest

from odoo.tests import BaseCase

from . import test_openapi

# Only the development environment has it.
HAS_VALIDATOR = importlib.util.find_spec("openapi_spec_validator")


@unittest.skipUnless(HAS_VALIDATOR, "openapi-spec-validator is missing")
class TestPublicValidator(BaseCase):
    def test_it_agrees(self):
        import openapi_spec_validator  # takes a second, and each document another one

        for vals in test_openapi.VARIANTS:
            with self.subTest(vals=vals):
                openapi_spec_validator.validate(test_openapi.build(**vals))
