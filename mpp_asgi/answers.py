"""The answers that are ours to give, 402 and its relatives, as ASGI messages; and what is ours in
the application's answers: the receipt."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from starlette.types import Message, Send

    from mpp_asgi.protocol import IssuedChallenge, Problem


_CONTENT_TYPE = (b"content-type", b"application/problem+json")
_NO_STORE = (b"cache-control", b"no-store")
_PRIVATE = (b"cache-control", b"private")
"""With every receipt (core draft, Payment-Receipt)."""
_NO_STORE_PRIVATE = (b"cache-control", b"private, no-store")
_SHARING = frozenset({b"public", b"s-maxage", b"must-understand"})
"""What lets a shared cache keep a response though it says that none shall (RFC 9111, 5.2.2)."""
_ABOVE_CACHE_CONTROL = frozenset({b"x-accel-expires", b"surrogate-control", b"edge-control"})
"""Fields that some caches believe rather than ``Cache-Control``: nginx, Varnish and others."""
_SILENT = frozenset({b"content-type", b"content-length"})
"""Fields that say nothing of caches, and all that most responses have."""
_TARGETED = b"-cache-control"
"""How others end: ``CDN-Cache-Control`` and those of one cache each (RFC 9213)."""
_NO_FIELDS: Mapping[str, str] = MappingProxyType({})

Field = tuple[bytes, bytes]
"""Name and value of a header field."""


class Acknowledgement(NamedTuple):
    """What a credential gets that only did something about a session: 204 with its receipt."""

    receipt: str

    async def send(self, send: Send, kind: str = "http") -> None:
        headers = [(b"payment-receipt", self.receipt.encode("ascii")), _NO_STORE_PRIVATE]
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
    headers: Sequence[Field]
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


def paid_headers(headers: Collection[Field], receipt: str) -> list[Field]:
    """With the receipt, and never for a shared cache (core draft, Payment-Receipt)."""
    paid = private_headers(headers)
    paid.append((b"payment-receipt", receipt.encode("ascii")))
    return paid


def private_headers(headers: Collection[Field]) -> list[Field]:
    """For nobody but who asked, whatever the application says of caches."""
    for name, _ in headers:
        if name not in _SILENT:
            break
    else:
        return [*headers, _PRIVATE]
    private, said = [], []
    for field in headers:
        name = field[0].lower()
        if name == b"cache-control":
            said.append(field[1])
        elif name not in _ABOVE_CACHE_CONTROL and not name.endswith(_TARGETED):
            private.append(field)
    private.append((b"cache-control", _made_private(b",".join(said))) if said else _PRIVATE)
    return private


def unshared_headers(headers: Iterable[Field]) -> list[Field]:
    """For nobody but who asked, unless the application says something of caches."""
    fields = list(headers)
    if any(_is_about_caches(name.lower()) for name, _ in fields):
        return fields
    return [*fields, _PRIVATE]


def _is_about_caches(name: bytes) -> bool:
    return (
        name in _ABOVE_CACHE_CONTROL
        or name.endswith(_TARGETED)
        or name in (b"cache-control", b"expires")
    )


def _made_private(cache_control: bytes) -> bytes:
    directives = [each.strip() for each in cache_control.split(b",") if each.strip()]
    kept = [d for d in directives if d.partition(b"=")[0].lower() not in _SHARING]
    if not any(d.lower() in (b"private", b"no-store") for d in kept):
        kept.append(b"private")
    return b", ".join(kept)
