"""The chain as x402's own facilitator knows it, with the token's ledger under it.

Transactions are included at once, unless somebody wants them to fail, to be late or to be lost.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from x402.mechanisms.evm.types import TransactionReceipt

from benchmarks.peers.usdc import ADDRESS, CHAIN, RevertedError, Token, Transfer

if TYPE_CHECKING:
    from collections.abc import Callable

FACILITATOR = "0x00000000000000000000000000000000000Fac11"
TRANSFER_TOPIC = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"


@dataclass(slots=True)
class Ways:
    """How the next transactions fare."""

    reverted: int = 0
    """So many are included and fail: the money went elsewhere in between."""
    lost: int = 0
    """So many are taken and never included."""
    late: int = 0
    """So many are included later than anybody waits for: at the third look, or when all is well."""


@dataclass(slots=True)
class _Sent:
    transfer: Transfer
    signature: bytes
    waits: int = 0
    receipt: TransactionReceipt | None = None
    is_lost: bool = False


class Chain:
    """What x402 calls a ``FacilitatorEvmSigner``."""

    def __init__(self, token: Token) -> None:
        self.token = token
        self.ways = Ways()
        self.included = 0
        self.failed = 0
        self._sent: dict[str, _Sent] = {}

    def get_addresses(self) -> list[str]:
        return [FACILITATOR]

    def get_chain_id(self) -> int:
        return CHAIN

    def get_code(self, address: str) -> bytes:
        return b"\x60" if address.lower() == ADDRESS.lower() else b""

    def get_balance(self, address: str, token_address: str) -> int:
        return self.token.balance(address) if token_address.lower() == ADDRESS.lower() else 0

    def read_contract(
        self, address: str, abi: list[dict[str, Any]], function_name: str, *args: Any
    ) -> object:
        """Simulate a transfer, or look something up."""
        reads: dict[str, Callable[[], object]] = {
            "transferWithAuthorization": lambda: self.token.check(*_called(args)),
            "balanceOf": lambda: self.token.balance(args[0]),
            "authorizationState": lambda: self.token.is_used(args[0], bytes(args[1])),
        }
        if address.lower() != ADDRESS.lower() or function_name not in reads:
            raise RevertedError(f"execution reverted: no {function_name} at {address}")
        return reads[function_name]()

    def write_contract(
        self,
        address: str,
        abi: list[dict[str, Any]],
        function_name: str,
        *args: Any,
        data_suffix: str | None = None,
    ) -> str:
        """Send a transfer, after its gas was estimated: what would fail is not sent.

        Raises:
            RevertedError: it would fail.
        """
        if address.lower() != ADDRESS.lower() or function_name != "transferWithAuthorization":
            raise RevertedError(f"execution reverted: no {function_name} at {address}")
        sent = _Sent(*_called(args))
        self.token.check(sent.transfer, sent.signature)
        hash_ = "0x" + secrets.token_hex(32)
        self._sent[hash_] = sent
        if self.ways.lost:
            self.ways.lost -= 1
            sent.is_lost = True
        elif self.ways.late:
            self.ways.late -= 1
            sent.waits = 2
        else:
            self._include(hash_)
        return hash_

    def wait_for_transaction_receipt(self, tx_hash: str) -> TransactionReceipt:
        """
        Raises:
            TimeoutError: there is none yet.
        """
        sent = self._sent[tx_hash]
        if sent.is_lost or sent.waits:
            sent.waits = max(0, sent.waits - 1)
            raise TimeoutError(f"Transaction {tx_hash} is not in the chain after 120 seconds")
        if sent.receipt is None:
            self._include(tx_hash)
        assert sent.receipt is not None
        return sent.receipt

    def calm(self) -> None:
        """What is late gets in, and nothing more goes wrong."""
        self.ways = Ways()
        for hash_, sent in self._sent.items():
            if sent.waits and sent.receipt is None:
                sent.waits = 0
                self._include(hash_)

    def _include(self, hash_: str) -> None:
        sent = self._sent[hash_]
        try:
            self._carry_out(sent)
        except RevertedError:
            self.failed += 1
            sent.receipt = TransactionReceipt(status=0, block_number=1, tx_hash=hash_, logs=[])
        else:
            self.included += 1
            sent.receipt = TransactionReceipt(
                status=1, block_number=1, tx_hash=hash_, logs=[_log(sent.transfer)]
            )

    def _carry_out(self, sent: _Sent) -> None:
        if self.ways.reverted:
            self.ways.reverted -= 1
            raise RevertedError("execution reverted: transfer amount exceeds balance")
        self.token.carry_out(sent.transfer, sent.signature)


def _called(args: tuple[Any, ...]) -> tuple[Transfer, bytes]:
    """The arguments of ``transferWithAuthorization`` in either of its forms."""
    transfer = Transfer(args[0], args[1], args[2], args[3], args[4], bytes(args[5]))
    if len(args) == 7:
        return transfer, bytes(args[6])
    v, r, s = args[6:9]
    return transfer, bytes(r) + bytes(s) + bytes([v])


def _log(transfer: Transfer) -> dict[str, object]:
    return {
        "address": ADDRESS,
        "topics": [
            TRANSFER_TOPIC,
            "0x" + transfer.sender[2:].lower().rjust(64, "0"),
            "0x" + transfer.recipient[2:].lower().rjust(64, "0"),
        ],
        "data": f"0x{transfer.value:064x}",
    }
