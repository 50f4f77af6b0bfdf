"""Attacks on sessions, performed over HTTP, and what leaked.

What leaked is every response that nobody owes anything for, and in the end every one that was owed
for and not paid.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from stellar_sdk import Keypair, scval

from mpp_asgi.protocol import Credential
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.sandbox.contracts.registry import CHANNEL_WASM_HASH, CONTRACTS
from mpp_asgi.sandbox.genesis import bank_keypair
from mpp_asgi.sandbox.host.native import Function
from mpp_asgi.sandbox.wire.values import i128_val
from mpp_asgi.stellar.envelope import network_id
from mpp_asgi.stellar.invocation import contract_call
from mpp_asgi.stellar.network import PUBNET, TESTNET
from tests.charge.forgery import THIEF
from tests.session.drawer import (
    CALL,
    DEPOSIT,
    Drawer,
    Funder,
    address,
    open_session_shop,
    problem_of,
    receipt_of,
)
from tests.session.watchtower import until
from tests.shop import Payer, Time, rng

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

    from mpp_asgi.protocol import Challenge
    from mpp_asgi.sandbox.host.guest import Guest
    from mpp_asgi.sandbox.wire.values import Val
    from tests.shop import Shop

LYING_CODE = b"\x11" * 32
AT_ONCE = 60


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    time = Time()
    true = CONTRACTS.by_wasm[CHANNEL_WASM_HASH]
    lying = {**true, "balance": Function((), _a_million), "deposited": Function((), _a_million)}
    contracts = CONTRACTS.with_wasm(LYING_CODE, lying)
    sandbox = Sandbox(clock=time, close_interval=1.0, contracts=contracts)
    sandbox.fund(THIEF.public_key, usdc="10")
    async with open_session_shop(sandbox=sandbox, time=time) as shop:
        yield shop


def _a_million(_guest: Guest) -> Val:
    return i128_val(10**6)


def nothing_leaked(row: str, *, served: int, owed: int) -> None:
    """Every response is owed for; ``owed`` is in base units."""
    leaks = served - owed // CALL
    print(f"{row}: {served} served, leaks = {leaks}")
    assert leaks == 0
    assert owed % CALL == 0


# A7: more requests than there is headroom for


@dataclass
class Workers:
    """Two processes' worth of middleware on one file, and a channel that both know."""

    shops: list[Shop]
    drawers: list[Drawer]

    @property
    def served(self) -> int:
        return sum(len(shop.runs) for shop in self.shops)


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[Workers]:
    time = Time()
    sandbox = Sandbox(clock=time, close_interval=1.0)
    store = f"sqlite:///{tmp_path}/store.db"
    async with AsyncExitStack() as stack:
        shops = [
            await stack.enter_async_context(
                open_session_shop(sandbox=sandbox, time=time, store=store)
            )
            for _ in range(2)
        ]
        yield Workers(shops, [await Drawer.on_record(shop) for shop in shops])


async def test_one_headroom_is_spent_once(workers: Workers) -> None:
    worth = 7
    drawer, _ = workers.drawers
    challenge = await drawer.challenge()
    answers = await asyncio.gather(
        *(workers.drawers[n % 2].pay(challenge, worth * CALL) for n in range(AT_ONCE))
    )
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) == AT_ONCE - worth
    for answer in refused:
        assert problem_of(answer) == (402, "session/insufficient-balance")
        assert answer.json()["requiredTopUp"] == str(CALL)
    spent = [int(receipt_of(each)["spent"]) for each in answers if each.status_code == 200]
    assert sorted(spent) == [n * CALL for n in range(1, worth + 1)]
    record = await drawer.record()
    assert record.spent == record.accepted == worth * CALL
    nothing_leaked("A7, one headroom", served=workers.served, owed=worth * CALL)


