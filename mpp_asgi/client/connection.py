"""Where a credential may go: it is money to whoever reads it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

import httpx

from mpp_asgi.client.errors import UnsafeConnectionError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Origin = tuple[str, str, int | None]

_PEER = "mpp_asgi.peer"

_PORTS = {"http": 80, "https": 443}


def origin_of(url: httpx.URL) -> Origin:
    """Scheme, host and port (RFC 6454)."""
    return url.scheme, url.host, url.port or _PORTS.get(url.scheme)


def origin_text(url: httpx.URL) -> str:
    """The origin as text that does not depend on how the URL was written."""
    scheme, host, port = origin_of(url)
    return f"{scheme}://{host}:{port}"


def origins_from(texts: Collection[str]) -> frozenset[Origin]:
    """Origins as people write them: ``https://api.example.com``.

    Raises:
        ValueError: one of them is none.
    """
    origins = set()
    for text in texts:
        url = httpx.URL(text)
        if url.scheme not in _PORTS or not url.host or url.path not in ("", "/") or url.query:
            raise ValueError(f"{text!r} is not an origin such as 'https://api.example.com'.")
        origins.add(origin_of(url))
    return frozenset(origins)


def require_safe(asked: httpx.URL, answered: httpx.URL, origins: frozenset[Origin] | None) -> None:
    """The URL that answered may be paid, when that asked was requested.

    Args:
        asked: the URL that the app requested.
        answered: the URL that wants money, after redirects.
        origins: who may be paid; ``None``: whoever the app asked.

    Raises:
        UnsafeConnectionError: it may not.
    """
    shown = f"{answered.scheme}://{answered.netloc.decode('ascii', 'replace')}"
    if origin_of(answered) != origin_of(asked):
        raise UnsafeConnectionError(
            f"Nothing was paid, because the request was redirected to another origin, {shown}."
        )
    if origins is not None and origin_of(answered) not in origins:
        raise UnsafeConnectionError(
            f"Nothing was paid, because {shown} is not among the origins that may be paid."
        )
    if answered.scheme != "https" and not _is_loopback(answered.host):
        raise UnsafeConnectionError(
            "Nothing was paid, because a credential must not travel over plain HTTP: use https."
        )


def note_peer(response: httpx.Response) -> None:
    """Write down in the response whom it came from, while the connection is there to tell."""
    stream = response.extensions.get("network_stream")
    if stream is None:  # a transport that is no network
        return
    try:
        response.extensions[_PEER] = stream.get_extra_info("server_addr")
    except OSError:  # closed already
        return


def require_direct(priced: httpx.Response) -> None:
    """A plain HTTP response of this machine came from it, and not by way of a proxy elsewhere, to
    which a credential would travel in the clear.

    Raises:
        UnsafeConnectionError: it did not.
    """
    match priced.extensions.get(_PEER):
        case (host, *_) if priced.request.url.scheme == "http" and not _is_loopback(str(host)):
            raise UnsafeConnectionError(
                "Nothing was paid, because the request went through a proxy without https: put the "
                "host into NO_PROXY."
            )


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class CarryingHeaders(httpx.Headers):
    """Headers with fields, a credential above all, that the transport alone sees.

    httpx copies a request's headers when it follows a redirect, and leaves out ``Authorization``
    only, and only between hosts. Event hooks and logs show headers, too. A transport sends
    ``raw``, which nobody else reads.
    """

    def __init__(self, headers: httpx.Headers, fields: Mapping[str, str]) -> None:
        super().__init__(headers)
        self._carried = [
            (name.encode("ascii"), value.encode("ascii")) for name, value in fields.items()
        ]

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        return [*super().raw, *self._carried]
