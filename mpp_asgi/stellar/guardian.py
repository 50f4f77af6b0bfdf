"""The guardian: sees to it that what is earned in channels is settled before it can be lost.

A funder may begin to close its channel at any time, and take back all that is in it once the
waiting period is over. So every channel on record is looked at now and then; where its funder is
closing it, the highest voucher is settled at once, otherwise when the seller's policy says so.

All processes that share a store have a guardian, and one of them works: the one that has the lease.
When it is gone, another follows within two intervals and `LEASE_SECONDS`. Everything it does is
harmless if two do it, as they may while one of them is silent: facts of an older ledger are ignored
by the store, and a voucher that was settled pays nothing again. What it goes by is in the store, so
a restart goes on where the last process ended.

A round over n channels costs the node ⌈n / 100⌉ calls for each token, five a second at most, and
what the settlements cost. With 1,000 open channels and an interval of 60 seconds that is 10 calls a
minute, over all processes; with none it is none. Settlements are made one after the other, each in
a ledger of its own.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Final

from mpp_asgi.intents import FaultError, PendingError, RefusalError
from mpp_asgi.stellar.channel_watch import FOLLOWED, MOST_FAULTS, ChannelWatch, on_record
from mpp_asgi.stellar.clockwork import Clockwork
from mpp_asgi.stellar.guardian_duties import Duty, Reason, Retry, duty_of, is_still_due
from mpp_asgi.stellar.guardian_report import Deeds, GuardianReport, Sight
from mpp_asgi.stellar.settlement import is_owed, settle_now
from mpp_asgi.stores.contract import OwnershipLostError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from mpp_asgi.stellar.cashier import Cashier
    from mpp_asgi.stellar.channel_watch import Seen
    from mpp_asgi.stellar.ledger import Ledger
    from mpp_asgi.stellar.settlement import SettlementPolicy
    from mpp_asgi.stores.channels import Channel, ChannelStore

log = logging.getLogger("mpp_asgi.guardian")

LEASE: Final = "guardian"
LEASE_SECONDS: Final = 60
"""How much longer than the interval a guardian has the lease after it was last renewed."""
MOST_NOTED: Final = 1_000
"""Channels that may wait to be settled before their round; others are found by the round."""
REST_SECONDS: Final = 10
"""After which a round is tried again that failed, unless its time comes earlier."""
CLOSED_SECONDS: Final = 600
"""How often closed channels are looked at for something left, and forgotten when they are old."""
KEEP_CLOSED_SECONDS: Final = 30 * 24 * 3_600
"""How long a closed channel stays on record."""
FORGET_BATCH: Final = 1_000
STOP_SECONDS: Final = 10
"""How long a guardian that is to end may take to finish what it is at."""
SHUTDOWN_SECONDS: Final = 20
"""How long it may take to settle at the end; the largest amounts come first."""


class Guardian:
    """Guards the channels of a store, from `start` to `aclose`.

    Args:
        store: where the channels are on record.
        ledger: whom to ask about them.
        cashier: settles.
        policy: when to settle without need.
        interval_seconds: from one round to the next.
        owner: this process's name among all that share the store.
        clock: Unix seconds.
        sleep: as `asyncio.sleep`.
    """

    def __init__(
        self,
        store: ChannelStore,
        ledger: Ledger,
        cashier: Cashier,
        *,
        policy: SettlementPolicy,
        interval_seconds: float,
        owner: str,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._cashier = cashier
        self._policy = policy
        self._interval = interval_seconds
        self._owner = owner
        self._clock = clock
        self._watch = ChannelWatch(store, ledger, cashier, sleep=sleep)
        self._clockwork = Clockwork(self._work)

        self._leads_since = -math.inf
        self._follows_until = -math.inf
        """Until when it is left to another process."""
        self._round_at = -math.inf
        self._closed_at = -math.inf
        self._rests_until = -math.inf
        self._noted: set[str] = set()
        self._retries: dict[str, Retry] = {}
        self._deeds = Deeds()
        self._full_at: float | None = None
        self._is_ending = False
        self.report: GuardianReport | None = None
        """Of the last round that this process made."""

    @property
    def lateness(self) -> float | None:
        """Seconds since the last full round that this process made; ``None``: it made none. As long
        as it is much more than the interval in every process, nobody guards."""
        return None if self._full_at is None else max(0.0, self._clock() - self._full_at)

    # Coming and going

    def start(self) -> None:
        """Guard from now on, on the running event loop. Harmless twice, and after the end."""
        if not self._is_ending:
            self._clockwork.start()

    async def aclose(self) -> None:
        """Finish what is under way, within `STOP_SECONDS`, settle if the policy asks for that,
        within `SHUTDOWN_SECONDS`, and leave the rest to others. What is cut off is found again."""
        self._is_ending = True
        await self._clockwork.stop(STOP_SECONDS)
        try:
            if self._policy.at_shutdown:
                with suppress(TimeoutError):
                    async with asyncio.timeout(SHUTDOWN_SECONDS):
                        await self._settle_last()
            if self._leads_since > -math.inf:
                await self._store.release_lease(LEASE, owner=self._owner)
        except StoreUnavailableError as error:
            log.warning("store unavailable, channels are left as they are: %s", error)

    # On demand

    def note(self, channel: Channel) -> None:
        """Have a channel settled soon if that is due. To be told after each spend: costs a look at
        the record, and never waits. At most `MOST_NOTED` wait."""
        if (
            not self._policy.is_due(channel, self._clock())
            or channel.id in self._noted
            or channel.id in self._retries
            or len(self._noted) >= MOST_NOTED
            or 0 < self._follows_until - self._clock() <= self._interval
            or self._is_ending
        ):
            return
        self._noted.add(channel.id)
        self._clockwork.wake()

    async def settle_now(self, channel_id: str) -> str | None:
        """Settle a channel on demand, in whichever process; see `settlement.settle_now`."""
        return await settle_now(self._store, self._cashier, channel_id)

    # Work

    async def _work(self) -> float:
        """Do what is due; the seconds until there is more."""
        now = self._clock()
        try:
            if 0 < self._round_at - now <= self._interval:
                await self._look_again()
            else:  # it is due, or the clock was set back
                await self.round()
        except (StoreUnavailableError, FaultError) as error:
            late = "never" if self.lateness is None else f"{self.lateness:.0f} s ago"
            log.warning("channels not guarded, the last time %s: %s", late, error)
            now = self._clock()
            self._rests_until = now + REST_SECONDS
            self._round_at = min(self._round_at, self._rests_until)
        return self._pause()

    def _pause(self) -> float:
        now = self._clock()
        if self._noted:
            wake_at = now
        else:
            wake_at = min([self._round_at, *(retry.at for retry in self._retries.values())])
        return min(max(wake_at, self._rests_until) - now, self._interval)

    async def round(self) -> GuardianReport | None:
        """Look at every channel, and settle what has to be.

        Returns:
            What came of it; ``None`` if this is left to another process, or was cut off.

        Raises:
            FaultError: the node is out of reach.
            StoreUnavailableError: the store is.
        """
        began = self._clock()
        self._round_at = began + self._interval
        if not await self._leads():
            return None
        self._noted.clear()  # the round comes by
        sight, calls = Sight(), self._watch.calls
        closed_too = not 0 < self._closed_at - began <= CLOSED_SECONDS
        later: list[Duty] = []
        async with aclosing(self._watch.sweep(closed_too=closed_too)) as sweep:
            async for some in sweep:
                for seen in some:
                    sight.add(seen)
                duties = self._duties(some)
                later += (duty for duty in duties if not duty.is_hurried)
                if not await self._do(duty for duty in duties if duty.is_hurried):
                    return None
        if not await self._do(later, seconds=self._interval):
            return None
        if closed_too:
            await self._forget()
            self._closed_at = began + CLOSED_SECONDS
        return self._reported(sight, began, calls=self._watch.calls - calls)

    async def _look_again(self) -> None:
        """See to what is noted, and try again what has failed."""
        now = self._clock()
        again = {channel for channel, retry in self._retries.items() if not retry.waits(now)}
        wanted, self._noted = self._noted | again, set()
        if not wanted or not await self._leads():
            return
        found = [await self._find(channel_id) for channel_id in sorted(wanted)]
        seen = await self._watch.look(channel for channel in found if channel is not None)
        duties = self._duties(seen)
        for done in again - {duty.channel.id for duty in duties}:
            del self._retries[done]
        await self._do(duties, seconds=self._interval)

    def _duties(self, seen: Iterable[Seen]) -> list[Duty]:
        now = self._clock()
        duties = []
        for each in seen:
            if amount := self._deeds.lose(each):
                log.error(
                    "channel %s was refunded before %d base units of %s were settled",
                    *(each.channel.id, amount, each.channel.token),
                )
            duty = duty_of(each, self._policy, now)
            if duty is not None:
                duties.append(duty)
        return duties

    async def _do(self, duties: Iterable[Duty], *, seconds: float = math.inf) -> bool:
        """See to one after the other, the most urgent first, until the time is up; what is left
        then is found again by the next round. ``False``: it was cut off.

        If the network takes nothing at the moment, the rest is put off, so that the most urgent are
        tried again before all others were.
        """
        until = self._clock() + seconds
        waiting = sorted(duties, key=Duty.urgency, reverse=True)
        faults = 0
        while waiting and self._clock() < until and faults < MOST_FAULTS:
            duty = waiting.pop()
            retry = self._retries.get(duty.channel.id)
            if retry is not None and retry.waits(self._clock()):
                continue
            if self._is_ending or not await self._leads():
                return False
            error = await self._settle(duty)
            faults = faults + 1 if isinstance(error, FaultError) else 0
        if faults >= MOST_FAULTS:
            self._rests_until = self._clock() + REST_SECONDS
            for duty in waiting:
                self._retries.setdefault(duty.channel.id, Retry(0, self._rests_until))
        return not self._is_ending and await self._leads()

    async def _settle(self, duty: Duty) -> Exception | None:
        """See to one; the error if it failed."""
        channel_id, reason = duty.channel.id, duty.reason
        try:
            await self._see_to(duty)
        except (FaultError, PendingError, RefusalError, OwnershipLostError) as error:
            log.warning("channel %s not settled yet, though %s: %s", channel_id, reason, error)
            failure: Exception = error
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 # whatever it is, it is this channel's alone
            log.error("channel %s not settled: %s", channel_id, type(error).__name__)
            failure = error
        else:
            self._retries.pop(channel_id, None)
            return None
        last = self._retries.get(channel_id)
        self._retries[channel_id] = Retry.after(last, duty, self._clock())
        self._deeds.failed += 1
        return failure

    async def _see_to(self, duty: Duty) -> None:
        channel = await self._store.channel(duty.channel.id)
        if channel is None or not is_still_due(duty, channel, self._policy, self._clock()):
            return
        if duty.reason is Reason.UNFINISHED:
            tx_hash = await self._cashier.close(channel)
        else:
            tx_hash = await self._cashier.settle(channel)
        self._deeds.settle(duty.ledgers_left)
        log.info("channel %s settled, as %s: %s", channel.id, duty.reason, tx_hash)

    async def _find(self, channel_id: str) -> Channel | None:
        try:
            return await self._store.channel(channel_id)
        except StoreUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 # whatever it is, it is this channel's alone
            log.error("channel %s cannot be read: %s", channel_id, type(error).__name__)
            return None

    async def _settle_last(self) -> None:
        if not await self._leads():
            return
        owing = [each async for each in on_record(self._store, FOLLOWED) if is_owed(each)]
        duties = [Duty(channel, Reason.SHUTDOWN, None) for channel in owing]
        left = len(duties)
        try:
            for duty in sorted(duties, key=Duty.urgency):
                left -= await self._settle(duty) is None
        finally:
            if left:
                log.warning("channels that could not be settled at the end: %d", left)

    async def _forget(self) -> None:
        used_before = int(self._clock()) - KEEP_CLOSED_SECONDS
        gone = FORGET_BATCH
        while gone >= FORGET_BATCH:
            gone = await self._store.forget_channels(used_before=used_before, limit=FORGET_BATCH)
            await asyncio.sleep(0)

    def _reported(self, sight: Sight, began: float, *, calls: int) -> GuardianReport:
        now, deeds = self._clock(), self._deeds
        self._deeds = Deeds()
        report = GuardianReport(
            ended_at=now,
            seconds=now - began,
            since_last=self.lateness,
            calls=calls,
            channels=sight.channels,
            closing=sight.closing,
            unread=sight.unread,
            missing=sight.missing,
            at_risk=dict(sight.at_risk),
            lost=dict(deeds.lost),
            settled=deeds.settled,
            failed=deeds.failed,
            put_off=len(self._retries),
            fewest_ledgers=deeds.fewest_ledgers,
        )
        self.report = report
        if report.is_full:
            self._full_at = now
        is_well = report.is_full and not (report.failed or report.put_off or report.lost)
        log.log(logging.INFO if is_well else logging.WARNING, "guarded %s", report)
        return report

    async def _leads(self) -> bool:
        """Whether this is the process that guards. Renews the lease after half of its margin."""
        now = self._clock()
        if 0 <= now - self._leads_since < LEASE_SECONDS / 2:
            return True
        until = math.ceil(now + self._interval + LEASE_SECONDS)
        if await self._store.lease(LEASE, owner=self._owner, until=until, now=int(now)):
            self._leads_since = now
            return True
        self._leads_since = -math.inf
        self._follows_until = now + self._interval
        self._noted.clear()
        self._retries.clear()
        return False
