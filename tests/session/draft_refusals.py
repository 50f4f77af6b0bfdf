"""What is not taken, and why: one situation each, as test vectors of the session draft."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stellar_sdk import StrKey

from mpp_asgi.stellar.channel_calls import Opening, close_start_call, refund_call
from mpp_asgi.stellar.envelope import network_id
from mpp_asgi.stellar.network import PUBNET
from tests.session.draft_world import (
    DEPOSIT,
    FUNDER,
    OTHER,
    PASSPHRASE,
    WAITING_PERIOD,
    did,
    open_world,
)
from tests.session.drawer import CALL
from tests.shop import START

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.session.draft_world import World

Vector = dict[str, Any]
Situation = tuple["Callable[[World], Awaitable[Vector]]", dict[str, Any]]
"""What happens, and the settings of the world in which it does."""

ELSEWHERE: Final = StrKey.encode_contract(bytes(range(32)))
SHORT: Final = 5
"""Ledgers, for a channel that is to be refunded within a test."""


async def refusals() -> list[Vector]:
    """Every situation, how the channel stood before it, and the answer."""
    told = []
    for name, (happen, settings) in SITUATIONS.items():
        async with open_world(**settings) as world:
            vector = await happen(world)
            response = vector.pop("response")
            told.append(
                {
                    "name": name,
                    **vector,
                    "response": {
                        "status": response["status"],
                        "freshChallenge": "challenge" in response,
                        "problem": response["problem"],
                    },
                }
            )
    return told


# Vouchers


def voucher(amount: int = 3 * CALL, **changes: Any) -> Situation:
    """A voucher, wrong in some way, for a channel with headroom for one request.

    Args:
        amount: what it is for.
        changes: ``facts`` of the record, ``signed`` otherwise, ``at`` another time, for another
            ``path``, from another ``source``, with ``world`` settings; else members of the payload.
    """
    settings = changes.pop("world", {})
    facts = {"accepted": 2 * CALL, "spent": CALL, **changes.pop("facts", {})}
    signed = changes.pop("signed", {})
    request = {key: changes.pop(key) for key in ("path", "at", "source") if key in changes}

    async def happen(world: World) -> Vector:
        await world.put_on_record(**facts)
        signature = world.voucher(amount, **signed)["signature"]
        payload = {
            "action": "voucher",
            **world.voucher(amount),
            "signature": signature,
            **changes,
        }
        challenge = await world.challenge()
        return await after(world, world.show(challenge, payload, **request))

    return happen, settings


async def after(world: World, exchange: Awaitable[Vector]) -> Vector:
    """The exchange, and how the channel stood before it."""
    found = await world.shop.store.channel(world.channel)
    assert found is not None
    stood: Vector = {
        "acceptedCumulative": str(found.accepted),
        "spent": str(found.spent),
        "deposit": str(found.deposited),
    }
    if found.published:
        stood["published"] = str(found.published)
    if found.closes_at is not None:
        stood["closeEffectiveAtLedger"] = found.closes_at
    return {"channel": stood, **await exchange}


async def _not_a_credential(world: World) -> Vector:
    request = {"method": "GET", "path": "/paid", "authorization": "Payment !"}
    return await world.exchange(request)


async def _unknown(world: World) -> Vector:
    payload = {"action": "voucher", **world.voucher(CALL)}
    return await world.show(await world.challenge(), payload)


# Closing


async def _closed_for_too_much(world: World) -> Vector:
    await world.put_on_record(accepted=2 * CALL, spent=CALL)
    payload = {"action": "close", **world.voucher(2 * CALL)}
    return await after(world, world.show(await world.challenge(), payload))


async def _closed_too_late(world: World) -> Vector:
    """The funder took everything back, and nobody looked."""
    opening = world.opening(waiting_period=SHORT)
    channel = opening.channel(PASSPHRASE)
    world.market.perform(opening.call(PASSPHRASE), signer=FUNDER)
    await world.put_on_record(accepted=CALL, spent=CALL, waiting_period=SHORT)
    world.market.perform(close_start_call(channel), signer=FUNDER)
    world.shop.sandbox.close_ledger(SHORT)
    world.market.perform(refund_call(channel), signer=FUNDER)
    payload = {"action": "close", **world.voucher(CALL)}
    return await after(world, world.show(await world.challenge(), payload))


async def _closed_without_money(world: World) -> Vector:
    """The token's issuer has clawed back what was in the channel."""
    opening = world.opening(amount=CALL - 1)
    world.market.perform(opening.call(PASSPHRASE), signer=FUNDER)
    await world.put_on_record(accepted=CALL, spent=CALL)
    payload = {"action": "close", **world.voucher(CALL)}
    return await after(world, world.show(await world.challenge(), payload))