@pytest.mark.parametrize("seed", range(5))
async def test_racing_vouchers_never_buy_more_than_the_highest(workers: Workers, seed: int) -> None:
    random = rng(seed)
    drawer, _ = workers.drawers
    challenge = await drawer.challenge()
    most = DEPOSIT // CALL + 3  # beyond the deposit
    amounts = [random.choice([random.randint(0, most) * CALL, DEPOSIT]) for _ in range(AT_ONCE)]
    answers = await asyncio.gather(
        *(workers.drawers[random.randrange(2)].pay(challenge, amount) for amount in amounts)
    )
    granted = sum(answer.status_code == 200 for answer in answers)
    slugs = {problem_of(answer) for answer in answers if answer.status_code != 200}
    assert slugs <= {
        (402, "session/insufficient-balance"),
        (402, "session/amount-exceeds-deposit"),
        (402, "verification-failed"),
    }
    record = await drawer.record()
    assert record.accepted == max(amount for amount in amounts if amount <= DEPOSIT)
    assert record.spent == granted * CALL <= record.accepted <= record.deposited == DEPOSIT
    assert record.units == granted == workers.served
    nothing_leaked("A7, racing vouchers", served=workers.served, owed=record.spent)


async def test_an_opening_shown_many_times_at_once_opens_once(workers: Workers) -> None:
    funder = Funder(workers.shops[0], 3)
    before = funder.balance()
    opening = funder.open(await funder.challenge(), 2 * CALL)
    answers = await asyncio.gather(*(workers.shops[n % 2].show(opening) for n in range(20)))
    answers += [await workers.shops[n % 2].show(opening) for n in range(4)]
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {200, 402, 409}
    assert statuses.count(200) == 2
    assert funder.balance() == before - DEPOSIT
    record = await funder.record()
    assert (record.deposited, record.spent) == (DEPOSIT, 2 * CALL)
    nothing_leaked("A7, one opening", served=workers.served, owed=record.spent)


async def test_a_top_up_shown_many_times_at_once_counts_once(workers: Workers) -> None:
    funder = Funder(workers.shops[0], 3)
    challenge = await funder.challenge()
    assert (await workers.shops[0].show(funder.open(challenge, CALL))).status_code == 200
    before = funder.balance()
    topping_up = funder.top_up(challenge, 3 * CALL)
    answers = await asyncio.gather(*(workers.shops[n % 2].show(topping_up) for n in range(20)))
    answers += [await workers.shops[n % 2].show(topping_up) for n in range(2)]
    assert {answer.status_code for answer in answers} <= {204, 409}
    assert answers[-1].status_code == 204
    assert funder.balance() == before - 3 * CALL
    record = await funder.record()
    assert record.deposited == DEPOSIT + 3 * CALL
    nothing_leaked("A7, one top-up", served=workers.served, owed=record.spent)


async def test_closing_while_it_is_spent_from(shop: Shop) -> None:
    """Whatever comes first: what was served is what the close pays."""
    funder, challenge = await opened(shop)
    before = shop.earned()
    await funder.pay(challenge, 9 * CALL)
    closing = [
        funder.voucher(challenge, number * CALL, action="close") for number in (2, 4, 5, 6, 9)
    ]
    requests: list[Awaitable[httpx.Response]] = [shop.show(each) for each in closing]
    requests[2:2] = [funder.pay(challenge, 9 * CALL) for _ in range(10)]
    answers = await asyncio.gather(*requests)
    closed = [answer for answer in answers if answer.status_code == 204]
    assert len(closed) == 1
    record = await funder.record()
    assert shop.earned() - before == record.spent == len(shop.runs) * CALL
    nothing_leaked("A7, closing meanwhile", served=len(shop.runs), owed=shop.earned() - before)


async def opened(shop: Shop, number: int = 1) -> tuple[Funder, Challenge]:
    funder = Funder(shop, number)
    challenge = await funder.challenge()
    response = await shop.show(funder.open(challenge, CALL))
    assert response.status_code == 200, response.text
    return funder, challenge


# A15: contracts that only look like a channel worth something

FAKES: dict[str, tuple[dict[str, Any], str]] = {
    "other code": ({"way": "deployed", "wasm_hash": LYING_CODE.hex()}, "code is not among"),
    "another recipient": ({"recipient": THIEF.public_key}, "another recipient"),
    "another token": ({"token": "xlm"}, "another token"),
    "a tiny waiting period": ({"waiting_period": 17_279}, "waiting period is under"),
    "no waiting period": ({"waiting_period": 0}, "waiting period is under"),
    "a key that signs nothing": ({"key": bytes(32)}, "none that can sign"),
}


def terms_of(shop: Shop, fake: str) -> tuple[dict[str, Any], str]:
    terms, says = FAKES[fake]
    token = {"token": shop.sandbox.xlm} if "token" in terms else {}
    return {**terms, **token}, says


