"""Transactions that put money into a channel: what they say, and whether they will do.

Facts come from `inspection` and `channel_calls`; the checks are those of `policy` for charges, and
below them those that only a deposit needs. Each check stands on its own line because each answers
an attack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stellar_sdk import xdr

from mpp_asgi.intents import FaultError, RefusalError
from mpp_asgi.protocol import problems
from mpp_asgi.stellar import policy
from mpp_asgi.stellar.channel_calls import NotTheCallError
from mpp_asgi.stellar.inspection import inspect_envelope
from mpp_asgi.stellar.token_events import EventError, simulated_events
from mpp_asgi.stellar.transfer import TransferError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from mpp_asgi.stellar.inspection import InspectedTransfer
    from mpp_asgi.stellar.invocation import Call
    from mpp_asgi.stellar.rpc import Simulation


@dataclass(frozen=True, slots=True, kw_only=True)
class Deposit:
    """Money on its way into a channel."""

    channel: str
    token: str
    funder: str
    amount: int
    """Base units."""
    call: Call
    """What the funder has to allow for it, and nothing else."""
    contracts: Collection[str]
    """The channel and whatever opens it: what they say of it is of no further interest."""


@dataclass(frozen=True, slots=True)
class InspectedDeposit:
    """A transaction that makes a deposit."""

    transaction: InspectedTransfer
    deposit: Deposit


def inspect_deposit(
    envelope: str,
    passphrase: str,
    read: Callable[[xdr.HostFunction], Deposit],
    *,
    payer: str | None,
) -> InspectedDeposit:
    """What the TransactionEnvelope (base64 XDR) of a payer says, if it is a deposit at all.

    Args:
        envelope: hostile.
        passphrase: the network's.
        read: makes out the deposit in the operation's function, or raises `NotTheCallError` or
            `RefusalError`.
        payer: who the credential says it comes from.

    Raises:
        RefusalError: it is no deposit, or takes more than the leave for that.
    """
    try:
        transaction = inspect_envelope(envelope, passphrase)
    except TransferError as error:
        raise _refusal(str(error)) from None
    policy.require_one_invocation(transaction)
    operation = xdr.Operation.from_xdr_bytes(transaction.operation).body.invoke_host_function_op
    assert operation is not None  # noqa: S101 - it is an invocation, as was just required
    try:
        deposit = read(operation.host_function)
    except NotTheCallError as error:
        raise _refusal(f"The operation must fund a channel, but {error}.") from None
    if payer is not None and payer != deposit.funder:
        raise _refusal("The channel is not funded by the credential's source.")
    allowed = deposit.call.to_xdr_bytes()
    if any(entry.root_invocation.to_xdr_bytes() != allowed for entry in operation.auth):
        raise _refusal("Authorization entries must be for the deposit and nothing else.")
    return InspectedDeposit(transaction, deposit)


def require_only_deposit(simulation: Simulation, deposit: Deposit) -> None:
    """The deposit would be made, and would be all that happens.

    Raises:
        RefusalError: something else would move, or nothing.
        FaultError: the simulation makes no sense.
    """
    policy.require_success(simulation)
    try:
        events = simulated_events(simulation.events)
    except EventError:
        raise FaultError("The payment network gave a senseless answer.") from None
    moved = [
        (event.contract, event.kind, event.sender, event.recipient, event.amount)
        for event in events
        if event.contract not in deposit.contracts
    ]
    only = (deposit.token, "transfer", deposit.funder, deposit.channel, deposit.amount)
    if moved != [only]:
        raise _refusal("The transaction must have the deposit's effect and no other.")


def _refusal(detail: str) -> RefusalError:
    return RefusalError(problems.VERIFICATION_FAILED.because(detail))
