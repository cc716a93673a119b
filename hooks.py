"""What Odoo calls when the addon is uninstalled."""


def leave_nothing(env):
    """Remove what Odoo does not know to be ours, and what would hinder it.

    It deletes our records first and tables later, one refused deletion after the other:
    each would be an ERROR in the log of the server. The file with the encryption key
    stays, because other databases of the same data directory may need it.
    """
    data = env["ir.model.data"].search(
        [("module", "=", "bj_api_sync"), ("model", "=", "mail.activity.type")]
    )
    env["mail.activity"].with_context(active_test=False).search(
        [
            "|",
            ("activity_type_id", "in", data.mapped("res_id")),
            ("res_model", "=like", "bj.%"),
        ]
    ).unlink()
    # Their server actions go with the configurations, and may not as long as they have them.
    env["ir.cron"].with_context(active_test=False).search(
        [("ir_actions_server_id.state", "=", "bj_api_sync")]
    ).unlink()
    env["ir.config_parameter"].search([("key", "=like", r"bj\_api\_sync.%")]).unlink()
    env.flush_all()
    # Configurations that use each other as mapping model, in a ring if need be.
    env.cr.execute("UPDATE bj_api_sync_config_line SET mapping_config_id = NULL")
    env.invalidate_all()
