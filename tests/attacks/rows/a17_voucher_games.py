"""A17: vouchers that are not what they should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.protocol import Credential
from tests.attacks.scene import Wants
from tests.attacks.sessions import HttpFunder
from tests.attacks.variant import attack
from tests.session.drawer import CALL, DEPOSIT
from tests.session.test_attacks_by_vouchers import GAMES, Game

if TYPE_CHECKING:
    from tests.attacks.scene import Scene


def _put(name: str, game: Game, *, short: int) -> None:
    @attack("A17", name, times=5, short=short, exact=True)
    async def play(scene: Scene) -> None:
        """After three calls; its owner is none the worse for it."""
        funder = HttpFunder(scene)
        challenge = await funder.begin()
        for number in (2, 3):
            await funder.call(challenge, number * CALL)
        for _ in range(scene.times):
            forged = await scene.by_hand(lambda: game.forge(funder, challenge))
            scene.is_troubled = game.problem[0] == 503
            answer = await scene.refused(forged)
            scene.is_troubled = False
            if answer.status != game.problem[0] or answer.slug not in (game.problem[1], ""):
                scene.tally.err(f"{answer.status} {answer.slug}, not {game.problem}")
        answer = await funder.call(challenge, 4 * CALL)
        if answer.status != 200:
            scene.tally.deny(f"the owner is refused: {answer.text[:200]}")
        await funder.finish(challenge, 4 * CALL)


for _number, (_name, _game) in enumerate(GAMES.items()):
    _put(_name, _game, short=int(_number % 5 == 1))


@attack("A17", "replayed by others, on every route", times=100, short=5, exact=True)
async def replayed(scene: Scene) -> None:
    funder = HttpFunder(scene)
    challenge = await funder.begin()
    credential = funder.voucher(challenge, 2 * CALL)
    await scene.show(credential)
    paths = ("/paid", "/twin", "/after", "/stream", "/dear", "/sizes?size=large", "/tokens")
    await scene.together(
        scene.refused(credential, path) for path in paths for _ in range(scene.times)
    )
    await funder.finish(challenge, 2 * CALL)


@attack("A17", "after the close", times=10, short=1, exact=True)
async def after_close(scene: Scene) -> None:
    funder = HttpFunder(scene)
    challenge = await funder.begin()
    opening = await scene.by_hand(lambda: funder.open(challenge, CALL))
    top_up = await scene.by_hand(lambda: funder.top_up(challenge, CALL))
    await funder.finish(challenge, CALL)
    late = [funder.voucher(challenge, number * CALL) for number in (1, 2, 5, 10)]
    await scene.together(
        scene.refused(each) for each in (*late, opening, top_up) for _ in range(scene.times)
    )


@attack("A17", "signatures that were changed", times=2_000, short=60, exact=True)
async def changed(scene: Scene) -> None:
    """A bit of the signature, of the amount, of the channel."""
    funder = HttpFunder(scene)
    challenge = await funder.begin()

    def bent() -> Credential:
        signature = bytearray(bytes.fromhex(funder.sign(2 * CALL)))
        signature[scene.random.randrange(64)] ^= 1 << scene.random.randrange(8)
        return funder.voucher(challenge, 2 * CALL, signature=signature.hex())

    def for_more() -> Credential:
        amount = str(scene.random.randrange(2 * CALL + 1, DEPOSIT))
        return funder.voucher(challenge, 2 * CALL, cumulativeAmount=amount)

    await scene.together(
        scene.refused(scene.random.choice((bent, for_more))()) for _ in range(scene.times)
    )
    await funder.call(challenge, 2 * CALL)
    await funder.finish(challenge, 2 * CALL)


AMOUNTS = ("-1", "0x186a0", "1e6", "100000.0", " 100000", "+100000", "１０００００", "", "9" * 60,
           "00300000", "null", "3_00000")  # fmt: skip


@attack("A17", "amounts that are no amounts", times=3, short=1, exact=True)
async def amounts(scene: Scene) -> None:
    funder = HttpFunder(scene)
    challenge = await funder.begin()
    values: list[object] = [*AMOUNTS, 300_000, 3e5, True, None, ["300000"], {"amount": "300000"}]
    for value in values * scene.times:
        voucher = funder.voucher(challenge, 3 * CALL)
        payload = {**voucher.payload, "cumulativeAmount": value}
        await scene.refused(Credential(challenge, payload))
    await funder.finish(challenge, CALL)


@attack("A17", "a voucher of one channel, signed for by the other's key", times=10, short=1,
        exact=True)  # fmt: skip
async def crossed(scene: Scene) -> None:
    one, other = HttpFunder(scene, 1), HttpFunder(scene, 2)
    first, second = await one.begin(), await other.begin()
    for _ in range(scene.times):
        await scene.refused(one.voucher(first, 2 * CALL, signature=other.sign(2 * CALL)))
        await scene.refused(one.voucher(first, 2 * CALL, channelId=other.channel))
        await scene.refused(other.voucher(second, 2 * CALL, channelId=one.channel))
    await one.finish(first, CALL)
    await other.finish(second, CALL)


@attack("A17", "a voucher for a charge, and a transaction for a session", times=5, short=1,
        exact=True)  # fmt: skip
async def other_intent(scene: Scene) -> None:
    funder = HttpFunder(scene)
    challenge = await funder.begin()
    for _ in range(scene.times):
        charge, *_ = await scene.challenges()
        await scene.refused(funder.voucher(charge, 2 * CALL))
        transfer = await scene.by_hand(lambda: funder.payer.sponsored(charge))  # noqa: B023
        await scene.refused(Credential(challenge, transfer.payload, transfer.source))
    await funder.finish(challenge, CALL)


@attack("A17", "hung up on, over and over", times=30, short=4, exact=True)
async def hung_up(scene: Scene) -> None:
    """Whoever hangs up before the last byte has paid for what was begun; one headroom is one."""
    scene.ground.hold()
    funder = HttpFunder(scene)
    challenge = await funder.begin()
    credential = funder.voucher(challenge, 3 * CALL).to_header()
    raw = scene.rendered("GET", "/endless", [("Authorization", credential)])
    for _ in range(scene.times):
        hanging = await scene.ground.wires[0].begin(raw)
        await hanging.hears()
        hanging.hang_up()
        scene.judge(await hanging.answer(), Wants.EITHER, "/endless", may_be_silent=True)
    scene.ground.release()
    await funder.finish(challenge, 3 * CALL)
