"""Tells scenarios: a ledger with people on it, and calls one after the other."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Self

from stellar_sdk import Address, Asset, Keypair, scval, xdr

from tests.oracle import entries
from tests.oracle.authorization import (
    PLAIN,
    Invocation,
    Signing,
    by_address,
    by_source,
    calling,
)
from tests.oracle.entries import (
    ALICE,
    BOB,
    CAROL,
    ISSUER,
    NATIVE,
    SPONSOR,
    USD,
    XLM,
    address_of,
    token,
)
from tests.oracle.scenario import Call, Jump, Keeping, Record, Scenario, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

START = 1_000
START_TIME = 1_800_000_000
FAR = 4_000_000_000
"""A ledger no scenario reaches."""
SIGNED_LEDGERS = 20
"""How long signatures are good."""

RECORD = Record()
Value = xdr.SCVal | Keypair | str | int | bool
Who = Keypair | str


def value(given: Value) -> xdr.SCVal:
    """A contract value: people and ``G``, ``C`` or ``M`` are addresses, numbers are ``i128``."""
    if isinstance(given, xdr.SCVal):
        return given
    if isinstance(given, Keypair | str):
        return scval.to_address(address_of(given))
    if isinstance(given, bool):
        return scval.to_bool(given)
    return scval.to_int128(given)


class Story:
    """A scenario as it is told."""

    def __init__(self, name: str, *, empty: bool = False) -> None:
        """On a ledger with Alice, Bob, Carol, a sponsor, XLM and USD, unless it is empty."""
        self.name = name
        self.sequence = START
        self._entries: list[tuple[str, int | None]] = []
        self._codes: list[tuple[str, int]] = []
        self._steps: list[Step] = []
        self._nonces = count(1)
        if not empty:
            self.standard()

    def standard(self) -> None:
        for who in (ALICE, BOB, CAROL, SPONSOR, ISSUER):
            self.put(entries.account(who))
        for who in (ALICE, BOB, CAROL):
            self.put(entries.trustline(who, USD, 100 * XLM))
        for asset in (NATIVE, USD):
            self.put(entries.token_instance(asset), FAR)

    def put(self, entry: str, live_until: int | None = None) -> Self:
        """An entry of the first ledger; the last one of a key counts."""
        self._entries.append((entry, live_until))
        return self

    def code(self, name: str, live_until: int = FAR) -> Self:
        self._codes.append((name, live_until))
        return self

    def jump(self, ledgers: int) -> Self:
        self.sequence += ledgers
        self._steps.append(Jump(ledgers))
        return self

    def nonce(self) -> int:
        return next(self._nonces)

    def signed(
        self,
        who: Who,
        allowed: Invocation,
        signers: Sequence[Keypair] | None = None,
        *,
        nonce: int | None = None,
        expiration: int | None = None,
        signing: Signing = PLAIN,
    ) -> str:
        """An entry that is good for a while, unless it is told otherwise."""
        return by_address(
            who,
            allowed,
            self.nonce() if nonce is None else nonce,
            self.sequence + SIGNED_LEDGERS if expiration is None else expiration,
            signers,
            signing,
        )

    def call(
        self,
        contract: str | Asset,
        function: str,
        *args: Value,
        by: Who | None = None,
        source: Keypair = SPONSOR,
        below: Sequence[Invocation] = (),
        auth: Sequence[str] | None = None,
        **options: Any,
    ) -> Self:
        """Call a function; ``by`` allows it, by a signature of its own unless it is the source."""
        address = token(contract) if isinstance(contract, Asset) else contract
        values = [value(arg) for arg in args]
        if auth is None:
            auth = []
            if by is not None:
                allowed = calling(address, function, values, below)
                is_source = address_of(by) == source.public_key
                auth = [by_source(allowed) if is_source else self.signed(by, allowed)]
        return self.invoke(invocation(address, function, values), source, auth, **options)

    def invoke(
        self,
        function: xdr.HostFunction,
        source: Keypair = SPONSOR,
        auth: Sequence[str] | None = (),
        *,
        record: Record | None = RECORD,
        without: Sequence[str] = (),
        read_only: Sequence[str] = (),
        unrestored: bool = False,
    ) -> Self:
        self._steps.append(
            Call(
                function=function.to_xdr(),
                source=source.xdr_account_id().to_xdr(),
                record=record,
                auth=None if auth is None else tuple(auth),
                without=tuple(without),
                read_only=tuple(read_only),
                unrestored=unrestored,
            )
        )
        return self

    def keep(self, *keys: str, extend_to: int | None = None) -> Self:
        """Ask what it takes to let entries live on, or to bring them back."""
        self._steps.append(Keeping(keys, extend_to))
        return self

    def told(self) -> Scenario:
        return Scenario(
            name=self.name,
            sequence=START,
            timestamp=START_TIME,
            entries=tuple(self._entries),
            codes=tuple(self._codes),
            steps=tuple(self._steps),
        )


def invocation(contract: str, function: str, args: Sequence[xdr.SCVal]) -> xdr.HostFunction:
    body = xdr.InvokeContractArgs(
        Address(contract).to_xdr_sc_address(), xdr.SCSymbol(function.encode()), list(args)
    )
    kind = xdr.HostFunctionType.HOST_FUNCTION_TYPE_INVOKE_CONTRACT
    return xdr.HostFunction(kind, invoke_contract=body)
