"""Requests that are paid by voucher, over HTTP."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from stellar_sdk import Keypair

from mpp_asgi.protocol import Challenge, encode_object
from mpp_asgi.stellar.envelope import network_id
from mpp_asgi.stellar.network import PUBNET
from tests.session.drawer import (
    CALL,
    DEPOSIT,
    Drawer,
    address,
    open_session_shop,
    problem_of,
    receipt_of,
    session_challenge,
)
from tests.shop import RECIPIENT, START

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.shop import Shop


@pytest.fixture(params=["memory://", "sqlite"])
async def shop(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[Shop]:
    store = request.param if "://" in request.param else f"sqlite:///{tmp_path}/store.db"
    async with open_session_shop(store=store) as shop:
        yield shop


@pytest.fixture
async def drawer(shop: Shop) -> Drawer:
    return await Drawer.on_record(shop)


async def test_what_is_offered(shop: Shop) -> None:
    challenge = session_challenge(await shop.challenges())
    assert challenge.method == "stellar"
    assert challenge.request_object() == {
        "amount": str(CALL),
        "currency": shop.sandbox.usdc,
        "recipient": RECIPIENT.public_key,
        "unitType": "request",
        "suggestedDeposit": str(100 * CALL),
        "methodDetails": {
            "network": "stellar:testnet",
            "feePayer": True,
            "minVoucherDelta": "0",
            "channelFactory": shop.sandbox.channel_factory,
            "channelWasmHashes": [shop.sandbox.channel_wasm_hash],
            "minRefundWaitingPeriod": 17_280,
        },
    }
    expires = challenge.expires_at()
    assert expires is not None
    assert expires.timestamp() == START + 3_600


async def test_one_challenge_and_a_voucher_for_each_request(drawer: Drawer) -> None:
    challenge = await drawer.challenge()
    for number in range(1, 4):
        response = await drawer.pay(challenge, number * CALL)
        assert response.json() == {"resource": "paid"}
        assert receipt_of(response) == {
            "reference": drawer.channel,
            "intent": "session",
            "challengeId": challenge.id,
            "channelId": drawer.channel,
            "acceptedCumulative": str(number * CALL),
            "spent": str(number * CALL),
        }
        assert response.headers["cache-control"] == "private"
    record = await drawer.record()
    assert (record.accepted, record.spent, record.units) == (3 * CALL, 3 * CALL, 3)
    assert record.signature == drawer.sign(3 * CALL)
    assert drawer.shop.runs == ["/paid"] * 3


async def test_one_voucher_for_many_requests(drawer: Drawer) -> None:
    challenge = await drawer.challenge()
    for number in range(1, 4):
        response = await drawer.pay(challenge, 3 * CALL)
        assert receipt_of(response)["spent"] == str(number * CALL)
    refused = await drawer.pay(challenge, 3 * CALL)
    assert problem_of(refused) == (402, "session/insufficient-balance")
    assert refused.json()["requiredTopUp"] == str(CALL)
    assert refused.json()["acceptedCumulative"] == str(3 * CALL)
    assert len(drawer.shop.runs) == 3


async def test_a_challenge_is_good_for_every_route_of_its_price(drawer: Drawer) -> None:
    challenge = await drawer.challenge("/paid")
    assert (await drawer.pay(challenge, CALL, "/other")).json() == {"resource": "other"}
    dear = await drawer.pay(challenge, 2 * CALL, "/dear")
    assert problem_of(dear) == (402, "invalid-challenge")
    fresh = session_challenge(Challenge.all_from_headers(dear.headers.get_list("www-authenticate")))
    assert fresh.request_object()["amount"] == "10000000"
    assert (await drawer.record()).spent == CALL


async def test_who_names_the_channel_is_told_where_it_stands(drawer: Drawer) -> None:
    await drawer.pay(await drawer.challenge(), 3 * CALL)
    named = {"headers": {"Payment-Session": drawer.channel}}
    challenge = await drawer.challenge(**named)
    details = challenge.request_object()["methodDetails"]
    assert details["channelId"] == drawer.channel
    assert (details["acceptedCumulative"], details["spent"]) == (str(3 * CALL), str(CALL))
    assert details["deposit"] == str(DEPOSIT)
    assert (await drawer.pay(challenge, 4 * CALL)).status_code == 200


@pytest.mark.parametrize("session", ["", "nonsense", address(9), "é"])
async def test_who_names_no_channel_is_offered_one(shop: Shop, session: str) -> None:
    headers = {"Payment-Session": session.encode("latin-1")}
    challenge = session_challenge(await shop.challenges(headers=headers))
    assert "channelId" not in challenge.request_object()["methodDetails"]


async def test_a_failed_handler_costs_nothing(drawer: Drawer) -> None:
    challenge = await drawer.challenge("/flaky")
    assert (await drawer.pay(challenge, CALL, "/flaky")).status_code == 500
    record = await drawer.record()
    assert (record.accepted, record.spent, record.units) == (CALL, 0, 0)
    assert (await drawer.pay(challenge, CALL, "/flaky")).status_code == 200
    assert (await drawer.record()).spent == CALL


async def test_what_is_refused_before_the_endpoint_costs_nothing(drawer: Drawer) -> None:
    challenge = await drawer.challenge()
    assert (await drawer.pay(challenge, CALL, "/nowhere")).status_code == 404
    assert (await drawer.pay(challenge, CALL, method="DELETE")).status_code == 405
    assert (await drawer.record()).accepted == 0


async def test_settling_afterwards_is_the_same(drawer: Drawer) -> None:
    challenge = await drawer.challenge("/after")
    response = await drawer.pay(challenge, CALL, "/after")
    assert receipt_of(response)["spent"] == str(CALL)


async def test_a_head_request_raises_the_headroom_and_costs_nothing(drawer: Drawer) -> None:
    assert (await drawer.shop.http.head("/paid")).status_code == 405  # the application's own word
    challenge = await drawer.challenge()
    response = await drawer.pay(challenge, 3 * CALL, method="HEAD")
    assert response.status_code == 204
    assert receipt_of(response)["acceptedCumulative"] == str(3 * CALL)
    record = await drawer.record()
    assert (record.accepted, record.spent) == (3 * CALL, 0)
    assert drawer.shop.runs == []


async def test_a_fresh_challenge_comes_before_the_old_one_ends(drawer: Drawer) -> None:
    challenge = await drawer.challenge()
    drawer.shop.time.now += 3_200
    assert "www-authenticate" not in (await drawer.pay(challenge, CALL)).headers
    drawer.shop.time.now += 60
    response = await drawer.pay(challenge, 2 * CALL)
    fresh = Challenge.from_header(response.headers["www-authenticate"])
    assert fresh.request == challenge.request
    drawer.shop.time.now += 3_000
    late = await drawer.pay(challenge, 3 * CALL)
    assert problem_of(late) == (402, "payment-expired")
    assert (await drawer.pay(fresh, 3 * CALL)).status_code == 200


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no action": ({"action": None}, "invalid-payload"),
    "another action": ({"action": "steal"}, "invalid-payload"),
    "no channel": ({"channelId": None}, "invalid-payload"),
    "an account for a channel": ({"channelId": RECIPIENT.public_key}, "invalid-payload"),
    "a number": ({"cumulativeAmount": CALL}, "invalid-payload"),
    "a negative amount": ({"cumulativeAmount": "-1"}, "invalid-payload"),
    "a decimal amount": ({"cumulativeAmount": "1.0"}, "invalid-payload"),
    "a leading zero": ({"cumulativeAmount": "0100000"}, "invalid-payload"),
    "digits of elsewhere": ({"cumulativeAmount": "١٠٠٠٠٠"}, "invalid-payload"),
    "an enormous amount": ({"cumulativeAmount": "9" * 40}, "invalid-payload"),
    "more than can be": ({"cumulativeAmount": str(2**127)}, "invalid-payload"),
    "as much as can be": ({"cumulativeAmount": str(2**127 - 1)}, "session/invalid-signature"),
    "no signature": ({"signature": None}, "invalid-payload"),
    "a short signature": ({"signature": "ab"}, "invalid-payload"),
    "another amount": ({"cumulativeAmount": str(2 * CALL)}, "session/invalid-signature"),
    "zeros for a signature": ({"signature": "0" * 128}, "session/invalid-signature"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_bad_voucher_is_refused(drawer: Drawer, what: str) -> None:
    changes, kind = REFUSED[what]
    challenge = await drawer.challenge()
    response = await drawer.shop.show(drawer.voucher(challenge, CALL, **changes))
    assert problem_of(response) == (402, kind)
    assert response.headers.get_list("www-authenticate")
    record = await drawer.record()
    assert (record.accepted, record.spent) == (0, 0)
    assert drawer.shop.runs == []


async def test_signatures_for_elsewhere_are_refused(drawer: Drawer) -> None:
    challenge = await drawer.challenge()
    for signature in (
        drawer.sign(CALL, key=Keypair.random()),
        drawer.sign(CALL, channel=address(2)),
        drawer.sign(CALL, network=network_id(PUBNET.passphrase)),
    ):
        response = await drawer.shop.show(drawer.voucher(challenge, CALL, signature=signature))
        assert problem_of(response) == (402, "session/invalid-signature")
    assert (await drawer.record()).accepted == 0


async def test_a_lower_voucher_is_refused(drawer: Drawer) -> None:
    challenge = await drawer.challenge()
    await drawer.pay(challenge, 3 * CALL)
    lower = await drawer.pay(challenge, 2 * CALL)
    assert problem_of(lower) == (402, "verification-failed")
    assert lower.json()["acceptedCumulative"] == str(3 * CALL)


async def test_a_voucher_beyond_the_deposit_is_refused(drawer: Drawer) -> None:
    challenge = await drawer.challenge()
    beyond = await drawer.pay(challenge, DEPOSIT + 1)
    assert problem_of(beyond) == (402, "session/amount-exceeds-deposit")
    assert beyond.json()["deposit"] == str(DEPOSIT)
    assert (await drawer.pay(challenge, DEPOSIT)).status_code == 200


async def test_a_source_that_is_not_the_funder_is_refused(drawer: Drawer) -> None:
    challenge = await drawer.challenge()
    voucher = drawer.voucher(challenge, CALL)
    thief = f"did:pkh:stellar:testnet:{RECIPIENT.public_key}"
    refused = await drawer.shop.show(replace(voucher, source=thief))
    assert problem_of(refused) == (402, "session/signer-mismatch")
    funder = f"did:pkh:stellar:testnet:{drawer.funder}"
    assert (await drawer.shop.show(replace(voucher, source=funder))).status_code == 200


async def test_a_channel_that_is_not_known_is_gone(drawer: Drawer) -> None:
    challenge = await drawer.challenge()
    stranger = Drawer(drawer.shop, drawer.key, address(7), drawer.funder)
    assert problem_of(await stranger.pay(challenge, CALL)) == (410, "session/channel-not-found")


@pytest.mark.parametrize("facts", [{"recipient": address(3)}, {"token": address(4)}])
async def test_a_channel_of_other_terms_is_refused(shop: Shop, facts: dict[str, str]) -> None:
    drawer = await Drawer.on_record(shop, **facts)
    refused = await drawer.pay(await drawer.challenge(), CALL)
    assert problem_of(refused) == (402, "verification-failed")


async def test_a_channel_that_is_being_closed_takes_nothing(shop: Shop) -> None:
    drawer = await Drawer.on_record(shop, closes_at=1_000_000)
    refused = await drawer.pay(await drawer.challenge(), CALL)
    assert problem_of(refused) == (410, "session/channel-finalized")
    assert drawer.shop.runs == []


@pytest.mark.parametrize(
    "change",
    [
        lambda c: replace(c, request=_with(c, amount="1")),
        lambda c: replace(c, request=_with(c, recipient=address(1))),
        lambda c: replace(c, expires="2099-01-01T00:00:00Z"),
        lambda c: replace(c, intent="charge"),
        lambda c: replace(c, realm="elsewhere.test"),
        lambda c: replace(c, opaque=encode_object({"n": "another"})),
    ],
)
async def test_a_changed_challenge_is_refused(drawer: Drawer, change: Any) -> None:
    challenge = change(await drawer.challenge())
    refused = await drawer.pay(challenge, CALL)
    assert problem_of(refused) == (402, "invalid-challenge")
    assert (await drawer.record()).accepted == 0


def _with(challenge: Challenge, **changes: str) -> str:
    return encode_object({**challenge.request_object(), **changes})


async def test_each_part_of_a_voucher_that_was_good_is_looked_at_again(drawer: Drawer) -> None:
    challenge = await drawer.challenge()
    assert (await drawer.pay(challenge, 3 * CALL)).status_code == 200
    good = drawer.sign(3 * CALL)
    for changes in (
        {"cumulativeAmount": str(4 * CALL), "signature": good},
        {"signature": good[:-2] + ("00" if good[-2:] != "00" else "01")},
        {"signature": drawer.sign(4 * CALL)},
    ):
        forged = await drawer.shop.show(drawer.voucher(challenge, 3 * CALL, **changes))
        assert problem_of(forged) == (402, "session/invalid-signature")
    assert (await drawer.pay(challenge, 3 * CALL)).status_code == 200
    assert (await drawer.record()).spent == 2 * CALL
