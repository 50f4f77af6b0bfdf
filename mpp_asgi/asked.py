"""The request as its client sent it, so far as its payment is concerned: whatever stands further in
may rewrite the scope."""

from __future__ import annotations

import functools
import ipaddress
import re
from typing import TYPE_CHECKING

from mpp_asgi.body import RequestBody, may_have_body
from mpp_asgi.protocol import payment_credentials
from mpp_asgi.protocol.headers import PAYMENT_AUTHORIZATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import Receive, Scope

_HOST = re.compile(r"([A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_LONGEST_HOST = 261
"""255 characters of a name, a colon and a port."""
HANDSHAKE = "WebSocket handshake"
"""Stands for its method, since it is no GET of its path; no method of HTTP can be spelled so."""
_NAMELESS = "localhost"
_IN_PROCESS = frozenset({"", "testclient"})
"""What stands for the address of a client on a Unix socket, and of Starlette's test client."""
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


class Asked:
    """What a client asked for, and the header fields that payment is about.

    Args:
        scope: of an HTTP request, or of a WebSocket's handshake.
    """

    body: RequestBody
    """From `take_up` on."""
    host = b""
    has_several_hosts = False
    """Whether there are several fields of that name, so that others may read another one."""
    accept: str | None = None
    """``Accept-Payment``."""
    credentials: Sequence[str] = ()
    """Of the scheme Payment."""
    header: str | None = None
    """The field that is left for a credential where another scheme has taken ``Authorization``."""
    session: str | None = None
    """``Payment-Session``."""
    idempotency_key: str | None
    """``Idempotency-Key``."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.method: str = scope.get("method", HANDSHAKE)
        self.path: str = scope["path"]
        self.query: bytes = scope.get("query_string", b"")
        self.idempotency_key = None
        announces_body = is_named = False
        for name, value in scope["headers"]:
            if name not in _TELLING:
                continue
            if name == b"host":
                self.has_several_hosts, is_named = is_named, True
                self.host = value
            elif name == b"authorization" or name == b"payment-authorization":  # noqa: PLR1714
                self._authorize(name, value)
            elif name == b"accept-payment":
                text = value.decode("latin-1")
                self.accept = text if self.accept is None else f"{self.accept}, {text}"
            elif name == b"payment-session":
                self.session = value.decode("latin-1")
            elif name == b"idempotency-key":
                self.idempotency_key = value.decode("latin-1")
            elif name != b"content-length" or value != b"0":
                announces_body = True
        self.may_have_body = may_have_body(scope, announces_body)
        """See `body.may_have_body`."""

    def _authorize(self, name: bytes, value: bytes) -> None:
        shown = payment_credentials([value.decode("latin-1")])
        if shown:
            self.credentials = [*self.credentials, *shown] if self.credentials else shown
        elif name == b"authorization":
            self.header = PAYMENT_AUTHORIZATION

    @property
    def shows_something(self) -> bool:
        """Whether it names a payment or a session."""
        return bool(self.credentials) or self.session is not None

    def take_up(self, receive: Receive) -> None:
        """Be ready for the body, which this gives."""
        self.body = RequestBody(receive, self.may_have_body)


def realm_of(host: bytes) -> str:
    """The host a request names, without its port; it is the client's word and may be anything."""
    return _named(host) if len(host) <= _LONGEST_HOST else _NAMELESS


@functools.lru_cache(maxsize=1024)
def _named(host: bytes) -> str:
    named = _HOST.fullmatch(host.decode("latin-1"))
    return named[1].lower() if named else _NAMELESS


def is_insecure(scope: Scope) -> bool:
    """Whether the request came over plain HTTP from beyond this machine."""
    if scope.get("scheme", "http") not in ("http", "ws"):  # which is ASGI's default
        return False
    client = scope.get("client")
    return client is not None and not is_local(client[0])


@functools.lru_cache(maxsize=1024)
def is_local(host: str) -> bool:
    """Whether a client with this address is on this machine."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host in _IN_PROCESS  # else the word of a proxy, about whom we know nothing
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
