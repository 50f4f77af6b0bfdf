"""A17: vouchers that are not what they should be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from stellar_sdk import Keypair

from mpp_asgi.protocol import Credential
from mpp_asgi.stellar.envelope import network_id
from mpp_asgi.stellar.network import PUBNET
from tests.charge.forgery import THIEF
from tests.session.attack import attacked_shop, nothing_leaked, opened
from tests.session.drawer import (
    CALL,
    DEPOSIT,
    Funder,
    address,
    problem_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from mpp_asgi.protocol import Challenge
    from tests.shop import Shop


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with attacked_shop() as shop:
        yield shop


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
