"""What must survive a process of payment channels, and what every store does with it.

A payer puts a deposit into a channel on the ledger once, then signs *vouchers*: each says how much
of it the recipient may have **in total**. The highest one held is worth all before it.

For any interleaving of calls, by any number of processes:

- ``spent ≤ accepted``, ``settled ≤ accepted``; ``accepted`` never shrinks;
- a voucher is accepted only up to what was ``deposited`` by then;
- a voucher that was ``published`` buys nothing, as everybody can show it;
- what was spent, or given back, under an *entry* counts once while the channel remembers that;
- facts from the ledger are never replaced by those of an older ledger.

All amounts are base units and as wide as the ledger's (128 bits). Times are Unix seconds and always
passed in.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NotRequired, Protocol, TypedDict

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

LEASE_SLACK_SECONDS: Final = 300
"""By how much longer than it is asked for now a lease may have been taken."""
ENTRY_LENGTH: Final = 15
"""Characters of an entry, each of them a lowercase hex digit."""
KEPT_ENTRIES: Final = 32
"""How many entries a channel remembers."""
SPENT: Final = "+"
RETURNED: Final = "-"
RECENT_LENGTH: Final = KEPT_ENTRIES * (1 + ENTRY_LENGTH)


class ChannelStatus(StrEnum):
    """What may be done with a channel."""

    OPEN = "open"
    CLOSING = "closing"
    """We are closing it: no vouchers and no spending any more."""
    CLOSED = "closed"
    """Final: the ledger says so."""


class Channel(NamedTuple):
    """What is known of one payment channel. A named tuple, because every paid request makes one."""

    # What the ledger says once and for all.
    id: str
    """The contract's address, ``C…``. It is derived from the network's id, so it is unique over
    networks."""
    key: str
    """The key that vouchers are signed with, 64 hex digits."""
    funder: str
    recipient: str
    token: str
    waiting_period: int
    """Ledgers between the funder's wish to close and the refund."""

    # What the ledger says as of ``seen_ledger``.
    deposited: int
    """Balance + withdrawn."""
    settled: int
    """Withdrawn by the recipient."""
    seen_ledger: int
    opened_at: int
    """When the record was made."""
    closes_at: int | None = None
    """The ledger from which the funder may take what is left; ``None``: not asked for."""

    # What was promised and what was served.
    accepted: int = 0
    """The highest voucher held."""
    signature: str = ""
    """Its signature, 128 hex digits; empty if none is held: ``accepted`` is 0 or was settled with a
    voucher that nobody here remembers."""
    published: int = 0
    """The highest amount whose signature may be on its way to the ledger, or is there for everybody
    to read. Never less than ``settled``."""
    spent: int = 0
    """What was served, and what was settled beyond anything on record."""
    units: int = 0
    """Requests (or other units) served and paid."""
    settled_units: int = 0
    """``units`` when ``settled`` was last seen to grow."""

    status: ChannelStatus = ChannelStatus.OPEN
    closing_amount: int | None = None
    """While it is closing or after: the voucher to close with; ``spent`` when that began, so it may
    be lower than ``accepted``."""
    closing_signature: str = ""
    used_at: int = 0
    """When it was last spent from, given a voucher, begun to be closed or found closed."""
    settled_at: int = 0
    """When ``settled`` was last seen to grow; 0: never."""
    recent: str = ""
    """The last `KEPT_ENTRIES` entries, oldest first: each is marked as `SPENT`, or as `RETURNED` if
    it was given back."""

    @property
    def available(self) -> int:
        """What can be spent without another voucher."""
        return self.accepted - self.spent


class SpendOutcome(StrEnum):
    """What came of spending. Nothing was written unless it says so."""

    SPENT = "spent"
    """The voucher is accepted, the cost spent."""
    UNKNOWN = "unknown"
    """There is no such channel."""
    CLOSED = "closed"
    CLOSING = "closing"
    """We are closing it, or the funder has asked for that on the ledger."""
    LOWER = "lower"
    """The voucher is lower than one that is held."""
    DELTA_TOO_SMALL = "delta-too-small"
    """The voucher raises the accepted amount, but by less than the minimum."""
    EXCEEDS_DEPOSIT = "exceeds-deposit"
    """The voucher is for more than was deposited, as far as is known."""
    INSUFFICIENT = "insufficient"
    """What is available does not cover the cost. A voucher higher than the one held was accepted
    all the same, and that is written; nothing was spent."""
    PUBLISHED = "published"
    """It would do, but everybody can show this voucher by now: a higher one has to be shown.
    Otherwise as ``INSUFFICIENT``."""
    VOID = "void"
    """This entry was given back before it came."""


