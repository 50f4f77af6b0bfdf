"""What a session asks for: the ``request`` of a stellar/session challenge, read and written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mpp_asgi.intents import RefusalError
from mpp_asgi.protocol import problems
from mpp_asgi.stellar.vouchers import is_amount

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mpp_asgi.stores.channels import Channel

_STANDING: Final = ("channelId", "acceptedCumulative", "spent", "deposit")
"""What a challenge says of one payer's channel, and of nobody else's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPolicy:
    """On what terms sessions are held. Amounts of time are seconds on the wire's clock, ledgers on
    the ledger's."""

    factory: str | None
    """The contract (``C…``) that deploys channels; ``None``: payers deploy them themselves."""
    wasm_hashes: Collection[str]
    """The channel code that is known to pay: SHA-256, hex."""
    min_waiting_period: int
    """Ledgers between a funder's wish to close and its refund; the guardian settles in them."""
    seconds: int = 3_600
    """How long a challenge is good."""
    min_voucher_delta: int = 0
    """Base units by which a higher voucher has to be higher."""
    suggested_calls: int = 100
    """For how many requests the suggested deposit is enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTerms:
    """One unit of a session."""

    network: str
    token: str
    recipient: str
    amount: int
    """Base units, of one request."""
    sponsored: bool
    """The server pays the network fees of opening and topping up."""

    def to_request(self, policy: SessionPolicy, *, description: str | None) -> dict[str, Any]:
        """The challenge's request object."""
        details: dict[str, Any] = {
            "network": self.network,
            "feePayer": self.sponsored,
            "minVoucherDelta": str(policy.min_voucher_delta),
            "channelWasmHashes": sorted(policy.wasm_hashes),
            "minRefundWaitingPeriod": policy.min_waiting_period,
        }
        if policy.factory is not None:
            details["channelFactory"] = policy.factory
        request: dict[str, Any] = {
            "amount": str(self.amount),
            "currency": self.token,
            "recipient": self.recipient,
            "unitType": "request",
            "suggestedDeposit": str(self.amount * policy.suggested_calls),
            "methodDetails": details,
        }
        if description is not None:
            request["description"] = description
        return request

    @classmethod
    def from_request(cls, request: Mapping[str, Any]) -> SessionTerms:
        """Read a request object that is authentic, but perhaps of an earlier configuration.

        Raises:
            RefusalError: it is no session of ours.
        """
        details = request.get("methodDetails")
        amount = request.get("amount")
        if not isinstance(details, dict) or not isinstance(amount, str) or not is_amount(amount):
            raise RefusalError(
                problems.INVALID_CHALLENGE.because("This challenge is for no session on Stellar.")
            )
        return cls(
            network=str(details.get("network")),
            token=str(request.get("currency")),
            recipient=str(request.get("recipient")),
            amount=int(amount),
            sponsored=details.get("feePayer") is True,
        )


def with_standing(request: Mapping[str, Any], channel: Channel) -> Mapping[str, Any]:
    """The request for the payer of this channel: where it stands, so that it can go on."""
    details = {
        **request["methodDetails"],
        "channelId": channel.id,
        "acceptedCumulative": str(channel.accepted),
        "spent": str(channel.spent),
        "deposit": str(channel.deposited),
    }
    return {**request, "methodDetails": details}


def without_standing(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """`with_standing` undone."""
    details = request.get("methodDetails")
    if not isinstance(details, dict) or not any(name in details for name in _STANDING):
        return request
    kept = {name: value for name, value in details.items() if name not in _STANDING}
    return {**request, "methodDetails": kept}
