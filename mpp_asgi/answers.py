"""The answers that are ours to give, 402 and its relatives, as ASGI messages; and what is ours in
the application's answers: the receipt."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from starlette.types import Message, Send

    from mpp_asgi.protocol import IssuedChallenge, Problem


_CONTENT_TYPE = (b"content-type", b"application/problem+json")
_NO_STORE = (b"cache-control", b"no-store")
_PRIVATE = (b"cache-control", b"private, no-store")
"""With every receipt (core draft, Payment-Receipt)."""
_PRIVATE_IF_UNSAID = (b"cache-control", b"private")
_SHARING = frozenset({b"public", b"s-maxage"})
_NO_FIELDS: Mapping[str, str] = MappingProxyType({})


class Acknowledgement(NamedTuple):
    """What a credential gets that only did something about a session: 204 with its receipt."""

    receipt: str

    async def send(self, send: Send, kind: str = "http") -> None:
        headers = [(b"payment-receipt", self.receipt.encode("ascii")), _PRIVATE]
        prefix = "websocket.http.response" if kind == "websocket" else "http.response"
        await send({"type": f"{prefix}.start", "status": 204, "headers": headers})
        await send({"type": f"{prefix}.body", "body": b""})


class Answer(NamedTuple):
    """A problem, with the challenges that the payer may take up."""

    problem: Problem
    challenges: Sequence[IssuedChallenge] = ()
    retry_after: int | None = None
    """Seconds."""
    body: bytes | None = None
    """The problem's JSON, where it was made before."""
    headers: Mapping[str, str] = _NO_FIELDS
    """Further header fields."""

    def messages(self, kind: str = "http") -> list[Message]:
        """The response as ASGI messages.

        Args:
            kind: ``"http"``, or ``"websocket"`` for a denial response.
        """
        body = self.body or self.problem.to_json()
        headers = [_CONTENT_TYPE, (b"content-length", b"%d" % len(body)), _NO_STORE]
        headers += [
            (b"www-authenticate", challenge.header_value.encode("latin-1"))
            for challenge in self.challenges
        ]
        if self.retry_after is not None:
            headers.append((b"retry-after", str(self.retry_after).encode()))
        for name, value in self.headers.items():
            headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))
        prefix = "websocket.http.response" if kind == "websocket" else "http.response"
        return [
            {"type": f"{prefix}.start", "status": self.problem.status, "headers": headers},
            {"type": f"{prefix}.body", "body": body},
        ]

    async def send(self, send: Send, kind: str = "http") -> None:
        for message in self.messages(kind):
            await send(message)


class Replay(NamedTuple):
    """A response of the application's that is given once more."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes

    async def send(self, send: Send, kind: str = "http") -> None:
        prefix = "websocket.http.response" if kind == "websocket" else "http.response"
        await send({"type": f"{prefix}.start", "status": self.status, "headers": self.headers})
        await send({"type": f"{prefix}.body", "body": self.body})


class OwedError(BaseException):
    """The request may not go on; carries what to answer.

    Like a cancellation it unwinds the application and is no error of its: nothing that handles,
    reports or swallows errors there is to meet it.
    """

    def __init__(self, answer: Answer | Acknowledgement | Replay) -> None:
        super().__init__()
        self.answer = answer


def paid_headers(headers: Iterable[tuple[bytes, bytes]], receipt: str) -> list[tuple[bytes, bytes]]:
    """With the receipt, and never for a shared cache (core draft, Payment-Receipt)."""
    paid, said = [], []
    for field in headers:
        if field[0].lower() == b"cache-control":
            said.append(field[1])
        else:
            paid.append(field)
    paid.append((b"payment-receipt", receipt.encode("ascii")))
    paid.append((b"cache-control", _made_private(b",".join(said))) if said else _PRIVATE_IF_UNSAID)
    return paid


def _made_private(cache_control: bytes) -> bytes:
    directives = [each.strip() for each in cache_control.split(b",") if each.strip()]
    kept = [d for d in directives if d.partition(b"=")[0].lower() not in _SHARING]
    if not any(d.lower() in (b"private", b"no-store") for d in kept):
        kept.append(b"private")
    return b", ".join(kept)
