"""A4: many challenges, one transaction."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stellar_sdk import Account, TransactionBuilder, xdr

from mpp_asgi.protocol import Receipt
from mpp_asgi.stellar.network import TESTNET
from tests.attacks.variant import Place, attack
from tests.charge.forgery import fee_bumped, hash_of, transaction_in

if TYPE_CHECKING:
    from mpp_asgi.protocol import Challenge, Credential
    from tests.attacks.scene import Scene

OFFER = {"sponsored": 0, "unsponsored": 1, "push": 1}
ROUTES = ("/paid", "/twin", "/items/a", "/after", "/stream", "/plain")


async def offers(scene: Scene, mode: str, paths: list[str]) -> list[Challenge]:
    found = [await scene.challenges(path) for path in paths]
    return [challenges[OFFER[mode]] for challenges in found]


async def one_for_all(scene: Scene, mode: str, challenges: list[Challenge]) -> list[Credential]:
    """The same payment, for each of the challenges."""
    payer = await scene.payer()
    if mode == "push":
        hash_ = await scene.by_hand(lambda: payer.push(payer.transfer(challenges[0])))
        return [payer.signed_hash(challenge, hash_) for challenge in challenges]
    make = payer.sponsored if mode == "sponsored" else payer.unsponsored
    first = await scene.by_hand(lambda: make(challenges[0]))
    return [replace(first, challenge=challenge) for challenge in challenges]


def _put(mode: str) -> None:
    @attack("A4", f"one payment for many challenges at once, {mode}", times=300, short=20,
            exact=True)  # fmt: skip
    async def at_once(scene: Scene) -> None:
        shown = await one_for_all(scene, mode, await offers(scene, mode, ["/paid"] * scene.times))
        await scene.together((scene.show(each) for each in shown), most=64)
        for each in shown[:10]:
            await scene.show(each)

    @attack("A4", f"one payment for many routes, {mode}", times=10, short=1, exact=True)
    async def many_routes(scene: Scene) -> None:
        paths = [path for path in ROUTES for _ in range(scene.times)]
        shown = await one_for_all(scene, mode, await offers(scene, mode, paths))
        await scene.together(scene.show(*pair) for pair in zip(shown, paths, strict=True))

    @attack("A4", f"one payment, over two workers and another host, {mode}", times=300,
            short=20 if mode == "push" else 0, place=Place.WORKERS, exact=True)  # fmt: skip
    async def over_workers(scene: Scene) -> None:
        shown = await one_for_all(scene, mode, await offers(scene, mode, ["/paid"] * scene.times))
        await scene.together(
            (scene.show(each, host=n % 2, is_fresh=True) for n, each in enumerate(shown)), most=64
        )

    @attack("A4", f"one payment, one challenge after the other, {mode}", times=30, short=3,
            exact=True)  # fmt: skip
    async def one_by_one(scene: Scene) -> None:
        shown = await one_for_all(scene, mode, await offers(scene, mode, ["/paid"] * scene.times))
        await scene.redeem(shown[0])
        for each in shown[1:]:
            await scene.refused(each)


for _mode in OFFER:
    _put(_mode)


@attack("A4", "pulled, then shown as pushed", times=10, short=2, exact=True)
async def pulled_then_pushed(scene: Scene) -> None:
    """The payer's own transaction, which the server submitted, is on the ledger."""
    payer = await scene.payer()
    credential = await scene.in_mode("unsponsored", payer=payer)
    await scene.redeem(credential)
    hash_ = hash_of(transaction_in(credential))
    for challenge in await offers(scene, "push", ["/paid"] * scene.times):
        await scene.refused(payer.signed_hash(challenge, hash_))


@attack("A4", "pulled and pushed at once", times=10, short=2, exact=True)
async def pulled_and_pushed(scene: Scene) -> None:
    for number in range(scene.times):
        payer = await scene.payer(number)
        credential = await scene.in_mode("unsponsored", payer=payer)
        hash_ = hash_of(transaction_in(credential))
        challenges = await offers(scene, "push", ["/paid"] * 10)
        pushes = [payer.signed_hash(challenge, hash_) for challenge in challenges]
        await scene.together(scene.show(each) for each in (credential, *pushes))
        await scene.together(scene.show(each) for each in pushes)


