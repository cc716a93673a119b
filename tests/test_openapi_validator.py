from . import test_openapi
from .pure_case import PureCase


class TestPublicValidator(PureCase):
    def test_it_agrees(self):
        # Brought by ./dev; takes a second, and each document another one.
        import openapi_spec_validator

        for vals in test_openapi.VARIANTS:
            with self.subTest(vals=vals):
                openapi_spec_validator.validate(test_openapi.build(**vals))
