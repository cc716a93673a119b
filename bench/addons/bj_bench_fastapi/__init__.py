from . import models
from .models import post_init_hook
