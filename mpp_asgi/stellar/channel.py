"""Channels as a server meets them: looked up on the ledger, and judged by what is found there.

Clients say which channel they mean. What that channel is, only the ledger says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from stellar_sdk import StrKey

from mpp_asgi.intents import RefusalError
from mpp_asgi.protocol import problems
from mpp_asgi.stellar.channel_facts import (
    ChannelFacts,
    NotAChannelError,
    channels_a_call,
    get_channels,
)
from mpp_asgi.stellar.commitment import is_commitment_key
from mpp_asgi.stores.channels import Channel

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mpp_asgi.protocol.problems import ProblemType
    from mpp_asgi.stellar.ledger import Ledger

__all__ = [
    "ChannelFacts",
    "NotAChannelError",
    "read_channel",
    "read_channels",
    "record_of",
    "require_acceptable",
    "require_terms",
]


async def read_channel(ledger: Ledger, channel: str, tokens: Collection[str]) -> ChannelFacts:
    """What the ledger says of a channel, in one call to the node.

    Args:
        ledger: whom to ask.
        channel: an address (``C…``), or whatever a client says is one.
        tokens: the tokens (``C…``) that are taken; see `get_channels`.

    Raises:
        NotAChannelError: there is no channel.
        FaultError: the node cannot be asked, or gave a senseless answer.
    """
    if not StrKey.is_valid_contract(channel):
        raise NotAChannelError("The channel's id is not the address of a contract.")
    found = (await ledger.ask(get_channels([channel], tokens)))[channel]
    if isinstance(found, NotAChannelError):
        raise found
    return found


def record_of(facts: ChannelFacts, *, now: int) -> Channel:
    """The record of a channel that is taken from now on (Unix seconds)."""
    return Channel(
        id=facts.id,
        key=facts.key,
        funder=facts.funder,
        recipient=facts.recipient,
        token=facts.token,
        waiting_period=facts.waiting_period,
        deposited=facts.deposited,
        settled=facts.withdrawn,
        seen_ledger=facts.ledger,
        opened_at=now,
        closes_at=facts.closes_at,
        used_at=now,
    )


async def read_channels(
    ledger: Ledger, channels: Collection[str], tokens: Collection[str]
) -> Mapping[str, ChannelFacts | None]:
    """What the ledger says of any number of channels: 100 to a call with one token, 66 with two.

    Args:
        ledger: whom to ask.
        channels: addresses (``C…``).
        tokens: the tokens (``C…``) that are taken; see `get_channels`.

    Returns:
        Facts for each channel, ``None`` where the node shows none: there never was one, or it was
        idle for a week and is archived (some nodes show those, some do not; whatever is done with
        one brings it back). Those of one call are of the same ledger.

    Raises:
        ValueError: an address is none.
        FaultError: the node cannot be asked, or gave a senseless answer.
    """
    asked, a_call = tuple(channels), channels_a_call(tokens)
    facts: dict[str, ChannelFacts | None] = {}
    for start in range(0, len(asked), a_call):
        found = await ledger.ask(get_channels(asked[start : start + a_call], tokens))
        for channel, each in found.items():
            facts[channel] = None if isinstance(each, NotAChannelError) else each
    return facts


def require_acceptable(
    facts: ChannelFacts,
    *,
    token: str,
    recipient: str,
    wasm_hashes: Collection[str],
    min_waiting_period: int,
) -> None:
    """Vouchers of the channel are worth what they say, to a server with these terms.

    Args:
        facts: what the ledger says.
        token: what is sold for (``C…``).
        recipient: who sells (``G…`` or ``C…``).
        wasm_hashes: the code that is known to pay, each 64 hex digits in lower case.
        min_waiting_period: ledgers that the server needs to settle in.

    Raises:
        RefusalError: ``verification-failed`` for a channel that never will do,
            ``session/channel-finalized`` for one that is being closed or has been.
    """
    if facts.wasm_hash not in wasm_hashes:
        raise _refusal("The channel's code is not among what is accepted here.")
    require_terms(
        facts,
        key=bytes.fromhex(facts.key),
        token=token,
        recipient=recipient,
        min_waiting_period=min_waiting_period,
    )
    if facts.closes_at is not None:
        raise _refusal(
            "The channel is being closed, or has been; open another.",
            problems.SESSION_CHANNEL_FINALIZED,
        )


class Terms(Protocol):
    """What a channel is made with, and keeps."""

    @property
    def token(self) -> str: ...
    @property
    def recipient(self) -> str: ...
    @property
    def waiting_period(self) -> int: ...


def require_terms(
    terms: Terms, *, key: bytes, token: str, recipient: str, min_waiting_period: int
) -> None:
    """A channel is on acceptable terms, or would be. ``key`` is its commitment key, the other
    arguments are as with `require_acceptable`.

    Raises:
        RefusalError: ``verification-failed``.
    """
    if terms.recipient != recipient:
        raise _refusal("The channel pays another recipient.")
    if terms.token != token:
        raise _refusal("The channel is of another token.")
    if terms.waiting_period < min_waiting_period:
        raise _refusal(f"The channel's waiting period is under {min_waiting_period} ledgers.")
    if not is_commitment_key(key):
        raise _refusal("The channel's commitment key is none that can sign.")


def _refusal(detail: str, problem: ProblemType = problems.VERIFICATION_FAILED) -> RefusalError:
    return RefusalError(problem.because(detail))
