"""The documented proxy: TLS ends there, and nothing is lost or won by what else it does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from mpp_asgi.client import PaymentAuth
from mpp_asgi.protocol import Challenge
from mpp_asgi.protocol.encoding import b64url_decode, b64url_encode
from tests.attacks.goods import Goods
from tests.attacks.scene import Wants
from tests.attacks.wire import render
from tests.fronts.nginx import NAME, needs_nginx, running_front
from tests.fronts.stage import address, attacking, found_by_attacks, proxying, submitted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.attacks.ground import Ground
    from tests.fronts.nginx import Front

pytestmark = needs_nginx

ROWS = ("A3", "A5", "A13", "A14")
"""Attacks in which a proxy has a say: requests repeated, respelled, folded, split, malformed."""
SAID = ("X-Forwarded-Proto", "X-Forwarded-For", "X_Forwarded_Proto", "X_Forwarded_For")
STRANGER = "203.0.113.9"


async def test_a_payer_pays_through_it(ground: Ground, proxy: Front) -> None:
    async with attacking(ground, proxy, "a payer") as scene:
        payer = (await scene.payer()).keypair
        auth = PaymentAuth(payer, budget="0.01", rpc=ground.node.url)
        async with httpx.AsyncClient(auth=auth, verify=proxy.tls(), timeout=60) as client:
            url, host = f"https://127.0.0.1:{proxy.port}/paid", {"Host": NAME}
            bare = await client.get(url, headers=host, auth=None)
            answer = await client.get(url, headers=host)
        challenge, *_ = Challenge.all_from_headers(bare.headers.get_list("WWW-Authenticate"))
        assert challenge.realm == NAME
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "private")
        assert answer.headers["Payment-Receipt"]
        scene.granted += Goods.all_in(answer.content)
        scene.tally.attempts += 1


async def test_what_a_client_says_of_proxies_is_not_heard(ground: Ground, proxy: Front) -> None:
    """It is the proxy that is believed, and it says what it saw."""
    async with attacking(ground, proxy, "forwarded") as scene:
        for name in SAID:
            for value in ("http", STRANGER, "https", "127.0.0.1, 203.0.113.9"):
                answer = await scene.request("GET", "/paid", [(name, value)], wants=Wants.REFUSED)
                assert answer.status == 402, (name, value)
        direct = [("X-Forwarded-Proto", "http"), ("X-Forwarded-For", STRANGER)]
        plain = await scene.request("GET", "/paid", direct, wants=Wants.REFUSED, host=1)
        assert plain.status == 400


@pytest.mark.parametrize("merges", [True, False], ids=["merge_slashes", "as it comes"])
async def test_attacks_get_nothing_through_it(ground: Ground, tmp_path: Path, merges: bool) -> None:
    changes = [] if merges else [("server_name", "merge_slashes off;\n    server_name")]
    with running_front(proxying(address(ground), changes), tmp_path) as front:
        assert not await found_by_attacks(ground, front, ROWS)


@pytest.mark.parametrize("size", [1_500, 3_000, 7_900, 8_200, 12_000, 16_384, 24_000])
async def test_large_credentials_get_through(ground: Ground, proxy: Front, size: int) -> None:
    """A line of the header may have 8 KB in nginx, unless it is told otherwise."""
    async with attacking(ground, proxy, f"{size} bytes") as scene:
        value = (await scene.sponsored()).to_header()
        await scene.redeem(padded(value, size))


async def test_the_largest_credentials_are_refused_by_the_proxy(
    ground: Ground, proxy: Front
) -> None:
    async with attacking(ground, proxy, "too large") as scene:
        good = await scene.sponsored()
        answer = await scene.refused(padded(good.to_header(), 40_000), is_fresh=True)
        assert answer.status == 400
        await scene.redeem(good)


def padded(value: str, size: int) -> str:
    """The same credential with a member that nobody knows: a header field of so many bytes."""
    body = json.loads(b64url_decode(value.removeprefix("Payment ")))
    room = max(0, size - len(value)) * 3 // 4
    body["payload"]["padding"] = "x" * room
    return "Payment " + b64url_encode(json.dumps(body, separators=(",", ":")).encode())


async def test_a_stream_is_passed_on_as_it_comes(ground: Ground, proxy: Front) -> None:
    ground.hold()
    async with attacking(ground, proxy, "stream") as scene:
        credential = await scene.sponsored("/endless")
        shown = [("Authorization", credential.to_header())]
        hanging = await scene.ground.wires[0].begin(scene.rendered("GET", "/endless", shown))
        await hanging.hears(40)  # while the rest is not made yet
        ground.release()
        answer = await hanging.answer()
        assert answer.status == 200
        scene.granted += Goods.all_in(answer.body)
        scene.tally.attempts += 1
    ground.hold()


@pytest.mark.parametrize("begun", [False, True], ids=["while it is settled", "in the midst"])
async def test_who_hangs_up_is_served_later_and_charged_once(
    ground: Ground, proxy: Front, begun: bool
) -> None:
    ground.hold()
    async with attacking(ground, proxy, f"gone {begun}") as scene:
        credential = await scene.sponsored("/endless")
        if not begun:
            await scene.by_hand(lambda: ground.node.control("freeze"))
        shown = [("Authorization", credential.to_header())]
        hanging = await scene.ground.wires[0].begin(scene.rendered("GET", "/endless", shown))
        if begun:
            await hanging.hears(40)
        else:
            await submitted(ground)
        hanging.hang_up()
        await scene.by_hand(lambda: ground.node.control("thaw"))
        ground.release()
        await scene.redeem(credential, "/endless")
        await scene.refused(credential, "/endless")
    ground.hold()


async def test_a_proxy_that_gives_up_loses_nothing(ground: Ground, tmp_path: Path) -> None:
    hasty = proxying(address(ground), [("proxy_read_timeout 120s;", "proxy_read_timeout 1s;")])
    with running_front(hasty, tmp_path) as front:
        async with attacking(ground, front, "504", troubled=True) as scene:
            credential = await scene.sponsored()
            await scene.by_hand(lambda: ground.node.control("freeze"))
            raw = scene.rendered("GET", "/paid", [("Authorization", credential.to_header())])
            given_up = await scene.ground.wires[0].exchange(raw)
            assert given_up.status == 504
            await scene.by_hand(lambda: ground.node.control("thaw"))
            await scene.redeem(credential)
            await scene.refused(credential)


async def test_requests_in_the_absolute_form_name_the_realm(ground: Ground, proxy: Front) -> None:
    """Who asks under another name gets challenges of that name, and they are good there only."""
    async with attacking(ground, proxy, "absolute") as scene:
        wire = scene.ground.wires[0]
        raw = render("GET", "http://other.test/paid", [("Host", NAME)])
        answer = await wire.exchange(raw)
        challenge, *_ = Challenge.all_from_headers(answer.values("www-authenticate"))
        assert challenge.realm == "other.test"
        payer = await scene.payer()
        credential = await scene.by_hand(lambda: payer.sponsored(challenge))
        await scene.refused(credential, fields=[("Host", NAME)])
