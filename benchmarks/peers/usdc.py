"""A token's ledger in memory: USDC as it is on an EVM chain, as far as EIP-3009 goes.

It stands for the chain under a facilitator. What it refuses is what the token contract refuses: a
signature that is not the sender's for exactly these terms, a time that has not come or is over, a
nonce that was used, money that is not there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from eth_account import Account
from eth_account.messages import encode_typed_data

if TYPE_CHECKING:
    from collections.abc import Callable

CHAIN = 84532
ADDRESS = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
NAME, VERSION = "USDC", "2"
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
"""Of two signatures of the same words, the one below it is taken."""
DECIMALS = 6

_FIELDS = [
    {"name": "from", "type": "address"},
    {"name": "to", "type": "address"},
    {"name": "value", "type": "uint256"},
    {"name": "validAfter", "type": "uint256"},
    {"name": "validBefore", "type": "uint256"},
    {"name": "nonce", "type": "bytes32"},
]


class RevertedError(Exception):
    """The contract refuses; the message is as a node gives it."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """What somebody has signed: terms of ``transferWithAuthorization``. Times in Unix seconds."""

    sender: str
    recipient: str
    value: int
    valid_after: int
    valid_before: int
    nonce: bytes

    @property
    def message(self) -> dict[str, object]:
        return {
            "from": self.sender,
            "to": self.recipient,
            "value": self.value,
            "validAfter": self.valid_after,
            "validBefore": self.valid_before,
            "nonce": self.nonce,
        }


def domain(
    chain: int = CHAIN, address: str = ADDRESS, name: str = NAME, version: str = VERSION
) -> dict[str, object]:
    """The EIP-712 domain that the token's authorizations are signed in."""
    return {"name": name, "version": version, "chainId": chain, "verifyingContract": address}


def sign(key: str, transfer: Transfer, within: dict[str, object] | None = None) -> str:
    """An authorization's signature, as hexadecimal digits."""
    signed = Account.sign_typed_data(
        key,
        domain_data=within or domain(),
        message_types={"TransferWithAuthorization": _FIELDS},
        message_data=transfer.message,
    )
    return "0x" + bytes(signed.signature).hex()


@lru_cache(maxsize=4096)
def signer_of(transfer: Transfer, signature: bytes) -> str:
    """Whose signature it is; anybody's, if it is nobody's."""
    signable = encode_typed_data(
        domain_data=domain(),
        message_types={"TransferWithAuthorization": _FIELDS},
        message_data=transfer.message,
    )
    return str(Account.recover_message(signable, signature=signature))


class Token:
    """Balances in base units, and the authorizations that were used."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.balances: dict[str, int] = {}
        self._used: set[tuple[str, bytes]] = set()
        self._clock = clock

    def fund(self, address: str, amount: int) -> None:
        self.balances[address.lower()] = self.balance(address) + amount

    def balance(self, address: str) -> int:
        return self.balances.get(address.lower(), 0)

    def is_used(self, sender: str, nonce: bytes) -> bool:
        return (sender.lower(), nonce) in self._used

    def check(self, transfer: Transfer, signature: bytes) -> None:
        """Whether it would be carried out now.

        Raises:
            RevertedError: it would not.
        """
        now = self._clock()
        if now <= transfer.valid_after:
            raise RevertedError("execution reverted: authorization is not yet valid")
        if now >= transfer.valid_before:
            raise RevertedError("execution reverted: authorization is expired")
        if self.is_used(transfer.sender, transfer.nonce):
            raise RevertedError("execution reverted: authorization is used or canceled")
        if int.from_bytes(signature[32:64], "big") > HALF_ORDER:
            raise RevertedError("execution reverted: invalid signature 's' value")
        if signer_of(transfer, signature).lower() != transfer.sender.lower():
            raise RevertedError("execution reverted: invalid signature")
        if self.balance(transfer.sender) < transfer.value:
            raise RevertedError("execution reverted: transfer amount exceeds balance")

    def carry_out(self, transfer: Transfer, signature: bytes) -> None:
        """Move the money.

        Raises:
            RevertedError: nothing was moved.
        """
        self.check(transfer, signature)
        self._used.add((transfer.sender.lower(), transfer.nonce))
        self.fund(transfer.sender, -transfer.value)
        self.fund(transfer.recipient, transfer.value)