@attack("A4", "pushed, then shown to be pulled", times=10, short=2, exact=True)
async def pushed_then_pulled(scene: Scene) -> None:
    payer = await scene.payer()
    pull, push = await offers(scene, "push", ["/paid"] * 2)
    credential = await scene.by_hand(lambda: payer.unsponsored(pull))
    envelope = transaction_in(credential)
    sent = await scene.by_hand(lambda: scene.market.ask("sendTransaction", transaction=envelope))
    assert sent["status"] == "PENDING"
    scene.ground.node.control("close")
    await scene.redeem(payer.signed_hash(push, hash_of(envelope)))
    for challenge in await offers(scene, "push", ["/paid"] * scene.times):
        await scene.refused(replace(credential, challenge=challenge))


@attack("A4", "a sponsored transaction's hash, shown as pushed", times=5, short=1, exact=True)
async def sponsored_then_pushed(scene: Scene) -> None:
    """The receipt says which transaction it was."""
    payer = await scene.payer()
    answer = await scene.redeem(await scene.sponsored(payer=payer))
    receipt = Receipt.from_header(answer.value("payment-receipt") or "")
    for challenge in await offers(scene, "push", ["/paid"] * scene.times):
        await scene.refused(payer.signed_hash(challenge, receipt.reference))


@attack("A4", "the same transaction in a fee bump", times=3, short=1)
async def bumped(scene: Scene) -> None:
    """Another hash for the same payment."""
    payer = await scene.payer()
    challenge, second = await offers(scene, "push", ["/paid"] * 2)
    credential = await scene.by_hand(lambda: payer.unsponsored(challenge))
    bump = fee_bumped(transaction_in(credential), payer.keypair)
    sent = await scene.by_hand(lambda: scene.market.ask("sendTransaction", transaction=bump))
    assert sent["status"] == "PENDING"
    scene.ground.node.control("close")
    for hash_ in (hash_of(bump), hash_of(transaction_in(credential))):
        await scene.show(payer.signed_hash(second, hash_))
        await scene.show(payer.signed_hash(challenge, hash_))
    await scene.show(credential)


@attack("A4", "one authorization, sponsored and by its payer", times=5, short=1)
async def one_authorization(scene: Scene) -> None:
    """The signature that the sponsor was given pays once, whoever submits it."""
    payer = await scene.payer()
    pull, push = (await scene.challenges())[0], (await offers(scene, "push", ["/paid"]))[0]
    nonce = scene.random.getrandbits(62)
    credential = await scene.by_hand(lambda: payer.sponsored(pull, nonce=nonce))

    def submit() -> str:
        inner = TransactionBuilder.from_xdr(transaction_in(credential), TESTNET.passphrase)
        operation = inner.transaction.operations[0]
        source = scene.market.payer(5)
        builder = TransactionBuilder(
            Account(source.address, source.sequence(source.keypair)),
            TESTNET.passphrase,
            base_fee=1000,
        )
        builder.append_operation(operation).add_time_bounds(0, int(scene.market.time()) + 60)
        made = builder.build()
        simulated = scene.market.ask("simulateTransaction", transaction=made.to_xdr())
        made.transaction.soroban_data = xdr.SorobanTransactionData.from_xdr(
            simulated["transactionData"]
        )
        made.transaction.fee += int(simulated["minResourceFee"])
        made.sign(source.keypair)
        scene.market.ask("sendTransaction", transaction=made.to_xdr())
        scene.market.sandbox.control("close")
        return made.hash_hex()

    hash_ = await scene.by_hand(submit)
    await scene.show(credential)
    for _ in range(scene.times):
        await scene.show(payer.signed_hash(push, hash_))
