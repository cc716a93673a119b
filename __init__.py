from . import compat, controllers, models, wizards
from .compat import categorise_groups
from .hooks import leave_nothing

compat.declare_constraints()
