"""A15: contracts that only look like a channel worth something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.attacks.network import LYING_CODE
from tests.attacks.scene import Wants
from tests.attacks.sessions import HttpFunder
from tests.attacks.variant import attack
from tests.charge.forgery import THIEF
from tests.session.drawer import CALL, DEPOSIT, address

if TYPE_CHECKING:
    from tests.attacks.scene import Scene

FAKES: dict[str, dict[str, Any]] = {
    "other code": {"way": "deployed", "wasm_hash": LYING_CODE.hex()},
    "another recipient": {"recipient": THIEF.public_key},
    "another token": {"token": "xlm"},
    "a tiny waiting period": {"waiting_period": 17_279},
    "no waiting period": {"waiting_period": 0},
    "a key that signs nothing": {"key": bytes(32)},
    "nothing in it": {"amount": 0},
}


def _terms(scene: Scene, fake: str) -> dict[str, Any]:
    terms = FAKES[fake]
    return {**terms, "token": scene.market.sandbox.xlm} if "token" in terms else terms


async def is_worthless(scene: Scene, funder: HttpFunder) -> None:
    """Whatever is signed for it, later too."""
    challenge = await funder.challenge()
    for amount in (1, CALL, DEPOSIT):
        answer = await funder.call(challenge, amount, wants=Wants.REFUSED)
        if answer.status == 204:
            scene.tally.leak("it is taken for a channel")


def _put(fake: str, *, short: int) -> None:
    @attack("A15", f"opened here: {fake}", times=3, short=short)
    async def opened(scene: Scene) -> None:
        for number in range(scene.times):
            funder = HttpFunder(scene, number)
            challenge = await funder.challenge()
            fees = await scene.by_hand(scene.market.sponsor_funds)
            opening = await scene.by_hand(
                lambda: funder.open(challenge, CALL, **_terms(scene, fake))  # noqa: B023
            )
            await scene.refused(opening)
            if await scene.by_hand(scene.market.sponsor_funds) != fees:
                scene.tally.leak("the sponsor paid for it")
            await is_worthless(scene, funder)

    @attack("A15", f"shown: {fake}", times=3, short=short)
    async def shown(scene: Scene) -> None:
        """It is on the ledger already."""
        for number in range(scene.times):
            funder = HttpFunder(scene, number)
            challenge = await funder.challenge()
            hash_ = await scene.by_hand(
                lambda: funder.open_alone(challenge, **_terms(scene, fake))  # noqa: B023
            )
            voucher = funder.voucher(challenge, CALL, action="open", type="hash", hash=hash_)
            await scene.refused(voucher)
            await is_worthless(scene, funder)


for _number, _fake in enumerate(FAKES):
    _put(_fake, short=int(_number in (0, 3)))


@attack("A15", "another contract named as the channel", times=3, short=1)
async def another_contract(scene: Scene) -> None:
    sandbox = scene.market.sandbox
    funder = HttpFunder(scene)
    challenge = await funder.challenge()
    hash_ = await scene.by_hand(lambda: funder.open_alone(challenge))
    for contract in (sandbox.usdc, sandbox.xlm, sandbox.channel_factory, address(scene.seed)):
        funder.channel = contract
        for _ in range(scene.times):
            shown = funder.voucher(challenge, CALL, action="open", type="hash", hash=hash_)
            await scene.refused(shown)
        await is_worthless(scene, funder)


@attack("A15", "another's money shown as one's own", times=3, short=1)
async def anothers_money(scene: Scene) -> None:
    """A channel that is named, and money that went into another."""
    for number in range(scene.times):
        funder, other = HttpFunder(scene, 2 * number), HttpFunder(scene, 2 * number + 1)
        challenge = await funder.challenge()
        opening = await scene.by_hand(lambda: funder.open(challenge, CALL))  # noqa: B023
        other.opening(challenge)
        payload = {
            **opening.payload,
            "channelId": other.channel,
            "signature": other.sign(CALL),
        }
        await scene.refused(type(opening)(challenge, payload, opening.source))
        await is_worthless(scene, other)


@attack("A15", "a good channel shown by a thief", times=3, short=1, exact=True)
async def anothers_channel(scene: Scene) -> None:
    victim = HttpFunder(scene)
    challenge = await victim.begin(calls=2)
    thief = HttpFunder(scene, 2)
    thief.channel = victim.channel
    for action in ("open", "voucher", "close", "topUp"):
        for _ in range(scene.times):
            shown = thief.voucher(
                challenge, 3 * CALL, action=action, type="hash", hash="00" * 32,
                additionalDeposit=str(CALL),
            )  # fmt: skip
            scene.is_troubled = action == "topUp"  # a hash that nobody knows may still turn up
            await scene.refused(shown)
    scene.is_troubled = False
    await victim.call(challenge, 2 * CALL)
    await victim.finish(challenge, 2 * CALL)


@attack("A15", "a voucher for more than is in it", times=5, short=1, exact=True)
async def too_much(scene: Scene) -> None:
    funder = HttpFunder(scene)
    challenge = await funder.challenge()
    opening = await scene.by_hand(lambda: funder.open(challenge, DEPOSIT + 1))
    scene.channels.add(funder.channel)
    for _ in range(scene.times):
        await scene.refused(opening)
    hash_ = await scene.by_hand(lambda: funder.open_alone(challenge))
    for amount in (DEPOSIT + 1, 10**15, 2**127 - 1):
        shown = funder.voucher(challenge, amount, action="open", type="hash", hash=hash_)
        await scene.refused(shown)
        await scene.refused(funder.voucher(challenge, amount))


@attack("A15", "a transaction that failed, or never was", times=5, short=0)
async def never_was(scene: Scene) -> None:
    scene.is_troubled = True  # an unknown hash may still turn up: come back
    funder = HttpFunder(scene)
    challenge = await funder.challenge()
    funder.opening(challenge)
    for _ in range(scene.times):
        hash_ = scene.random.randbytes(32).hex()
        shown = funder.voucher(challenge, CALL, action="open", type="hash", hash=hash_)
        await scene.refused(shown)
    await is_worthless(scene, funder)
