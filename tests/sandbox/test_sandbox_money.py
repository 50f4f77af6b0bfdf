"""No token is made or lost on the way, and events tell where each one went."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stellar_sdk import Address as SdkAddress
from stellar_sdk import (
    Asset,
    AuthorizationFlag,
    Keypair,
    StrKey,
    TransactionEnvelope,
    TrustLineFlags,
    scval,
)
from stellar_sdk import xdr as sdk

from mpp_asgi.sandbox import FriendbotError

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Stage
    from stellar_sdk import TransactionBuilder

VAULT = StrKey.encode_contract(b"\7" * 32)
"""A contract's address: it can hold tokens, though nobody can take them out."""


@dataclass
class World:
    """Three holders, a contract and the issuer of a token of their own, on a ledger."""

    stage: Stage
    issuer: Keypair
    people: list[Keypair]
    sponsors: list[Keypair]
    tokens: list[str] = field(default_factory=list)
    assets: list[Asset] = field(default_factory=list)
    turn: int = 0

    def __post_init__(self) -> None:
        stage = self.stage
        beads = Asset("BEADS", self.issuer.public_key)
        dollars = Asset("USDC", stage.sandbox.usdc_issuer.public_key)
        self.assets = [Asset.native(), dollars, beads]
        self.tokens = [asset.contract_id(stage.passphrase) for asset in self.assets]
        for person in (*self.people, *self.sponsors, self.issuer):
            stage.sandbox.fund(person.public_key, xlm=1_000, usdc=50)
        flags = AuthorizationFlag.AUTHORIZATION_REVOCABLE
        flags |= AuthorizationFlag.AUTHORIZATION_CLAWBACK_ENABLED
        self._do(stage.builder(self.issuer).append_set_options_op(set_flags=flags))
        deploy = stage.builder(self.issuer)
        deploy.append_create_stellar_asset_contract_from_asset_op(beads)
        envelope = stage.prepare(deploy.build())
        envelope.sign(self.issuer)
        stage.succeed(envelope)
        for person in self.people:
            self._do(stage.builder(person).append_change_trust_op(beads, "900"), person)

    def _do(self, builder: TransactionBuilder, signer: Keypair | None = None) -> None:
        envelope = builder.build()
        envelope.sign(signer or self.issuer)
        self.stage.succeed(envelope)

    @property
    def everybody(self) -> list[str]:
        known = (*self.people, *self.sponsors, self.issuer)
        return [*(person.public_key for person in known), VAULT]

    def balances(self) -> Counter[tuple[str, str]]:
        balance = self.stage.sandbox.balance
        return Counter({(t, who): balance(who, t) for t in self.tokens for who in self.everybody})

    def fee_pool(self) -> int:
        header = self.stage.rpc("getLatestLedger")["headerXdr"]
        return sdk.LedgerHeader.from_xdr(header).fee_pool.int64

    def submit_call(self, owner: Keypair, token: int, function: str, *args: sdk.SCVal) -> None:
        """A sponsored call, submitted if a simulation finds nothing against it."""
        stage = self.stage
        sponsor = self.sponsors[self.turn % len(self.sponsors)]
        self.turn += 1
        envelope = stage.call(sponsor, function, *args, contract=self.tokens[token])
        if "error" in stage.simulate(envelope):
            return
        stage.authorize(envelope, owner)
        if "error" not in stage.simulate(envelope):
            self._submit(stage.prepare(envelope), sponsor)

    def submit(self, builder: TransactionBuilder, source: Keypair) -> None:
        self._submit(builder.build(), source)

    def _submit(self, envelope: TransactionEnvelope, source: Keypair) -> None:
        envelope.sign(source)
        self.stage.send(envelope)

    def closed(self, start: int) -> Counter[tuple[str, str]]:
        """What the events since ledger ``start`` say has changed."""
        self.stage.sandbox.close_ledger()
        found: Counter[tuple[str, str]] = Counter()
        page = self.stage.rpc("getEvents", startLedger=start, pagination={"limit": 1_000})
        assert len(page["events"]) < 1_000
        for event in page["events"]:
            for who, change in moves(event):
                found[event["contractId"], who] += change
        return found


def moves(event: dict[str, Any]) -> list[tuple[str, int]]:
    """The changes of balances that a token's event tells of."""
    name, *topics = (scval.to_native(sdk.SCVal.from_xdr(topic)) for topic in event["topic"])
    data: Any = scval.to_native(sdk.SCVal.from_xdr(event["value"]))
    who = [topic.address for topic in topics if isinstance(topic, SdkAddress)]
    match name:
        case "transfer":
            return [(who[0], -data), (who[1], data)]
        case "mint":
            return [(who[0], data)]
        case "burn" | "clawback" | "fee":
            return [(who[0], -data)]
        case _:
            return []


def call_transfer(world: World, a: int, b: int, token: int, amount: int) -> None:
    owner = [*world.people, world.issuer][a]
    to = world.everybody[b]
    args = (scval.to_address(owner.public_key), scval.to_address(to), scval.to_int128(amount))
    world.submit_call(owner, token, "transfer", *args)


def call_burn(world: World, a: int, b: int, token: int, amount: int) -> None:
    del b
    owner = [*world.people, world.issuer][a]
    args = (scval.to_address(owner.public_key), scval.to_int128(amount))
    world.submit_call(owner, token, "burn", *args)


def call_mint(world: World, a: int, b: int, token: int, amount: int) -> None:
    del a
    args = (scval.to_address(world.everybody[b]), scval.to_int128(amount))
    world.submit_call(world.issuer, token, "mint", *args)