@pytest.mark.parametrize("fake", FAKES)
async def test_a_fake_channel_is_not_opened(shop: Shop, fake: str) -> None:
    terms, says = terms_of(shop, fake)
    funder = Funder(shop, 1)
    challenge = await funder.challenge()
    before, fees = funder.balance(), shop.sponsor_funds()
    answer = await shop.show(funder.open(challenge, CALL, **terms))
    assert problem_of(answer) == (402, "verification-failed")
    assert says in answer.json()["detail"]
    assert (funder.balance(), shop.sponsor_funds()) == (before, fees)
    await is_no_customer(funder, challenge)
    nothing_leaked(f"A15, opening {fake}", served=len(shop.runs), owed=0)


@pytest.mark.parametrize("fake", FAKES)
async def test_a_fake_channel_on_the_ledger_is_not_taken(shop: Shop, fake: str) -> None:
    terms, says = terms_of(shop, fake)
    funder = Funder(shop, 1)
    challenge = await funder.challenge()
    hash_ = funder.open_alone(challenge, **terms)
    shown = funder.voucher(challenge, CALL, action="open", type="hash", hash=hash_)
    answer = await shop.show(shown)
    assert problem_of(answer) == (402, "verification-failed")
    assert says in answer.json()["detail"]
    await is_no_customer(funder, challenge)
    nothing_leaked(f"A15, showing {fake}", served=len(shop.runs), owed=0)


async def test_a_factory_that_has_changed_its_mind_opens_no_session(shop: Shop) -> None:
    """What it opens now looks the same until it is there: then its code is looked at."""
    bank = Funder(shop, 2)
    bank.payer = Payer(shop, bank_keypair(TESTNET.passphrase, 0))
    other_code = scval.to_bytes(LYING_CODE)
    bank._alone(contract_call(shop.sandbox.channel_factory, "set_wasm", [other_code]))
    funder = Funder(shop, 1)
    challenge = await funder.challenge()
    answer = await shop.show(funder.open(challenge, CALL))
    assert problem_of(answer) == (402, "verification-failed")
    await is_no_customer(funder, challenge)
    nothing_leaked("A15, by a factory of fakes", served=len(shop.runs), owed=0)


@pytest.mark.parametrize("what", ["usdc", "channel_factory"])
async def test_another_contract_is_no_channel(shop: Shop, what: str) -> None:
    funder, challenge = await opened(shop)
    funder.channel = getattr(shop.sandbox, what)
    shown = funder.voucher(challenge, CALL, action="open", type="hash", hash="00" * 32)
    assert problem_of(await shop.show(shown)) == (402, "verification-failed")
    await is_no_customer(funder, challenge)
    nothing_leaked(f"A15, {what} for a channel", served=len(shop.runs), owed=CALL)


async def test_an_empty_channel_is_worth_nothing(shop: Shop) -> None:
    funder = Funder(shop, 1)
    challenge = await funder.challenge()
    in_band = await shop.show(funder.open(challenge, 0, amount=0))
    assert problem_of(in_band) == (402, "verification-failed")
    hash_ = funder.open_alone(challenge, amount=0)
    for amount in (CALL, 1):
        shown = funder.voucher(challenge, amount, action="open", type="hash", hash=hash_)
        answer = await shop.show(shown)
        assert problem_of(answer) == (402, "session/amount-exceeds-deposit")
        assert problem_of(await funder.pay(challenge, amount)) == problem_of(answer)
    nothing_leaked("A15, an empty channel", served=len(shop.runs), owed=0)


async def test_a_voucher_for_more_than_is_deposited_opens_nothing(shop: Shop) -> None:
    funder = Funder(shop, 1)
    challenge = await funder.challenge()
    before, fees = funder.balance(), shop.sponsor_funds()
    answer = await shop.show(funder.open(challenge, DEPOSIT + 1))
    assert problem_of(answer) == (402, "session/amount-exceeds-deposit")
    assert (funder.balance(), shop.sponsor_funds()) == (before, fees)
    nothing_leaked("A15, more than is in it", served=len(shop.runs), owed=0)


