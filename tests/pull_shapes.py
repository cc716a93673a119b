"""Lists as the documentation of eight well-known APIs shows them, two pages each.

Read for this: HubSpot "List objects" (CRM v3), Slack "Pagination", Stripe "Pagination",
Microsoft Graph "Paging", Salesforce REST "Query", Zoho CRM v6 "Get Records", Shopify
GraphQL Admin "Paginating results" (Relay connections), Amazon SP-API Orders v0
"getOrders". The items are what the tests map; what stands around them is theirs.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from .receiver import answer


@dataclass(frozen=True)
class Shape:
    """One way to say that there is another page.

    :param str root: Response Root of the list
    :param tuple keys: that announce the second page, as a report names them
    :param str cursor: query parameter that asks for it there
    :param pages: ``(first items, second items) -> (first answer, second answer)``
    """

    root: str
    keys: tuple
    cursor: str
    pages: Callable

    def serve(self, receiver, path, first, second):
        """Have a receiver answer as this API does: page 1 to whatever it does not know."""
        bodies = [json.dumps(page) for page in self.pages(first, second)]

        def act(exchange):
            query = dict(receiver.requests[-1].query)
            return answer(200, bodies[self.cursor in query])(exchange)

        receiver.on(path, act)


def hubspot(first, second):
    link = "https://api.hubapi.com/crm/v3/objects/contacts?after=2"
    return (
        {"results": first, "paging": {"next": {"after": "2", "link": link}}},
        {"results": second},
    )


def slack(first, second):
    return (
        {
            "ok": True,
            "members": first,
            "response_metadata": {"next_cursor": "dXNlcjpVMEc5V0ZYTlo="},
        },
        {"ok": True, "members": second, "response_metadata": {"next_cursor": ""}},
    )


def stripe(first, second):
    common = {"object": "list", "url": "/v1/customers"}
    return (
        {**common, "has_more": True, "data": first},
        {**common, "has_more": False, "data": second},
    )


def graph(first, second):
    context = {"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#users"}
    link = "https://graph.microsoft.com/v1.0/users?$top=2&$skiptoken=RFNwdAIA"
    return (
        {**context, "@odata.nextLink": link, "value": first},
        {**context, "value": second},
    )


def salesforce(first, second):
    following = "/services/data/v60.0/query/01gD0000002HU6KIAW-2"
    size = len(first) + len(second)
    return (
        {
            "totalSize": size,
            "done": False,
            "nextRecordsUrl": following,
            "records": first,
        },
        {"totalSize": size, "done": True, "records": second},
    )


def zoho(first, second):
    common = {"per_page": 2, "sort_by": "id", "sort_order": "desc"}
    return (
        {
            "data": first,
            "info": {
                **common,
                "count": len(first),
                "page": 1,
                "next_page_token": "c8582xx9e7c7",
                "more_records": True,
            },
        },
        {
            "data": second,
            "info": {
                **common,
                "count": len(second),
                "page": 2,
                "next_page_token": None,
                "more_records": False,
            },
        },
    )


def shopify(first, second):
    def page(items, cursor, has_next):
        info = {
            "hasNextPage": has_next,
            "hasPreviousPage": not has_next,
            "endCursor": cursor,
        }
        cost = {"cost": {"requestedQueryCost": 3}}
        orders = {"nodes": items, "pageInfo": info}
        return {"data": {"orders": orders}, "extensions": cost}

    return page(first, "eyJsYXN0X2lkIjoyfQ==", True), page(
        second, "eyJsYXN0In0=", False
    )


def amazon(first, second):
    return (
        {"payload": {"Orders": first, "NextToken": "2YgYW55IGNhcm5hbCBwbGVhc3VyZS4="}},
        {"payload": {"Orders": second, "CreatedBefore": "2026-01-01T00:00:00Z"}},
    )


CURSOR_SHAPES = {
    "HubSpot": Shape(
        "results", ("paging.next.after", "paging.next.link"), "after", hubspot
    ),
    "Slack": Shape("members", ("response_metadata.next_cursor",), "cursor", slack),
    "Stripe": Shape("data", ("has_more",), "starting_after", stripe),
    "Microsoft Graph": Shape("value", ("@odata.nextLink",), "$skiptoken", graph),
    "Salesforce": Shape(
        "records", ("nextRecordsUrl", "done"), "queryLocator", salesforce
    ),
    "Zoho CRM": Shape(
        "data", ("info.next_page_token", "info.more_records"), "page_token", zoho
    ),
    "Shopify GraphQL": Shape(
        "data.orders.nodes",
        ("data.orders.pageInfo.hasNextPage", "data.orders.pageInfo.endCursor"),
        "after",
        shopify,
    ),
    "Amazon SP-API": Shape(
        "payload.Orders", ("payload.NextToken",), "NextToken", amazon
    ),
}
