"""The teller: checks the vouchers of payment channels and books them.

A voucher is checked with arithmetic and booked with one step of the store. The ledger is asked only
where a voucher is for more than is known to be in its channel.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from mpp_asgi.intents import RefusalError
from mpp_asgi.protocol import problems
from mpp_asgi.stellar.channel import NotAChannelError, read_channel, record_of
from mpp_asgi.stellar.commitment import Commitments
from mpp_asgi.stellar.envelope import network_id
from mpp_asgi.stellar.observation import note
from mpp_asgi.stellar.spending import Spending
from mpp_asgi.stellar.terms import source_address
from mpp_asgi.stellar.vouchers import Voucher
from mpp_asgi.stores.channels import Channel, CloseOutcome, SpendOutcome

if TYPE_CHECKING:
    from collections.abc import Collection

    from mpp_asgi.protocol import Problem
    from mpp_asgi.stellar.admissions import Counter
    from mpp_asgi.stellar.channel import ChannelFacts
    from mpp_asgi.stellar.session_terms import SessionPolicy, SessionTerms
    from mpp_asgi.stores.channels import ChannelStore, Spend

log = logging.getLogger("mpp_asgi.session")

MOST_REMEMBERED: Final = 10_000
"""Channels whose keys are kept at hand."""


class Presentation(NamedTuple):
    """What a voucher is shown for."""

    terms: SessionTerms
    challenge_id: str
    source: str | None
    """The credential's ``source``, not read yet."""


class _Known(NamedTuple):
    """What a voucher is checked against. None of it ever changes."""

    commitments: Commitments
    funder: str
    recipient: str
    token: str


class Teller:
    """Checks and books vouchers.

    Args:
        counter: network, ledger, clock and the process's tasks.
        store: where channels are kept.
        policy: the seller's terms.
        tokens: contracts (``C…``) that are taken.
    """

    def __init__(
        self,
        counter: Counter,
        store: ChannelStore,
        policy: SessionPolicy,
        *,
        tokens: Collection[str],
    ) -> None:
        self._counter = counter
        self._store = store
        self._policy = policy
        self._tokens = frozenset(tokens)
        self._network_id = network_id(counter.network.passphrase)
        self._known: dict[str, _Known] = {}
        self._verified: dict[str, Voucher] = {}
        """The last good voucher of each channel that is known."""
        self.spending = Spending(counter, store, min_delta=policy.min_voucher_delta)

    @property
    def counter(self) -> Counter:
        return self._counter

    @property
    def min_delta(self) -> int:
        """Base units by which a higher voucher has to be higher."""
        return self._policy.min_voucher_delta

    async def channel(self, channel_id: str) -> Channel | None:
        """What is on record of a channel."""
        return await self._store.channel(channel_id)

    async def take(self, voucher: Voucher, shown_for: Presentation, *, cost: int) -> Channel:
        """Accept a voucher and spend what the request costs.

        Args:
            voucher: not checked yet.
            shown_for: what it has to be good for.
            cost: base units; 0 to accept the voucher only.

        Returns:
            The channel as it stands afterwards.

        Raises:
            RefusalError: it is not good, or not for enough. If it is good, it is accepted all the
                same.
        """
        await self.check(voucher, shown_for)
        units = 1 if cost else 0
        spend = await self.spending.spend(voucher, cost, units)
        if spend.outcome is SpendOutcome.EXCEEDS_DEPOSIT:
            # Anybody may have topped the channel up on the ledger, without a word to us.
            if spend.channel is not None:
                await self.observe(spend.channel)
            spend = await self.spending.spend(voucher, cost, units)
        self.spending.bell.ring(voucher.channel)
        if spend.outcome is not SpendOutcome.SPENT or spend.channel is None:
            raise RefusalError(
                problem_of(
                    spend, voucher.amount, cost, shown_for.challenge_id, min_delta=self.min_delta
                )
            )
        return spend.channel

    async def draw(self, channel: Channel, *, cost: int, units: int) -> Spend:
        """Spend from what is left of the highest voucher held.

        Args:
            channel: as it stood last.
            cost: base units.
            units: how many units that pays.
        """
        while True:
            held = Voucher(channel.id, channel.accepted, channel.signature)
            spend = await self.spending.spend(held, cost, units, shown=False)
            if spend.outcome is not SpendOutcome.LOWER or spend.channel is None:
                return spend
            channel = spend.channel  # a higher one has come in

    async def check(self, voucher: Voucher, shown_for: Presentation) -> None:
        """See that the voucher is signed by the one who may, for a channel of these terms.

        Raises:
            RefusalError: it is not.
        """
        known = self._known.get(voucher.channel) or await self._look_up(voucher.channel)
        terms = shown_for.terms
        if known.token != terms.token or known.recipient != terms.recipient:
            raise RefusalError(
                problems.VERIFICATION_FAILED.because(
                    "The channel is not of the challenge's token and recipient.",
                    challenge_id=shown_for.challenge_id,
                )
            )
        if shown_for.source is not None:
            named = source_address(shown_for.source, self._counter.network.name)
            if named != known.funder:
                raise RefusalError(
                    problems.SESSION_SIGNER_MISMATCH.because(
                        "The credential's source is not the channel's funder.",
                        challenge_id=shown_for.challenge_id,
                    )
                )
        # One voucher may pay for many requests: the very same was verified before.
        if self._verified.get(voucher.channel) == voucher:
            return
        if not known.commitments.verify(voucher.amount, bytes.fromhex(voucher.signature)):
            raise RefusalError(
                problems.SESSION_INVALID_SIGNATURE.because(
                    "The signature is not the channel's commitment key's for this amount, channel "
                    "and network.",
                    challenge_id=shown_for.challenge_id,
                )
            )
        self._verified[voucher.channel] = voucher

    async def _look_up(self, channel_id: str) -> _Known:
        channel = await self._store.channel(channel_id)
        if channel is None:
            raise RefusalError(_not_found())
        return self._remember(channel)

    def _remember(self, channel: Channel) -> _Known:
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
            self._verified.clear()
        commitments = Commitments(self._network_id, channel.id, bytes.fromhex(channel.key))
        known = _Known(commitments, channel.funder, channel.recipient, channel.token)
        self._known[channel.id] = known
        return known

    async def admit(self, facts: ChannelFacts) -> None:
        """Take vouchers of this channel, which was found acceptable, from now on."""
        channel = record_of(facts, now=int(self._counter.clock()))
        self._remember(await self._store.add_channel(channel))

    async def observe(self, channel: Channel) -> Channel | None:
        """Read from the ledger what is in a channel by now, and keep it."""
        try:
            facts = await read_channel(self._counter.ledger, channel.id, self._tokens)
        except NotAChannelError:
            return None
        return await self.note(channel, facts)

    async def note(self, channel: Channel, facts: ChannelFacts) -> Channel | None:
        """Keep what was read of a channel."""
        return await note(self._store, channel, facts, now=int(self._counter.clock()))

    async def begin_close(self, voucher: Voucher, shown_for: Presentation) -> Channel:
        """Take no more vouchers of the channel; what is owed is in this one.

        Raises:
            RefusalError: it is not good, or not for exactly what was spent.
        """
        await self.check(voucher, shown_for)
        await self.spending.end_doubt(voucher.channel)
        begun = await self._store.begin_close(
            voucher.channel,
            amount=voucher.amount,
            signature=voucher.signature,
            now=int(self._counter.clock()),
        )
        channel = begun.channel
        if channel is None or begun.outcome is CloseOutcome.CLOSED:
            refuse_gone(channel)
        if begun.outcome is not CloseOutcome.BEGUN:
            raise RefusalError(
                problems.VERIFICATION_FAILED.because(
                    "A session is closed with a voucher for exactly what was spent.",
                    challenge_id=shown_for.challenge_id,
                    extra=standing(channel),
                )
            )
        return channel


