"""The request as its client sent it, so far as its payment is concerned: whatever stands further in
may rewrite the scope."""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import TYPE_CHECKING, NamedTuple

from mpp_asgi.body import RequestBody, may_have_body
from mpp_asgi.protocol import payment_credentials

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

_HOST = re.compile(r"([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_LONGEST_HOST = 261
"""255 characters of a name, a colon and a port."""
_NAMELESS = "localhost"
_TELLING = frozenset(
    {
        b"host",
        b"authorization",
        b"payment-authorization",
        b"accept-payment",
        b"payment-session",
        b"idempotency-key",
        b"content-length",
        b"transfer-encoding",
    }
)
"""Every other field is passed over at one look."""


class Fields(NamedTuple):
    """The header fields that payment is about."""

    host: bytes
    accept: str | None
    """``Accept-Payment``."""
    credentials: list[str]
    """Of the scheme Payment."""
    session: str | None
    """``Payment-Session``."""
    may_have_body: bool
    """See `body.may_have_body`."""
    idempotency_key: str | None = None
    """``Idempotency-Key``."""


def read_fields(scope: Scope) -> Fields:
    """The header fields that payment is about, of an HTTP request or a WebSocket's handshake."""
    host, accept, session, announces_body, key = b"", None, None, False, None
    credentials: list[str] = []
    for name, value in scope["headers"]:
        if name not in _TELLING:
            continue
        if name == b"host":
            host = value
        elif name == b"authorization" or name == b"payment-authorization":  # noqa: PLR1714
            credentials += payment_credentials([value.decode("latin-1")])
        elif name == b"accept-payment":
            text = value.decode("latin-1")
            accept = text if accept is None else f"{accept}, {text}"
        elif name == b"payment-session":
            session = value.decode("latin-1")
        elif name == b"idempotency-key":
            key = value.decode("latin-1")
        elif name != b"content-length" or value != b"0":
            announces_body = True
    return Fields(host, accept, credentials, session, may_have_body(scope, announces_body), key)


class Asked:
    """What a client asked for.

    Args:
        scope: of an HTTP request, or of a WebSocket's handshake.
        receive: gives the body.
        fields: of the scope's headers.
    """

    __slots__ = ("body", "fields", "method", "path", "query", "scope")

    def __init__(self, scope: Scope, receive: Receive, fields: Fields) -> None:
        self.scope = scope
        self.fields = fields
        self.method: str = scope.get("method", "WEBSOCKET")  # a handshake is no GET of its path
        self.path: str = scope["path"]
        self.query: bytes = scope.get("query_string", b"")
        self.body = RequestBody(receive, fields.may_have_body)


def realm_of(host: bytes) -> str:
    """The host a request names, without its port; it is the client's word and may be anything."""
    return _named(host) if len(host) <= _LONGEST_HOST else _NAMELESS


@functools.lru_cache(maxsize=1024)
def _named(host: bytes) -> str:
    named = _HOST.fullmatch(host.decode("latin-1"))
    return named[1].lower() if named else _NAMELESS


def is_insecure(scope: Scope) -> bool:
    """Whether the request came over plain HTTP from beyond this machine."""
    if scope.get("scheme") not in ("http", "ws"):
        return False
    client = scope.get("client")
    return client is not None and not is_local(client[0])


@functools.lru_cache(maxsize=1024)
def is_local(host: str) -> bool:
    """Whether a client with this address is on this machine."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return True  # no address: a Unix socket or an in-process client
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
