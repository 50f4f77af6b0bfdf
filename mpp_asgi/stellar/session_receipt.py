"""What a payer by channel is told that it paid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mpp_asgi.protocol import format_timestamp, receipt_header

if TYPE_CHECKING:
    from mpp_asgi.stellar.network import Token
    from mpp_asgi.stores.channels import Channel


class SessionReceipt(NamedTuple):
    """What a receipt says beside where the channel stands."""

    challenge_id: str
    token: Token
    cost: int
    """Base units."""
    tx_hash: str | None
    intent: str = "session"
    tells: bool = True
    """How the channel stands: not to those who have shown no voucher of it."""

    def to_header(self, channel: Channel, now: float, *, units: int | None = None) -> str:
        """The ``Payment-Receipt`` field value.

        Args:
            channel: as it stands.
            now: Unix seconds.
            units: what the response was charged for, if it is metered.
        """
        extra: dict[str, Any] = {
            "intent": self.intent,
            "challengeId": self.challenge_id,
            "channelId": channel.id,
        }
        if self.tells:
            extra["acceptedCumulative"] = str(channel.accepted)
            extra["spent"] = str(channel.spent)
        if units is not None:
            extra["units"] = units
        if self.tx_hash is not None:
            extra["txHash"] = self.tx_hash
        return receipt_header("stellar", channel.id, format_timestamp(int(now)), extra=extra)
