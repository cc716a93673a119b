import { Component, reactive, useState } from "@odoo/owl";
import { Dialog } from "@web/core/dialog/dialog";
import { registry } from "@web/core/registry";

const TAG = "bj_api_sync_progress";

/** How far a button is whose work takes several calls; closing it stops after this call. */
export class ProgressDialog extends Component {
    static template = "bj_api_sync.ProgressDialog";
    static components = { Dialog };
    static props = { state: Object, close: Function };

    setup() {
        this.state = useState(this.props.state);
        this.env.dialogData.dismiss = () => this.stop();
    }

    get percent() {
        return Math.min(100, Math.floor((100 * this.state.done) / (this.state.total || 1)));
    }

    stop() {
        this.state.isStopped = true;
    }
}

async function showProgress(env, action) {
    const state = reactive({ done: 0, total: 0, isStopped: false });
    const close = env.services.dialog.add(ProgressDialog, { state });
    try {
        while (action.tag === TAG) {
            const { done, total, again, stopped } = action.params;
            if (state.isStopped) {
                return stopped;
            }
            Object.assign(state, { done, total });
            action = await env.services.orm.silent.call(again.model, again.method, [again.ids], {
                progress: again.progress,
            });
        }
        return action;
    } finally {
        close();
    }
}

registry.category("actions").add(TAG, showProgress);
