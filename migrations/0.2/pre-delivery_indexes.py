"""Two indexes of deliveries: one that is gone, one that has become an inverted one."""


def migrate(cr, version):
    cr.execute("DROP INDEX IF EXISTS bj_api_sync_delivery_next")
    cr.execute(
        """SELECT FROM pg_indexes WHERE indexname = 'bj_api_sync_delivery_last_batch'
           AND schemaname = current_schema AND indexdef NOT LIKE '%% USING gin %%'"""
    )
    if cr.rowcount:  # made anew by the model
        cr.execute("DROP INDEX bj_api_sync_delivery_last_batch")
