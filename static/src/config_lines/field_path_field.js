import { Component } from "@odoo/owl";
import { ModelFieldSelector } from "@web/core/model_field_selector/model_field_selector";
import { registry } from "@web/core/registry";
import { exprToBoolean } from "@web/core/utils/strings";
import { standardFieldProps } from "@web/views/fields/standard_field_props";

/** The field selector, opened by the keyboard too. */
export class FieldPathField extends Component {
    static template = "bj_api_sync.FieldPathField";
    static components = { ModelFieldSelector };
    static props = {
        ...standardFieldProps,
        resModel: { type: String, optional: true },
        onlySearchable: { type: Boolean, optional: true },
        followRelations: { type: Boolean, optional: true },
    };

    get selectorProps() {
        const { name, readonly, record, resModel, followRelations } = this.props;
        return {
            path: record.data[name] || "",
            resModel: record.data[resModel] || record.resModel,
            allowEmpty: true,
            readonly,
            followRelations,
            isDebugMode: Boolean(this.env.debug),
            filter: this.filter.bind(this),
            update: (path) => record.update({ [name]: path }),
        };
    }

    filter(field) {
        return field.type !== "separator" && (!this.props.onlySearchable || field.searchable);
    }

    onKeydown(ev) {
        if (this.props.readonly || !["Enter", " ", "ArrowDown"].includes(ev.key)) {
            return;
        }
        const selector = ev.currentTarget.querySelector(".o_model_field_selector");
        if (selector && !ev.altKey && !ev.ctrlKey && !ev.shiftKey) {
            ev.preventDefault();
            ev.stopPropagation();
            selector.click();
        }
    }
}

registry.category("fields").add("bj_api_field_path", {
    component: FieldPathField,
    supportedTypes: ["char"],
    extractProps({ options }) {
        return {
            followRelations: options.follow_relations ?? true,
            onlySearchable: exprToBoolean(options.only_searchable),
            resModel: options.model,
        };
    },
});
