import { cookie } from "@web/core/browser/cookie";
import { getColor, getCustomColor, darkenColor, lightenColor } from "@web/core/colors/colors";
import { registry } from "@web/core/registry";
import { SEP } from "@web/views/graph/graph_model";
import { GraphRenderer } from "@web/views/graph/graph_renderer";
import { graphView } from "@web/views/graph/graph_view";

const colorScheme = cookie.get("color_scheme");
// Odoo gives its colors away in the order of the groups, so that red may mean success.
const BLUE = 0;
const RED = 1;
const TEAL = 2;
const ORANGE = 3;
const PURPLE = 4;
const COLORS = {
    cancelled: PURPLE,
    delivered: TEAL,
    error: RED,
    failed: RED,
    pending: BLUE,
    skipped: PURPLE,
    success: TEAL,
    superseded: ORANGE,
};

/** A graph in which a state has its own color, whatever other states there are. */
export class StateGraphRenderer extends GraphRenderer {
    getBarChartData() {
        const data = super.getBarChartData();
        for (const [dataset, color] of this.getColored(data)) {
            dataset.backgroundColor = color;
        }
        return data;
    }

    getLineChartData() {
        const data = super.getLineChartData();
        for (const [dataset, color] of this.getColored(data)) {
            dataset.backgroundColor = getCustomColor(
                colorScheme,
                lightenColor(color, 0.5),
                darkenColor(color, 0.5)
            );
            dataset.borderColor = color;
            dataset.hoverBackgroundColor = color;
            dataset.pointBackgroundColor = color;
        }
        return data;
    }

    /** Pairs of a dataset that is of one state, and the color of that state. */
    getColored(data) {
        const { fields, groupBy } = this.model.metaData;
        const at = groupBy.slice(1).findIndex(({ fieldName }) => /^stat(e|us)$/.test(fieldName));
        if (at < 0) {
            return [];
        }
        const { selection } = fields[groupBy[at + 1].fieldName];
        const values = Object.fromEntries(selection.map(([value, label]) => [label, value]));
        return data.datasets
            .map((dataset) => [dataset, COLORS[values[dataset.label.split(SEP)[at]]]])
            .filter(([, index]) => index !== undefined)
            .map(([dataset, index]) => [dataset, getColor(index, colorScheme, "sm")]);
    }
}

registry.category("views").add("bj_api_state_graph", {
    ...graphView,
    Renderer: StateGraphRenderer,
});
