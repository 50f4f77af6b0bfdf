"""The test vectors of the session draft, made by the real code: ``python -m`` this to write them.

Each function makes one file of docs/vectors/stellar-session. What a transaction's way to the ledger
decides (its hash, when it was there) is named under ``varies``.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mpp_asgi.protocol.encoding import b64url_decode
from mpp_asgi.stellar.channel_calls import TopUp
from mpp_asgi.stellar.commitment import MAX_AMOUNT, Commitments, commitment_bytes
from mpp_asgi.stellar.envelope import network_id
from mpp_asgi.stellar.network import PUBNET
from tests.session.draft_refusals import ELSEWHERE, refusals
from tests.session.draft_world import (
    DEPOSIT,
    FUNDER,
    KEY,
    NETWORK_ID,
    OTHER,
    PASSPHRASE,
    challenge_object,
    open_world,
    parties,
)
from tests.session.drawer import CALL
from tests.shop import START

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mpp_asgi.protocol import Challenge
    from tests.session.draft_world import World

VECTORS: Final = Path(__file__).parents[2] / "docs" / "vectors" / "stellar-session"
GROUP_ORDER: Final = 2**252 + 27742317777372353535851937790883648493

Vector = dict[str, Any]


async def the_parties() -> Vector:
    """Keys, addresses and time."""
    async with open_world() as world:
        return parties(world)


async def challenges() -> list[Vector]:
    """What is asked for, with each of its encodings."""
    async with open_world() as world:
        new = await world.challenge()
        await world.put_on_record(accepted=5 * CALL, spent=3 * CALL)
        resumed = await world.challenge(**{"Payment-Session": world.channel})
    return [
        _challenge("for a payer without a channel", new, {}),
        _challenge("for a payer who names one", resumed, {"Payment-Session": world.channel}),
    ]


def _challenge(name: str, challenge: Challenge, headers: dict[str, str]) -> Vector:
    return {
        "name": name,
        "headers": headers,
        **challenge_object(challenge),
        "canonical": b64url_decode(challenge.request).decode(),
        "wwwAuthenticate": challenge.to_header(),
    }


async def commitments() -> list[Vector]:
    """What is signed, and what is no signature of it."""
    async with open_world() as world:
        channel = world.channel
        ours, theirs = NETWORK_ID, network_id(PUBNET.passphrase)
        made = [
            _commitment(f"{amount} base units", ours, channel, amount, world)
            for amount in (0, 1, CALL, 2**64, MAX_AMOUNT)
        ]
        made.append(_commitment("another channel", ours, ELSEWHERE, CALL, world))
        made.append(_commitment("another network", theirs, channel, CALL, world))
        good = world.voucher(CALL)["signature"]
        bad = {
            "of another amount": world.voucher(CALL + 1)["signature"],
            "of another channel": world.voucher(CALL, channel=ELSEWHERE)["signature"],
            "of another network": world.voucher(CALL, network=theirs)["signature"],
            "with another key": world.voucher(CALL, key=OTHER)["signature"],
            "with the group's order added to s": _malleated(good),
            "zeros": "0" * 128,
        }
    for name, signature in bad.items():
        made.append({**_commitment(name, ours, channel, CALL, world), "signature": signature})
    for vector in made:
        checked = Commitments(
            bytes.fromhex(vector["networkId"]), vector["channelId"], KEY.raw_public_key()
        )
        shown = bytes.fromhex(vector["signature"])
        vector["valid"] = checked.verify(int(vector["cumulativeAmount"]), shown)
    return made


def _commitment(name: str, network: bytes, channel: str, amount: int, world: World) -> Vector:
    return {
        "name": name,
        "networkId": network.hex(),
        **world.voucher(amount, network=network, channel=channel),
        "bytes": commitment_bytes(network, channel, amount).hex(),
    }


def _malleated(signature: str) -> str:
    """Another signature that a careless verifier takes for the same."""
    data = bytes.fromhex(signature)
    s = int.from_bytes(data[32:], "little") + GROUP_ORDER
    return (data[:32] + s.to_bytes(32, "little")).hex()


async def openings() -> list[Vector]:
    """What the funder sends to put money into a channel, and where the channel will be."""
    async with open_world() as world:
        factory = world.opening()
        direct = world.opening(factory=None, wasm_hash=world.shop.sandbox.channel_wasm_hash)
        top_up = TopUp(channel=world.channel, amount=DEPOSIT)
        fund = top_up.call(token=world.shop.sandbox.usdc, funder=FUNDER.public_key)
        return [
            {
                "name": name,
                "channelId": channel,
                "invocation": call.to_xdr(),
                "transaction": world.transaction(call, nonce=nonce),
            }
            for name, channel, call, nonce in (
                ("by the factory", factory.channel(PASSPHRASE), factory.call(PASSPHRASE), 1),
                ("by the funder", direct.channel(PASSPHRASE), direct.call(PASSPHRASE), 2),
                ("a top-up", world.channel, fund, 3),
            )
        ]


async def session() -> list[Vector]:
    """One session, from the first request to the last."""
    async with open_world() as world:
        told: list[Vector] = []

        def tell(name: str, exchange: Vector, *varies: str) -> None:
            told.append({"name": name, **({"varies": list(varies)} if varies else {}), **exchange})

        unpaid = {"method": "GET", "path": "/paid"}
        tell("a request that is not paid", await world.exchange(unpaid))
        challenge = await world.challenge()
        opening = world.opening().call(PASSPHRASE)
        opened = {
            "action": "open",
            "type": "transaction",
            "transaction": world.transaction(opening, nonce=1),
            **world.voucher(CALL),
        }
        tell("open", await world.show(challenge, opened), "timestamp", "txHash")
        second = {"action": "voucher", **world.voucher(2 * CALL)}
        tell("voucher", await world.show(challenge, second))
        fourth = {"action": "voucher", **world.voucher(4 * CALL)}
        tell("a voucher for two requests", await world.show(challenge, fourth))
        tell("the second of them", await world.show(challenge, fourth))
        tell("the third of them", await world.show(challenge, fourth))
        ahead = {"action": "voucher", **world.voucher(10 * CALL)}
        tell("a voucher alone", await world.show(challenge, ahead, "HEAD"))
        fund = TopUp(channel=world.channel, amount=DEPOSIT).call(
            token=world.shop.sandbox.usdc, funder=FUNDER.public_key
        )
        top_up = {
            "action": "topUp",
            "channelId": world.channel,
            "type": "transaction",
            "transaction": world.transaction(fund, nonce=3),
            "additionalDeposit": str(DEPOSIT),
        }
        tell("topUp", await world.show(challenge, top_up), "timestamp", "txHash")
        named = {**unpaid, "headers": {"Payment-Session": world.channel}}
        tell("where the channel stands", await world.exchange(named))
        late = await world.show(challenge, ahead, at=START + 3_300)
        tell("shortly before the challenge expires", late)
        close = {"action": "close", **world.voucher(5 * CALL)}
        closed = await world.show(challenge, close, at=START + 3_310)
        tell("close", closed, "timestamp", "txHash")
        return told


async def dialect() -> list[Vector]:
    """The same channel, as clients of the ``channel`` dialect use it."""

    async def of_the_header(_: object) -> None:
        """The request names its channel itself."""

    async with open_world(intents=("channel",), channel_of=of_the_header) as world:
        world.market.perform(world.opening().call(PASSPHRASE), signer=FUNDER)
        await world.put_on_record(accepted=2 * CALL, spent=2 * CALL)
        headers = {"Payment-Session": world.channel}
        unpaid = {"method": "GET", "path": "/paid", "headers": headers}
        told = [{"name": "a request that is not paid", **await world.exchange(unpaid)}]
        for name in ("voucher", "close"):
            voucher = world.voucher(3 * CALL)
            payload = {
                "action": name,
                "amount": voucher["cumulativeAmount"],
                "signature": voucher["signature"],
            }
            exchange = await world.show(await world.challenge(**headers), payload)
            told.append({"name": name, **exchange})
        told[-1]["varies"] = ["timestamp", "txHash"]
        return told


FILES: Final[dict[str, Callable[[], Awaitable[Any]]]] = {
    "parties.json": the_parties,
    "challenges.json": challenges,
    "commitments.json": commitments,
    "openings.json": openings,
    "session.json": session,
    "refusals.json": refusals,
    "dialect.json": dialect,
}


def as_text(vectors: Any) -> str:
    """A file's content."""
    return json.dumps(vectors, indent=2, ensure_ascii=False) + "\n"


async def _write() -> None:
    VECTORS.mkdir(parents=True, exist_ok=True)
    for name, made in FILES.items():
        (VECTORS / name).write_text(as_text(await made()))


if __name__ == "__main__":
    asyncio.run(_write())
