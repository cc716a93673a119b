import { registry } from "@web/core/registry";
import {
    DynamicModelFieldSelectorChar,
    dynamicModelFieldSelectorChar,
} from "@web/views/fields/dynamic_widget/dynamic_model_field_selector_char";

/** The field selector, opened by the keyboard too. */
export class FieldPathField extends DynamicModelFieldSelectorChar {
    static template = "bj_api_sync.FieldPathField";

    get getSelectorProps() {
        const props = super.getSelectorProps;
        return { ...props, path: props.path || "", allowEmpty: true };
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
    ...dynamicModelFieldSelectorChar,
    component: FieldPathField,
});
