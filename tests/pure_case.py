"""The base of tests that need neither a database nor Odoo."""

import sys
import unittest

if "odoo" in sys.modules:  # whose runner takes only classes that carry its tags
    from odoo.tests import BaseCase as PureCase
else:  # ./dev test --fast, where importing Odoo would take longer than all the tests
    PureCase = unittest.TestCase
