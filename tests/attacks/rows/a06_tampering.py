"""A6: a challenge that was changed before it is echoed, or made up."""

from __future__ import annotations

import base64
import hmac
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stellar_sdk import Network

from mpp_asgi.protocol import Challenge, Credential, b64url_decode, b64url_encode, canonical
from mpp_asgi.stellar.network import TESTNET
from tests.attacks.variant import Place, attack
from tests.charge.forgery import THIEF

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.attacks.scene import Scene
    from tests.shop import Payer


def terms(**changes: Any) -> Callable[[Challenge], Challenge]:
    """Other terms in the request."""

    def change(challenge: Challenge) -> Challenge:
        request = {**challenge.request_object(), **changes}
        return replace(challenge, request=b64url_encode(canonical(request)))

    return change


def details(**changes: Any) -> Callable[[Challenge], Challenge]:
    def change(challenge: Challenge) -> Challenge:
        request = challenge.request_object()
        request["methodDetails"] = {**request["methodDetails"], **changes}
        return replace(challenge, request=b64url_encode(canonical(request)))

    return change


def echo(**changes: Any) -> Callable[[Challenge], Challenge]:
    return lambda challenge: replace(challenge, **changes)


def opaque(**changes: str) -> Callable[[Challenge], Challenge]:
    def change(challenge: Challenge) -> Challenge:
        return replace(
            challenge, opaque=b64url_encode(canonical({**challenge.opaque_object(), **changes}))
        )

    return change


def forged(secret: str) -> Callable[[Challenge], Challenge]:
    """Cheaper, with an id made by somebody who guesses the secret."""

    def change(challenge: Challenge) -> Challenge:
        cheaper = terms(amount="1")(challenge)
        slots = (cheaper.realm, cheaper.method, cheaper.intent, cheaper.request)
        slots += (cheaper.expires or "", cheaper.digest or "", cheaper.opaque or "")
        digest = hmac.digest(secret.encode(), "|".join(slots).encode(), "sha256")
        return replace(cheaper, id=b64url_encode(digest))

    return change


def shifted(challenge: Challenge) -> Challenge:
    """The same text to be signed, with the bars elsewhere: what was the realm's is the method's."""
    return replace(
        challenge, realm=f"{challenge.realm}|{challenge.method}", method=challenge.intent,
        intent=challenge.request,
    )  # fmt: skip


CHANGES: dict[str, Callable[[Challenge], Challenge]] = {
    "a lower amount": terms(amount="1"),
    "no amount": terms(amount="0"),
    "a negative amount": terms(amount="-100000"),
    "an amount as a number": terms(amount=1),
    "an amount with a fraction": terms(amount="0.1"),
    "a huge amount": terms(amount="9" * 60),
    "the payer as recipient": terms(recipient=THIEF.public_key),
    "another currency": terms(currency=TESTNET.tokens["XLM"].address),
    "another network": details(network="stellar:pubnet"),
    "no sponsor": details(feePayer=False),
    "more types of credentials": details(credentialTypes=["transaction", "signedHash", "hash"]),
    "an id of somebody else's": terms(externalId="free"),
    "a member more": terms(discount="100%"),
    "a later expiry": echo(expires="2099-01-01T00:00:00Z"),
    "an earlier expiry": echo(expires="2001-01-01T00:00:00Z"),
    "no expiry": echo(expires=None),
    "the same expiry in other words": lambda c: replace(
        c, expires=(c.expires or "").replace("Z", "+00:00")
    ),
    "no opaque": echo(opaque=None),
    "an empty opaque": echo(opaque="e30"),
    "an opaque for another resource": opaque(r="A" * 43),
    "an opaque without a resource": opaque(r=""),
    "another nonce": opaque(n="0"),
    "another realm": echo(realm="evil.test"),
    "a realm in upper case": lambda c: replace(c, realm=c.realm.upper()),
    "another method": echo(method="tempo"),
    "another intent": echo(intent="session"),
    "an unheard-of intent": echo(intent="gift"),
    "another id": echo(id="A" * 43),
    "an id cut short": lambda c: replace(c, id=c.id[:-1]),
    "an id with padding": lambda c: replace(c, id=f"{c.id}="),
    "an id in another case": lambda c: replace(c, id=c.id.swapcase()),
    "a digest": echo(digest="sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"),
    "another header": echo(header="Payment-Authorization"),
    "made with an empty secret": forged(""),
    "made with the example's secret": forged("change-me-change-me-change-me-change-me"),
    "made with the name of the setting": forged("MPP_SECRET"),
    "bars in other places": shifted,
}


def _sign(payer: Payer, challenge: Challenge, mode: str, nonce: int) -> Credential:
    """Pay what the challenge says, if one can."""
    honest = payer.sponsored if mode == "sponsored" else payer.unsponsored
    try:
        made = honest(challenge, nonce=nonce) if mode == "sponsored" else honest(challenge)
    except (ValueError, AssertionError, KeyError, TypeError):
        made = Credential(challenge, {"type": "transaction", "transaction": "AAAA"}, payer.source)
    return made


