"""The answers that are ours to give: 402 and its relatives, as ASGI messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.types import Message, Send

    from mpp_asgi.protocol import IssuedChallenge, Problem


@dataclass(frozen=True, slots=True)
class Answer:
    """A problem, with the challenges that the payer may take up."""

    problem: Problem
    challenges: Sequence[IssuedChallenge] = ()
    retry_after: int | None = None
    """Seconds."""
    body: bytes | None = None
    """The problem's JSON, where it was made before."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further header fields."""

    def messages(self, kind: str = "http") -> list[Message]:
        """The response as ASGI messages.

        Args:
            kind: ``"http"``, or ``"websocket"`` for a denial response.
        """
        body = self.body or self.problem.to_json()
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        headers += [
            (b"www-authenticate", challenge.header_value.encode("latin-1"))
            for challenge in self.challenges
        ]
        if self.retry_after is not None:
            headers.append((b"retry-after", str(self.retry_after).encode()))
        headers += [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in self.headers.items()
        ]
        prefix = "websocket.http.response" if kind == "websocket" else "http.response"
        return [
            {"type": f"{prefix}.start", "status": self.problem.status, "headers": headers},
            {"type": f"{prefix}.body", "body": body},
        ]

    async def send(self, send: Send, kind: str = "http") -> None:
        for message in self.messages(kind):
            await send(message)
