from . import compat, controllers, models, wizards
from .compat import categorise_groups

compat.declare_constraints()
