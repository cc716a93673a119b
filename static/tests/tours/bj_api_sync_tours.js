import { getColor } from "@web/core/colors/colors";
import { registry } from "@web/core/registry";
import { rpc } from "@web/core/network/rpc";

const tours = registry.category("web_tour.tours");

function openConfig(name) {
    return [
        {
            content: "Open the configuration",
            trigger: `.o_list_view .o_data_row td[name=name]:contains(${name})`,
            run: "click",
        },
        { trigger: ".o_form_view div[name=line_ids]" },
    ];
}

function choose(field, text, scope = "") {
    return [
        {
            content: `Choose ${text}`,
            trigger: `${scope} div[name=${field}] input`,
            run: `edit ${text}`,
        },
        {
            trigger: `.o-autocomplete--dropdown-item > a:contains(${text}):first`,
            run: "click",
        },
    ];
}

function addField(text) {
    return [
        { content: "Add a line", trigger: ".o_field_x2many_list_row_add a", run: "click" },
        ...chooseField(text),
    ];
}

function chooseField(text) {
    return [
        {
            content: "Open the field selector",
            trigger: ".o_selected_row .o_model_field_selector",
            run: "click",
        },
        {
            trigger: ".o_model_field_selector_popover_search input",
            run: `edit ${text}`,
        },
        {
            trigger: `.o_model_field_selector_popover_item[data-name=${text}] .o_model_field_selector_popover_item_name`,
            run: "click",
        },
    ];
}

tours.add("bj_api_sync_in_tour", {
    url: "/odoo/api-configurations?debug=1",
    steps: () => [
        {
            content: "Propose a configuration from a model",
            trigger: ".o_control_panel button:contains(From a Model)",
            run: "click",
        },
        ...choose("model_id", "Contact", ".modal"),
        {
            content: "Name the endpoint",
            trigger: ".modal div[name=endpoint] input",
            run: "edit tour-contacts",
        },
        { trigger: ".modal tr.o_data_row td[name=field_path]:contains(ref)" },
        {
            content: "Create it",
            trigger: ".modal-footer button[name=action_create_config]",
            run: "click",
        },
        { trigger: ".o_form_view div[name=endpoint_url]:contains(/v1/tour-contacts)" },
        {
            content: "Generate a token",
            trigger: ".alert button[name=action_generate_token]",
            run: "click",
        },
        {
            trigger: ".modal-footer button[name=action_generate]",
            run: "click",
        },
        {
            content: "Call the endpoint with the token that is shown",
            trigger: ".modal div[name=header]:contains(Bearer)",
            async run() {
                const header = this.anchor.textContent.trim();
                const authorization = header.slice(header.indexOf("Bearer"));
                const response = await fetch("/bj_api_sync/v1/tour-contacts?limit=1", {
                    headers: { Authorization: authorization },
                });
                const rows = await response.json();
                if (response.status !== 200 || rows.length !== 1) {
                    throw new Error(`Answered ${response.status}`);
                }
            },
        },
        {
            content: "The token is gone with its dialog",
            trigger: ".modal-footer button:contains(Done)",
            run: "click",
        },
        {
            trigger: "body:not(:has(.modal)) .o_notebook a.nav-link[name=authentication]",
            run: "click",
        },
        { trigger: "div[name=token_ids] td[name=state]:contains(Valid)" },
        {
            content: "The call is in the logs",
            trigger: "button[name=action_open_logs]",
            run: "click",
        },
        { trigger: ".o_list_view td[name=name]:contains(GET tour-contacts)" },
    ],
});

tours.add("bj_api_sync_preview_tour", {
    url: "/odoo/api-configurations?debug=1",
    steps: () => [
        ...openConfig("Previewed by tour"),
        {
            content: "Open the preview",
            trigger: ".o_form_statusbar button[name=action_open_preview]",
            run: "click",
        },
        { trigger: ".modal div[name=body] textarea:value(customer_id)" },
        {
            trigger: ".modal-footer button[name=action_preview]",
            run: "click",
        },
        { trigger: ".modal .alert-success:contains(Nothing was changed)" },
        { trigger: ".modal td[name=state]:contains(Written)" },
        {
            trigger: ".modal .o_notebook a.nav-link[name=answer]",
            run: "click",
        },
        { trigger: ".modal div[name=answer] .ace_content:contains(customer_id)" },
        {
            trigger: ".modal-footer button:contains(Close)",
            run: "click",
        },
        { trigger: "body:not(:has(.modal))" },
    ],
});