# Opening


def opening(*, first: int = CALL, signed: Any = None, **changes: Any) -> Situation:
    """An opening that will not do: of a channel on other terms, or with other members."""
    terms = {name: changes.pop(name) for name in Opening.__slots__ if name in changes}

    async def happen(world: World) -> Vector:
        opened = world.opening(**terms)
        channel = opened.channel(PASSPHRASE)
        payload = {
            "action": "open",
            "type": "transaction",
            "transaction": world.transaction(opened.call(PASSPHRASE), nonce=1),
            **world.voucher(first, channel=channel, **(signed or {})),
            **changes,
        }
        return await world.show(await world.challenge(), payload)

    return happen, {}


async def _opened_by_nobody(world: World) -> Vector:
    """A transaction that the ledger does not have."""
    payload = {"action": "open", "type": "hash", "hash": "00" * 32, **world.voucher(CALL)}
    return await world.show(await world.challenge(), payload)


async def _allowed_for_more(world: World) -> Vector:
    """The funder's authorization is for a higher deposit than is made."""
    opened, allowed = world.opening(), world.opening(amount=DEPOSIT + 1)
    transaction = world.transaction(
        opened.call(PASSPHRASE), nonce=1, allowed=allowed.call(PASSPHRASE)
    )
    payload = {
        "action": "open",
        "type": "transaction",
        "transaction": transaction,
        **world.voucher(CALL),
    }
    return await world.show(await world.challenge(), payload)


SITUATIONS: Final[dict[str, Situation]] = {
    "no credential": (_not_a_credential, {}),
    "an action that there is none of": voucher(action="pay"),
    "an amount with a leading zero": voucher(cumulativeAmount="0300000"),
    "a challenge for another price": voucher(path="/dear"),
    "a challenge that has expired": voucher(at=START + 3_600),
    "a channel that is not known": (_unknown, {}),
    "a channel of another recipient": voucher(facts={"recipient": ELSEWHERE}),
    "a channel of another token": voucher(facts={"token": ELSEWHERE}),
    "a source that is not the funder": voucher(source=did(OTHER)),
    "a signature with another key": voucher(signed={"key": OTHER}),
    "a signature for another channel": voucher(signed={"channel": ELSEWHERE}),
    "a signature for another network": voucher(
        signed={"network": network_id(PUBNET.passphrase)},
    ),
    "a channel that its funder is closing": voucher(facts={"closes_at": 1_000_000}),
    "a lower voucher": voucher(CALL),
    "a voucher that is hardly higher": voucher(2 * CALL + 1, world={"min_voucher_delta": "0.005"}),
    "a voucher beyond the deposit": voucher(DEPOSIT + 1),
    "a voucher without headroom": voucher(2 * CALL, facts={"spent": 2 * CALL}),
    "a voucher that was settled": voucher(2 * CALL, facts={"published": 2 * CALL}),
    "a higher voucher that is not high enough": voucher(2 * CALL + 1, facts={"spent": 2 * CALL}),
    "a close for more than was spent": (_closed_for_too_much, {}),
    "a close after the refund": (_closed_too_late, {}),
    "a close that the channel cannot pay": (_closed_without_money, {}),
    "an opening for another recipient": opening(recipient=OTHER.public_key),
    "an opening with a waiting period that is too short": opening(
        waiting_period=WAITING_PERIOD - 1
    ),
    "an opening with code that is not listed": opening(factory=None, wasm_hash="00" * 32),
    "an opening by another factory": opening(factory=ELSEWHERE),
    "an opening of another channel than it says": opening(channelId=ELSEWHERE),
    "an opening with less than one request costs": opening(first=0, amount=CALL - 1),
    "an opening whose authorization is for more": (_allowed_for_more, {}),
    "a first voucher beyond the deposit": opening(first=DEPOSIT + 1),
    "a first voucher signed with another key": opening(signed={"key": OTHER}),
    "an opening that the ledger does not have": (_opened_by_nobody, {}),
}
