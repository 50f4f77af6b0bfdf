"""Classic transactions of a command's own, brought onto the ledger and waited for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from stellar_sdk import Account as SourceAccount
from stellar_sdk import TransactionBuilder, xdr

from mpp_asgi.cli.terminal import CommandError
from mpp_asgi.stellar.inspection import XDR_ERRORS
from mpp_asgi.stellar.rpc import get_transaction, send_transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stellar_sdk import Keypair

    from mpp_asgi.cli.chain import Chain
    from mpp_asgi.stellar.rpc_drivers import SyncRpc

FEE = 10_000
"""Stroops bid for each operation; in quiet times the network takes 100 of them."""
VALID_SECONDS = 60
POLL_SECONDS = 0.5

Refusal = tuple[str, str]
"""What the network refused, and what to see to: a noun and a clause."""


def perform(
    chain: Chain,
    rpc: SyncRpc,
    source: Keypair,
    add: Callable[[TransactionBuilder], object],
    *,
    sequence: int,
    refusal: Refusal,
    signers: Sequence[Keypair] = (),
) -> str:
    """Bring operations onto the ledger in one transaction; its hash.

    Args:
        chain, rpc: where.
        source: whose transaction it is.
        add: appends the operations.
        sequence: the source's sequence number as it is.
        refusal: what to say if the network does not want it.
        signers: who signs beside the source; 19 at most.

    Raises:
        CommandError: that failed, or is not decided yet.
    """
    account = SourceAccount(source.public_key, sequence)
    builder = TransactionBuilder(account, chain.network.passphrase, FEE)
    add(builder)
    envelope = builder.set_timeout(VALID_SECONDS).build()
    for key in (source, *signers):
        envelope.sign(key)
    sent = chain.ask(rpc, send_transaction(envelope.to_xdr()))
    if sent.status == "ERROR":
        raise _refused(refusal, sent.error_result_xdr)
    if sent.status == "TRY_AGAIN_LATER":
        raise CommandError("The network is busy: run this again in a few seconds.")
    _wait(chain, rpc, sent.hash, refusal)
    return sent.hash


def _wait(chain: Chain, rpc: SyncRpc, tx_hash: str, refusal: Refusal) -> None:
    give_up = time.monotonic() + VALID_SECONDS
    while True:
        found = chain.ask(rpc, get_transaction(tx_hash))
        if found.status == "SUCCESS":
            return
        if found.status == "FAILED":
            raise _refused(refusal, found.result_xdr)
        if time.monotonic() >= give_up:
            raise CommandError(
                f"The ledger has not decided on transaction {tx_hash} yet: run this again."
            )
        time.sleep(POLL_SECONDS)


def _refused(refusal: Refusal, result: str | None) -> CommandError:
    what, see_to = refusal
    return CommandError(f"The network refused the {what} ({_reason(result)}): see that {see_to}.")


def _reason(result: str | None) -> str:
    """By the TransactionResult (base64 XDR): the name of its code, or of its first operation's."""
    try:
        read = xdr.TransactionResult.from_xdr(result or "").result
        first = read.results[0].tr if read.results else None
        if first is not None and first.change_trust_result is not None:
            return first.change_trust_result.code.name
    except XDR_ERRORS:
        return "no reason given"
    return read.code.name
