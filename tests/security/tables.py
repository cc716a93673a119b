"""All attempts, in the order in which they are played."""

from . import (
    bodies,
    documents,
    doors,
    dump,
    manager,
    outside,
    reach,
    rights,
    scripts,
    wire,
)

# What is tried on a copy shuts everything, so it is the last.
MODULES = (wire, rights, manager, outside, scripts, reach, bodies)
MODULES += (documents, doors, dump)
ATTEMPTS = [attempt for module in MODULES for attempt in module.ATTEMPTS]
