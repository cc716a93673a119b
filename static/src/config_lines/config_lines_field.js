import { registry } from "@web/core/registry";
import { X2ManyField, x2ManyField } from "@web/views/fields/x2many/x2many_field";
import { ListRenderer } from "@web/views/list/list_renderer";

/**
 * An editable list whose rows also open in a dialog, saved or not: a line of a Python
 * type cannot be saved before its script is written, and that is done in the dialog.
 */
export class ConfigLinesRenderer extends ListRenderer {
    static recordRowTemplate = "bj_api_sync.ConfigLinesRenderer.RecordRow";
}

export class ConfigLinesField extends X2ManyField {
    static components = { ...X2ManyField.components, ListRenderer: ConfigLinesRenderer };

    async switchToForm(record) {
        if (await this.list.leaveEditMode({ canAbandon: false })) {
            this._openRecord({
                record,
                context: this.props.context,
                mode: this.props.readonly ? "readonly" : "edit",
            });
        }
    }
}

export const configLinesField = {
    ...x2ManyField,
    component: ConfigLinesField,
    additionalClasses: [...(x2ManyField.additionalClasses || []), "o_field_one2many"],
};

registry.category("fields").add("bj_api_config_lines", configLinesField);
