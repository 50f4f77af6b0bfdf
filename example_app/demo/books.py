"""What everybody has, and what everybody should have."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from stellar_sdk import Asset, xdr

from mpp_asgi.stellar.accounts import get_account, get_trustline
from mpp_asgi.stellar.channel_facts import NotAChannelError, get_channels
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.rpc import get_transaction

if TYPE_CHECKING:
    from mpp_asgi.stellar.rpc_call import BlockingRpc


class MismatchError(Exception):
    """Something is not as it should be, money most of all."""


@dataclass(slots=True)
class Purse:
    """Base units."""

    usdc: int
    xlm: int


@dataclass(slots=True)
class Books:
    """Balances as the ledger has them, beside an account of what should be there."""

    rpc: BlockingRpc
    usdc: Asset
    addresses: dict[str, str]
    """By what the person does."""
    due: dict[str, Purse] = field(default_factory=dict)
    """What each should have."""

    def open(self) -> None:
        """Begin with what everybody has."""
        self.due = {name: self.read(name) for name in self.addresses}

    def add(self, name: str, address: str) -> None:
        """Take in somebody, or a payment channel, that should have nothing yet."""
        self.addresses[name] = address
        self.due[name] = Purse(usdc=0, xlm=0)

    def read(self, name: str) -> Purse:
        """What the ledger says."""
        address = self.addresses[name]
        if address.startswith("C"):
            return self._read_channel(address)
        account = self.rpc.do(get_account(address))
        trustline = self.rpc.do(get_trustline(address, self.usdc))
        return Purse(
            usdc=trustline.balance if trustline else 0, xlm=account.balance if account else 0
        )

    def _read_channel(self, address: str) -> Purse:
        token = self.usdc.contract_id(TESTNET.passphrase)
        facts = self.rpc.do(get_channels([address], [token]))[address]
        if isinstance(facts, NotAChannelError):
            raise MismatchError(str(facts))
        return Purse(usdc=facts.balance, xlm=0)

    def paid(self, payer: str, recipient: str, usdc: int) -> None:
        """Note a payment that should have been made."""
        self.due[payer].usdc -= usdc
        self.due[recipient].usdc += usdc

    def fee(self, payer: str, tx_hash: str) -> int:
        """Note who should have paid the fee of a transaction, and return it in stroops.

        Raises:
            MismatchError: the ledger has no such transaction.
        """
        found = self.rpc.do(get_transaction(tx_hash))
        if found.status != "SUCCESS" or found.result_xdr is None:
            raise MismatchError(f"The ledger has no transaction {tx_hash}.")
        fee = int(xdr.TransactionResult.from_xdr(found.result_xdr).fee_charged.int64)
        self.due[payer].xlm -= fee
        return fee

    def balance(self, occasion: str) -> None:
        """Compare everything.

        Raises:
            MismatchError: at the first difference, be it of one base unit.
        """
        for name, due in self.due.items():
            has = self.read(name)
            for token, is_there, should_be in (
                ("USDC", has.usdc, due.usdc),
                ("XLM", has.xlm, due.xlm),
            ):
                if is_there != should_be:
                    raise MismatchError(
                        f"{occasion}: the {name} has {whole(is_there)} {token} "
                        f"and should have {whole(should_be)}."
                    )


def whole(units: int) -> str:
    """Base units as whole tokens, with all seven decimals: ``0.0100000``."""
    return f"{Decimal(units).scaleb(-7):,f}"
