import importlib
import pkgutil

# Every test module, so that a new one cannot be forgotten. Odoo looks for test_*.py.
for _module in pkgutil.iter_modules(__path__):
    if _module.name.startswith("test_"):
        importlib.import_module(f"{__name__}.{_module.name}")
