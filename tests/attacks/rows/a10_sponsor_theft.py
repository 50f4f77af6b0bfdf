"""A10: what would make the sponsor pay for something else, or pay too much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stellar_sdk import xdr

from tests.attacks.catalogue import put_on_list
from tests.attacks.variant import attack
from tests.charge.attack import SPONSORED, common
from tests.charge.forgery import changed, showing, transaction_in
from tests.charge.sponsored_attacks import ONLY_SPONSORED

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.attacks.scene import Scene

put_on_list("A10", [*common(SPONSORED), *ONLY_SPONSORED])

HONEST_FEE = 500_000
"""Stroops: the setting ``max_fee`` by default."""


def fee(stroops: int) -> Callable[[xdr.Transaction], None]:
    def change(transaction: xdr.Transaction) -> None:
        transaction.fee = xdr.Uint32(stroops)

    return change


def resources(stroops: int, *, much: bool) -> Callable[[xdr.Transaction], None]:
    """Resources of the client's own choosing, which cost so much."""

    def change(transaction: xdr.Transaction) -> None:
        most = 2**31 if much else 1
        data = xdr.SorobanTransactionData(
            ext=xdr.SorobanTransactionDataExt(0),
            resources=xdr.SorobanResources(
                footprint=xdr.LedgerFootprint([], []),
                instructions=xdr.Uint32(most),
                disk_read_bytes=xdr.Uint32(most),
                write_bytes=xdr.Uint32(most),
            ),
            resource_fee=xdr.Int64(stroops),
        )
        transaction.ext = xdr.TransactionExt(1, soroban_data=data)

    return change


def memo(transaction: xdr.Transaction) -> None:
    transaction.memo = xdr.Memo(xdr.MemoType.MEMO_TEXT, text=b"thank you")


GREED: dict[str, Callable[[xdr.Transaction], None]] = {
    "the largest fee there is": fee(2**32 - 1),
    "no fee": fee(0),
    "resources for a fortune": resources(10**12, much=True),
    "resources with a negative fee": resources(-1, much=False),
    "resources for nothing": resources(0, much=False),
    "a memo": memo,
}


def _put(name: str, change: Callable[[xdr.Transaction], None]) -> None:
    @attack("A10", f"the client asks for {name}", times=5, short=1, exact=True)
    async def greedy(scene: Scene) -> None:
        """Refused or served; in either case the sponsor pays no more than for anybody."""
        for number in range(scene.times):
            payer = await scene.payer(number)
            before = await scene.by_hand(scene.market.sponsor_funds)
            honest = await scene.sponsored(payer=payer)
            await scene.show(showing(honest, changed(transaction_in(honest), change)))
            spent = before - await scene.by_hand(scene.market.sponsor_funds)
            if spent > HONEST_FEE:
                scene.tally.leak(f"the sponsor paid {spent} stroops")


for _name, _change in GREED.items():
    _put(_name, _change)
