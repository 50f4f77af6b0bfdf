"""Push: the payer submitted a transaction and shows its hash."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stellar_sdk import Keypair
from stellar_sdk.exceptions import BadSignatureError

from mpp_asgi.intents import FaultError, RefusalError
from mpp_asgi.protocol import problems
from mpp_asgi.stellar import policy
from mpp_asgi.stellar.admissions import PUSH_SECONDS, ChargeAdmission
from mpp_asgi.stellar.payload import SIGNED_HASH
from mpp_asgi.stellar.shown_hash import find_transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpp_asgi.stellar.rpc import TransactionStatus
    from mpp_asgi.stellar.transfer import Transfer


class PushAdmission(ChargeAdmission):
    """Push: a transaction that is on the ledger already."""

    _created_at: int | None = None

    def _require_open(self) -> None:
        """A payment that was made in time may be shown later; what is not taken at all is refused
        before anything is written or asked."""
        lapsed = self._quote.lapsed
        if lapsed is not None and lapsed.slug != problems.PAYMENT_EXPIRED.slug:
            raise RefusalError(lapsed)

    def _read(self) -> Sequence[str]:
        if self._shown.type == SIGNED_HASH:
            self._require_signature()
        return ()

    async def _check(self) -> None:
        status = await find_transaction(
            self._counter, self._shown.value, expires=self._quote.expires
        )
        transfer = self._require_paid(status)
        self._require_in_time(status)
        await self._claim((f"tx:{self._shown.value}",))
        self._created_at = status.created_at
        self.payment = self.payment._replace(payer=transfer.sender)

    def _require_signature(self) -> None:
        """The payer itself shows the payment: anyone can read a hash off the ledger."""
        if self._source is None or not self._source.startswith("G"):
            raise RefusalError(
                problems.VERIFICATION_FAILED.because(
                    "A signedHash credential names the payer's account as its source."
                )
            )
        message = f"{self._quote.challenge_id}:{self._shown.value}".encode()
        try:
            Keypair.from_public_key(self._source).verify(message, self._shown.signature or b"")
        except (BadSignatureError, ValueError):
            raise RefusalError(
                problems.VERIFICATION_FAILED.because(
                    "sourceSignature is not the source's signature over '{challenge id}:{hash}'."
                )
            ) from None

    def _require_paid(self, status: TransactionStatus) -> Transfer:
        if status.status != "SUCCESS":
            raise RefusalError(
                problems.VERIFICATION_FAILED.because("The transaction failed on the ledger.")
            )
        inspected, transfer = self._inspect(status.envelope_xdr or "", is_nodes=True)
        if inspected.hash != self._shown.value:
            raise FaultError("The payment network gave a senseless answer.")
        policy.require_no_name(inspected, self._counter.own_addresses, payer=transfer.sender)
        return transfer

    def _require_in_time(self, status: TransactionStatus) -> None:
        created_at, quote = status.created_at or 0, self._quote
        if created_at < self._counter.clock() - PUSH_SECONDS:
            raise RefusalError(
                problems.VERIFICATION_FAILED.because("The transaction is too old to pay for this.")
            )
        lapsed = quote.lapsed
        if lapsed is not None and created_at >= quote.expires:
            raise RefusalError(lapsed)

    async def _submit(self) -> None:
        """The payer did that: the money has moved."""
        await self._settled(self._shown.value, payer=self.payment.payer or "", at=self._created_at)
