"""Which transactions pay a charge: the checks of draft-stellar-charge, section "Verification".

Everything here looks at facts that were read before and needs no network. Each check stands on its
own line because each answers an attack; none may be folded into another.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from mpp_asgi.intents import FaultError, RefusalError
from mpp_asgi.protocol import problems
from mpp_asgi.stellar.envelope import NULL_ACCOUNT
from mpp_asgi.stellar.network import LEDGER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mpp_asgi.stellar.inspection import InspectedTransfer
    from mpp_asgi.stellar.rpc import Simulation
    from mpp_asgi.stellar.terms import Terms
    from mpp_asgi.stellar.token_events import TokenEvent
    from mpp_asgi.stellar.transfer import Transfer

DRIFT_LEDGERS: Final = 3
"""How far an authorization may outlive the draft's bound. The draft computes it from the payer's
ledger and clock at signing, we from ours later on: a ledger that takes 6 s instead of 5, or an RPC
one ledger behind, would refuse honest payers."""
LEAST_LEDGERS: Final = 4
"""For how many ledgers more an authorization must be valid. One that ends before our transaction
is included makes it fail, and the sponsor pays for nothing; so the transaction ends before it, and
the network takes none that ends within its next two ledgers."""

_INVOKE: Final = "INVOKE_HOST_FUNCTION"


def require_transfer(inspected: InspectedTransfer, terms: Terms, source: str | None) -> Transfer:
    """The transaction is one transfer, of these terms, from the credential's source.

    Raises:
        RefusalError: it is not.
    """
    require_one_invocation(inspected)
    transfer = inspected.transfer
    if transfer is None:
        raise _failed(f"The operation must be a token transfer, but {inspected.no_transfer}.")
    _require(transfer.token == terms.token, "The transfer is of another token.")
    _require(transfer.recipient == terms.recipient, "The transfer is to another recipient.")
    _require(transfer.amount == terms.amount, "The transfer is of another amount.")
    _require(transfer.sender != terms.recipient, "The recipient cannot pay itself.")
    _require(
        source is None or source == transfer.sender,
        "The transfer is not from the credential's source.",
    )
    return transfer


def require_one_invocation(inspected: InspectedTransfer) -> None:
    """The transaction asks the network for one thing, and that is to run a contract.

    Raises:
        RefusalError: it does not.
    """
    _require(not inspected.fee_bump, "The transaction must not be a fee bump.")
    _require(len(inspected.operations) == 1, "The transaction must have exactly one operation.")
    _require(
        inspected.operations[0] == _INVOKE, "The operation must be of type invokeHostFunction."
    )


def require_sponsorable(
    inspected: InspectedTransfer, sponsors: Collection[str], *, payer: str
) -> None:
    """A sponsor may put its name under the operation: nothing in it is the sponsor's, and all that
    it takes is the payer's leave. What that leave is for is still to be checked.

    Args:
        inspected: a transaction that passed `require_one_invocation`.
        sponsors: every address of ours that signs or pays for transactions.
        payer: whose money the operation moves.

    Raises:
        RefusalError: it may not.
    """
    _require(
        inspected.source == NULL_ACCOUNT,
        "The source of a sponsored transaction must be the all-zeros account.",
    )
    _require(inspected.operation_source is None, "The operation must not have a source.")
    _require(payer not in sponsors, "The transfer must not be from the server.")
    _require(bool(inspected.authorizations), "The transfer must be authorized by its sender.")
    for entry in inspected.authorizations:
        _require(
            entry.kind == "address",
            "Authorization entries must be of type sorobanCredentialsAddress.",
        )
        _require(entry.address not in sponsors, "The server must not be asked to authorize.")
        _require(entry.address == payer, "Only the sender's authorization is needed.")
        _require(entry.signed, "The authorization entry is not signed.")
    _require(len(inspected.authorizations) == 1, "One authorization entry is needed.")


def require_transfer_alone_allowed(inspected: InspectedTransfer) -> None:
    """The leave that is given is for the transfer.

    Raises:
        RefusalError: it is for something else as well.
    """
    for entry in inspected.authorizations:
        _require(
            entry.authorizes_operation and entry.sub_invocations == 0,
            "Authorization entries must be for the transfer and nothing else.",
        )


def require_timely_authorization(
    inspected: InspectedTransfer, *, ledger: int, expires: int, now: float
) -> None:
    """No authorization outlives the challenge by more than clocks and ledgers drift.

    Args:
        ledger: the current ledger's sequence.
        expires: of the challenge, Unix seconds.
        now: Unix seconds.

    Raises:
        RefusalError: one does, or is over too soon to be relied on.
    """
    latest = ledger + math.ceil(max(expires - now, 0) / LEDGER_SECONDS) + DRIFT_LEDGERS
    for expiration in (entry.expiration_ledger for entry in inspected.authorizations):
        if expiration is None:  # it is the transaction's own, and ends with that
            continue
        _require(expiration <= latest, "The authorization entry is valid beyond the challenge.")
        _require(expiration >= ledger + LEAST_LEDGERS, "The authorization entry expires too soon.")


def end_of_leave(inspected: InspectedTransfer, *, ledger: int, now: float) -> int:
    """Until when every authorization of a transaction is good for certain, Unix seconds, if it is
    by `require_timely_authorization`; arguments as there."""
    ends = min(
        (entry.expiration_ledger or 0 for entry in inspected.authorizations), default=ledger + 1
    )
    return int(now) + (ends - ledger - 1) * LEDGER_SECONDS


def require_self_paid(inspected: InspectedTransfer, *, expires: int, now: float) -> None:
    """The transaction is the payer's own, complete, good at once, and void when the challenge is.

    Args:
        expires: of the challenge, Unix seconds.
        now: Unix seconds.

    Raises:
        RefusalError: it is not.
    """
    _require(
        inspected.source != NULL_ACCOUNT,
        "The server does not pay the fee of this transaction: it needs a source of its own.",
    )
    _require(inspected.signatures > 0, "The transaction must be signed.")
    _require(
        inspected.max_time is not None and inspected.max_time <= expires,
        "The transaction's maxTime must be set, and not after the challenge's expiry.",
    )
    _require((inspected.max_time or 0) > now, "The transaction's maxTime has passed.")
    _require(
        (inspected.min_time or 0) <= now and not inspected.other_preconditions,
        "The transaction must be good now: no minTime ahead, and no other preconditions.",
    )


def require_no_name(
    inspected: InspectedTransfer, addresses: Collection[str], *, payer: str
) -> None:
    """None of our addresses is a source, an authorizer or the one whose money moves.

    Raises:
        RefusalError: one is.
    """
    named = {
        inspected.source,
        inspected.operation_source,
        payer,
        *(entry.address for entry in inspected.authorizations),
    }
    _require(named.isdisjoint(addresses), "The transaction must not involve the server's accounts.")


def require_only_effect(events: Sequence[TokenEvent], transfer: Transfer) -> None:
    """The transfer is all that happens.

    Raises:
        RefusalError: something else moves, or nothing does.
    """
    _require(len(events) == 1, "The transaction must do nothing but the transfer.")
    event = events[0]
    _require(
        event.kind == "transfer"
        and event.contract == transfer.token
        and event.sender == transfer.sender
        and event.recipient == transfer.recipient
        and event.amount == transfer.amount,
        "The transaction must have the transfer's effect and no other.",
    )


def require_success(simulation: Simulation) -> None:
    """The transfer would go through now.

    Raises:
        RefusalError: it would not.
        FaultError: the node could not tell.
    """
    if simulation.error is not None and not simulation.error.startswith(_PAYERS_ERRORS):
        raise FaultError("The payment network cannot look at the payment at the moment.")
    if simulation.error is not None:
        raise _failed(_reason(simulation.error))
    _require(not simulation.restore, "The payer's balance is archived and must be restored first.")


_PAYERS_ERRORS: Final = ("HostError", "Transaction contains")
"""How a simulation's error begins that is the transaction's; every other one is the node's own."""
_REASONS: Final = (
    ("Error(Contract, #10)", "The payer's balance does not cover the amount."),
    ("Error(Contract, #13)", "The payer or the recipient has no trustline for the token."),
    ("Error(Contract, #11)", "The token's issuer has not authorized the payer or the recipient."),
    ("Error(Contract, #6)", "The payer's account does not exist."),
    ("Error(Auth, ExistingValue)", "This authorization was used before."),
    ("Error(Auth, ", "The transfer is not validly authorized by its sender."),
)


def _reason(error: str) -> str:
    """What a payer can do about a simulation's error. Its own text is the node's and stays here."""
    for mark, reason in _REASONS:
        if mark in error:
            return reason
    return "The transfer would fail on the ledger."


def _require(holds: bool, detail: str) -> None:
    if not holds:
        raise _failed(detail)


def _failed(detail: str) -> RefusalError:
    return RefusalError(problems.VERIFICATION_FAILED.because(detail))
