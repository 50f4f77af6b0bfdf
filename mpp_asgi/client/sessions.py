"""What all requests that are paid from channels share."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from mpp_asgi.client.channels import MemoryChannels
from mpp_asgi.client.errors import ChannelsUnavailableError
from mpp_asgi.client.held_channel import Status
from mpp_asgi.client.price_list import PriceList
from mpp_asgi.client.session_policy import deposit_for
from mpp_asgi.client.steps import work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mpp_asgi.client.budget import Budget
    from mpp_asgi.client.channel_wallet import ChannelWallet
    from mpp_asgi.client.channels import Channels
    from mpp_asgi.client.held_channel import HeldChannel, Place
    from mpp_asgi.client.session_offers import SessionOffer
    from mpp_asgi.client.session_policy import SessionPolicy
    from mpp_asgi.client.steps import Chores
    from mpp_asgi.stellar.network import Token

    T = TypeVar("T")


class Experience:
    """How often each place was paid by charge. Safe to use from several threads."""

    def __init__(self) -> None:
        self._paid: Counter[Place] = Counter()
        self._lock = threading.Lock()

    def add(self, place: Place) -> None:
        with self._lock:
            self._paid[place] += 1

    def __getitem__(self, place: Place) -> int:
        with self._lock:
            return self._paid[place]


class Signed:
    """What this process signed for each channel, and counts as spent. Thread-safe."""

    def __init__(self) -> None:
        self._units: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, channel: str, units: int) -> None:
        with self._lock:
            self._units[channel] += units

    def take(self, channel: str, most: int) -> int:
        """Base units of at most ``most`` that count no more."""
        with self._lock:
            units = min(self._units[channel], most)
            self._units[channel] -= units
            return units


@dataclass(frozen=True, slots=True)
class Sessions:
    """Where channels are kept, and by what rule they are opened."""

    policy: SessionPolicy
    max_deposit: Mapping[str, int]
    """Base units that may be locked up, by token address."""
    channels: Channels
    wallet: ChannelWallet
    budget: Budget
    prices: PriceList = field(default_factory=PriceList)
    experience: Experience = field(default_factory=Experience)
    signed: Signed = field(default_factory=Signed)

    @property
    def wanted(self) -> bool:
        return self.policy.after != "never"

    def worth_opening(self, place: Place) -> bool:
        """The rule of `SessionPolicy`, where charges are taken, too."""
        after = self.policy.after
        if isinstance(after, str):
            return after == "always"
        return max(self.policy.expected_calls or 0, self.experience[place]) >= after

    def do(self, do: Callable[[], T]) -> Chores[T]:
        """Use the channels."""
        if isinstance(self.channels, MemoryChannels):
            return do()
        return (yield from work(do))

    def change(
        self,
        held: HeldChannel,
        change: Callable[[HeldChannel], HeldChannel],
        *,
        most_locked: int | None = None,
    ) -> Chores[HeldChannel]:
        """Change a channel, in one durable step. Raises as `Channels.change`."""
        return (
            yield from self.do(
                lambda: self.channels.change(held.id, change, most_locked=most_locked)
            )
        )

    def note(
        self, held: HeldChannel, change: Callable[[HeldChannel], HeldChannel]
    ) -> Chores[HeldChannel]:
        """Change a channel in a way that the server will say again. What cannot be kept is
        forgotten, since nothing depends on it."""

        def noted() -> HeldChannel:
            with suppress(ChannelsUnavailableError):
                return self.channels.change(held.id, change, durable=False)
            return held

        return (yield from self.do(noted))

    def note_at_once(self, held: HeldChannel, change: Callable[[HeldChannel], HeldChannel]) -> None:
        """`note` where no step can follow, as it may be the end of the task: it waits for nobody,
        and stops nothing."""
        with suppress(ChannelsUnavailableError):
            self.channels.change(held.id, change, durable=False, at_once=True)

    def found_closed(self, held: HeldChannel, token: Token | None) -> Chores[HeldChannel | None]:
        """The channel, if it is closed on the ledger and there is nothing in it any more.

        Raises:
            LedgerUnavailableError: the RPC could not be asked.
        """
        facts = yield from self.wallet.facts(held)
        if facts is None or not facts.is_closed or facts.balance:
            return None
        had = facts.withdrawn
        return (yield from self.do(lambda: self.closed(held, token, had)))

    def signing(
        self, token: Token, change: Callable[[HeldChannel], HeldChannel]
    ) -> Callable[[HeldChannel], HeldChannel]:
        """A change that may raise a voucher, so that what it signs away is within the budget.

        The change itself raises `BudgetExceededError` where it is not.
        """

        def counted(held: HeldChannel) -> HeldChannel:
            changed = change(held)
            units = changed.signed - held.signed
            # Counted for good even if the file then fails: better counted twice than not at all.
            self.budget.reserve(token, units).spend()
            self.signed.add(held.id, units)
            return changed

        return counted

    def deposit(
        self, place: Place, offer: SessionOffer, *, worth: bool, at_least: int = 0
    ) -> Chores[int | None]:
        """Base units to put into a channel; ``None``: not as many as are needed."""
        found = yield from self.do(self.channels.all)
        locked = sum(
            each.locked
            for each in found
            if (each.place.payer, each.place.network, each.place.token)
            == (place.payer, place.network, place.token)
        )
        room = min(self.max_deposit[place.token] - locked, self.budget.left()[offer.token])
        deposit = deposit_for(
            self.policy, price=offer.amount, suggested=offer.suggested, room=room, worth=worth
        )
        if deposit is None:
            return None
        deposit = min(max(deposit, at_least), room)
        return deposit if deposit >= at_least else None

    def closed(self, held: HeldChannel, token: Token | None, withdrawn: int) -> HeldChannel:
        """The channel is closed on the ledger: what is signed and was not withdrawn cannot be
        taken any more. It comes back into the budget once, however many find the channel closed.

        Args:
            held: the channel.
            token: its token, if the payer has a budget for it.
            withdrawn: base units that the recipient has had.
        """

        is_news = False

        def close(each: HeldChannel) -> HeldChannel:
            nonlocal is_news
            if each.status is Status.CLOSED:
                return each
            is_news = True
            return replace(each.ended(Status.CLOSED), owed=withdrawn)

        closed = self.channels.change(held.id, close)
        if is_news and token is not None:
            units = self.signed.take(held.id, max(closed.signed - closed.owed, 0))
            self.budget.take_back(token, units)
        return closed