async def test_an_opening_of_another_channel_is_no_proof(shop: Shop) -> None:
    """Its channel is named, its money is in another."""
    funder, other = Funder(shop, 1), Funder(shop, 2)
    challenge = await funder.challenge()
    opening = funder.open(challenge, CALL)
    other.opening(challenge)
    shown = replace(
        opening,
        payload={
            **opening.payload,
            "channelId": other.channel,
            "signature": other.sign(CALL),
        },
    )
    answer = await shop.show(shown)
    assert problem_of(answer) == (402, "verification-failed")
    nothing_leaked("A15, another's money", served=len(shop.runs), owed=0)


async def test_somebody_elses_channel_is_nobody_elses(shop: Shop) -> None:
    """A thief shows a good channel as his own; what he signs is worth nothing."""
    victim, challenge = await opened(shop)
    thief = Drawer(shop, THIEF, victim.channel, THIEF.public_key)
    for action in ("open", "voucher", "close"):
        shown = thief.voucher(challenge, 2 * CALL, action=action, type="hash", hash="00" * 32)
        assert problem_of(await shop.show(shown)) == (402, "session/invalid-signature")
    assert (await victim.pay(challenge, 2 * CALL)).status_code == 200
    nothing_leaked("A15, another's channel", served=len(shop.runs), owed=2 * CALL)


async def is_no_customer(funder: Funder, challenge: Challenge) -> None:
    """Whoever was refused has no session, whatever is signed."""
    assert await funder.shop.store.channel(funder.channel) is None
    answer = await funder.pay(challenge, CALL)
    assert problem_of(answer) == (410, "session/channel-not-found")


# A16: a channel that its funder pulls away


async def test_a_server_that_was_down_loses_nothing(tmp_path: Path) -> None:
    """The funder closes while nobody is there, and the server is back before the refund."""
    time = Time()
    settings = {
        "sandbox": Sandbox(clock=time, close_interval=1.0),
        "time": time,
        "store": f"sqlite:///{tmp_path}/store.db",
        "min_refund_waiting_period": 100,
    }
    async with open_session_shop(**settings) as shop:
        funder, challenge = await opened(shop)
        before = funder.balance() + DEPOSIT
        for number in range(2, 7):
            assert (await funder.pay(challenge, number * CALL)).status_code == 200
        served = len(shop.runs)
    funder.close_start()
    shop.sandbox.close_ledger(60)
    assert shop.earned() == 0
    async with open_session_shop(**settings) as again:
        await again.challenges()  # the server is up
        await until(lambda: again.earned() > 0)
        again.sandbox.close_ledger(50)
        funder.refund()
        late = await again.show(funder.voucher(challenge, 7 * CALL))
        assert problem_of(late) == (410, "session/channel-finalized")
        nothing_leaked("A16, away for a while", served=served, owed=again.earned())
        assert again.runs == []
        assert funder.balance() == before - served * CALL


async def test_a_channel_that_closes_is_not_taken(shop: Shop) -> None:
    funder = Funder(shop, 1)
    challenge = await funder.challenge()
    hash_ = funder.open_alone(challenge)
    funder.close_start()
    shown = funder.voucher(challenge, CALL, action="open", type="hash", hash=hash_)
    assert problem_of(await shop.show(shown)) == (410, "session/channel-finalized")
    await is_no_customer(funder, challenge)
    nothing_leaked("A16, closing before it is shown", served=len(shop.runs), owed=0)


@pytest.mark.parametrize("refunds", [False, True])
async def test_once_seen_a_channel_that_closes_takes_nothing(shop: Shop, *, refunds: bool) -> None:
    funder, challenge = await opened(shop)
    funder.close_start()
    if refunds:
        shop.sandbox.close_ledger(17_281)
        shop.time.now += 2
        funder.refund()
    # Beyond what is known to be deposited: this has the ledger looked at.
    seen = await funder.pay(challenge, DEPOSIT + 1)
    assert problem_of(seen) == (410, "session/channel-finalized")
    for amount in (2 * CALL, DEPOSIT):
        refused = await funder.pay(challenge, amount)
        assert problem_of(refused) == (410, "session/channel-finalized")
    topping_up = await shop.show(funder.top_up(challenge, CALL))
    assert problem_of(topping_up) == (410, "session/channel-finalized")
    nothing_leaked("A16, closing and seen", served=len(shop.runs), owed=CALL)


