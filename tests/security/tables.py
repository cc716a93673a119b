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

# Two servers play them side by side.
USERS = (wire, rights, manager, outside)
# What is tried on a copy shuts everything, so it is the last.
CALLERS = (scripts, reach, bodies, documents, doors, dump)


def list_attempts(modules):
    return [attempt for module in modules for attempt in module.ATTEMPTS]


ATTEMPTS = list_attempts((*USERS, *CALLERS))
