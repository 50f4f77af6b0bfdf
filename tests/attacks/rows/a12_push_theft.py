"""A12: somebody else's transaction, and one's own twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mpp_asgi.protocol import Credential
from tests.attacks.catalogue import put_on_list
from tests.attacks.variant import Place, attack
from tests.charge.push_attacks import ONLY_PUSH

if TYPE_CHECKING:
    from mpp_asgi.protocol import Challenge
    from tests.attacks.scene import Scene
    from tests.shop import Payer

# The last one needs the sponsor's own key.
put_on_list("A12", [each for each in ONLY_PUSH if each.name != "source is the sponsor"])


async def unsponsored(scene: Scene, path: str = "/paid") -> Challenge:
    return (await scene.challenges(path))[1]


@attack("A12", "a thief shows every hash first", times=20, short=2, exact=True)
async def first(scene: Scene) -> None:
    """He reads the ledger, and is quicker than the payers; they are served all the same."""
    thief = await scene.payer(0)
    for number in range(1, scene.times + 1):
        payer = await scene.payer(number)
        own, stolen = await unsponsored(scene), await unsponsored(scene)
        hash_ = await scene.by_hand(lambda: payer.push(payer.transfer(own)))  # noqa: B023
        for spelling in (hash_, hash_.upper()):
            await scene.refused(thief.signed_hash(stolen, spelling))
            in_its_name = replace(thief.signed_hash(stolen, spelling), source=payer.source)
            await scene.refused(in_its_name)
            await scene.refused(thief.credential(stolen, type="hash", hash=spelling))
        honest = payer.signed_hash(own, hash_)
        await scene.refused(replace(honest, challenge=stolen))
        await scene.redeem(honest)


@attack("A12", "the payer's credential, from somebody else's connection", times=30, short=3,
        exact=True)  # fmt: skip
async def overheard(scene: Scene) -> None:
    """Whoever overheard it may be first, and then it is used up: one payment, one grant."""
    payer = await scene.payer()
    challenge = await unsponsored(scene)
    hash_ = await scene.by_hand(lambda: payer.push(payer.transfer(challenge)))
    honest = payer.signed_hash(challenge, hash_)
    await scene.together(scene.show(honest, is_fresh=True) for _ in range(scene.times))


@attack("A12", "one hash in every spelling", times=50, short=8, exact=True)
async def spelled(scene: Scene) -> None:
    payer = await scene.payer()
    challenges = [await unsponsored(scene) for _ in range(scene.times)]
    hash_ = await scene.by_hand(lambda: payer.push(payer.transfer(challenges[0])))

    def spelling() -> str:
        return "".join(scene.random.choice((c.lower(), c.upper())) for c in hash_)

    shown = [payer.signed_hash(challenge, spelling()) for challenge in challenges]
    shown += [payer.signed_hash(challenge, f"0x{hash_}") for challenge in challenges[:3]]
    shown += [payer.signed_hash(challenge, f" {hash_} ") for challenge in challenges[:3]]
    await scene.together(scene.show(each) for each in shown)
    await scene.together(scene.show(each) for each in shown)


@attack("A12", "one hash at two hosts", place=Place.WORKERS, times=50, short=6, exact=True)
async def two_hosts(scene: Scene) -> None:
    payer = await scene.payer()
    challenges = [await unsponsored(scene) for _ in range(scene.times)]
    hash_ = await scene.by_hand(lambda: payer.push(payer.transfer(challenges[0])))
    shown = [payer.signed_hash(challenge, hash_) for challenge in challenges]
    await scene.together(
        scene.show(each, host=n % 2, is_fresh=True) for n, each in enumerate(shown)
    )


@attack("A12", "a payment that was made before it was asked for", times=5, short=1)
async def earlier(scene: Scene) -> None:
    """The payer has paid the seller the same amount for something else, weeks ago perhaps: this is
    its own payment, and it may be shown once."""
    payer = await scene.payer()
    challenge = await unsponsored(scene)
    hash_ = await scene.by_hand(lambda: payer.push(payer.transfer(challenge)))
    for _ in range(scene.times + 1):
        later = await unsponsored(scene)
        await scene.show(payer.signed_hash(later, hash_))


@attack("A12", "any other hash of the ledger", times=300, short=20)
async def any_hash(scene: Scene) -> None:
    """Whatever else happened on the network, shown by somebody who had no part in it."""
    payer = await scene.payer()

    def read() -> dict[str, Any]:
        first = scene.market.ask("getHealth")["oldestLedger"]
        return scene.market.ask("getTransactions", startLedger=first, pagination={"limit": 200})

    found = await scene.by_hand(read)
    hashes = [each["txHash"] for each in found["transactions"]]
    challenge = await unsponsored(scene)
    shown = (
        payer.signed_hash(challenge, scene.random.choice(hashes) if hashes else "ab" * 32)
        for _ in range(scene.times)
    )
    await scene.together(scene.refused(each) for each in shown)


@attack("A12", "what is on its way, shown as a thief's own", place=Place.TROUBLED, times=6, short=2,
        exact=True)  # fmt: skip
async def underway(scene: Scene) -> None:
    """He sees the payer's transaction before the ledger has it, and shows it to be pulled."""
    for number in range(1, scene.times + 1):
        payer = await scene.payer(number)
        own, stolen = await unsponsored(scene), await unsponsored(scene)

        def send(payer: Payer = payer, own: Challenge = own) -> tuple[str, str]:
            sent = payer.own_transaction(payer.transfer(own), max_time=payer.expires(own))
            scene.ground.node.control("freeze")
            scene.market.ask("sendTransaction", transaction=sent[0])
            return sent

        envelope, hash_ = await scene.by_hand(send)
        shown = Credential(stolen, {"type": "transaction", "transaction": envelope}, None)
        await asyncio.gather(scene.refused(shown), thawing(scene))
        await scene.redeem(payer.signed_hash(own, hash_))


@attack("A12", "a leave that is on its way, in a thief's own transaction", place=Place.TROUBLED,
        times=6, short=2, exact=True)  # fmt: skip
async def leave(scene: Scene) -> None:
    """He takes it out of the sponsored transaction, as soon as that can be seen, and has it in his
    own before the ledger closes: whoever gave it is served, and nobody else."""
    thief = await scene.payer(0)
    for number in range(1, scene.times + 1):
        credential = await scene.sponsored(payer=await scene.payer(number))
        stolen = await unsponsored(scene)
        envelope = str(credential.payload["transaction"])
        until = thief.expires(stolen)
        own = await scene.by_hand(lambda: thief.around(envelope, max_time=until))  # noqa: B023
        shown = Credential(stolen, {"type": "transaction", "transaction": own}, None)
        await scene.by_hand(lambda: scene.ground.node.control("freeze"))

        async def a_moment_later(shown: Credential = shown) -> None:
            await asyncio.sleep(0.3)  # by then the shop has submitted it
            await asyncio.gather(scene.refused(shown), thawing(scene))

        await asyncio.gather(scene.redeem(credential), a_moment_later())
        await scene.refused(shown)


async def thawing(scene: Scene) -> None:
    """Let the ledgers close again, when what is being shown has come to the node as well."""
    await asyncio.sleep(0.3)
    await scene.by_hand(lambda: scene.ground.node.control("thaw"))
