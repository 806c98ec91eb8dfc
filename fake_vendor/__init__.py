r"""A fake Kustomer and a fake Courier. They behave as the real ones do for a connector.

From a shell:

    $ python -m fake_vendor --port 8765 --rows 2000,notes=0 --ties 500,700
    http://127.0.0.1:8765

    $ curl -s localhost:8765/v1/auth/tokens/current -H 'Authorization: Bearer kustomer-demo-token'
    $ curl -s 'localhost:8765/v1/customers/search?page=1&pageSize=2' \
        -H 'Authorization: Bearer kustomer-demo-token' -d '{
          "queryContext": "conversation",
          "and": [{"conversation_updated_at": {"gte": "2024-01-01T00:00:00.000Z"}}],
          "sort": {"conversation_updated_at": "asc"}}'
    $ curl -s 'localhost:8765/v1/users?pageSize=5' -H 'Authorization: Bearer kustomer-demo-token'
    $ curl -s localhost:8765/messages -H 'Authorization: Bearer courier-demo-key'
    $ curl -s localhost:8765/lists -H 'Authorization: Bearer courier-demo-key'

    $ curl -s localhost:8765/_control/stats
    $ curl -s localhost:8765/_control/switches -d '{"kustomer": {"search_limit": 100,
        "faults": [{"kind": "503", "every": 7, "endpoint": "search"}]}}'
    $ curl -s localhost:8765/_control/touch -d '{"context": "customer", "count": 3}'

`KustomerSwitches` and `CourierSwitches` list what can be switched. `GET /_control/nothing` lists
the control endpoints.

In a test, over a socket or without one:

    with FakeVendor(Kustomer(rows=500)) as vendor:
        requests.get(f"{vendor.url}/v1/users", headers=...)
        vendor.kustomer.switch(tie_order="shuffled")

    org = Kustomer(rows=0, clock=Clock(datetime(2026, 1, 1, tzinfo=UTC)))
    org.insert("note", at=datetime(2025, 6, 1, tzinfo=UTC))
    headers = {"authorization": f"Bearer {org.token}"}
    reply = org.handle(Request("GET", "/v1/users", headers=headers))

    workspace = Courier(rows=30, tables={"lists": 12, "list_subscriptions": 2})
    workspace.add("list_subscriptions", list_id="beta.testers", recipientId="ada")
    assert {"list_id": "beta.testers", "recipientId": "ada"}.items() <= workspace.rows(
        "list_subscriptions")[-1].items()
"""

from fake_vendor.clock import Clock
from fake_vendor.courier import Courier
from fake_vendor.courier_switches import CourierSwitches
from fake_vendor.faults import Fault
from fake_vendor.kustomer import Kustomer, KustomerSwitches
from fake_vendor.server import FakeVendor
from fake_vendor.wire import Reply, Request

__all__ = [
    "Clock",
    "Courier",
    "CourierSwitches",
    "FakeVendor",
    "Fault",
    "Kustomer",
    "KustomerSwitches",
    "Reply",
    "Request",
]
