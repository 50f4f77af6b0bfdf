"""Commitments: what the funder signs to let the recipient have an amount in total."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.sandbox.wire.values import address_val, bytes_val, i128_val, map_val, symbol_val

if TYPE_CHECKING:
    from mpp_asgi.sandbox.wire.values import Address

_DOMAIN = symbol_val("chancmmt")


def commitment(network_id: bytes, channel: Address, amount: int) -> bytes:
    """The 192 bytes to sign, with the channel's commitment key, for ``amount`` base units."""
    value = map_val(
        {
            "amount": i128_val(amount),
            "channel": address_val(channel),
            "domain": _DOMAIN,
            "network": bytes_val(network_id),
        }
    )
    return value.xdr
