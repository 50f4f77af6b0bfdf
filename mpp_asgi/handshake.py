"""A WebSocket's opening handshake: an HTTP request with a price like any other.

It is paid once, before the connection is accepted; a refusal is a denial response where the server
supports one, and a close before the handshake where it does not. What the application gives as such
a response without refusing is sold as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.answers import OwedError, private_headers
from mpp_asgi.visit import Stage, Visit

if TYPE_CHECKING:
    from starlette.types import Message

    from mpp_asgi.answers import Acknowledgement, Answer, Replay
    from mpp_asgi.toll import Toll

DENIAL_RESPONSE = "websocket.http.response"
POLICY_VIOLATION = 1008
_CLOSED = 403
"""What servers answer where the application closes before it has accepted."""


class Handshake(Visit):
    """Carries a handshake through the application."""

    _is_over = False
    """Whether it was closed, or answered with a response."""

    async def send(self, message: Message) -> None:
        """What the application calls."""
        if self.stage is Stage.ANSWERED:
            return
        kind = message["type"]
        if self._started:
            self._is_over = self._is_over or kind == "websocket.close"
            await self._send(message)
            if kind == f"{DENIAL_RESPONSE}.body" and not message.get("more_body", False):
                await self._conclude_paid()
        elif kind == "websocket.accept":
            await self._begin(message, 101)
            await self._conclude_paid()
        elif kind == f"{DENIAL_RESPONSE}.start":
            self._is_over = True
            await self._begin(message, message["status"])
        elif kind == "websocket.close":
            self._is_over = True
            await self._begin(message, _CLOSED)
            await self._conclude_paid()
        elif self._toll is None and self._expected is None:
            await self._send(message)  # else nothing goes ahead of what is to be paid for

    async def _begin(self, message: Message, status: int) -> None:
        """Pass on what the handshake comes to: if that is no refusal, once it is paid for."""
        self._status = status
        if status >= 400:
            if self.stage is Stage.PRICED:
                self.stage = Stage.REFUSED
        else:
            await self._let_in_late()
        toll = self._toll
        if toll is not None and toll.admission is not None:
            message = await self._settled(message, toll)
        self._started = True
        await self._send(message)

    async def _settled(self, message: Message, toll: Toll) -> Message:
        """The message that may go, now that the payment is final."""
        try:
            if self._status < 400:
                await toll.settle()  # once the connection is open there is nothing to hold back
            if self._status < 500:
                await toll.hold()
        except OwedError as owed:
            self._turn_away(owed)
            raise
        headers = list(message.get("headers", ()))
        if message["type"] == f"{DENIAL_RESPONSE}.start":
            headers = private_headers(headers)
        elif message["type"] != "websocket.accept":
            return message
        receipt = toll.payment.receipt_value if toll.payment is not None else None
        if receipt is not None and self._status < 400:
            headers.append((b"payment-receipt", receipt.encode("ascii")))
        return {**message, "headers": headers}

    async def _conclude_paid(self) -> None:
        if self._toll is not None:
            await self._conclude(self._toll)

    async def _give_answer(self, answer: Answer | Acknowledgement | Replay) -> None:
        if self._is_over:
            return
        if not self._started and DENIAL_RESPONSE in self.scope.get("extensions", {}):
            await answer.send(self._send, "websocket")
        else:
            await self._send({"type": "websocket.close", "code": POLICY_VIOLATION})