def standing(channel: Channel) -> dict[str, str]:
    """How a channel stands, as problems tell it. Amounts are base units."""
    return {
        "channelId": channel.id,
        "acceptedCumulative": str(channel.accepted),
        "spent": str(channel.spent),
        "deposit": str(channel.deposited),
    }


def refuse_gone(channel: Channel | None) -> NoReturn:
    """Refuse for a channel that is not on record, or is closed.

    Raises:
        RefusalError: always.
    """
    raise RefusalError(_not_found() if channel is None else _finalized(channel))


def _not_found() -> Problem:
    return problems.SESSION_CHANNEL_NOT_FOUND.because("This channel is not known here; open it.")


def _finalized(channel: Channel) -> Problem:
    return problems.SESSION_CHANNEL_FINALIZED.because(
        "The channel is being closed, or has been; open another one.", extra=standing(channel)
    )


def least_raise(channel: Channel, cost: int, min_delta: int) -> int:
    """By how much a voucher has to exceed the highest one held, to pay for so much.

    Args:
        channel: as it stands.
        cost: what is to be paid. This and the others are base units.
        min_delta: the least that is taken.
    """
    return max(cost - channel.available, min_delta, 1)


def problem_of(
    spend: Spend, amount: int, cost: int, challenge_id: str, *, min_delta: int
) -> Problem:
    """What to tell the payer of a voucher that did not buy anything.

    Args:
        spend: what came of it.
        amount: the voucher's. This and the others are base units.
        cost: what it was to pay.
        challenge_id: what it was shown for.
        min_delta: by how much a higher one has to be higher.
    """
    channel = spend.channel
    if channel is None:
        return _not_found()
    extra = standing(channel)
    match spend.outcome:
        case SpendOutcome.CLOSED | SpendOutcome.CLOSING:
            return _finalized(channel)
        case SpendOutcome.DELTA_TOO_SMALL:
            kind, detail = problems.SESSION_DELTA_TOO_SMALL, "The voucher has to be higher by more."
        case SpendOutcome.EXCEEDS_DEPOSIT:
            kind = problems.SESSION_AMOUNT_EXCEEDS_DEPOSIT
            detail = "The voucher is for more than the channel was funded with; top it up."
        case SpendOutcome.INSUFFICIENT:
            kind = problems.SESSION_INSUFFICIENT_BALANCE
            detail = f"{channel.available} base units are left, and this costs {cost}."
            extra["requiredTopUp"] = str(least_raise(channel, cost, min_delta))
        case SpendOutcome.PUBLISHED:
            kind = problems.SESSION_INSUFFICIENT_BALANCE
            detail = "This voucher was settled, so anybody can show it; show a higher one."
            extra["requiredTopUp"] = str(least_raise(channel, cost, min_delta))
        case _:
            kind = problems.VERIFICATION_FAILED
            detail = (
                f"The voucher is for {amount} base units, and one for {channel.accepted} is held."
            )
    return kind.because(detail, challenge_id=challenge_id, extra=extra)
