"""Where a payer's channels are kept: in memory, or in a file that several processes share."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from mpp_asgi.client.held_channel import LIVE, TooMuchLockedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mpp_asgi.client.held_channel import HeldChannel, Place


class Channels(Protocol):
    """Keeps channels. Every method is atomic, and what it did outlives the process when it returns.

    Raises:
        ChannelsUnavailableError: from any method; nothing was changed.
    """

    def add(self, channel: HeldChannel, *, most_locked: int | None = None) -> bool:
        """Keep a new channel, unless a live one is there for its place.

        Args:
            channel: the new one.
            most_locked: base units that may be locked up in it and all others of its purse.

        Raises:
            TooMuchLockedError: it would be more. Nothing was changed.
        """
        ...

    def get(self, channel: str) -> HeldChannel | None:
        """The channel with this id."""
        ...

    def live(self, place: Place) -> HeldChannel | None:
        """The channel in use for a place, or about to be."""
        ...

    def all(self) -> Sequence[HeldChannel]:
        """Every channel, oldest first."""
        ...

    def change(
        self,
        channel: str,
        change: Callable[[HeldChannel], HeldChannel],
        *,
        durable: bool = True,
        at_once: bool = False,
        most_locked: int | None = None,
    ) -> HeldChannel:
        """Replace a channel by what ``change`` makes of it; nothing else happens to it meanwhile.

        Args:
            channel: its id.
            change: what to do to it.
            durable: it has to outlive the machine, too. What is owed may be forgotten with no harm:
                the server says it again. What was signed may not.
            at_once: wait for nobody else, be it for lack of which it cannot be changed now.
            most_locked: as in `add`, if it locks up more.

        Returns:
            What is kept now.

        Raises:
            KeyError: there is no such channel.
            TooMuchLockedError: as `add`.
            Exception: whatever ``change`` raises; then nothing was changed.
        """
        ...


def require_room(channel: HeldChannel, among: Iterable[HeldChannel], most: int) -> None:
    """See that a channel and the others of its purse lock up no more than ``most`` base units.

    Raises:
        TooMuchLockedError: they do.
    """
    others = (each for each in among if each.id != channel.id)
    if (
        channel.locked + sum(o.locked for o in others if o.place.purse == channel.place.purse)
        > most
    ):
        raise TooMuchLockedError


class MemoryChannels:
    """Channels of one process. When it ends they are forgotten, deposits and all: close them, or
    use a `ChannelFile`."""

    def __init__(self) -> None:
        self._channels: dict[str, HeldChannel] = {}
        self._lock = threading.Lock()

    def add(self, channel: HeldChannel, *, most_locked: int | None = None) -> bool:
        with self._lock:
            if channel.id in self._channels or self._live(channel.place) is not None:
                return False
            if most_locked is not None:
                require_room(channel, self._channels.values(), most_locked)
            self._channels[channel.id] = channel
            return True

    def get(self, channel: str) -> HeldChannel | None:
        return self._channels.get(channel)

    def live(self, place: Place) -> HeldChannel | None:
        with self._lock:
            return self._live(place)

    def all(self) -> Sequence[HeldChannel]:
        with self._lock:
            return tuple(self._channels.values())

    def change(
        self,
        channel: str,
        change: Callable[[HeldChannel], HeldChannel],
        *,
        durable: bool = True,
        at_once: bool = False,
        most_locked: int | None = None,
    ) -> HeldChannel:
        with self._lock:
            found = self._channels[channel]
            changed = change(found)
            if most_locked is not None and changed.locked > found.locked:
                require_room(changed, self._channels.values(), most_locked)
            self._channels[channel] = changed
            return changed

    def _live(self, place: Place) -> HeldChannel | None:
        return next(
            (
                each
                for each in self._channels.values()
                if each.place == place and each.status in LIVE
            ),
            None,
        )
