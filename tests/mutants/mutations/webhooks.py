"""What webhooks say, and where they go."""

from __future__ import annotations

from tests.mutants.mutation import Edit, Mutation

ADDRESSES = "services/controller/src/longhaul_controller/addresses.py"
WEBHOOKS = "services/controller/src/longhaul_controller/webhooks.py"
LEDGER = "services/core/src/longhaul/ledger/webhooks.py"
TESTS = "tests/integration/controller/test_webhooks.py"
ADDRESS_TESTS = "tests/integration/controller/test_webhook_addresses.py"

MUTATIONS = [
    Mutation(
        name="webhook-signs-another-body",
        breaks="A webhook's signature does not stand for the body that is sent, so every receiver refuses it.",
        edits=[
            Edit(
                WEBHOOKS,
                "signature(str(delivery.job_id), body, self._secrets",
                'signature(str(delivery.job_id), b"{}", self._secrets',
            )
        ],
        test=f"{TESTS}::test_a_receiver_gets_one_signed_message",
        error="standardwebhooks.webhooks.WebhookVerificationError",
    ),
    Mutation(
        name="webhook-with-the-secret-of-all-tenants",
        breaks="A tenant can sign webhooks that another tenant's receivers accept.",
        edits=[Edit(WEBHOOKS, "[tenant_secret(secret, tenant) for", '[tenant_secret(secret, "") for')],
        test=f"{TESTS}::test_a_receiver_gets_one_signed_message",
        error="standardwebhooks.webhooks.WebhookVerificationError",
    ),
    Mutation(
        name="webhook-follows-redirects",
        breaks="A receiver's redirect leads a webhook to an address that was never checked.",
        edits=[
            Edit(
                WEBHOOKS,
                "                    status = response.status\n",
                """                    status = response.status
                if 300 <= status < 400:
                    location = dict(response.headers)[b"Location"]
                    async with httpcore2.AsyncConnectionPool() as unchecked:
                        status = (await unchecked.request("POST", location, headers=list(headers.items()), content=body)).status
""",
            )
        ],
        test=f"{TESTS}::test_a_redirect_is_not_followed_and_tries_end",
    ),
    Mutation(
        name="webhook-checks-one-address",
        breaks="A name with a public and a private address leads webhooks inside.",
        edits=[Edit(ADDRESSES, "not all(map(is_public, addresses))", "not any(map(is_public, addresses))")],
        test=f"{ADDRESS_TESTS}::test_a_name_with_any_private_address_is_refused_at_each_try",
    ),
    Mutation(
        name="webhook-asks-for-the-name-again",
        breaks="A name that changes between the check of its address and the connection leads webhooks inside.",
        edits=[
            Edit(
                ADDRESSES,
                "self._network.connect_tcp(address, port,",
                "self._network.connect_tcp((await self._resolve(host, port))[0], port,",
            )
        ],
        test=f"{ADDRESS_TESTS}::test_a_name_is_asked_once_and_its_answer_is_where_the_message_goes",
    ),
    Mutation(
        name="webhook-settled-by-a-late-leader",
        breaks="A leader that wakes up late overwrites what a newer try of a webhook found.",
        edits=[Edit(LEDGER, "delivery.tries = outcome.tries AND delivery.state", "delivery.state")],
        test=f"{TESTS}::test_a_leader_that_wakes_up_late_changes_nothing",
    ),
]