tours.add("bj_api_sync_preview_out_tour", {
    url: "/odoo/api-configurations?debug=1",
    steps: () => [
        ...openConfig("Sent by preview"),
        {
            trigger: ".o_form_statusbar button[name=action_open_preview]",
            run: "click",
        },
        { trigger: ".modal div[name=res_id] input:value(Ada)" },
        {
            trigger: ".modal-footer button[name=action_preview]",
            run: "click",
        },
        {
            content: "The request is shown, its secret masked",
            trigger: ".modal div[name=request_headers]:contains(X-Key: ***)",
        },
        { trigger: ".modal div[name=curl]:contains(curl -X POST)" },
        {
            trigger: ".modal .o_notebook a.nav-link[name=payload]",
            run: "click",
        },
        { trigger: ".modal div[name=request_body] .ace_content:contains(Ada)" },
        {
            content: "Send it",
            trigger: ".modal-footer button[name=action_run]",
            run: "click",
        },
        {
            trigger: ".modal-footer button.btn-primary:contains(Ok)",
            run: "click",
        },
        { trigger: ".modal .alert-success:contains(Done for real)" },
        {
            trigger: ".modal-footer button:contains(Close)",
            run: "click",
        },
        { trigger: "body:not(:has(.modal))" },
    ],
});

let shownHeader = "";

async function callShop() {
    const response = await fetch("/bj_api_sync/v1/tour-token?limit=1", {
        headers: { Authorization: shownHeader },
    });
    return response.status;
}

tours.add("bj_api_sync_token_tour", {
    url: "/odoo/api-configurations?debug=1",
    steps: () => [
        ...openConfig("Called with tokens"),
        {
            trigger: ".o_notebook a.nav-link[name=authentication]",
            run: "click",
        },
        {
            trigger: ".o_notebook button[name=action_generate_token]",
            run: "click",
        },
        {
            trigger: ".modal div[name=name] input",
            run: "edit Web shop",
        },
        {
            trigger: ".modal-footer button[name=action_generate]",
            run: "click",
        },
        { trigger: ".modal div[name=token] button.o_clipboard_button" },
        {
            content: "The token works",
            trigger: ".modal div[name=header]:contains(Bearer)",
            async run() {
                const text = this.anchor.textContent;
                shownHeader = text.slice(text.indexOf("Bearer")).trim();
                const status = await callShop();
                if (status !== 200) {
                    throw new Error(`Answered ${status}`);
                }
            },
        },
        {
            trigger: ".modal-footer button:contains(Done)",
            run: "click",
        },
        {
            content: "It is shown once: only its beginning is left",
            trigger: "body:not(:has(.modal)) div[name=token_ids] td[name=prefix]",
            run() {
                if (document.body.innerHTML.includes(shownHeader.slice("Bearer ".length))) {
                    throw new Error("The token is still on the page");
                }
            },
        },
        {
            content: "Revoke it",
            trigger: "div[name=token_ids] button[name=action_revoke]",
            run: "click",
        },
        {
            trigger: ".modal-footer button.btn-primary:contains(Ok)",
            run: "click",
        },
        {
            content: "It is refused at once",
            trigger: "body:not(:has(.modal)) .alert:contains(Nobody can call)",
            async run() {
                const status = await callShop();
                if (status !== 401) {
                    throw new Error(`Answered ${status}`);
                }
            },
        },
        {
            content: "It is kept among the revoked ones",
            trigger: ".o_notebook button[name=action_open_tokens]",
            run: "click",
        },
        { trigger: ".o_list_view td[name=state]:contains(Revoked)" },
    ],
});

