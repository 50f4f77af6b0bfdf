"""Several RPCs side by side: which of them can be relied on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpp_asgi.stellar.rpc import get_latest_ledger, get_network
from mpp_asgi.stellar.rpc_call import RpcError
from mpp_asgi.stellar.rpc_tips import (
    Tip,
    can_be_of_one_chain,
    is_behind,
    standing_alone,
    tip_told,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mpp_asgi.stellar.rpc_call import BlockingRpc


@dataclass(slots=True)
class View:
    """What one node says of the chain, and what is wrong with it."""

    name: str
    tip: Tip | None = None
    trouble: str | None = None

    @property
    def text(self) -> str:
        """For people: what is, or what to do."""
        if self.trouble is not None:
            return f"{self.name}: {self.trouble.rstrip('.')}: take it out of MPP_RPC_URL, or wait."
        ledger = self.tip.ledger if self.tip is not None else "unknown"
        return f"{self.name}: answers; ledger {ledger}"


def look_at_all(nodes: Mapping[str, BlockingRpc], *, passphrase: str, now: float) -> Sequence[View]:
    """Ask every node, and compare what they say. ``now`` is Unix seconds."""
    views = [_look(name, rpc, passphrase) for name, rpc in nodes.items()]
    for view in views:
        if view.tip is not None and view.trouble is None:
            view.trouble = standing_alone(view.tip, now)
    good = [view for view in views if view.tip is not None and view.trouble is None]
    for view in good:
        view.trouble = _trouble_among(view, good)
    return views


def _look(name: str, rpc: BlockingRpc, passphrase: str) -> View:
    try:
        if rpc.do(get_network()).passphrase != passphrase:
            return View(name, trouble="it follows another network")
        return View(name, tip_told(rpc.do(get_latest_ledger())))
    except RpcError as error:
        return View(name, trouble=str(error))


def _trouble_among(view: View, others: Sequence[View]) -> str | None:
    for other in others:
        if view.tip is None or other.tip is None:
            continue
        if not can_be_of_one_chain(view.tip, other.tip):
            return f"its latest ledger, {view.tip.ledger}, contradicts {other.name}'s"
        if is_behind(view.tip, other.tip):
            return f"{other.tip.ledger - view.tip.ledger} ledgers behind {other.name}"
    return None