class Spend(NamedTuple):
    """The outcome, and the channel as it now stands (``None`` if there is none)."""

    outcome: SpendOutcome
    channel: Channel | None


class CloseOutcome(StrEnum):
    """What came of beginning to close."""

    BEGUN = "begun"
    """It is closing, with the voucher shown."""
    UNKNOWN = "unknown"
    """There is no such channel."""
    CLOSED = "closed"
    """It is closed already."""
    NOT_SPENT = "not-spent"
    """The voucher is not for exactly what was spent."""


class Close(NamedTuple):
    """The outcome, and the channel as it now stands (``None`` if there is none)."""

    outcome: CloseOutcome
    channel: Channel | None


class SpendTerms(TypedDict):
    """What `ChannelStore.spend` is told, for backends that hand it on; also see `in_order`."""

    amount: int
    signature: str
    cost: int
    units: int
    min_delta: int
    now: int
    shown: NotRequired[bool]
    entry: NotRequired[str]


class Return(TypedDict):
    """What `ChannelStore.give_back` is told, for backends that hand it on; also see `in_order`."""

    cost: int
    units: int
    entry: NotRequired[str]
    certain: NotRequired[bool]


class LedgerFacts(TypedDict):
    """What `ChannelStore.observe` is told, for backends that hand it on; also see `in_order`."""

    ledger: int
    deposited: int
    settled: int
    closes_at: int | None
    closed: bool
    now: int


_DEFAULTS: Final[dict[str, str | bool]] = {"shown": True, "entry": "", "certain": True}


def in_order(
    kind: type[SpendTerms | Return | LedgerFacts], told: SpendTerms | Return | LedgerFacts
) -> list[str | int | bool | None]:
    """What a store was told, all of it and in the order of its ``kind``, as backends pass it on to
    a function of theirs."""
    values: dict[str, Any] = {**_DEFAULTS, **told}
    return [values[name] for name in kind.__annotations__]