const countryLine = (key) =>
    `.modal tr.o_data_row:has(td[name=parent_key]:contains(country)):has(td[name=api_key]:contains(${key}))`;

tours.add("bj_api_sync_json_tour", {
    url: "/odoo/api-configurations?debug=1",
    steps: () => [
        {
            trigger: ".o_control_panel button:contains(From JSON)",
            run: "click",
        },
        ...choose("model_id", "Contact", ".modal"),
        {
            trigger: ".modal div[name=endpoint] input",
            run: "edit tour-json",
        },
        {
            content: "Paste a payload",
            trigger: ".modal div[name=sample] textarea",
            run: `edit ${JSON.stringify({
                customerId: "C-1",
                name: "Ann",
                country: { iso: "UA", name: "Ukraine" },
                tags: ["vip"],
                land: { code: "DE" },
                children: [{ name: "Delivery", city: "Kyiv" }],
                loyaltyLevel: 3,
            })}`,
        },
        {
            // The lines are there as soon as the sample is left, but what is clicked then
            // is lost with this dialog when the one that the button opens replaces it.
            trigger: ".modal-footer button[name=action_propose]",
            run: ({ anchor }) => {
                anchor.closest(".modal").classList.add("bj_replaced");
                anchor.click();
            },
        },
        { trigger: "body:not(:has(.modal.bj_replaced))" },
        { trigger: ".modal tr.o_data_row td[name=parent_key]:contains(children/)" },
        {
            content: "What has no identifier is pointed out",
            trigger: ".modal .alert-warning:contains(children)",
        },
        {
            content: "A key without a field is left out",
            trigger:
                ".modal tr.o_data_row:has(td[name=api_key]:contains(loyaltyLevel)) td[name=is_selected] input:not(:checked)",
        },
        {
            content: "A country is meant by its name, as nothing better is known",
            trigger: `${countryLine("name")} td[name=is_record_identifier] input:checked`,
        },
        {
            trigger: `${countryLine("iso")} td[name=field_path]`,
            run: "click",
        },
        ...chooseField("code"),
        {
            content: "A code is better",
            trigger: ".modal .o_selected_row td[name=is_record_identifier] input:checked",
        },
        { trigger: `${countryLine("name")} td[name=is_record_identifier] input:not(:checked)` },
        {
            content: "An object of which no relation is known may be one all the same",
            trigger: ".modal td[name=api_key]:contains(land.code)",
        },
        {
            trigger: ".modal tr.o_data_row:has(td[data-tooltip=land]) td[name=field_path]",
            run: "click",
        },
        ...chooseField("state_id"),
        { trigger: ".modal tr.o_data_row:has(td[name=parent_key]:contains(land/))" },
        { trigger: ".modal:not(:has(td[name=api_key]:contains(land.code)))" },
        {
            trigger: ".modal-footer button[name=action_create_config]",
            run: "click",
        },
        { trigger: ".o_form_view div[name=endpoint_url]:contains(/v1/tour-json)" },
        { trigger: "div[name=line_ids] td[name=api_key]:contains(children)" },
    ],
});

tours.add("bj_api_sync_progress_tour", {
    url: "/odoo/api-deliveries?debug=1",
    steps: () => [
        {
            trigger: ".o_list_view thead .o_list_record_selector input",
            run: "click",
        },
        {
            content: "All of them, not only this page",
            trigger: ".o_list_select_domain, .o_select_domain", // 18.0, 19.0
            run: "click",
        },
        {
            trigger: ".o_control_panel button[name=action_cancel]",
            run: "click",
        },
        {
            trigger: ".modal-footer button.btn-primary:contains(Ok)",
            run: "click",
        },
        { trigger: ".modal .progress[aria-valuemax]:not([aria-valuenow='0'])" },
        {
            content: "Enough",
            trigger: ".modal-footer button:contains(Stop)",
            run: "click",
        },
        { trigger: ".o_notification:contains(deliveries were cancelled)" },
        { trigger: "body:not(:has(.modal)) .o_data_row td[name=state]:contains(Cancelled)" },
    ],
});

