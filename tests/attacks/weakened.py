"""The same shop with one check removed, to see that the attacks find it.

Run by uvicorn. ``POST /control/weaken?check=...`` removes a check in this process and puts back the
one that was removed before; the environment variable ``WEAKENED`` does so at the start. Nothing but
this module knows how, and nothing but the tests runs it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from mpp_asgi import gate, path_prices
from mpp_asgi.intents import RefusalError
from mpp_asgi.protocol import Secrets, problems
from mpp_asgi.routes import RouteTable
from mpp_asgi.stellar import dispatch, funding, policy
from mpp_asgi.stellar.admissions import ChargeAdmission
from mpp_asgi.stellar.cashier import Cashier
from mpp_asgi.stellar.commitment import Commitments
from mpp_asgi.stellar.push import PushAdmission
from mpp_asgi.stellar.session import SessionAdmission
from mpp_asgi.stellar.sponsor_pool import Pool
from mpp_asgi.stores import channel_ruling
from mpp_asgi.stores.channels import Spend, SpendOutcome
from mpp_asgi.turns import Turn
from tests.attacks.shop import FILE, app

Weaken = Callable[[ExitStack], None]
WAYS: dict[str, Weaken] = {}


def way(name: str) -> Callable[[Weaken], Weaken]:
    def put(weaken: Weaken) -> Weaken:
        WAYS[name] = weaken
        return weaken

    return put


def replace(stack: ExitStack, where: Any, name: str, by: Any) -> None:
    if not hasattr(where, name):
        raise AttributeError(f"{where} has no {name} that could be replaced")
    stack.enter_context(patch.object(where, name, by))


def nothing(*_: Any, **__: Any) -> None:
    """Instead of a check."""


async def nothing_async(*_: Any, **__: Any) -> None:
    """Instead of a check."""


@way("challenges are not authenticated")
def _(stack: ExitStack) -> None:
    replace(stack, Secrets, "authentic", lambda *_: True)


@way("challenges are not bound to requests")
def _(stack: ExitStack) -> None:
    replace(stack, gate, "_is_bound", lambda *_: True)


@way("challenges do not expire")
def _(stack: ExitStack) -> None:
    later = gate.parse_seconds
    replace(stack, gate, "parse_seconds", lambda text: later(text) + 10**6)


@way("what was delivered is not written down")
def _(stack: ExitStack) -> None:
    replace(stack, Turn, "delivered", Turn.end)


@way("proofs are not claimed")
def _(stack: ExitStack) -> None:
    claim = Turn.claim

    async def claimed(self: Turn, credential: str, proofs: Any, *, keep_until: int) -> Any:
        return await claim(self, credential, (), keep_until=keep_until)

    replace(stack, Turn, "claim", claimed)


@way("a settlement that failed is taken for one")
def _(stack: ExitStack) -> None:
    settle = ChargeAdmission.settle

    async def settled(self: ChargeAdmission) -> Any:
        try:
            return await settle(self)
        except RefusalError:
            self.payment = self.payment._replace(receipt_value="e30")
            return self.payment

    replace(stack, ChargeAdmission, "settle", settled)


@way("the simulation is not looked at")
def _(stack: ExitStack) -> None:
    replace(stack, policy, "require_only_effect", nothing)
    replace(stack, policy, "require_success", nothing)


@way("who has waited is not looked at again")
def _(stack: ExitStack) -> None:
    replace(stack, dispatch, "LEDGER_SECONDS", 10**9)
    replace(stack, Pool, "is_crowded", False)


@way("anything may be sponsored")
def _(stack: ExitStack) -> None:
    replace(stack, policy, "require_sponsorable", nothing)


@way("any transfer will do")
def _(stack: ExitStack) -> None:
    replace(stack, policy, "require_transfer", lambda inspected, *_: inspected.transfer)


@way("hashes need no signature")
def _(stack: ExitStack) -> None:
    replace(stack, PushAdmission, "_require_signature", nothing)


@way("headroom is not looked at")
def _(stack: ExitStack) -> None:
    def spend(found: Any, *, amount: int, signature: str, cost: int, units: int, **_: Any) -> Spend:
        accepted = max(amount, found.accepted)
        spent, units = found.spent + cost, found.units + units
        more = found._replace(accepted=accepted, signature=signature, spent=spent, units=units)
        return Spend(SpendOutcome.SPENT, more)

    replace(stack, channel_ruling, "spend", spend)


@way("vouchers are not verified")
def _(stack: ExitStack) -> None:
    replace(stack, Commitments, "verify", lambda *_: True)


@way("any contract is a channel")
def _(stack: ExitStack) -> None:
    replace(stack, funding, "require_acceptable", nothing)


@way("nobody guards the channels")
def _(stack: ExitStack) -> None:
    replace(stack, Cashier, "settle", nothing_async)


@way("paths are priced as they are spelled")
def _(stack: ExitStack) -> None:
    replace(stack, path_prices, "_resolved", lambda path: path)


@way("paths are read in one way")
def _(stack: ExitStack) -> None:
    replace(stack, path_prices, "_readings", lambda path: [path_prices._spellings(path)])


@way("what no route takes costs nothing")
def _(stack: ExitStack) -> None:
    by_path = RouteTable._by_path

    def routed(self: RouteTable, scope: Any) -> Any:
        found = by_path(self, scope)
        return found if found is not None and found.is_routed else None

    replace(stack, RouteTable, "_by_path", routed)


@way("unreadable credentials are not expected")
def _(stack: ExitStack) -> None:
    examine = gate.Gate.examine

    def examined(self: gate.Gate, value: str, *rest: Any) -> Any:
        try:
            return examine(self, value, *rest)
        except RefusalError as refusal:
            if refusal.problem.slug == problems.MALFORMED_CREDENTIAL.slug:
                raise ValueError("what is this?") from refusal
            raise

    replace(stack, gate.Gate, "examine", examined)


@way("a handler that failed has delivered")
def _(stack: ExitStack) -> None:
    async def undelivered(self: ChargeAdmission, *, begun: bool) -> None:
        del begun
        await self.delivered()

    replace(stack, ChargeAdmission, "undelivered", undelivered)
    replace(stack, SessionAdmission, "undelivered", nothing_async)


@way("trouble of ours is a refusal")
def _(stack: ExitStack) -> None:
    replace(stack, problems, "unavailable", problems.SETTLEMENT_FAILED.because)


@way("credentials are logged")
def _(stack: ExitStack) -> None:
    examine, log = gate.Gate.examine, logging.getLogger("mpp_asgi")

    def examined(self: gate.Gate, value: str, *rest: Any) -> Any:
        log.debug("a credential: %s", value)
        return examine(self, value, *rest)

    replace(stack, gate.Gate, "examine", examined)


@way("unpaid requests are remembered")
def _(stack: ExitStack) -> None:
    issue = gate.Gate.challenge

    def remembered(self: gate.Gate, offers: Any, resource: Any, **how: Any) -> Any:
        issued = issue(self, offers, resource, **how)
        with FILE.with_name("store.db-unpaid").open("a") as file:
            file.writelines(f"{each.header_value}\n" for each in issued)
        return issued

    replace(stack, gate.Gate, "challenge", remembered)


@contextmanager
def weakened(check: str) -> Iterator[None]:
    with ExitStack() as stack:
        WAYS[check](stack)
        yield


_weak = ExitStack()


@app.post("/control/weaken")
async def weaken(check: str = "") -> dict[str, str]:
    """Remove a check; none, if none is named."""
    _weak.close()
    if check:
        _weak.enter_context(weakened(check))
    return {"without": check}


if name := os.environ.get("WEAKENED"):
    _weak.enter_context(weakened(name))
