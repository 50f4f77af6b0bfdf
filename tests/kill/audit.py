"""What the ledger, the shop's own notes, the store and the customers say of the same sales."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from mpp_asgi.stellar.rpc import get_transaction
from mpp_asgi.stellar.rpc_drivers import SyncRpc
from mpp_asgi.stores.channels import ChannelStatus
from mpp_asgi.stores.url import store_from_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.kill.customers import Customer
    from tests.servers import Network

PRICE = 100_000
STUCK_AFTER = 60.0
"""Seconds in which others have to finish what a dead process left."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A line of the shop's: the handler ran."""

    item: str
    intent: str
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The counts. Those of `WRONG` have to be zero."""

    kills: int
    charges: int
    """Items that somebody has, paid by a transfer each."""
    calls: int
    """Items that somebody has, paid out of channels."""
    redelivered: int
    """Handlers that ran again, as an answer was lost."""
    answers_lost: int
    calls_lost: int
    """Calls that were paid for, and whose answer was lost when it might have begun."""
    unpaid_grants: int
    paid_for_nothing: int
    """Transfers, in prices, beyond what the payers have got."""
    refused_though_paid: int
    vouchers_lost: int
    """Prices that a receipt told a payer of, and that the server does not know of any more."""
    miscounted: int
    """Base units by which the seller's earnings differ from the sum of it all."""
    stuck: int
    """Records that nobody finishes."""

    def wrong(self) -> dict[str, int]:
        """What should be zero and is not."""
        return {name: count for name in WRONG if (count := getattr(self, name))}

    def lines(self) -> list[str]:
        return [
            f"{each.name.replace('_', ' ')} = {getattr(self, each.name)}" for each in fields(self)
        ]


WRONG = (
    *("unpaid_grants", "paid_for_nothing", "refused_though_paid", "vouchers_lost"),
    *("miscounted", "stuck"),
)


@dataclass(frozen=True, slots=True)
class Before:
    """Balances at the beginning, base units."""

    seller: int
    customers: dict[str, int]


def balances(network: Network, customers: Sequence[Customer]) -> Before:
    return Before(
        seller=network.usdc(network.recipient),
        customers={each.name: network.usdc(each.key.public_key) for each in customers},
    )


def audit(
    network: Network,
    customers: Sequence[Customer],
    *,
    grants: Sequence[Grant],
    before: Before,
    kills: int,
    stuck: int,
) -> Account:
    """Compare everything with everything; channels are closed by now."""
    after = balances(network, customers)
    left = {name: before.customers[name] - after.customers[name] for name in after.customers}
    buyers = [each for each in customers if not each.in_session]
    members = [each for each in customers if each.in_session]
    charged = [grant for grant in grants if grant.intent == "charge"]
    bought = sum(len(each.bought) for each in buyers)
    spent = sum(left[each.name] for each in members)
    called = Counter(grant.item.partition("-")[0] for grant in grants if grant.intent != "charge")
    return Account(
        kills=kills,
        charges=bought,
        calls=sum(len(each.bought) for each in members),
        redelivered=len(charged) - len({grant.item for grant in charged}),
        answers_lost=sum(each.broken for each in customers),
        calls_lost=spent // PRICE - sum(len(each.bought) for each in members),
        unpaid_grants=_unpaid(network, charged)
        + sum(max(0, called[each.name] - left[each.name] // PRICE) for each in members),
        paid_for_nothing=sum(left[each.name] for each in buyers) // PRICE - bought,
        refused_though_paid=sum(len(each.refused) for each in customers),
        vouchers_lost=sum(max(0, each.spent - left[each.name]) // PRICE for each in members),
        miscounted=abs(after.seller - before.seller - sum(left.values())),
        stuck=stuck,
    )


def _unpaid(network: Network, charged: Sequence[Grant]) -> int:
    """Grants without a transfer of their own on the ledger."""
    rpc = SyncRpc(network.url)
    try:
        items_of: dict[str, set[str]] = {}
        for grant in charged:
            items_of.setdefault(grant.reference, set()).add(grant.item)
        shared = sum(len(items) - 1 for items in items_of.values())
        missing = [
            reference
            for reference in items_of
            if rpc.do(get_transaction(reference)).status != "SUCCESS"
        ]
        return shared + len(missing)
    finally:
        rpc.close()


async def stuck_records(url: str) -> int:
    """Charges that are open and channels that are closing, after some patience."""
    store = store_from_url(url)
    await store.open()
    try:
        deadline = time.monotonic() + STUCK_AFTER
        while True:
            # Nobody is alive by then, so whatever is open is nobody's.
            later = int(time.time()) + 3600
            stuck = len(await store.open_charges(now=later, limit=1000))
            stuck += len(await store.channels(limit=1000, statuses=[ChannelStatus.CLOSING]))
            if not stuck or time.monotonic() >= deadline:
                return stuck
            await asyncio.sleep(1)
    finally:
        await store.close()
