"""The payer's key at work: signing payments, and submitting those that are pushed.

What is signed is made here from the offer that was agreed to. From the RPC come numbers only (the
current ledger, a sequence number, resources), and the fee they ask for is capped.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from stellar_sdk import xdr

from mpp_asgi.client.errors import (
    LedgerUnavailableError,
    PaymentNotMadeError,
    TransferFailedError,
)
from mpp_asgi.client.ledger_truth import Verdict, verdict
from mpp_asgi.client.payments import (
    NonceTrace,
    PushedTransaction,
    SignedPayment,
    TransactionTrace,
)
from mpp_asgi.client.steps import ask, end_turn, take_turn, wait
from mpp_asgi.stellar.envelope import EnvelopeError, signed_envelope, unsigned_envelope
from mpp_asgi.stellar.inspection import XDR_ERRORS
from mpp_asgi.stellar.network import LEDGER_SECONDS
from mpp_asgi.stellar.rpc import (
    get_latest_ledger,
    get_ledger_entries,
    get_network,
    send_transaction,
    simulate_transaction,
)
from mpp_asgi.stellar.rpc_call import LAST_LEDGER, RpcError, RpcRefusedError, RpcUnavailableError
from mpp_asgi.stellar.transfer import (
    Transfer,
    source_authorization,
    sponsored_envelope,
    transfer_operation,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from stellar_sdk import Keypair

    from mpp_asgi.client.offers import Mode, Offer
    from mpp_asgi.client.payments import RequestKey, Target
    from mpp_asgi.client.steps import Chores
    from mpp_asgi.stellar.network import Network
    from mpp_asgi.stellar.rpc import LatestLedger, Simulation

INCLUSION_FEE: Final = 1_000
"""Stroops bid for inclusion; in quiet times the network takes 100 of them."""

FIRST_POLL_SECONDS: Final = 0.1
POLL_SECONDS: Final = 1.0
"""Between two looks at the ledger: from the first, doubled each time, up to the second."""

MOST_LOOKS: Final = 900
"""Looks at the ledger for one transaction, at most."""

PATIENCE_AFTER_EXPIRY: Final = 60.0
"""Seconds to go on looking after a transaction has become void, until a ledger shows that."""


class Wallet:
    """Signs for one account on one network."""

    def __init__(
        self,
        keypair: Keypair,
        network: Network,
        *,
        max_fee: int,
        clock: Callable[[], float],
        random_bits: Callable[[int], int],
    ) -> None:
        self._keypair = keypair
        self._network = network
        self._max_fee = max_fee
        self._clock = clock
        self._random_bits = random_bits
        self._network_confirmed = False

    def sign(
        self, offer: Offer, mode: Mode, *, request: RequestKey, target: Target
    ) -> Chores[SignedPayment]:
        """A payment of the offer. Nothing leaves the wallet yet.

        Raises:
            LedgerUnavailableError: the RPC could not be asked.
            TransferFailedError: the transfer would not go through.
            PaymentNotMadeError: the RPC is another network's, or the fee is too high.
        """
        transfer = Transfer(
            offer.token.address, self._keypair.public_key, offer.recipient, offer.amount
        )
        trace: NonceTrace | TransactionTrace
        pushed = None
        try:
            yield from self.confirm_network()
            if offer.sponsored:
                payload, trace = yield from self._sponsored(transfer, offer)
            else:
                own = yield from self.own_transaction(
                    transfer_operation(transfer, [source_authorization(transfer)]),
                    max_time=int(offer.expires),
                )
                trace = own.trace
                if mode == "push":
                    payload = self._signed_hash(trace.hash, offer)
                    pushed = own
                else:
                    payload = {"type": "transaction", "transaction": own.envelope}
        except (RpcError, EnvelopeError) as error:
            raise LedgerUnavailableError(
                "Nothing was paid, because the Stellar RPC could not be asked."
            ) from error
        return SignedPayment(
            request=request,
            target=target,
            offer=offer,
            payload=payload,
            source=f"did:pkh:{self._network.name}:{self._keypair.public_key}",
            trace=trace,
            pushed=pushed,
        )

    def shown_again(
        self, payment: SignedPayment, pushed: PushedTransaction, offer: Offer
    ) -> SignedPayment:
        """A pushed payment as an answer to another challenge: the same transaction, and a new
        signature that binds it to the challenge."""
        payload = self._signed_hash(pushed.trace.hash, offer)
        return replace(payment, offer=offer, payload=payload)

    def submit(self, pushed: PushedTransaction, *, submitted_before: bool) -> Chores[Verdict]:
        """Bring a transaction into the ledger, or learn that it is not going to be there.

        May be repeated: the ledger takes one transaction once. ``OPEN`` means that the RPC was no
        help until after the transaction's time.
        """
        accepted = False
        perhaps_queued = submitted_before
        for look in range(MOST_LOOKS):
            if look or submitted_before:
                found = yield from verdict(pushed.trace)
                if found is not Verdict.OPEN:
                    yield from end_turn()  # the server may take its time
                    return found
            if self._clock() > pushed.trace.max_time + PATIENCE_AFTER_EXPIRY:
                break
            if not accepted:
                status = yield from _offered_to_node(pushed.envelope)
                if status == "ERROR" and not perhaps_queued:
                    return Verdict.VOID
                accepted = status in {"PENDING", "DUPLICATE"}
                perhaps_queued = perhaps_queued or status is None
            yield from wait(min(FIRST_POLL_SECONDS * 2 ** min(look, 8), POLL_SECONDS))
        return Verdict.OPEN

    def confirm_network(self) -> Chores[None]:
        """Make sure that the RPC follows the payer's network.

        Raises:
            PaymentNotMadeError: it does not.
            RpcError: it could not be asked.
        """
        if self._network_confirmed:
            return
        info = yield from ask(get_network())
        if info.passphrase != self._network.passphrase:
            raise PaymentNotMadeError(
                f"Nothing was paid, because the RPC does not follow {self._network.name}."
            )
        self._network_confirmed = True

    def _sponsored(
        self, transfer: Transfer, offer: Offer
    ) -> Chores[tuple[dict[str, str], NonceTrace]]:
        ledger = yield from ask(get_latest_ledger())
        expiration = ledger_after(ledger, offer.expires - self._clock())
        nonce = self._random_bits(64) - 2**63
        envelope = sponsored_envelope(
            transfer,
            nonce=nonce,
            expiration_ledger=expiration,
            max_time=int(offer.expires),
            signer=self._keypair,
            passphrase=self._network.passphrase,
        )
        trace = NonceTrace(transfer.sender, nonce, ledger.sequence, expiration, int(self._clock()))
        return {"type": "transaction", "transaction": envelope}, trace

    def own_transaction(self, operation: bytes, *, max_time: int) -> Chores[PushedTransaction]:
        """A transaction of the payer's own, signed. The account's next sequence number is taken by
        it until it was submitted, or the steps end.

        Args:
            operation: Operation (XDR).
            max_time: Unix seconds after which it is void.

        Raises:
            TransferFailedError: it would not go through.
            PaymentNotMadeError: its fee is too high.
            RpcError: the RPC could not be asked.
            EnvelopeError: what it says makes no sense.
        """
        yield from take_turn()
        source = self._keypair.public_key
        sequence = yield from self._next_sequence()
        simulation = yield from ask(
            simulate_transaction(unsigned_envelope(operation, source=source, sequence=sequence))
        )
        resources, fee = self._affordable(simulation)
        envelope = signed_envelope(
            operation,
            source=source,
            sequence=sequence,
            fee=fee,
            max_time=max_time,
            soroban_data=resources,
            signer=self._keypair,
            passphrase=self._network.passphrase,
        )
        trace = TransactionTrace(envelope.hash, max_time, int(self._clock()))
        return PushedTransaction(envelope.xdr, trace)

    def _next_sequence(self) -> Chores[int]:
        key = xdr.LedgerKey(
            xdr.LedgerEntryType.ACCOUNT,
            account=xdr.LedgerKeyAccount(self._keypair.xdr_account_id()),
        )
        found = yield from ask(get_ledger_entries([key.to_xdr()]))
        if not found.entries:
            raise TransferFailedError("Nothing was paid, because the payer's account is not there.")
        try:
            account = xdr.LedgerEntryData.from_xdr(found.entries[0].xdr).account
        except XDR_ERRORS:
            account = None
        if account is None:
            raise RpcUnavailableError("The RPC's answer to getLedgerEntries is not an account.")
        return int(account.seq_num.sequence_number.int64) + 1

    def _affordable(self, simulation: Simulation) -> tuple[str, int]:
        """Resources and fee."""
        resources, fee = simulation.transaction_data, simulation.min_resource_fee
        if simulation.restore or resources is None or fee is None:
            raise TransferFailedError(f"Nothing was paid, because {why_not(simulation)}.")
        fee += INCLUSION_FEE
        if fee > self._max_fee:
            raise PaymentNotMadeError(
                f"Nothing was paid, because the network fee of {fee} stroops is more than "
                f"the {self._max_fee} allowed."
            )
        return resources, fee

    def _signed_hash(self, transaction_hash: str, offer: Offer) -> dict[str, str]:
        """The hash alone is public; the signature says that whoever paid means this challenge."""
        text = f"{offer.challenge.id}:{transaction_hash.lower()}"
        return {
            "type": "signedHash",
            "hash": transaction_hash,
            "sourceSignature": self._keypair.sign(text.encode("utf-8")).hex(),
        }


def ledger_after(latest: LatestLedger, seconds: float) -> int:
    """The number of the ledger that closes about then.

    Raises:
        RpcUnavailableError: there cannot be one, so the latest is not what the RPC says.
    """
    number = latest.sequence + math.ceil(max(seconds, 0) / LEDGER_SECONDS)
    if latest.sequence < 0 or number > LAST_LEDGER:
        raise RpcUnavailableError("The RPC's answer to getLatestLedger makes no sense.")
    return number


def _offered_to_node(envelope: str) -> Chores[str | None]:
    """What the node says to the transaction; ``None``: it could not be asked, or did not answer."""
    try:
        submission = yield from ask(send_transaction(envelope))
    except RpcUnavailableError:
        return None
    except RpcRefusedError:
        return "ERROR"
    return submission.status


_REASONS: Final = (
    ("Error(Contract, #10)", "the payer's balance does not cover it"),
    ("Error(Contract, #13)", "the payer or the recipient has no trustline for the token"),
    ("Error(Contract, #11)", "the token's issuer has not authorized the payer or the recipient"),
    ("Error(Contract, #6)", "the payer's or the recipient's account does not exist"),
)


def why_not(simulation: Simulation) -> str:
    """Why a simulated transaction would not go through: a clause."""
    if simulation.restore:
        return "the payer's balance is archived and must be restored first"
    error = simulation.error or ""
    return next((reason for mark, reason in _REASONS if mark in error), "the transfer would fail")
