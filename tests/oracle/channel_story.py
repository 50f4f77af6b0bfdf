"""A scenario about one channel: the calls that can be made, and who signs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from tests.oracle import entries
from tests.oracle.channels import Channel, creating, creation
from tests.oracle.entries import INT64_MAX, NATIVE, USD, XLM, token
from tests.oracle.story import FAR, Story, Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stellar_sdk import xdr

Tell = Callable[..., "ChannelStory"]
"""Begins a story about a channel."""
USUAL = Channel()
IN_XLM = Channel(token=token(NATIVE), amount=50 * XLM)
GETTERS = (
    *("token", "from", "to", "refund_waiting_period"),
    *("balance", "deposited", "withdrawn"),
)
AMOUNTS = (-1, 0, 1, 100, 499, 500, 501, INT64_MAX, 2**127 - 1, -(2**127))


class ChannelStory(Story):
    """A scenario about one channel."""

    def __init__(self, name: str, codes: Mapping[str, bytes], channel: Channel, code: str) -> None:
        super().__init__(f"{code}s/{name}")
        self.code(code)
        self.channel = channel
        self.hash = codes[code]

    def opened(self, live_until: int = FAR, **stored: xdr.SCVal) -> Self:
        """The channel is there from the start, with its deposit."""
        channel = self.channel
        self.put(channel.instance(self.hash, **stored), live_until)
        if channel.amount > 0 and channel.token in {token(USD), token(NATIVE)}:
            asset = USD if channel.token == token(USD) else NATIVE
            self.put(entries.balance_of(channel.address, asset, channel.amount), live_until)
        return self

    def create(self, auth: list[str] | None = None, **options: Any) -> Self:
        channel = self.channel
        if auth is None:
            auth = self.creation_auth()
        function = creation(channel.deployer, channel.salt, self.hash, channel.terms)
        self.invoke(function, auth=auth, **options)
        return self

    def creation_auth(self) -> list[str]:
        channel = self.channel
        below = [channel.constructing()] if channel.amount > 0 else []
        if channel.deployer is channel.funder:
            tree = creating(channel.deployer, channel.salt, self.hash, channel.terms, below)
            return [self.signed(channel.funder, tree)]
        bare = creating(channel.deployer, channel.salt, self.hash, channel.terms)
        found = [self.signed(channel.deployer, bare)]
        return found + [self.signed(channel.funder, tree) for tree in below]

    def ask(self, function: str, *args: Value, **options: Any) -> Self:
        self.call(self.channel.address, function, *args, **options)
        return self

    def look(self) -> Self:
        for getter in GETTERS:
            self.ask(getter)
        return self

    def top_up(self, amount: int, **options: Any) -> Self:
        options.setdefault("by", self.channel.funder)
        return self.ask("top_up", amount, below=[self.channel.deposit(amount)], **options)

    def settle(self, amount: int, **options: Any) -> Self:
        return self.take("settle", amount, **options)

    def close(self, amount: int, **options: Any) -> Self:
        return self.take("close", amount, **options)

    def take(
        self, function: str, amount: int, signature: xdr.SCVal | None = None, **options: Any
    ) -> Self:
        options.setdefault("by", self.channel.recipient)
        return self.ask(function, amount, signature or self.channel.signature(amount), **options)

    def close_start(self, **options: Any) -> Self:
        options.setdefault("by", self.channel.funder)
        return self.ask("close_start", **options)

    def refund(self, **options: Any) -> Self:
        options.setdefault("by", self.channel.funder)
        return self.ask("refund", **options)