def call_clawback(world: World, a: int, b: int, token: int, amount: int) -> None:
    del a
    args = (scval.to_address(world.everybody[b]), scval.to_int128(amount))
    world.submit_call(world.issuer, token, "clawback", *args)


def call_approve(world: World, a: int, b: int, token: int, amount: int) -> None:
    owner, spender = [*world.people, world.issuer][a], world.people[b % 3]
    until = world.stage.sandbox.sequence + 100
    args = (
        scval.to_address(owner.public_key),
        scval.to_address(spender.public_key),
        scval.to_int128(amount),
        scval.to_uint32(until),
    )
    world.submit_call(owner, token, "approve", *args)


def call_transfer_from(world: World, a: int, b: int, token: int, amount: int) -> None:
    owner, spender = [*world.people, world.issuer][a], world.people[b % 3]
    args = (
        scval.to_address(spender.public_key),
        scval.to_address(owner.public_key),
        scval.to_address(VAULT if b == 4 else world.people[(a + 1) % 3].public_key),
        scval.to_int128(amount),
    )
    world.submit_call(spender, token, "transfer_from", *args)


def pay(world: World, a: int, b: int, token: int, amount: int) -> None:
    source = [*world.people, world.issuer][a]
    to = world.everybody[b]
    if not to.startswith("G") or not 0 < amount < 2**63:
        return
    text = decimal_text(amount)
    builder = world.stage.builder(source)
    builder.append_payment_op(to, world.assets[token], text)
    # The second payment may fail where the first one did not; then none of them happened.
    builder.append_payment_op(to, world.assets[token], text)
    world.submit(builder, source)


def freeze_line(world: World, a: int, b: int, token: int, amount: int) -> None:
    del a, token
    trustor = world.people[b % 3].public_key
    clear = TrustLineFlags.AUTHORIZED_FLAG if amount % 2 else None
    build = world.stage.builder(world.issuer).append_set_trust_line_flags_op(
        trustor,
        world.assets[2],
        clear_flags=clear,
        set_flags=None if clear else TrustLineFlags.AUTHORIZED_FLAG,
    )
    world.submit(build, world.issuer)


def decimal_text(units: int) -> str:
    return f"{units // 10**7}.{units % 10**7:07d}"


ACTIONS = [
    *(call_transfer, call_transfer, call_transfer, pay, pay, call_mint, call_mint),
    *(call_burn, call_clawback, call_approve, call_transfer_from, freeze_line),
]
amounts = st.one_of(
    st.sampled_from([0, 1, 50_0000000, 900_0000000, 1_000_0000000, 2**63 - 1, -1, 2**100]),
    st.integers(1, 60_0000000),
)
steps = st.tuples(
    st.sampled_from(ACTIONS), st.integers(0, 3), st.integers(0, 6), st.integers(0, 2), amounts
)


@given(rounds=st.lists(st.lists(steps, min_size=1, max_size=5), min_size=1, max_size=4))
def test_events_explain_every_balance(
    rounds: list[list[Any]],
    new_stage: Callable[[], Stage],
    person: Callable[[str], Keypair],
) -> None:
    world = World(
        new_stage(),
        person("issuer"),
        [person(name) for name in ("ann", "bob", "cat")],
        [person(f"sponsor {number}") for number in range(2)],
    )
    xlm, usdc, _beads = world.tokens
    for wanted in rounds:
        before, pool = world.balances(), world.fee_pool()
        for action, *details in wanted:
            action(world, *details)
        told = world.closed(world.stage.sandbox.sequence + 1)
        after = world.balances()

        changed = Counter(after)
        changed.subtract(before)
        assert {k: v for k, v in changed.items() if v} == {k: v for k, v in told.items() if v}
        assert all(balance >= 0 for balance in after.values())

        def total(balances: Counter[tuple[str, str]], token: str) -> int:
            return sum(amount for (of, _), amount in balances.items() if of == token)

        assert total(changed, xlm) == pool - world.fee_pool()
        # Nobody here is the issuer of USDC, and one burns what one has: it can only get less.
        assert total(changed, usdc) <= 0


def test_giving_makes_no_xlm(stage: Stage, person: Callable[[str], Keypair]) -> None:
    """What is given comes from somewhere, and is not given to where it comes from."""
    sandbox = stage.sandbox
    envelope = TransactionEnvelope.from_xdr(
        b64encode(sandbox.friendbot(person("newcomer").public_key).envelope).decode(),
        stage.passphrase,
    )
    bank = envelope.transaction.source.account_id
    before = stage.xlm_of(bank)
    sandbox.fund(person("ann").public_key, xlm="12.5")
    assert stage.xlm_of(bank) == before - 12_5000000
    with pytest.raises(ValueError, match="bank"):
        sandbox.fund(bank, xlm=1)
    with pytest.raises(ValueError, match="not all XLM"):
        sandbox.fund(person("ann").public_key, xlm=200_000_000_000)
    assert stage.xlm_of(bank) == before - 12_5000000
    with pytest.raises(FriendbotError, match="createAccountAlreadyExist"):
        sandbox.friendbot(person("newcomer").public_key)


@pytest.mark.parametrize("amount", ["0.00000001", "-1", "x", "NaN", "1e30", ""])
def test_amounts_that_are_none(stage: Stage, amount: str) -> None:
    with pytest.raises(ValueError, match=r"amount|range"):
        stage.sandbox.fund(stage.payer.public_key, usdc=amount)


def test_floats_are_no_money(stage: Stage) -> None:
    half: Any = 0.5
    with pytest.raises(TypeError):
        stage.sandbox.fund(stage.payer.public_key, usdc=half)