class ChannelStore(Protocol):
    """What every backend guarantees of channels. Each call is atomic, and durable when it returns.

    Every call raises `mpp_asgi.stores.contract.StoreUnavailableError` if the backend fails, having
    changed nothing that the caller can rely on.
    """

    async def add_channel(self, channel: Channel) -> Channel:
        """Keep it, unless it is there already; return what is kept.

        If it is there, only its facts (``deposited``, ``settled``, ``closes_at``, whether
        ``closed``) count, as in `observe`, at ``channel.opened_at``.

        What was settled beyond ``accepted`` must have been settled with a voucher that is on no
        record (of a store that was lost, or that forgot), for units served then: ``accepted`` and
        ``spent`` grow by it, here and in `observe`, and no signature is held. So a voucher of
        before buys nothing twice.
        """
        ...

    async def channel(self, channel_id: str) -> Channel | None:
        """The record as it stands."""
        ...

    async def spend(
        self,
        channel_id: str,
        *,
        amount: int,
        signature: str,
        cost: int,
        units: int,
        min_delta: int,
        now: int,
        shown: bool = True,
        entry: str = "",
    ) -> Spend:
        """Accept a voucher and spend from the channel, in one atomic and durable step.

        The first of these that applies decides; see `SpendOutcome`:

        - no record: ``UNKNOWN``;
        - the channel remembers ``entry``: ``SPENT`` if it was spent, with nothing written; ``VOID``
          if it was given back;
        - closed: ``CLOSED``;
        - closing, or the funder has asked for that (``closes_at``): ``CLOSING``;
        - ``amount < accepted``: ``LOWER``;
        - ``amount > accepted``, but by less than ``min_delta``: ``DELTA_TOO_SMALL``;
        - ``amount > accepted`` and ``amount > deposited``: ``EXCEEDS_DEPOSIT``;
        - the voucher is accepted if it is higher than the one held. ``cost`` is more than is
          available then: ``INSUFFICIENT``;
        - it is ``shown``, ``cost`` is more than 0 and ``amount <= published``: ``PUBLISHED``;
        - ``spent`` grows by ``cost`` and ``units`` by ``units``: ``SPENT``.

        Args:
            channel_id: which channel.
            amount: of the voucher shown, in total; the caller has verified its signature.
            signature: its signature, 128 hex digits.
            cost: what to spend; 0 to accept a voucher only.
            units: how many units that pays.
            min_delta: by how much a higher voucher has to be higher.
            now: the time.
            shown: somebody shows the voucher. Otherwise what was begun with one is drawn on, which
                goes on when that is published meanwhile.
            entry: what this spend goes by, `ENTRY_LENGTH` characters, so that it counts once
                however often it is asked for, and can be given back by whoever got no answer. Made
                for it alone; empty: it is not remembered.
        """
        ...

    async def publish(self, channel_id: str, *, amount: int) -> None:
        """The signature of a voucher for so much is going to be sent to the network: from now on
        anybody may show it. To be called before it is sent. Does nothing if there is no record."""
        ...

    async def give_back(
        self, channel_id: str, *, cost: int, units: int, entry: str = "", certain: bool = True
    ) -> None:
        """Undo a spend whose units were not delivered, whatever the channel's status by now.

        Neither ``spent`` nor ``units`` falls below 0. ``spent`` may fall below ``settled``, as it
        may lie there since a voucher was settled before all of it was spent.

        Args:
            channel_id: which channel.
            cost: what was spent.
            units: how many units that paid.
            entry: what this goes by: the spend's, or one made for it alone if it is for several.
                While the channel remembers that it was given back, it is not given back again, and
                a spend that comes under it only then does not count. Empty: it is not remembered.
            certain: it was spent. Otherwise only what the channel remembers as spent is undone, but
                ``entry`` is remembered as given back all the same.
        """
        ...

    async def observe(
        self,
        channel_id: str,
        *,
        ledger: int,
        deposited: int,
        settled: int,
        closes_at: int | None,
        closed: bool,
        now: int,
    ) -> Channel | None:
        """Take note of facts that hold as of ``ledger``; return what is kept, ``None`` if nothing.

        Facts older than those kept change nothing. Others replace them; ``settled`` beyond
        ``accepted`` as `add_channel` says; ``closed`` makes the channel ``CLOSED`` for good.
        """
        ...

    async def begin_close(self, channel_id: str, *, amount: int, signature: str, now: int) -> Close:
        """Begin to close the channel with a voucher for exactly ``spent``: from now on it takes no
        vouchers and nothing can be spent.

        The voucher becomes ``closing_amount`` and ``closing_signature``: close with that one. The
        highest voucher held stays as it is. May be repeated while it is closing.
        """
        ...

    async def cancel_close(self, channel_id: str, *, amount: int) -> None:
        """The close with a voucher for so much has failed for good: a channel that is closing with
        that is open again. Does nothing to any other: whose close failed may come late, and does
        not speak for one that began since."""
        ...

    async def channels(
        self,
        *,
        limit: int,
        after: str = "",
        statuses: Collection[ChannelStatus] = tuple(ChannelStatus),
    ) -> Sequence[Channel]:
        """At most ``limit`` channels of these statuses whose id is beyond ``after``, by id."""
        ...

    async def forget_channels(self, *, used_before: int, limit: int) -> int:
        """Delete at most ``limit`` channels that are closed and were last used before then, the
        longest unused first. Returns how many went."""
        ...

    async def lease(self, name: str, *, owner: str, until: int, now: int) -> bool:
        """Take a job for one process alone, until then: if it is free, lapsed (``until <= now``) or
        ``owner``'s already, whose latest word counts. Whether ``owner`` has it now.

        What others have for more than `LEASE_SLACK_SECONDS` longer than is asked for was taken by a
        clock that ran ahead, and has lapsed as well. No lease of another name is touched: those
        that lapsed go when the store is purged.

        Nobody is told that a lease has lapsed: what is done under it has to be harmless twice.
        """
        ...

    async def release_lease(self, name: str, *, owner: str) -> None:
        """Let go of a job, if ``owner`` has it."""
        ...
