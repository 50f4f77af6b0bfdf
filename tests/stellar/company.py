"""A ledger that is followed already, and others who wait for it."""

from typing import Any

from mpp_asgi.stellar.ledger import Pending
from mpp_asgi.stellar.rpc import get_latest_ledger
from tests.stellar.chain import Chain, Fate, Node, following, hash_of

MANY = 20
"""More than are asked for one by one."""


def company(chain: Chain, count: int = MANY, *, delay: int = 30) -> list[Pending]:
    """Others that wait, for long, so that pages are read."""
    others = []
    for number in range(count):
        name = hash_of(("other", number))
        chain.fates[name] = Fate(delay=delay)
        others.append(
            Pending(
                hash=name,
                envelope=name,
                valid_until=int(chain.now) + 1_000,
                sent=False,
                ours=True,
            )
        )
    return others


async def started(chain: Chain, node: Any, **settings: Any) -> Any:
    """A ledger in a process that has simulated something, as it has before it sends."""
    ledger = following(chain, node, **settings)
    await ledger.ask(get_latest_ledger())
    if isinstance(node, Node):
        node.calls.clear()
        node.by_ledger.clear()
    return ledger