async def test_closing_in_time_saves_what_is_owed(shop: Shop) -> None:
    """The funder announces a refund; a close through the server still pays the server first."""
    funder, challenge = await opened(shop)
    assert (await funder.pay(challenge, 5 * CALL)).status_code == 200
    funder.close_start()
    closed = await shop.show(funder.voucher(challenge, 2 * CALL, action="close"))
    assert closed.status_code == 204, closed.text
    assert shop.earned() == 2 * CALL
    nothing_leaked("A16, closed in time", served=len(shop.runs), owed=shop.earned())


# A17: vouchers that are not what they should be


@dataclass(frozen=True)
class Game:
    """A credential that buys nothing, and what it is answered with."""

    forge: Callable[[Funder, Challenge], Credential]
    problem: tuple[int, str]
    tells: bool
    """The answer says how the channel stands: to whoever can sign for it, and nobody else."""
    more: Mapping[str, str] | None = None


def signed(**how: Any) -> Callable[[Funder, Challenge], Credential]:
    """A voucher for one more call, with another signature."""

    def forge(funder: Funder, challenge: Challenge) -> Credential:
        return funder.voucher(challenge, 4 * CALL, signature=funder.sign(4 * CALL, **how))

    return forge


def for_amount(amount: int, **changes: Any) -> Callable[[Funder, Challenge], Credential]:
    return lambda funder, challenge: funder.voucher(challenge, amount, **changes)


def from_source(source: str) -> Callable[[Funder, Challenge], Credential]:
    return lambda f, c: replace(f.voucher(c, 4 * CALL), source=source)


FORGED = (402, "session/invalid-signature")
THIEVES = Keypair.from_raw_ed25519_seed(bytes(31) + b"k")

GAMES: dict[str, Game] = {
    "lower": Game(for_amount(2 * CALL), (402, "verification-failed"), tells=True),
    "zero": Game(for_amount(0), (402, "verification-failed"), tells=True),
    "equal, without headroom": Game(
        for_amount(3 * CALL),
        (402, "session/insufficient-balance"),
        tells=True,
        more={"requiredTopUp": str(CALL)},
    ),
    "higher, and not enough": Game(
        for_amount(3 * CALL + 1),
        (402, "session/insufficient-balance"),
        tells=True,
        more={"requiredTopUp": str(CALL - 1), "acceptedCumulative": str(3 * CALL + 1)},
    ),
    "beyond the deposit": Game(
        for_amount(DEPOSIT + 1), (402, "session/amount-exceeds-deposit"), tells=True
    ),
    "another key": Game(signed(key=THIEVES), FORGED, tells=False),
    "another channel": Game(signed(channel=address(5)), FORGED, tells=False),
    "another network": Game(signed(network=network_id(PUBNET.passphrase)), FORGED, tells=False),
    "another amount": Game(
        lambda f, c: f.voucher(c, 5 * CALL, signature=f.sign(4 * CALL)), FORGED, tells=False
    ),
    "a thief's close": Game(
        lambda f, c: f.voucher(
            c, 3 * CALL, action="close", signature=f.sign(3 * CALL, key=THIEVES)
        ),
        FORGED,
        tells=False,
    ),
    "a close for less": Game(
        for_amount(2 * CALL, action="close"), (402, "verification-failed"), tells=True
    ),
    "a close for more": Game(
        for_amount(4 * CALL, action="close"), (402, "verification-failed"), tells=True
    ),
    "no channel of ours": Game(
        lambda f, c: f.voucher(
            c, CALL, channelId=address(6), signature=f.sign(CALL, channel=address(6))
        ),
        (410, "session/channel-not-found"),
        tells=False,
    ),
    "a source that is not the funder": Game(
        from_source(f"did:pkh:stellar:testnet:{THIEF.public_key}"),
        (402, "session/signer-mismatch"),
        tells=False,
    ),
    "a source of another network": Game(
        from_source(f"did:pkh:stellar:pubnet:{THIEF.public_key}"),
        (402, "verification-failed"),
        tells=False,
    ),
    "a top-up that nobody made": Game(
        lambda f, c: Credential(
            c,
            {
                "action": "topUp",
                "channelId": f.channel,
                "type": "hash",
                "hash": "ab" * 32,
                "additionalDeposit": str(CALL),
            },
        ),
        (503, "about:blank"),
        tells=False,
    ),
}
STANDING = {"channelId", "acceptedCumulative", "spent", "deposit", "requiredTopUp"}


