"""Nodes by their URLs: what a setting names, as something to ask."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import httpx

from mpp_asgi.stellar.rpc_drivers import TIMEOUT, AsyncRpc, checked_url
from mpp_asgi.stellar.rpc_failover import CALL_SECONDS, Endpoint, FailoverRpc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def preferred(urls: str | None) -> str | None:
    """The first of the URLs in a text, between commas: for whoever asks one node only."""
    return urls.split(",")[0].strip() if urls else None


def checked_urls(urls: Sequence[str]) -> tuple[str, ...]:
    """The URLs of RPCs, as they are.

    Raises:
        ValueError: one of them is no http:// or https:// URL, or there is one twice.
    """
    for each in urls:
        checked_url(each)
    if len(set(urls)) != len(urls):
        raise ValueError("An RPC is named twice.")
    return tuple(urls)


def endpoint_names(urls: Sequence[str]) -> list[str]:
    """What to call them in public: their hosts, numbered where one has several."""
    hosts = [checked_url(each).netloc.decode("ascii") for each in urls]
    names, seen = [], Counter[str]()
    for host in hosts:
        seen[host] += 1
        names.append(host if hosts.count(host) == 1 else f"{host}#{seen[host]}")
    return names


def open_rpc(urls: Sequence[str], *, passphrase: str, clock: Callable[[], float]) -> FailoverRpc:
    """Connections to nodes, the preferred one first. Close it.

    Args:
        urls: one at least.
        passphrase: of the network that they have to follow.
        clock: Unix seconds.
    """
    is_alone = len(urls) == 1
    trust = httpx.create_ssl_context()  # takes long, so it is done once
    return FailoverRpc(
        [
            Endpoint(
                name,
                AsyncRpc(url, ssl_context=trust, timeout=TIMEOUT if is_alone else CALL_SECONDS),
            )
            for name, url in zip(endpoint_names(urls), urls, strict=True)
        ],
        passphrase=passphrase,
        clock=clock,
        call_seconds=None if is_alone else CALL_SECONDS,
    )
