"""Whatever happens, no token comes into being or goes but by mint, burn and clawback; of XLM there
is always the same, in accounts, contracts and the pool of fees."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st
from stellar_sdk import (
    Asset,
    FeeBumpTransactionEnvelope,
    Keypair,
    StrKey,
    TransactionBuilder,
    TransactionEnvelope,
    scval,
)
from stellar_sdk import xdr as sdk

from mpp_asgi.sandbox import FriendbotError, Sandbox, Snapshot
from mpp_asgi.sandbox.header import TOTAL_COINS
from mpp_asgi.sandbox.wire.entries import Account, ContractData, Trustline
from mpp_asgi.sandbox.wire.values import Kind, fields
from tests.sandbox.channels import Channels

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Stage

VAULT = StrKey.encode_contract(b"\7" * 32)
"""A contract's address that is nobody's."""


def supply(sandbox: Sandbox) -> Counter[str]:
    """What there is of each token (by its contract), wherever it lies; XLM with the fees paid."""
    found: Counter[str] = Counter()
    ledger = sandbox._ledger
    for entry in ledger.state:
        match entry:
            case Account():
                found[sandbox.xlm] += entry.balance
            case Trustline():
                found[str(entry.asset.contract(ledger.network.network_id))] += entry.balance
            case ContractData() if _is_balance(entry):
                found[str(entry.contract)] += int(fields(entry.value)["amount"].value)
    found[sandbox.xlm] += ledger.fee_pool
    return found


def _is_balance(entry: ContractData) -> bool:
    name = entry.name
    return name.kind is Kind.VEC and bool(name.value) and name.value[0].value == "Balance"


@dataclass
class World:
    """The people of a stage, an issuer, channels, and a count of what was minted and burned."""

    stage: Stage
    issuer: Keypair
    strangers: list[Keypair]
    channels: Channels = field(init=False)
    opened: list[str] = field(default_factory=list)
    expected: Counter[str] = field(default_factory=Counter)
    told_until: int = 0
    saved: tuple[Snapshot, Counter[str], list[str]] | None = None

    def __post_init__(self) -> None:
        stage = self.stage
        self.channels = Channels(stage)
        self.beads = Asset("BEADS", self.issuer.public_key)
        self.dollars = Asset("USDC", stage.sandbox.usdc_issuer.public_key)
        stage.sandbox.fund(self.issuer.public_key)
        for who in (stage.payer, stage.seller):
            line = stage.builder(who).append_change_trust_op(self.beads).build()
            line.sign(who)
            stage.succeed(line)
        deploy = stage.builder(self.issuer).append_create_stellar_asset_contract_from_asset_op(
            self.beads
        )
        envelope = stage.prepare(deploy.build())
        envelope.sign(self.issuer)
        stage.succeed(envelope)
        self.told_until = stage.sandbox.sequence
        self.expected = supply(stage.sandbox)
        assert self.expected[stage.sandbox.xlm] == TOTAL_COINS

    @property
    def people(self) -> list[Keypair]:
        return [self.stage.payer, self.stage.seller, self.issuer, *self.strangers]

    def listen(self) -> None:
        """Count what events tell of tokens made and unmade since the last time."""
        first, self.told_until = self.told_until + 1, self.stage.sandbox.sequence
        if first > self.told_until:
            return
        page = self.stage.rpc("getEvents", startLedger=first, pagination={"limit": 1_000})
        for event in page["events"]:
            name = scval.to_native(sdk.SCVal.from_xdr(event["topic"][0]))
            if name in {"mint", "burn", "clawback"}:
                data: Any = scval.to_native(sdk.SCVal.from_xdr(event["value"]))
                amount = data["amount"] if isinstance(data, dict) else data
                self.expected[event["contractId"]] += amount if name == "mint" else -amount

    def submit(self, envelope: TransactionEnvelope | FeeBumpTransactionEnvelope) -> None:
        self.stage.send(envelope)
        self.stage.sandbox.close_ledger()

    def invoke(self, envelope: TransactionEnvelope) -> None:
        """A call, if a simulation has nothing against it."""
        if "error" not in self.stage.simulate(envelope):
            self.submit(self.channels.ready(envelope))


def pay(world: World, a: int, b: int, amount: int) -> None:
    source = world.people[a]
    asset = (Asset.native(), world.dollars, world.beads)[b % 3]
    if amount <= 0 or not world.stage.sandbox.has_account(source.public_key):
        return
    to = world.people[b].public_key
    builder = world.stage.builder(source)
    text = f"{amount // 10**7}.{amount % 10**7:07d}"
    envelope = builder.append_payment_op(to, asset, text).build()
    envelope.sign(source)
    world.submit(envelope)


def create(world: World, a: int, b: int, amount: int) -> None:
    source, new = world.people[a], world.people[b]
    if amount <= 0 or not world.stage.sandbox.has_account(source.public_key):
        return
    text = f"{amount // 10**7}.{amount % 10**7:07d}"
    envelope = world.stage.builder(source).append_create_account_op(new.public_key, text).build()
    envelope.sign(source)
    world.submit(envelope)


def send(world: World, a: int, b: int, amount: int) -> None:
    """A sponsored transfer, to people, channels and nobody's contracts alike."""
    token = (world.stage.usdc, world.stage.sandbox.xlm)[a % 2]
    to = [*(who.public_key for who in world.people), VAULT, *world.opened]
    world.invoke(world.stage.transfer(amount, to=to[b % len(to)], contract=token))


