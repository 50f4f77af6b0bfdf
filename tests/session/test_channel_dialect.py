"""Clients of the deployed TypeScript SDK: one channel, and a question before each request."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mpp_asgi import Price, price
from mpp_asgi.intents import Quote, RefusalError
from mpp_asgi.protocol import Challenge, Credential, encode_object
from mpp_asgi.stellar.channel import read_channel
from mpp_asgi.stellar.channel_dialect import LOOK_SECONDS, ChannelDialect
from tests.charge.bad_line import BadLine, Plan, lost_before, shop_on_bad_line
from tests.session.attack import LYING_CODE, attacked_shop
from tests.session.drawer import (
    CALL,
    DEPOSIT,
    Drawer,
    Funder,
    address,
    open_session_shop,
    problem_of,
    receipt_of,
    till_of,
)
from tests.shop import RECIPIENT, START

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import httpx

    from mpp_asgi.stellar.channel_calls import Opening
    from tests.shop import Shop


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with open_session_shop(intents=["session", "channel"]) as shop:
        yield shop


@pytest.fixture
async def drawer(shop: Shop) -> Drawer:
    return await Drawer.on_record(shop)


async def asked(drawer: Drawer, **headers: str) -> Challenge:
    headers = headers or {"Payment-Session": drawer.channel}
    offered = await drawer.shop.challenges(headers=headers)
    (found,) = [each for each in offered if each.intent == "channel"]
    return found


async def pay(
    drawer: Drawer, challenge: Challenge, amount: int | None = None, action: str = "voucher"
) -> httpx.Response:
    request = challenge.request_object()
    if amount is None:
        amount = int(request["methodDetails"]["cumulativeAmount"]) + int(request["amount"])
    payload = {"action": action, "amount": str(amount), "signature": drawer.sign(amount)}
    response: httpx.Response = await drawer.shop.show(Credential(challenge, payload))
    return response


async def test_what_is_offered(drawer: Drawer) -> None:
    request = (await asked(drawer)).request_object()
    reference = request["methodDetails"].pop("reference")
    assert len(reference) == 32
    assert request == {
        "amount": str(CALL),
        "channel": drawer.channel,
        "currency": drawer.shop.sandbox.usdc,
        "methodDetails": {"network": "stellar:testnet", "cumulativeAmount": "0"},
    }


async def test_nothing_is_offered_without_a_channel(drawer: Drawer) -> None:
    for headers in ({}, {"Payment-Session": address(8)}):
        offered = await drawer.shop.challenges(headers=headers)
        assert [each.intent for each in offered] == ["session"]


async def test_a_question_and_a_voucher_for_each_request(drawer: Drawer) -> None:
    for number in range(1, 4):
        response = await pay(drawer, await asked(drawer))
        assert response.json() == {"resource": "paid"}
        receipt = receipt_of(response)
        assert (receipt["intent"], receipt["spent"]) == ("channel", str(number * CALL))
    record = await drawer.record()
    assert (record.accepted, record.spent) == (3 * CALL, 3 * CALL)


async def test_it_shares_its_record_with_sessions(drawer: Drawer) -> None:
    await drawer.pay(await drawer.challenge(), 2 * CALL)
    challenge = await asked(drawer)
    assert challenge.request_object()["methodDetails"]["cumulativeAmount"] == str(2 * CALL)
    assert (await pay(drawer, challenge)).status_code == 200
    assert (await drawer.record()).accepted == 3 * CALL


async def test_refusals(drawer: Drawer) -> None:
    challenge = await asked(drawer)
    assert (await pay(drawer, challenge)).status_code == 200
    replayed = await pay(drawer, challenge)
    assert problem_of(replayed) == (402, "session/insufficient-balance")
    challenge = await asked(drawer)
    assert problem_of(await pay(drawer, challenge, DEPOSIT + 1)) == (
        402,
        "session/amount-exceeds-deposit",
    )
    assert problem_of(await pay(drawer, challenge, action="steal")) == (402, "invalid-payload")
    drawer.shop.time.now += 400
    assert problem_of(await pay(drawer, challenge)) == (402, "payment-expired")
    assert drawer.shop.runs == ["/paid"]


async def test_a_challenge_is_for_one_request(drawer: Drawer) -> None:
    challenge = await asked(drawer)
    amount = CALL
    payload = {"action": "voucher", "amount": str(amount), "signature": drawer.sign(amount)}
    refused = await drawer.shop.show(Credential(challenge, payload), "/other")
    assert problem_of(refused) == (402, "invalid-challenge")


async def test_head_raises_the_headroom_and_buys_nothing(drawer: Drawer) -> None:
    offered = await drawer.shop.http.head("/paid", headers={"Payment-Session": drawer.channel})
    found = Challenge.all_from_headers(offered.headers.get_list("www-authenticate"))
    (challenge,) = [each for each in found if each.intent == "channel"]
    payload = {"action": "voucher", "amount": str(CALL), "signature": drawer.sign(CALL)}
    answer = await drawer.shop.show(Credential(challenge, payload), method="HEAD")
    assert answer.status_code == 204
    record = await drawer.record()
    assert (record.accepted, record.spent, drawer.shop.runs) == (CALL, 0, [])


# --- one token is not another ---------------------------------------------------------------------


def sell_for_xlm(shop: Shop, number: str | Callable[[Any], Price] = "0.01") -> None:
    """At ``/xlm``, for as many base units as ``/paid`` costs of USDC."""
    what = number if callable(number) else Price(number, "XLM")

    @shop.app.get("/xlm")
    @price(what)
    async def xlm() -> dict[str, str]:
        shop.runs.append("/xlm")
        return {"resource": "xlm"}


@pytest.mark.parametrize("is_asked", [False, True])
async def test_a_channel_buys_what_is_sold_for_its_token(shop: Shop, is_asked: bool) -> None:
    sell_for_xlm(shop, (lambda _: Price("0.01", "XLM")) if is_asked else "0.01")
    other = await Drawer.on_record(shop, 2, token=shop.sandbox.xlm)
    headers = {"Payment-Session": other.channel}
    for path, offers in (("/paid", ["session"]), ("/xlm", ["session", "channel"])):
        offered = await shop.challenges(path, headers=headers)
        assert [each.intent for each in offered] == offers
    payload = {"action": "voucher", "amount": str(CALL), "signature": other.sign(CALL)}
    assert offered[1].request_object()["currency"] == shop.sandbox.xlm
    response = await shop.show(Credential(offered[1], payload), "/xlm")
    assert response.status_code == 200, response.text
    assert shop.runs == ["/xlm"]


@pytest.mark.parametrize(
    ("currency", "refusal"),
    [
        ("usdc", "verification-failed"),
        ("channel_factory", "invalid-challenge"),
        ("", "invalid-challenge"),
    ],
)
async def test_a_voucher_is_held_against_the_token_of_its_challenge(
    shop: Shop, currency: str, refusal: str
) -> None:
    """However the challenge came by it; those of former releases had none."""
    other = await Drawer.on_record(shop, 2, token=shop.sandbox.xlm)
    request = {
        "amount": str(CALL),
        "channel": other.channel,
        "methodDetails": {"network": "stellar:testnet", "cumulativeAmount": "0"},
    }
    if currency:
        request["currency"] = getattr(shop.sandbox, currency)
    challenge = (await shop.challenges(headers={"Payment-Session": address(8)}))[0]
    challenge = replace(challenge, intent="channel", request=encode_object(request))
    payload = {"action": "voucher", "amount": str(CALL), "signature": other.sign(CALL)}
    dialect = ChannelDialect(till_of(shop.app), channel=None)
    with pytest.raises(RefusalError) as refused:
        await dialect.verify(
            Credential(challenge, payload), Quote(challenge.id, request, START + 100)
        )
    assert refused.value.problem.slug == refusal
    assert (await other.record()).spent == 0


# --- a server with one channel --------------------------------------------------------------------


@asynccontextmanager
async def fixed_shop(**terms: Any) -> AsyncIterator[tuple[Shop, Funder, Opening]]:
    """A shop whose settings name the channel of this opening, which is not on the ledger yet."""
    async with attacked_shop() as probe:
        funder = Funder(probe, 1)
        opening = funder.opening(await funder.challenge(), **terms)
    settings: dict[str, Any] = {"intents": ["channel"], "channel": funder.channel}
    async with open_session_shop(**settings, sandbox=probe.sandbox, time=probe.time) as shop:
        fixed = Funder(shop, 1)
        fixed.channel = funder.channel
        yield shop, fixed, opening


async def test_a_fixed_channel_is_found_on_the_ledger_and_closed() -> None:
    async with fixed_shop() as (shop, funder, opening):
        assert (await shop.http.get("/paid")).status_code == 402  # nothing to offer yet
        funder.deploy(opening)
        shop.time.now += LOOK_SECONDS
        before = funder.balance()
        response = await pay(funder, await asked(funder, Accept="*/*"))
        assert response.status_code == 200, response.text
        closed = await pay(funder, await asked(funder, Accept="*/*"), CALL, action="close")
        assert closed.status_code == 204, closed.text
        assert len(receipt_of(closed)["txHash"]) == 64
        assert shop.earned() == CALL
        assert funder.balance() == before + DEPOSIT - CALL


async def test_a_fixed_channel_of_unknown_code_is_not_taken() -> None:
    """It says of itself what it likes."""
    async with fixed_shop(way="deployed", wasm_hash=LYING_CODE.hex()) as (shop, funder, opening):
        funder.deploy(opening)
        answer = await shop.http.get("/paid")
        assert (answer.status_code, "www-authenticate" in answer.headers) == (402, False)
        assert await shop.store.channel(funder.channel) is None


async def test_a_fixed_channel_buys_what_is_sold_for_its_token() -> None:
    async with fixed_shop() as (shop, funder, opening):
        sell_for_xlm(shop)
        funder.deploy(opening)
        refused = await shop.http.get("/xlm")
        assert (refused.status_code, "www-authenticate" in refused.headers) == (402, False)
        assert (await pay(funder, await asked(funder, Accept="*/*"))).status_code == 200


async def test_the_seller_says_whose_channel_a_request_is_paid_from() -> None:
    channels: dict[str, str] = {}

    async def channel_of(request: Any) -> str | None:
        return channels.get(request.headers.get("x-customer", ""))

    async with open_session_shop(intents=["channel", "session"], channel_of=channel_of) as shop:
        drawer = await Drawer.on_record(shop)
        channels["ann"] = drawer.channel
        challenge = await asked(drawer, **{"x-customer": "ann"})
        assert challenge.request_object()["channel"] == drawer.channel
        offered = await shop.challenges(headers={"x-customer": "bob"})
        assert [each.intent for each in offered] == ["session"]


async def test_a_channel_of_a_token_that_is_not_taken_is_offered_nothing(shop: Shop) -> None:
    drawer = await Drawer.on_record(shop, token=address(9))
    offered = await shop.challenges(headers={"Payment-Session": drawer.channel})
    assert [each.intent for each in offered] == ["session"]


async def test_whoever_comes_while_a_fixed_channel_is_looked_for_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def slowly(*asked: Any) -> Any:
        for _ in range(50):
            await asyncio.sleep(0)
        return await read_channel(*asked)

    monkeypatch.setattr("mpp_asgi.stellar.channel_dialect.read_channel", slowly)
    async with fixed_shop() as (shop, funder, opening):
        funder.deploy(opening)
        answers = await asyncio.gather(*(shop.http.get("/paid") for _ in range(5)))
        assert ["www-authenticate" in each.headers for each in answers] == [True] * 5


async def test_a_node_that_fails_says_nothing_of_a_fixed_channel() -> None:
    """It is our fault, not the payer's: 503, never "there is no such channel"."""
    async with fixed_shop() as (shop, funder, opening):
        funder.deploy(opening)
        challenge = await asked(funder, Accept="*/*")
        line = BadLine(shop.sandbox)
        line.follow(Plan("getLedgerEntries", 0, lost_before, 10))
    settings: dict[str, Any] = {"intents": ["channel"], "channel": funder.channel}
    async with open_session_shop(
        **settings, sandbox=shop.sandbox, node=line, time=shop.time
    ) as restarted:
        funder.shop = restarted
        for _ in range(2):
            assert (await pay(funder, challenge)).status_code == 503
        line.follow()
        restarted.time.now += LOOK_SECONDS
        assert (await pay(funder, challenge)).status_code == 200


async def test_a_fixed_channel_that_is_not_there_is_looked_for_now_and_then() -> None:
    """However many ask unpaid: each look is a call to the network."""
    async with shop_on_bad_line(
        recipient_secret=RECIPIENT.secret, intents=["channel"], channel=address(5)
    ) as (shop, line):
        for _ in range(20):
            response = await shop.http.get("/paid")
            assert (response.status_code, "www-authenticate" in response.headers) == (402, False)
        assert line.calls.count("getLedgerEntries") == 1
        shop.time.now += 60
        await shop.http.get("/paid")
        assert line.calls.count("getLedgerEntries") == 2