tours.add("bj_api_sync_out_tour", {
    url: "/odoo/api-configurations?debug=1",
    steps: () => [
        {
            trigger: ".o_list_button_add",
            run: "click",
        },
        {
            content: "Name it",
            trigger: ".o_form_view div[name=name] input",
            run: "edit Sent by tour",
        },
        {
            content: "Odoo calls the other system",
            trigger: "div[name=request_type] input[data-value=out]",
            run: "click",
        },
        ...choose("http_method_ids", "POST"),
        {
            trigger: "div[name=url] input",
            run: "edit https://shop.example.com/contacts",
        },
        {
            // 18.0 has a select there, 19.0 a menu of its own.
            trigger: "div[name=auth_type] select, div[name=auth_type] .o_select_menu_input",
            run: (helpers) =>
                helpers.anchor.matches("select") ? helpers.select('"none"') : helpers.click(),
        },
        {
            trigger: ".o_select_menu_item:contains(No Auth), div[name=auth_type] select",
            run: (helpers) => helpers.anchor.matches("select") || helpers.click(),
        },
        ...choose("model_id", "Contact"),
        ...addField("name"),
        {
            trigger: ".o_selected_row td[name=api_key] input",
            run: "edit full_name",
        },
        {
            content: "Save",
            trigger: ".o_form_button_save",
            run: "click",
        },
        {
            trigger: ".o_form_saved .o_notebook a.nav-link[name=automation]",
            run: "click",
        },
        {
            content: "Send each record that is saved",
            trigger: ".o_notebook button[name=action_create_rule]:contains(saved)",
            run: "click",
        },
        { trigger: ".o_breadcrumb:contains(Sent by tour)" },
        {
            content: "The rule is open; save a contact",
            trigger:
                "div[name=action_server_ids] .o_kanban_record:contains(Send: Sent by tour) i.fa-exchange",
            run: () =>
                rpc("/web/dataset/call_kw", {
                    model: "res.partner",
                    method: "create",
                    args: [{ name: "Touring Contact" }],
                    kwargs: {},
                }),
        },
        {
            trigger: ".o_breadcrumb a:contains(Sent by tour)",
            run: "click",
        },
        {
            content: "One delivery waits",
            trigger: "button[name=action_open_deliveries]:contains(1)",
            run: "click",
        },
        {
            trigger: ".o_list_view td[name=display_name]:contains(POST res.partner)",
            run: "click",
        },
        { trigger: "div[name=payload_pretty] .ace_content:contains(Touring Contact)" },
        {
            content: "Leave the editor, which never stops changing the page",
            trigger: ".o_breadcrumb a:contains(Deliveries)",
            run: "click",
        },
        { trigger: ".o_list_view td[name=display_name]:contains(POST res.partner)" },
    ],
});

function checkColors(expected) {
    const { datasets } = window.Chart.getChart(document.querySelector(".o_graph_renderer canvas")).data;
    const colors = Object.fromEntries(
        datasets.map((dataset) => [dataset.label, dataset.borderColor || dataset.backgroundColor])
    );
    for (const [state, index] of Object.entries(expected)) {
        if (colors[state] !== getColor(index, undefined, "sm")) {
            throw new Error(`${state} is ${colors[state]}`);
        }
    }
}

const RED = 1;
const TEAL = 2;

tours.add("bj_api_sync_graph_tour", {
    url: "/odoo/api-deliveries?debug=1",
    steps: () => [
        {
            trigger: ".o_switch_view.o_graph",
            run: "click",
        },
        {
            content: "What has failed is red, what is delivered is not",
            trigger: ".o_graph_renderer canvas",
            run: () => checkColors({ Failed: RED, Delivered: TEAL }),
        },
        {
            trigger: ".o_graph_button[data-mode=line]",
            run: "click",
        },
        {
            trigger: ".o_graph_button[data-mode=line].active",
            run: () => checkColors({ Failed: RED, Delivered: TEAL }),
        },
        {
            trigger: ".o_switch_view.o_pivot",
            run: "click",
        },
        { trigger: ".o_pivot .o_pivot_header_cell_closed:contains(Failed)" },
    ],
});
