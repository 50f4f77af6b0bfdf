"""The sandbox: an embedded Stellar network, in one object."""

from __future__ import annotations

import time
from dataclasses import replace
from decimal import Decimal
from hashlib import sha256
from random import Random
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal

from stellar_sdk import Keypair

from mpp_asgi.sandbox.contracts.asset.contract import FUNCTIONS as ASSET_CONTRACT
from mpp_asgi.sandbox.contracts.asset.metadata import ASSET_INFO_KEY, asset_from_info
from mpp_asgi.sandbox.face import create_app
from mpp_asgi.sandbox.faults import AnswerLostError
from mpp_asgi.sandbox.friendbot import Friendbot
from mpp_asgi.sandbox.genesis import (
    TESTNET_PASSPHRASE,
    USDC,
    bank_keypair,
    genesis,
)
from mpp_asgi.sandbox.host.invocation import Contracts
from mpp_asgi.sandbox.ledger import Ledger
from mpp_asgi.sandbox.queue import Status
from mpp_asgi.sandbox.rpc.dispatch import dispatch
from mpp_asgi.sandbox.rpc.node import Node
from mpp_asgi.sandbox.rules import Network
from mpp_asgi.sandbox.settings import Settings
from mpp_asgi.sandbox.signatures import Verifier
from mpp_asgi.sandbox.state import find_account, find_trustline
from mpp_asgi.sandbox.wire.assets import NATIVE, Asset
from mpp_asgi.sandbox.wire.entries import Account, ContractData, Trustline
from mpp_asgi.sandbox.wire.keys import PERSISTENT, contract_data_key
from mpp_asgi.sandbox.wire.results import Code
from mpp_asgi.sandbox.wire.values import (
    INSTANCE_KEY,
    Address,
    address_val,
    fields,
    symbol_val,
    vec_val,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from mpp_asgi.sandbox.history import AppliedTransaction

_BASE_UNITS = 10**7


class Sandbox:
    """An embedded Stellar network.

    The ledger closes every ``close_interval`` seconds of ``clock`` (Unix seconds), or only on
    :meth:`close_ledger` when that is ``None``. Nothing runs in the background: every call first
    closes what is due. All methods may be called from any thread.
    """

    def __init__(
        self,
        *,
        close_interval: float | None = 0.5,
        clock: Callable[[], float] = time.time,
        seed: int = 0,
        passphrase: str = TESTNET_PASSPHRASE,
    ) -> None:
        self.passphrase = passphrase
        network_id = sha256(passphrase.encode()).digest()
        self._clock = clock
        self._lock = RLock()
        self._bank = bank_keypair(passphrase, seed)
        network = Network(
            network_id=network_id,
            settings=Settings(),
            contracts=Contracts(ASSET_CONTRACT, {}),
            verifier=Verifier(),
        )
        self._ledger = Ledger(
            network,
            now=clock(),
            close_interval=close_interval,
            genesis=genesis(network_id, self._bank),
        )
        self._node = Node(self._ledger, passphrase=passphrase, clock=clock, random=Random(seed))
        self._friendbot = Friendbot(self._ledger, self._bank, passphrase)
        self.app: ASGIApp = create_app(self)
        self.usdc = str(USDC.contract(network_id))
        self.xlm = str(NATIVE.contract(network_id))
        self.usdc_issuer = Keypair.from_raw_ed25519_public_key(USDC.issuer)

    def rpc(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one JSON-RPC request, whatever it is.

        Raises :class:`AnswerLostError` where :meth:`lose_next_answer` ordered that.
        """
        with self._lock:
            self._node.advance()
            answer = dispatch(self._node, request)
            method = request.get("method") if isinstance(request, dict) else None
            if self._node.faults.is_lost(method):
                raise AnswerLostError(f"the answer to {method} is lost")
            return answer

    def friendbot(self, address: str) -> AppliedTransaction:
        """Create an account with 10,000 XLM by a transaction of its own, applied at once.

        Raises :class:`FriendbotError`, for one when the account exists already.
        """
        with self._lock:
            self._node.advance()
            return self._friendbot.create(address, self._clock())

    def fund(
        self,
        address: str,
        *,
        xlm: Decimal | int | str = 10_000,
        usdc: Decimal | int | str = 0,
    ) -> None:
        """Give an account XLM and USDC (amounts in whole tokens), at once.

        Creates the account and the trustline as applied operations would have left them. XLM comes
        from the bank, USDC is issued.
        """
        account = Address.parse(address)
        with self._lock:
            self._node.advance()
            self._give_xlm(account, _base_units(xlm))
            self._give_usdc(account, _base_units(usdc))

    def _give_xlm(self, address: Address, amount: int) -> None:
        state = self._ledger.state
        bank = find_account(state, self._bank.raw_public_key())
        assert bank is not None
        account = find_account(state, address.key)
        if account is None:
            account = Account(
                public_key=address.key, balance=0, sequence=self._ledger.sequence << 32
            )
        if not amount and account.balance:
            return
        self._ledger.write(
            [
                replace(bank, balance=bank.balance - amount),
                replace(account, balance=account.balance + amount),
            ]
        )

    def _give_usdc(self, address: Address, amount: int) -> None:
        state = self._ledger.state
        account = find_account(state, address.key)
        assert account is not None
        line = find_trustline(state, address.key, USDC)
        if line is None:
            line = Trustline(public_key=address.key, asset=USDC)
            self._ledger.write([replace(account, subentries=account.subentries + 1)])
        self._ledger.write([replace(line, balance=line.balance + amount)])

    def balance(self, address: str, token: str) -> int:
        """What an address holds of a token (its contract's ``C…`` address), in base units."""
        owner = Address.parse(address).demuxed()
        contract = Address.parse(token)
        with self._lock:
            self._node.advance()
            return self._balance(owner, contract)

    def _balance(self, owner: Address, contract: Address) -> int:
        state = self._ledger.state
        if owner.kind == 1:
            name = vec_val([symbol_val("Balance"), address_val(owner)])
            stored = state.stored(contract_data_key(contract, name, PERSISTENT))
            if stored is None:
                return 0
            assert isinstance(stored[0], ContractData)
            amount: int = fields(stored[0].value)["amount"].value
            return amount
        asset = self._asset(contract)
        if asset.is_native:
            account = find_account(state, owner.key)
            return 0 if account is None else account.balance
        line = find_trustline(state, owner.key, asset)
        return 0 if line is None else line.balance

    def _asset(self, contract: Address) -> Asset:
        stored = self._ledger.state.stored(contract_data_key(contract, INSTANCE_KEY, PERSISTENT))
        if stored is None or not isinstance(stored[0], ContractData):
            raise ValueError(f"{contract} is no token of this network")
        storage = dict(stored[0].value.value.storage or ())
        if ASSET_INFO_KEY not in storage:
            raise ValueError(f"{contract} is no token of this network")
        return asset_from_info(storage[ASSET_INFO_KEY])

    def close_ledger(self, count: int = 1) -> int:
        """Close ledgers now; returns the latest sequence."""
        with self._lock:
            self._node.advance()
            for _ in range(count):
                self._ledger.close(self._clock())
            return self._ledger.sequence

    @property
    def sequence(self) -> int:
        """The latest closed ledger."""
        with self._lock:
            self._node.advance()
            return self._ledger.sequence

    # Control, for tests

    def set_close_interval(self, seconds: float | None) -> None:
        """Close a ledger every so many seconds from now on; ``None``: only on demand."""
        with self._lock:
            self._node.advance()
            self._ledger.set_interval(seconds, self._clock())

    def freeze(self) -> None:
        """Close no ledger by itself until :meth:`thaw`; submitted transactions wait."""
        with self._lock:
            self._node.advance()
            self._ledger.freeze()

    def thaw(self) -> None:
        with self._lock:
            self._ledger.thaw(self._clock())

    def refuse_next_submit(
        self,
        status: Literal["TRY_AGAIN_LATER", "DUPLICATE", "ERROR"],
        *,
        code: int = -5,
        times: int = 1,
    ) -> None:
        """Answer the next submissions with ``status`` instead of taking the transaction.

        ``code`` is the transaction's result code that goes with ``ERROR``; by default ``txBAD_SEQ``.
        """
        with self._lock:
            self._node.faults.refuse_submit(Status(status), Code(code), times)

    def lose_next_answer(self, method: str = "sendTransaction", *, times: int = 1) -> None:
        """Carry out the next calls of ``method``, but let their answers get lost.

        Over HTTP the caller gets a 504; :meth:`rpc` raises :class:`AnswerLostError`.
        """
        with self._lock:
            self._node.faults.lose_answer(method, times)


def _base_units(amount: Decimal | int | str) -> int:
    if isinstance(amount, float):
        raise TypeError("an amount is a Decimal, an int or a string, never a float")
    scaled = Decimal(amount) * _BASE_UNITS
    if scaled != int(scaled) or scaled < 0:
        raise ValueError(f"{amount} is no amount of at most seven decimals")
    return int(scaled)
