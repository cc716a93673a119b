from . import dispatcher  # first: a route asserts that its type exists
from . import busy
from . import bj_api_sync
from . import contract
from . import guide