@pytest.mark.parametrize("name", GAMES)
async def test_a_game_with_vouchers_buys_nothing(shop: Shop, name: str) -> None:
    game = GAMES[name]
    funder, challenge = await opened(shop)
    for number in (2, 3):
        assert (await funder.pay(challenge, number * CALL)).status_code == 200
    before = await funder.record()
    answer = await shop.show(game.forge(funder, challenge))
    status, slug = game.problem
    assert problem_of(answer) == (status, slug)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    said = answer.json()
    standing = {
        "channelId": funder.channel,
        "acceptedCumulative": str(3 * CALL),
        "spent": str(3 * CALL),
        "deposit": str(DEPOSIT),
        **(game.more or {}),
    }
    told = {name: text for name, text in said.items() if name in STANDING}
    assert told == (standing if game.tells else {})
    if status == 402:
        assert answer.headers.get_list("www-authenticate")
    after = await funder.record()
    assert after.spent == before.spent
    assert after.accepted == int(told.get("acceptedCumulative", before.accepted))
    # Its owner is none the worse for it.
    assert (await funder.pay(challenge, 4 * CALL)).status_code == 200
    nothing_leaked(f"A17, {name}", served=len(shop.runs), owed=4 * CALL)


async def test_a_voucher_replayed_by_others_buys_nothing(shop: Shop) -> None:
    """Whoever saw it go by: on the route it was for, and on others."""
    funder, challenge = await opened(shop)
    credential = funder.voucher(challenge, 2 * CALL)
    assert (await shop.show(credential)).status_code == 200
    transport = shop.http._transport
    async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as another:
        header = {"Authorization": credential.to_header()}
        for path in ("/paid", "/other", "/after"):
            answer = await another.get(path, headers=header)
            assert problem_of(answer) == (402, "session/insufficient-balance")
    nothing_leaked("A17, replayed", served=len(shop.runs), owed=2 * CALL)


async def test_after_its_close_a_channel_buys_nothing(shop: Shop) -> None:
    funder, challenge = await opened(shop)
    old = funder.voucher(challenge, 4 * CALL)
    opening = funder.open(challenge, CALL)
    closing = funder.voucher(challenge, CALL, action="close")
    assert (await shop.show(closing)).status_code == 204
    for credential in (old, opening, closing, funder.top_up(challenge, CALL)):
        answer = await shop.show(credential)
        assert problem_of(answer) == (410, "session/channel-finalized")
    nothing_leaked("A17, after the close", served=len(shop.runs), owed=shop.earned())


async def test_a_voucher_does_not_pay_a_charge(shop: Shop) -> None:
    funder, _ = await opened(shop)
    charge, *_ = await shop.challenges()
    answer = await shop.show(funder.voucher(charge, 2 * CALL))
    assert problem_of(answer) == (402, "invalid-payload")
    nothing_leaked("A17, for a charge", served=len(shop.runs), owed=CALL)


async def test_a_transaction_that_failed_opens_nothing(shop: Shop) -> None:
    """A real hash, of a transaction that is on the ledger and failed there."""
    funder = Funder(shop, 1)
    challenge = await funder.challenge()
    failed = await failed_transaction(shop)
    funder.opening(challenge)
    shown = funder.voucher(challenge, CALL, action="open", type="hash", hash=failed)
    assert problem_of(await shop.show(shown)) == (409, "session/transaction-reverted")
    nothing_leaked("A17, a failed opening", served=len(shop.runs), owed=0)


async def failed_transaction(shop: Shop) -> str:
    """Two payments of everything somebody has, simulated before either: the second one fails."""
    payer = shop.payer(2)
    charge, *_ = await shop.challenges()
    everything = replace(payer.transfer(charge), amount=payer.balance())
    first, _ = payer.own_transaction(everything, max_time=None)
    second, hash_ = payer.own_transaction(everything, max_time=None, source=THIEF)
    for envelope in (first, second):
        assert shop.ask("sendTransaction", transaction=envelope)["status"] == "PENDING"
    shop.time.now += 3
    assert shop.ask("getTransaction", hash=hash_)["status"] == "FAILED"
    return hash_
