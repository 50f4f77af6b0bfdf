"""A WebSocket's opening handshake: an HTTP request with a price like any other.

It is paid once, before the connection is accepted; a refusal is a denial response where the server
supports one, and a close before the handshake where it does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.answers import OwedError
from mpp_asgi.visit import Stage, Visit

if TYPE_CHECKING:
    from starlette.types import Message

    from mpp_asgi.answers import Acknowledgement, Answer, Replay
    from mpp_asgi.toll import Toll

DENIAL_RESPONSE = "websocket.http.response"
POLICY_VIOLATION = 1008


class Handshake(Visit):
    """Carries a handshake through the application."""

    async def send(self, message: Message) -> None:
        """What the application calls."""
        if self.stage is Stage.ANSWERED:
            return
        if message["type"] != "websocket.accept":
            await self._send(message)
            return
        if self._toll is None:
            await self._let_in_late()
        if self._toll is not None:
            await self._accept(message, self._toll)
        else:
            self._started = True
            await self._send(message)

    async def _accept(self, message: Message, toll: Toll) -> None:
        if self.stage is not Stage.WAIVED:
            try:
                if self.stage is Stage.PRICED:
                    await self._pay(toll)
                await toll.settle()  # once the connection is open there is nothing to hold back
                await toll.hold()
            except OwedError as owed:
                self._turn_away(owed)
                raise
            receipt = toll.payment.receipt_value if toll.payment is not None else None
            if receipt is not None:
                header = (b"payment-receipt", receipt.encode("ascii"))
                message = {**message, "headers": [*message.get("headers", ()), header]}
        self._started = True
        self._status = 101
        await self._send(message)
        await self._conclude(toll)

    async def _give_answer(self, answer: Answer | Acknowledgement | Replay) -> None:
        if not self._started and DENIAL_RESPONSE in self.scope.get("extensions", {}):
            await answer.send(self._send, "websocket")
        else:
            await self._send({"type": "websocket.close", "code": POLICY_VIOLATION})
