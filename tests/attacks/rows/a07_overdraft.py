"""A7: many requests at once over the headroom of few."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.protocol import Challenge
from tests.attacks.scene import Wants
from tests.attacks.sessions import HttpFunder
from tests.attacks.variant import Place, attack
from tests.session.drawer import CALL, DEPOSIT

if TYPE_CHECKING:
    from tests.attacks.scene import Scene

PATHS = ("/paid", "/twin", "/after", "/stream", "/items/x", "/plain")


def _served(scene: Scene) -> int:
    return sum(each.price for each in scene.granted)


def _headroom(place: Place, worth: int, *, short: int) -> None:
    where = "one worker" if place is Place.PLAIN else "two workers and another host"

    @attack("A7", f"headroom for {worth}, many at once, {where}", place=place, times=400,
            short=short, exact=True)  # fmt: skip
    async def headroom(scene: Scene) -> None:
        """One voucher, shown by all of them."""
        funder = HttpFunder(scene)
        challenge = await funder.begin()
        hosts = len(scene.ground.wires)
        await scene.together(
            (
                funder.call(challenge, worth * CALL, host=n % hosts, is_fresh=hosts > 1)
                for n in range(scene.times)
            ),
            most=64,
        )
        if _served(scene) != worth * CALL:
            scene.tally.deny(f"{_served(scene)} served of {worth * CALL}")
        await funder.finish(challenge, worth * CALL)


for _worth in (1, 2, 7):
    _headroom(Place.PLAIN, _worth, short=30 if _worth == 7 else 0)
    _headroom(Place.WORKERS, _worth, short=30 if _worth == 2 else 0)


def _racing(place: Place, *, short: int) -> None:
    where = "one worker" if place is Place.PLAIN else "two workers and another host"

    @attack("A7", f"vouchers of all amounts at once, {where}", place=place, times=400,
            short=short, exact=True)  # fmt: skip
    async def racing(scene: Scene) -> None:
        """Whatever comes first: no more is served than the highest is worth."""
        funder = HttpFunder(scene)
        challenge = await funder.begin()
        hosts = len(scene.ground.wires)
        amounts = [scene.random.randint(0, DEPOSIT // CALL + 3) * CALL for _ in range(scene.times)]
        await scene.together(
            funder.call(challenge, amount, host=n % hosts) for n, amount in enumerate(amounts)
        )
        await scene.together(funder.call(challenge, DEPOSIT, host=n % hosts) for n in range(20))
        await funder.finish(challenge, _served(scene))


for _place in (Place.PLAIN, Place.WORKERS):
    _racing(_place, short=30 if _place is Place.PLAIN else 0)


@attack("A7", "one headroom for all routes at once", times=60, short=6, exact=True)
async def all_routes(scene: Scene) -> None:
    funder = HttpFunder(scene)
    challenge = await funder.begin()
    await scene.together(
        funder.call(challenge, 5 * CALL, path=path) for path in PATHS for _ in range(scene.times)
    )
    await funder.finish(challenge, _served(scene))


@attack("A7", "one opening many times at once", times=60, short=10, exact=True)
async def one_opening(scene: Scene) -> None:
    funder = HttpFunder(scene)
    challenge = await funder.challenge()
    opening = await scene.by_hand(lambda: funder.open(challenge, 2 * CALL))
    scene.channels.add(funder.channel)
    for _ in range(2):
        await scene.together(scene.show(opening) for _ in range(scene.times))
    await funder.finish(challenge, _served(scene))


@attack("A7", "one opening at two hosts", place=Place.WORKERS, times=60, short=0, exact=True)
async def one_opening_two_hosts(scene: Scene) -> None:
    funder = HttpFunder(scene)
    challenge = await funder.challenge()
    opening = await scene.by_hand(lambda: funder.open(challenge, 2 * CALL))
    scene.channels.add(funder.channel)
    await scene.together(scene.show(opening, host=n % 2, is_fresh=True) for n in range(scene.times))
    for _ in range(4):
        await scene.show(opening)
    await funder.finish(challenge, _served(scene))


@attack("A7", "one top-up many times at once", times=60, short=8, exact=True)
async def one_top_up(scene: Scene) -> None:
    """It counts once: what is beyond the money is refused."""
    funder = HttpFunder(scene)
    challenge = await funder.begin()
    topping_up = await scene.by_hand(lambda: funder.top_up(challenge, CALL))
    await scene.together(scene.refused(topping_up) for _ in range(scene.times))
    await scene.refused(topping_up)
    await scene.refused(funder.voucher(challenge, DEPOSIT + 2 * CALL))
    for number in range(2, DEPOSIT // CALL + 2):
        await funder.call(challenge, number * CALL)
    await funder.finish(challenge, DEPOSIT + CALL)


@attack("A7", "spent while it is closed", times=40, short=8, exact=True)
async def closing(scene: Scene) -> None:
    """Whatever comes first: what was served is what the close pays."""
    funder = HttpFunder(scene)
    challenge = await funder.begin()
    closings = [
        funder.voucher(challenge, number * CALL, action="close") for number in (1, 2, 3, 5, 9)
    ]
    requests = [scene.show(each) for each in closings * 2]
    requests += [funder.call(challenge, 9 * CALL) for _ in range(scene.times)]
    scene.random.shuffle(requests)
    await scene.together(requests)
    answer = await funder.call(challenge, 9 * CALL)
    if answer.status != 410:
        await funder.finish(challenge, _served(scene))


@attack("A7", "streams by the unit on one headroom", times=20, short=0)
async def metered(scene: Scene) -> None:
    """Each of them would take all of it. What was sent and had not arrived when the line was cut
    is paid for, too."""
    funder = HttpFunder(scene)
    challenge = await funder.begin()
    worth = 6 * CALL
    lines = []
    for _ in range(scene.times):
        credential = funder.voucher(challenge, worth).to_header()
        raw = scene.rendered("GET", "/tokens?count=150", [("Authorization", credential)])
        lines.append(await scene.ground.wires[0].begin(raw))
    for line in lines:
        await line.quiet()
        line.hang_up()
    for line in lines:
        answer = await line.answer()
        scene.judge(answer, Wants.EITHER, "/tokens", may_be_silent=True)
    if _served(scene) > worth:
        scene.tally.leak(f"{_served(scene)} of {worth} were streamed")
    standing = await scene.request("GET", "/paid", [("Payment-Session", funder.channel)])
    offers = Challenge.all_from_headers(standing.values("www-authenticate"))
    spent = next(
        int(each.request_object()["methodDetails"]["spent"])
        for each in offers
        if each.intent == "session"
    )
    await funder.finish(challenge, spent)


@attack("A7", "managing with HEAD", times=40, short=6, exact=True)
async def head(scene: Scene) -> None:
    """A voucher shown with HEAD costs nothing, and buys nothing."""
    funder = HttpFunder(scene)
    challenge = await funder.begin()
    await scene.together(
        funder.call(challenge, 3 * CALL, method="HEAD", path=path, wants=Wants.REFUSED)
        for path in PATHS
        for _ in range(scene.times)
    )
    await scene.together(funder.call(challenge, 3 * CALL) for _ in range(10))
    await funder.finish(challenge, _served(scene))