def _put(name: str, change: Callable[[Challenge], Challenge], *, short: int) -> None:
    @attack("A6", name, times=10, short=short, exact=True)
    async def tamper(scene: Scene) -> None:
        payer = await scene.payer()
        for number in range(scene.times):
            for mode, offer in (("sponsored", 0), ("unsponsored", 1)):
                challenge = (await scene.challenges())[offer]
                honest = await scene.by_hand(lambda: _sign(payer, challenge, mode, number + 1))  # noqa: B023
                changed = change(challenge)
                if changed == challenge:
                    continue  # it was so before
                await scene.refused(replace(honest, challenge=changed))
                adapted = await scene.by_hand(lambda: _sign(payer, changed, mode, 10**6 + number))  # noqa: B023
                await scene.refused(adapted)


for _number, (_name, _change) in enumerate(CHANGES.items()):
    _put(_name, _change, short=int(_number % 6 == 0))


@attack("A6", "any bit of what is echoed", times=8_000, short=200, exact=True)
async def any_bit(scene: Scene) -> None:
    """A challenge is what it was, to the bit, or it is none of the shop's."""
    credential = await scene.sponsored()
    body = json.loads(b64url_decode(credential.to_header().partition(" ")[2]))
    names = ("id", "realm", "method", "intent", "request", "expires", "opaque")

    def flipped() -> bytes:
        name = scene.random.choice(names)
        text = body["challenge"][name]
        place = scene.random.randrange(len(text))
        other = chr(ord(text[place]) ^ (1 << scene.random.randrange(7)))
        changed = {**body["challenge"], name: text[:place] + other + text[place + 1 :]}
        shown = json.dumps({**body, "challenge": changed}).encode()
        return b"Payment " + base64.urlsafe_b64encode(shown).rstrip(b"=")

    await scene.together(scene.refused(flipped()) for _ in range(scene.times))
    await scene.redeem(credential)


@attack("A6", "guessed ids", times=8_000, short=200, exact=True)
async def guessed(scene: Scene) -> None:
    """Cheaper terms, and any id at all."""
    credential = await scene.sponsored()
    cheaper = terms(amount="1")(credential.challenge)

    def guess() -> Credential:
        return replace(
            credential, challenge=replace(cheaper, id=b64url_encode(scene.random.randbytes(32)))
        )

    await scene.together(scene.refused(guess()) for _ in range(scene.times))
    await scene.redeem(credential)


@attack("A6", "parts of two challenges", times=200, short=6, exact=True)
async def mixed(scene: Scene) -> None:
    """Each part is authentic; together they are not."""
    cheap, dear = await scene.challenges("/paid"), await scene.challenges("/dear")
    payer = await scene.payer()
    names = ("id", "realm", "request", "expires", "opaque", "intent")
    honest = await scene.by_hand(lambda: payer.sponsored(cheap[0]))
    for _ in range(scene.times):
        one, other = scene.random.choice(cheap[:2]), scene.random.choice(dear)
        taken = scene.random.sample(names, scene.random.randint(1, len(names) - 1))
        mixture = replace(other, **{name: getattr(one, name) for name in taken})
        if mixture not in (*cheap, *dear):
            for path in ("/paid", "/dear"):
                await scene.refused(replace(honest, challenge=mixture), path)


@attack("A6", "after its time", place=Place.TROUBLED, times=20, short=2, exact=True)
async def expired(scene: Scene) -> None:
    """Signed in time, shown too late; and with another expiry, too late as well."""
    async with scene.ground.another():
        credentials = [
            await scene.in_mode(mode, payer=await scene.payer(number))
            for number, mode in enumerate(["sponsored", "unsponsored"] * scene.times)
        ]
        await scene.ground.set_clock(3_601)
        for each in credentials:
            await scene.refused(each)
            later = replace(each.challenge, expires="2099-01-01T00:00:00Z")
            await scene.refused(replace(each, challenge=later))


@attack("A6", "signed for another network", times=5, short=1, exact=True)
async def other_network(scene: Scene) -> None:
    payer = await scene.payer()
    for number in range(scene.times):
        challenge, *_ = await scene.challenges()
        credential = await scene.by_hand(
            lambda: payer.sponsored(
                challenge,  # noqa: B023
                nonce=number + 1,  # noqa: B023
                passphrase=Network.PUBLIC_NETWORK_PASSPHRASE,
            )
        )
        await scene.refused(credential)


@attack("A6", "a challenge of another shop", times=5, short=1, exact=True, place=Place.TROUBLED)
async def other_shop(scene: Scene) -> None:
    """The same routes and prices, and another secret."""
    async with scene.ground.another(MPP_SECRET="the-secret-of-another-shop-0123456789"):
        for number in range(scene.times):
            payer = await scene.payer(number)
            challenge, *_ = await scene.challenges()
            made = await scene.by_hand(lambda: payer.sponsored(challenge))  # noqa: B023
            await scene.refused(made, host=1)
            await scene.redeem(made)
