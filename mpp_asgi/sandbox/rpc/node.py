"""What the RPC methods work on: one ledger, one clock, one source of randomness."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from mpp_asgi.sandbox.faults import Faults
from mpp_asgi.sandbox.frame import Frame
from mpp_asgi.sandbox.network import Moment
from mpp_asgi.sandbox.queue import Status
from mpp_asgi.sandbox.simulation import Foresight, Simulator
from mpp_asgi.sandbox.wire.transactions import Envelope

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from mpp_asgi.sandbox.ledger import Ledger
    from mpp_asgi.sandbox.queue import Submission

_CACHED_FRAMES = 256


class Node:
    """A ledger as its RPC methods see it."""

    def __init__(
        self, ledger: Ledger, *, passphrase: str, clock: Callable[[], float], random: Random
    ) -> None:
        self.ledger = ledger
        self.passphrase = passphrase
        self.faults = Faults()
        self._clock = clock
        self._random = random
        self._frames: OrderedDict[bytes, Frame] = OrderedDict()

    def frame(self, data: bytes) -> Frame:
        """Parse an envelope; raises ``XdrError``. Equal bytes are parsed once."""
        frame = self._frames.get(data)
        if frame is None:
            frame = Frame.of(Envelope.parse(data), self.ledger.network.network_id)
            self._frames[data] = frame
            if len(self._frames) > _CACHED_FRAMES:
                self._frames.popitem(last=False)
        return frame

    def submit(self, frame: Frame) -> Submission:
        refusal = self.faults.refusal(frame)
        if refusal is not None:
            return refusal
        submission = self.ledger.submit(frame, self._clock())
        if submission.status is Status.PENDING:
            delay = self.faults.delay()
            if delay:
                self.ledger.hold_back(frame, delay)
        return submission

    def advance(self) -> None:
        self.ledger.advance(self._clock())

    def silence(self) -> float:
        """Seconds since the last ledger it knows of closed, where ledgers close by themselves."""
        return self.ledger.silence(self._clock())

    def simulator(self) -> Simulator:
        """Simulates as of the latest ledger."""
        ledger = self.ledger
        moment = Moment(ledger.sequence, ledger.close_time)
        return Simulator(ledger.network, Foresight(ledger.state), moment, self._new_nonce)

    def _new_nonce(self) -> int:
        return self._random.randrange(2**63)

    def span(self) -> dict[str, Any]:
        """The kept range of ledgers, as most answers tell it."""
        history = self.ledger.history
        return {
            "latestLedger": self.ledger.sequence,
            "latestLedgerCloseTime": str(self.ledger.close_time),
            "oldestLedger": history.oldest,
            "oldestLedgerCloseTime": str(history.close_time(history.oldest)),
        }
