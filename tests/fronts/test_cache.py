"""A cache that all share, in front of the shop: it never has what somebody paid for, and no 402."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mpp_asgi.protocol import Challenge
from tests.attacks.goods import Goods
from tests.attacks.scene import Scene, Wants
from tests.fronts.nginx import needs_nginx, running_front
from tests.fronts.stage import address, attacking, caching, found_by_attacks, through

if TYPE_CHECKING:
    from pathlib import Path

    from tests.attacks.ground import Ground
    from tests.fronts.nginx import Front

pytestmark = needs_nginx

# As in `tests.fronts.shop`, which is not imported here: it is an application.
WORDS = ("nothing", "public", "shared", "immutable", "understood", "in-quotes", "expires", "accel",
         "accel-and-more", "surrogate", "targeted", "varying", "validated")  # fmt: skip
PATHS = (*(f"/{where}/{word}" for where in ("words", "worded-after") for word in WORDS),
         "/paid", "/after", "/stream", "/download", "/shelf/a.txt", "/plain", "/sizes?b=1&size=s",
         "/file", "/members")  # fmt: skip
STRANGERS: tuple[tuple[str, list[tuple[str, str]]], ...] = (
    ("GET", []),
    ("HEAD", []),
    ("GET", [("Range", "bytes=0-20")]),
    ("GET", [("If-None-Match", '"1"')]),
    ("GET", [("If-None-Match", "*")]),
    ("GET", [("If-Modified-Since", "Sat, 01 Jan 2050 00:00:00 GMT")]),
    ("GET", [("If-Range", '"1"'), ("Range", "bytes=0-")]),
    ("GET", [("Cache-Control", "only-if-cached")]),
    ("GET", [("Cache-Control", "max-stale=100000")]),
    ("GET", [("Accept-Encoding", "gzip"), ("Accept", "*/*")]),
    ("GET", [("Authorization", "Bearer me")]),
    ("GET", [("Authorization", "Payment AAAA")]),
    ("GET", [("Payment-Authorization", "Payment AAAA")]),
)
"""Who has not paid, and what they say of caches."""
MINE = ("/members",)
"""Routes that need ``Authorization`` for themselves."""


async def kept(scene: Scene, path: str) -> str | None:
    """Whether nginx had it: ``HIT``, ``MISS``, ..."""
    answer = await scene.request("GET", path, wants=Wants.REFUSED)
    return answer.value("x-cache")


async def test_the_cache_keeps_what_is_for_everybody(ground: Ground, cache: Front) -> None:
    async with attacking(ground, cache, "free") as scene:
        first = await scene.request("GET", "/kept")
        again = await scene.request("GET", "/kept")
        assert (first.value("x-cache"), again.value("x-cache")) == ("MISS", "HIT")
        assert first.body == again.body


@pytest.mark.parametrize("carrier", ["Authorization", "Payment-Authorization"])
async def test_nobody_gets_what_somebody_else_paid_for(
    ground: Ground, cache: Front, carrier: str
) -> None:
    async with attacking(ground, cache, f"paid by {carrier}") as scene:
        for path in PATHS:
            own = [("Authorization", "Bearer me")] if path in MINE else []
            if own and carrier == "Authorization":
                continue
            credential = await scene.sponsored(path, fields=own)
            paid = await scene.redeem(credential, path, carrier=carrier, fields=own)
            assert paid.value("x-cache") != "HIT", path
            for method, fields in STRANGERS:
                answer = await scene.request(method, path, fields, wants=Wants.REFUSED)
                refusals = (402, 405) if method == "HEAD" else (400, 401, 402)
                assert answer.status in refusals, (path, method, fields, answer)
                assert answer.value("x-cache") != "HIT", (path, method, fields)
            await scene.refused(credential, path, carrier=carrier, fields=own)


async def test_every_402_is_a_fresh_one(ground: Ground, cache: Front) -> None:
    async with attacking(ground, cache, "402") as scene:
        for path in PATHS:
            if path not in MINE:
                ids = {(await scene.challenges(path))[0].id for _ in range(3)}
                assert len(ids) == 3, path


async def test_a_challenge_is_of_the_method_that_was_asked(ground: Ground, cache: Front) -> None:
    """nginx asks GET for HEAD where it keeps what comes, unless it is told not to."""
    async with attacking(ground, cache, "HEAD") as scene:
        answer = await scene.request("HEAD", "/plain", wants=Wants.REFUSED)
        challenge, *_ = Challenge.all_from_headers(answer.values("www-authenticate"))
        payer = await scene.payer()
        credential = await scene.by_hand(lambda: payer.sponsored(challenge))
        await scene.refused(credential, "/plain")  # by GET


async def test_what_was_paid_and_came_to_nothing_is_not_kept(ground: Ground, cache: Front) -> None:
    """410 is among the answers that caches may keep of themselves."""
    async with attacking(ground, cache, "410", exact=False) as scene:
        credential = await scene.sponsored("/gone")
        raw = scene.rendered("GET", "/gone", [("Authorization", credential.to_header())])
        answer = await scene.ground.wires[0].exchange(raw)
        assert (answer.status, answer.value("cache-control")) == (410, "private")
        scene.granted = Goods.all_in(answer.body)
        assert await kept(scene, "/gone") != "HIT"


async def test_what_is_free_for_some_is_not_kept_for_others(ground: Ground, cache: Front) -> None:
    async with attacking(ground, cache, "members") as scene:
        raw = scene.rendered("GET", "/for-members", [("X-Plan", "member")])
        free = await scene.ground.wires[0].exchange(raw)
        assert (free.status, len(Goods.all_in(free.body))) == (200, 1)
        for method, fields in STRANGERS:
            answer = await scene.request(method, "/for-members", fields, wants=Wants.REFUSED)
            assert answer.status in (402, 405), (method, fields, answer)
        await scene.redeem(await scene.sponsored("/for-members"), "/for-members")


@pytest.mark.parametrize("path", ["/failing", "/busy"])
async def test_a_failure_is_not_kept_for_who_has_paid(
    ground: Ground, cache: Front, path: str
) -> None:
    async with attacking(ground, cache, f"failure of {path}", troubled=True) as scene:
        await scene.redeem(await scene.sponsored(path), path)


async def test_queries_and_paths_that_mean_the_same_are_not_the_same(
    ground: Ground, cache: Front
) -> None:
    spelled = ("/sizes?size=s&b=1", "/sizes?b=1&size=s&", "/sizes?b=1&size=%73", "//sizes?b=1",
               "/./sizes?b=1&size=s", "/x/../sizes?b=1&size=s", "/%73izes?b=1&size=s",
               "/sizes/?b=1&size=s", "/SIZES?b=1&size=s", "/sizes;a?b=1&size=s",
               "https://shop.test/sizes?b=1&size=s")  # fmt: skip
    async with attacking(ground, cache, "spelled") as scene:
        path = "/sizes?b=1&size=s"
        await scene.redeem(await scene.sponsored(path), path)
        for other in spelled:
            for method in ("GET", "HEAD"):
                answer = await scene.request(method, other, wants=Wants.REFUSED)
                assert answer.value("x-cache") != "HIT", other


async def test_attacks_get_nothing_through_it(ground: Ground, cache: Front) -> None:
    assert not await found_by_attacks(ground, cache, ("A13",))


async def test_a_cache_that_is_told_not_to_listen_gives_goods_away(
    ground: Ground, tmp_path: Path
) -> None:
    """So these tests would see it; and so the document warns of it."""
    deaf = "proxy_ignore_headers Cache-Control; proxy_cache_valid 10m;"
    with running_front(caching(address(ground), tmp_path, deaf), tmp_path) as front:
        async with through(ground, front):
            scene = Scene(ground, "deaf", seed=1, times=1)
            await scene.redeem(await scene.sponsored(), "/paid")
            await scene.request("GET", "/paid", wants=Wants.REFUSED)
    assert scene.tally.leaked == 1