def bump(world: World, a: int, b: int, amount: int) -> None:
    """A fee bump, whose inside may well fail."""
    del b
    stage = world.stage
    inner = stage.builder(stage.seller).append_payment_op(
        stage.payer.public_key, Asset.native(), str(1 + amount % 20_000)
    )
    envelope = inner.build()
    envelope.sign(stage.seller)
    payer = world.people[a]
    outer = TransactionBuilder.build_fee_bump_transaction(payer, 500, envelope, stage.passphrase)
    outer.sign(payer)
    world.submit(outer)


def mint(world: World, a: int, b: int, amount: int) -> None:
    del a
    token = world.beads.contract_id(world.stage.passphrase)
    to = [world.stage.payer.public_key, VAULT, world.stage.seller.public_key][b % 3]
    args = (scval.to_address(to), scval.to_int128(amount))
    envelope = world.stage.call(world.issuer, "mint", *args, contract=token)
    if "error" not in world.stage.simulate(envelope):
        world.stage.prepare(envelope).sign(world.issuer)
        world.submit(envelope)


def burn(world: World, a: int, b: int, amount: int) -> None:
    del a, b
    args = (scval.to_address(world.stage.payer.public_key), scval.to_int128(amount))
    world.invoke(world.stage.call(world.stage.sponsor, "burn", *args))


def open_channel(world: World, a: int, b: int, amount: int) -> None:
    del b
    token = (world.stage.usdc, world.stage.sandbox.xlm)[a % 2]
    envelope = world.channels.opening_call(
        len(world.opened).to_bytes(32, "big"), amount=amount, token=token, period=a
    )
    if "error" not in world.stage.simulate(envelope):
        world.opened.append(world.channels.address_of(envelope))
        world.invoke(envelope)


def use_channel(world: World, a: int, b: int, amount: int) -> None:
    if not world.opened:
        return
    channel = world.opened[b % len(world.opened)]
    function = ("top_up", "settle", "close", "close_start", "refund")[a]
    if function in {"settle", "close"}:
        envelope = world.channels.paying(channel, function, amount)
    elif function == "top_up":
        envelope = world.channels.call(channel, function, scval.to_int128(amount))
    else:
        envelope = world.channels.call(channel, function)
    world.invoke(envelope)


def give(world: World, a: int, b: int, amount: int) -> None:
    """By the faucet, which prints dollars."""
    del b
    whole = amount % 50
    world.stage.sandbox.fund(world.people[a].public_key, usdc=whole)
    world.expected[world.stage.usdc] += whole * 10**7


def ask_friendbot(world: World, a: int, b: int, amount: int) -> None:
    del b, amount
    try:
        world.stage.sandbox.friendbot(world.people[a].public_key)
    except FriendbotError:
        return


def jump(world: World, a: int, b: int, amount: int) -> None:
    """Through expiry of what is temporary, and, now and then, into the archive."""
    del b, amount
    world.listen()
    world.stage.sandbox.close_ledger((1, 30, 800, 25_000, 130_000)[a])
    world.told_until = world.stage.sandbox.sequence


def go_back(world: World, a: int, b: int, amount: int) -> None:
    """To the snapshot made last; or make one."""
    del b, amount
    world.listen()
    if a % 2 or world.saved is None:
        snapshot = Snapshot.from_bytes(world.stage.sandbox.snapshot().to_bytes())
        world.saved = (snapshot, world.expected.copy(), list(world.opened))
        return
    snapshot, expected, opened = world.saved
    world.stage.sandbox.restore(snapshot)
    world.expected, world.opened = expected.copy(), list(opened)
    world.told_until = snapshot.sequence


ACTIONS = [
    *(pay, create, send, send, bump, mint, burn, open_channel, open_channel),
    *(use_channel, use_channel, use_channel, give, ask_friendbot, jump, go_back),
]
amounts = st.one_of(
    st.sampled_from([0, 1, -1, 1_0000000, 50_0000000, 10_000_0000000, 2**63 - 1, 2**100]),
    st.integers(1, 60_0000000),
)
steps = st.tuples(st.sampled_from(ACTIONS), st.integers(0, 4), st.integers(0, 4), amounts)


@given(st.lists(steps, min_size=1, max_size=20))
def test_nothing_comes_from_nothing(
    new_stage: Callable[[], Stage], person: Callable[[str], Keypair], done: list[Any]
) -> None:
    world = World(new_stage(), person("issuer"), [person("ann"), person("bob")])
    for action, *details in done:
        if action is pay or action is create:
            details[2] = min(details[2], 2**63 - 1)
        action(world, *details)
        world.listen()
        assert +supply(world.stage.sandbox) == +world.expected


def test_the_count_would_notice(stage: Stage) -> None:
    """By the very count that has found nothing amiss above."""
    before = supply(stage.sandbox)
    ledger = stage.sandbox._ledger
    account = next(entry for entry in ledger.state if isinstance(entry, Account))
    ledger.write([replace(account, balance=account.balance + 1)])
    assert supply(stage.sandbox)[stage.sandbox.xlm] == before[stage.sandbox.xlm] + 1
