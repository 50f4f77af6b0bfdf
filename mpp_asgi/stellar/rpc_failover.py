"""Several nodes as one: prefer the first, go on with the next, notice who cannot be relied on.

An answer always comes from one node, whole, with that node's own latest ledger: whoever concludes
from a silence of the ledger has to look at that, and then it does not matter which node was asked.
A transaction that is sent may be sent to another node after the first gave no answer, because it is
the same envelope; but then only a "yes" is passed on, since the first may have taken it.

A node is put aside when it fails, is behind, goes backwards, contradicts the others or the clock.
It comes back when it is found well again, which is looked after beside the calls that are made. If
all are aside, they are asked all the same; a node of another network never is.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from mpp_asgi.stellar.rpc import Submission, get_health, get_network
from mpp_asgi.stellar.rpc_call import RpcAnswerTooLargeError, RpcRefusedError, RpcUnavailableError
from mpp_asgi.stellar.rpc_tips import can_be_of_one_chain, is_behind, standing_alone, tip_told

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mpp_asgi.stellar.rpc_call import Rpc, RpcCall
    from mpp_asgi.stellar.rpc_tips import Tip

T = TypeVar("T")

log = logging.getLogger("mpp_asgi.rpc")

CALL_SECONDS: Final = 5.0
"""For a call to one of several nodes."""
TOTAL_SECONDS: Final = 15.0
"""For a call, whichever nodes it goes to."""
START_SECONDS: Final = 3.0
"""How long a start waits for nodes to say which network they follow."""
PROBE_SECONDS: Final = 30.0
"""How often all nodes are looked after, while there are calls."""
ASIDE_SECONDS: Final = 30.0
"""How long a node is put aside the first time; twice as long each time, up to `LONGEST_ASIDE`."""
LONGEST_ASIDE: Final = 300.0
FAILURES: Final = 2
"""Calls in a row that may fail, without a time-out, before a node is put aside."""


class WrongNetworkError(ValueError):
    """No node follows the network that is wanted."""


@dataclass(slots=True)
class Endpoint:
    """A node, and what is known of it."""

    name: str
    """For logs: never the URL, which may carry a key."""
    rpc: Rpc
    is_verified: bool = False
    """It follows the right network."""
    is_foreign: bool = False
    """It follows another one."""
    aside: str | None = None
    """Why it was put aside."""
    aside_until: float = 0.0
    times_aside: int = 0
    back_since: float = 0.0
    failures: int = 0
    tip: Tip | None = None
    """What it told of its latest ledger the last time."""


class FailoverRpc:
    """An `Rpc` over one or more nodes, in the order of preference.

    Args:
        endpoints: the nodes; their ``rpc`` is closed with this.
        passphrase: of the network they have to follow.
        clock: Unix seconds.
        call_seconds: for a call to one node; ``None``: as long as the whole call may take.
        total_seconds: for a call, whichever nodes it goes to.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        passphrase: str,
        clock: Callable[[], float],
        call_seconds: float | None = CALL_SECONDS,
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self.endpoints = tuple(endpoints)
        self._passphrase = passphrase
        self._clock = clock
        self._call_seconds = call_seconds
        self._total_seconds = total_seconds
        self._probe_at = clock() + PROBE_SECONDS
        self._probing: asyncio.Task[None] | None = None

    async def require_network(self, seconds: float = START_SECONDS) -> None:
        """See which network the nodes follow, those that say so in time.

        Raises:
            WrongNetworkError: all follow another one.
        """
        checks = [asyncio.create_task(self._verify(each)) for each in self.endpoints]
        try:
            await asyncio.wait(checks, timeout=seconds)
        finally:
            for check in checks:
                check.cancel()
            outcomes = await asyncio.gather(*checks, return_exceptions=True)
        for endpoint, outcome in zip(self.endpoints, outcomes, strict=True):
            if outcome is not None:
                log.warning("rpc silent endpoint=%s: %s", endpoint.name, outcome)
        if all(each.is_foreign for each in self.endpoints):
            raise WrongNetworkError("the RPC follows another network")

    async def do(self, call: RpcCall[T]) -> T:
        """The call's result, from the best node that answers; raises as `Rpc.do` does."""
        self._look_after_others()
        try:
            async with asyncio.timeout(self._total_seconds):
                return await self._do(call)
        except TimeoutError:
            raise RpcUnavailableError(f"No RPC answered {call.method} in time.") from None

    async def aclose(self) -> None:
        """Let go of all connections. Idempotent."""
        probing, self._probing = self._probing, None
        if probing is not None and probing.get_loop() is asyncio.get_running_loop():
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        for each in self.endpoints:
            await each.rpc.aclose()

    # One call

    async def _do(self, call: RpcCall[T]) -> T:
        second_best: list[T] = []
        error = RpcUnavailableError("There is no RPC that follows the network.")
        is_unanswered = False
        for endpoint in self._in_order():
            was_well = endpoint.aside is None
            if second_best and not was_well:
                break
            try:
                if not endpoint.is_verified:
                    await self._verify(endpoint)
                if endpoint.is_foreign:
                    continue
                result = await self._ask(endpoint, call)
            except RpcAnswerTooLargeError:
                raise
            except RpcUnavailableError as failure:
                error = failure
                is_unanswered = is_unanswered or endpoint.is_verified
                continue
            is_doubtful = was_well and endpoint.aside is not None
            if is_doubtful and not _is_taken(result):
                second_best.append(result)  # it has just shown that others may know better
                continue
            return _despite_silence(result, call) if is_unanswered else result
        if not second_best:
            raise error
        return _despite_silence(second_best[0], call) if is_unanswered else second_best[0]

    def _in_order(self) -> list[Endpoint]:
        """Those that are well, then those that are aside."""
        ours = [each for each in self.endpoints if not each.is_foreign]
        return sorted(ours, key=lambda each: each.aside is not None)

    async def _ask(self, endpoint: Endpoint, call: RpcCall[T]) -> T:
        try:
            async with asyncio.timeout(self._call_seconds):
                result = await endpoint.rpc.do(call)
        except TimeoutError:
            self._put_aside(endpoint, f"no answer to {call.method} in time")
            raise RpcUnavailableError(f"The RPC did not answer {call.method} in time.") from None
        except (RpcRefusedError, RpcAnswerTooLargeError):
            endpoint.failures = 0
            raise
        except RpcUnavailableError as error:
            endpoint.failures += 1
            if endpoint.failures >= FAILURES:
                self._put_aside(endpoint, str(error))
            raise
        endpoint.failures = 0
        tip = tip_told(result)
        if tip is not None:
            self._judge(endpoint, tip)
        return result

    async def _verify(self, endpoint: Endpoint) -> None:
        try:
            info = await self._ask(endpoint, get_network())
        except RpcRefusedError as refusal:
            self._put_aside(endpoint, str(refusal))
            raise RpcUnavailableError(str(refusal)) from refusal
        endpoint.is_foreign = info.passphrase != self._passphrase
        endpoint.is_verified = not endpoint.is_foreign
        if endpoint.is_foreign:
            self._put_aside(endpoint, "it follows another network")

    # Who can be relied on

    def _judge(self, endpoint: Endpoint, tip: Tip) -> None:
        """Put a node aside whose latest ledger cannot be, or is not the latest."""
        before, endpoint.tip = endpoint.tip, tip
        if before is not None and is_behind(tip, before):
            trouble: str | None = f"it went backwards from ledger {before.ledger}"
        else:
            trouble = standing_alone(tip, self._clock()) or self._compare(endpoint, tip)
        if trouble is not None:
            self._put_aside(endpoint, trouble)
        elif endpoint.aside is not None and self._clock() >= endpoint.aside_until:
            endpoint.aside, endpoint.back_since = None, self._clock()
            log.info("rpc back endpoint=%s ledger=%d", endpoint.name, tip.ledger)

    def _compare(self, endpoint: Endpoint, tip: Tip) -> str | None:
        for other in self.endpoints:
            if other is endpoint or other.tip is None or other.aside is not None:
                continue
            if can_be_of_one_chain(tip, other.tip):
                if is_behind(tip, other.tip):
                    return f"{other.tip.ledger - tip.ledger} ledgers behind {other.name}"
            elif self._is_believed(endpoint, other):
                self._put_aside(other, f"its latest ledger contradicts {endpoint.name}'s")
            else:
                return f"its latest ledger contradicts {other.name}'s"
        return None

    def _is_believed(self, one: Endpoint, other: Endpoint) -> bool:
        """Of two that contradict each other: whom more others agree with, else whom is
        preferred."""
        votes = self._votes(one, other), self._votes(other, one)
        if votes[0] != votes[1]:
            return votes[0] > votes[1]
        return self.endpoints.index(one) < self.endpoints.index(other)

    def _votes(self, endpoint: Endpoint, against: Endpoint) -> int:
        return sum(
            can_be_of_one_chain(endpoint.tip, each.tip)
            for each in self.endpoints
            if each not in (endpoint, against)
            and endpoint.tip is not None
            and each.tip is not None
            and each.tip.close_time is not None
        )

    def _put_aside(self, endpoint: Endpoint, reason: str) -> None:
        now = self._clock()
        if endpoint.aside is None and now - endpoint.back_since > LONGEST_ASIDE:
            endpoint.times_aside = 0
        elif endpoint.aside is not None and now < endpoint.aside_until:
            return  # the last resort, no better than it was
        seconds = min(LONGEST_ASIDE, ASIDE_SECONDS * 2**endpoint.times_aside)
        endpoint.aside, endpoint.aside_until = reason, now + seconds
        endpoint.times_aside = min(endpoint.times_aside + 1, 10)
        log.warning(
            "rpc aside endpoint=%s reason=%r ledger=%s seconds=%d",
            endpoint.name,
            reason,
            endpoint.tip.ledger if endpoint.tip is not None else None,
            seconds,
        )

    # Beside the calls

    def _look_after_others(self) -> None:
        if len(self.endpoints) == 1 or self._clock() < self._probe_at:
            return
        self._probe_at = self._clock() + PROBE_SECONDS
        loop = asyncio.get_running_loop()
        if self._probing is None or self._probing.done() or self._probing.get_loop() is not loop:
            self._probing = loop.create_task(self.probe(), context=contextvars.Context())

    async def probe(self) -> None:
        """Look after every node, and let those come back that are well again."""
        now = self._clock()
        ours = [each for each in self.endpoints if each.aside is None or now >= each.aside_until]
        in_use = [each for each in self._in_order() if each in ours][:1]
        for each in in_use:  # first, because the others are compared with it
            await self._probe(each)
        await asyncio.gather(*(self._probe(each) for each in ours if each not in in_use))

    async def _probe(self, endpoint: Endpoint) -> None:
        try:
            if endpoint.aside is not None or not endpoint.is_verified:
                await self._verify(endpoint)
            if not endpoint.is_foreign:
                await self._ask(endpoint, get_health())
        except (RpcUnavailableError, RpcRefusedError) as error:
            self._put_aside(endpoint, str(error))


def _is_taken(result: object) -> bool:
    """Whether a node has taken a transaction, which is so whatever becomes of the node."""
    return isinstance(result, Submission) and result.status in ("PENDING", "DUPLICATE")


def _despite_silence(result: T, call: RpcCall[T]) -> T:
    """The answer, if it counts though another node that was asked the same gave none."""
    if not isinstance(result, Submission):
        return result
    if not _is_taken(result):
        raise RpcUnavailableError(f"An RPC did not answer {call.method}.")
    return replace(result, after_silence=True)
