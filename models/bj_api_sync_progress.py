import time
from collections import Counter

from odoo import models

STEP_SECONDS = 2.0  # after which a step ends and the screen moves its bar


class BjApiSyncProgress(models.AbstractModel):
    """For buttons that may take long: their work in steps, and a bar meanwhile.

    A button returns either its last action or the client action
    ``bj_api_sync_progress``, which shows how far it is and calls the button again for
    the rest. Each step is a transaction, so what is done stays done if it is stopped.
    """

    _name = "bj.api.sync.progress"
    _description = "API Progress"

    def _in_steps(self, button, handle, finish, progress, size):
        """Handle these records, ``size`` at a time, until the step's time is over.

        :param str button: name of the method that the screen calls for the rest
        :param handle: callable, records -> ``{what: how many}``
        :param finish: callable, the sums of that -> the last action
        :param dict progress: what the step before has handed on, ``None`` for the first
        """
        counts = Counter((progress or {}).get("counts"))
        total = (progress or {}).get("total") or len(self)
        started = time.monotonic()
        rest = self
        while rest:
            counts.update(handle(rest[:size]))
            rest = rest[size:]
            if time.monotonic() - started > STEP_SECONDS:
                break
        last_action = finish(counts)
        if not rest:
            return last_action
        handed_on = {"counts": dict(counts), "total": total}
        return rest._show_progress(
            button, total - len(rest), total, handed_on, last_action
        )

    def _show_progress(self, button, done, total, progress, last_action):
        """Return the action that shows a bar and calls ``button`` on these again.

        :param last_action: what is done instead when somebody stops it
        """
        return {
            "type": "ir.actions.client",
            "tag": "bj_api_sync_progress",
            "params": {
                "done": done,
                "total": total,
                "again": {
                    "model": self._name,
                    "method": button,
                    "ids": self.ids,
                    "progress": progress,
                },
                "stopped": last_action,
            },
        }
