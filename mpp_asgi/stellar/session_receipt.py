"""What a payer by channel is told that it paid."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mpp_asgi.protocol import b64url_encode, format_timestamp

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
        # As `receipt_header` writes it, which looks at each member: these are addresses, digits and
        # words of ours, in which nothing has to be escaped.
        channel_id, further = channel.id, ""
        if self.tells:
            further = f',"acceptedCumulative":"{channel.accepted}","spent":"{channel.spent}"'
        if units is not None:
            further += f',"units":{units}'
        if self.tx_hash is not None:
            further += f',"txHash":"{self.tx_hash}"'
        return b64url_encode(
            f'{{"method":"stellar","reference":"{channel_id}","status":"success"'
            f',"timestamp":"{format_timestamp(int(now))}","intent":"{self.intent}"'
            f',"challengeId":"{self.challenge_id}","channelId":"{channel_id}"{further}}}'.encode()
        )
