"""What a charge asks for: the ``request`` of a stellar/charge challenge, read and written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mpp_asgi.intents import RefusalError
from mpp_asgi.protocol import problems

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mpp_asgi.stellar.network import NetworkName

_AMOUNT: Final = re.compile(r"0|[1-9][0-9]{0,38}")
_DID: Final = re.compile(r"did:pkh:(stellar:[a-z]+):([GC][A-Z2-7]{55})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """One charge (draft-stellar-charge, request schema)."""

    network: str
    """CAIP-2: ``stellar:testnet``."""
    token: str
    """The SEP-41 contract, ``C…``."""
    recipient: str
    amount: int
    """Base units."""
    sponsored: bool
    """The server pays the network fee and is the transaction's source."""
    external_id: str | None = None

    def to_request(
        self, *, description: str | None, credential_types: Sequence[str]
    ) -> dict[str, Any]:
        """The challenge's request object."""
        request: dict[str, Any] = {
            "amount": str(self.amount),
            "currency": self.token,
            "recipient": self.recipient,
            "methodDetails": {
                "network": self.network,
                "feePayer": self.sponsored,
                "credentialTypes": list(credential_types),
            },
        }
        if description is not None:
            request["description"] = description
        if self.external_id is not None:
            request["externalId"] = self.external_id
        return request

    @classmethod
    def from_request(cls, request: Mapping[str, Any]) -> Terms:
        """Read a request object that is authentic, but perhaps of an earlier configuration.

        Raises:
            RefusalError: it is no charge of ours.
        """
        details = request.get("methodDetails")
        amount = request.get("amount")
        external_id = request.get("externalId")
        fields = (request.get("currency"), request.get("recipient"))
        if (
            not isinstance(details, dict)
            or not isinstance(amount, str)
            or not _AMOUNT.fullmatch(amount)
            or not all(isinstance(field, str) for field in fields)
        ):
            raise RefusalError(
                problems.INVALID_CHALLENGE.because("This challenge is for no charge on Stellar.")
            )
        return cls(
            network=str(details.get("network")),
            token=str(fields[0]),
            recipient=str(fields[1]),
            amount=int(amount),
            sponsored=details.get("feePayer") is True,
            external_id=external_id if isinstance(external_id, str) else None,
        )


def source_address(source: str, network: NetworkName) -> str:
    """The payer's address in a credential's ``source``.

    Raises:
        RefusalError: it is no ``did:pkh`` of the network.
    """
    did = _DID.fullmatch(source)
    if did is None or did[1] != network:
        raise RefusalError(
            problems.VERIFICATION_FAILED.because(
                f"The credential's source must be 'did:pkh:{network}:' and the payer's address."
            )
        )
    return did[2]
