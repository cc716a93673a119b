"""What differs between Odoo 18.0, which the addon is written for, and 19.0.

Everything else is spelled in a way that both accept. When 18.0 is left behind, this file
goes, and each part says what takes its place.
"""

from odoo import fields, models
from odoo.release import version_info
from odoo.service import model as service

HAS_19 = version_info[:2] >= (19, 0)
if not HAS_19:
    from odoo.osv import expression

# 19.0: safe_eval always hands the variables of the code back, and the option is gone.
# Goes without a substitute.
SAFE_EVAL_OPTIONS = {} if HAS_19 else {"nocopy": True}


def all_of(*domains):
    """Return the domain that demands what each of these does.

    19.0: ``Domain.AND`` instead of ``odoo.osv.expression``, which is on its way out. A
    domain object is taken wherever a list is; then ``a & b`` takes the place of this.
    """
    if HAS_19:
        return list(fields.Domain.AND(domains))
    return expression.AND(domains)


def group_users(group):
    """Return the users of a group, those whom another group implies included.

    19.0: ``users`` has become ``all_user_ids``.
    """
    return group.all_user_ids if HAS_19 else group.users


def relation_domain(field, records):
    """Return the domain of a relational field, as a list.

    19.0: ``get_domain_list`` has become ``get_comodel_domain``, which gives a domain
    object.
    """
    if HAS_19:
        return list(field.get_comodel_domain(records))
    return field.get_domain_list(records)


def may_read(model, field):
    """Tell whether the user may read a field, as far as its groups go.

    19.0: ``field.is_accessible`` has become ``model._has_field_access``.
    """
    if HAS_19:
        return model._has_field_access(field, "read")
    return field.is_accessible(model.env)


def integrity_message(env, error):
    """Return the sentence for a user about what the database has refused.

    19.0: models make it, so that the function of the service is gone. Then
    ``env[model]._sql_error_to_message(error)`` takes its place.
    """
    if not HAS_19:
        return str(service._as_validation_error(env, error))
    tables = {cls._table: name for name, cls in env.registry.items()}
    model = env[tables.get(error.diag.table_name, "base")]
    return env._(
        "The operation cannot be completed: %s", model._sql_error_to_message(error)
    )


def notify_progress(env, done, remaining):
    """Tell Odoo how far a scheduled action has come: so many done since it began.

    19.0: ``_notify_progress`` has become ``_commit_progress``, which counts up, and commits.
    """
    crons = env["ir.cron"]
    if not HAS_19:
        crons._notify_progress(done=done, remaining=remaining)
        return
    progress_id = env.context.get("ir_cron_progress_id")
    known = env["ir.cron.progress"].sudo().browse(progress_id).done
    crons._commit_progress(max(done - known, 0), remaining=remaining)


def declare_constraints():
    """Make the table constraints of our models known to Odoo.

    19.0: ``_sql_constraints`` has become an attribute for each, ``models.Constraint``. They
    are to be written so then.
    """
    if not HAS_19:
        return
    for cls in models.MetaModel._module_to_models__["bj_api_sync"]:
        for name, definition, message in cls.__dict__.get("_sql_constraints", ()):
            constraint = models.Constraint(definition, message)
            setattr(cls, f"_{name}", constraint)
            constraint.__set_name__(cls, f"_{name}")
        if "_sql_constraints" in cls.__dict__:
            del cls._sql_constraints


def categorise_groups(env):
    """Show our groups under their own heading in the form of a user.

    19.0: a privilege stands between a group and its category. Then a record of it in
    ``security/bj_api_sync_groups.xml`` takes the place of this function.
    """
    category = env.ref("bj_api_sync.module_category_bj_api_sync")
    groups = env.ref("bj_api_sync.group_bj_api_user")
    groups |= env.ref("bj_api_sync.group_bj_api_manager")
    if not HAS_19:
        groups.category_id = category
        return
    values = {"name": category.name, "category_id": category.id}
    privilege = env["res.groups.privilege"]._load_records(
        [{"xml_id": "bj_api_sync.privilege", "noupdate": True, "values": values}]
    )
    groups.privilege_id = privilege


def name_flusher(env):
    """Say whose environment flushes a transaction in which nobody is known yet.

    19.0 warns at a commit that has none, though there is nothing to flush.
    """
    if HAS_19 and env.transaction.default_env is None:
        env.transaction.default_env = env
