"""Commitments: what the funder of a payment channel signs, one for each voucher.

A commitment says how much of the channel the recipient may have *in total*. The channel contract
computes the bytes anew when it is asked to pay and checks the signature of them, so a signature
that is good here is good for money there. The bytes are an XDR map of fixed layout::

    {amount: i128, channel: Address, domain: Symbol "chancmmt", network: Bytes(32)}

always 192 of them, written here from a template: no call to the network, no general encoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign_open
from nacl.exceptions import CryptoError
from stellar_sdk import StrKey

if TYPE_CHECKING:
    from stellar_sdk import Keypair

MAX_AMOUNT: Final = 2**127 - 1
"""The most that a token or a commitment can count, in base units."""

_BEFORE_AMOUNT: Final = bytes.fromhex(
    "00000011 00000001 00000004"  # a map of four entries, sorted by name
    "0000000f 00000006 616d6f756e740000 0000000a"  # amount: i128
)
_BEFORE_CHANNEL: Final = bytes.fromhex(
    "0000000f 00000007 6368616e6e656c00 00000012 00000001"  # channel: Address of a contract
)
_BEFORE_NETWORK: Final = bytes.fromhex(
    "0000000f 00000006 646f6d61696e0000 0000000f 00000008 6368616e636d6d74"  # domain: chancmmt
    "0000000f 00000007 6e6574776f726b00 0000000d 00000020"  # network: 32 bytes
)


def commitment_bytes(network_id: bytes, channel: str, amount: int) -> bytes:
    """The 192 bytes that are signed.

    Args:
        network_id: SHA-256 of the network's passphrase (32 bytes), as `envelope.network_id` gives.
        channel: the channel's contract (``C…``).
        amount: base units, all that the recipient may have had when this one is paid.

    Raises:
        ValueError: one of them is impossible.
    """
    suffix = _suffix(network_id, channel)
    if not 0 <= amount <= MAX_AMOUNT:
        raise ValueError(f"{amount} is no amount that can be committed to.")
    return _BEFORE_AMOUNT + amount.to_bytes(16, "big") + suffix


def sign_commitment(key: Keypair, network_id: bytes, channel: str, amount: int) -> bytes:
    """A payer's signature (64 bytes) of a commitment, with the channel's commitment key.

    Raises:
        ValueError: as `commitment_bytes`.
    """
    return key.sign(commitment_bytes(network_id, channel, amount))


def is_commitment_key(key: bytes) -> bool:
    """Whether the 32 bytes are a key that signatures can be told by.

    On points of small order one signature is good for many messages, and about a point with such a
    part the implementations of ed25519 do not agree. No generator of keys makes either.
    """
    return len(key) == 32 and crypto_core_ed25519_is_valid_point(key)


class Commitments:
    """Checks the signatures of one channel's vouchers: about 60 µs each, nothing but arithmetic."""

    __slots__ = ("_key", "_suffix")

    def __init__(self, network_id: bytes, channel: str, key: bytes) -> None:
        """
        Args:
            network_id: SHA-256 of the network's passphrase (32 bytes).
            channel: the channel's contract (``C…``).
            key: the commitment key that the ledger has for the channel (32 bytes).

        Raises:
            ValueError: one of them is impossible.
        """
        if not is_commitment_key(key):
            raise ValueError("The commitment key is not the public part of an ed25519 key.")
        self._key = key
        self._suffix = _suffix(network_id, channel)

    def verify(self, amount: int, signature: bytes) -> bool:
        """Whether the channel's contract will pay ``amount`` base units in all for ``signature``.

        Anything may be passed: an impossible amount or a signature of another length is not good.
        """
        if not 0 <= amount <= MAX_AMOUNT or len(signature) != 64:
            return False
        signed = b"".join((signature, _BEFORE_AMOUNT, amount.to_bytes(16, "big"), self._suffix))
        try:
            crypto_sign_open(signed, self._key)
        except CryptoError:
            return False
        return True


def _suffix(network_id: bytes, channel: str) -> bytes:
    """Everything behind the amount."""
    if len(network_id) != 32:
        raise ValueError("A network's id has 32 bytes.")
    try:
        contract = StrKey.decode_contract(channel)
    except ValueError:
        raise ValueError(f"{channel!r} is not the address of a contract.") from None
    return _BEFORE_CHANNEL + contract + _BEFORE_NETWORK + network_id
