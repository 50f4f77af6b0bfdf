"""The hosts that a PostgreSQL URL names: which one is taken, and how long each may be silent.

The driver would go over them, too, but waits for one that says nothing until all time is over.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from mpp_asgi.stores.postgres.connection import HOST_FAILURES, connect, is_standby

if TYPE_CHECKING:
    from mpp_asgi.stores.postgres.connection import Connection, Target


class Hosts:
    """Those of a target, in the order in which they are asked. For one event loop."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._urls = one_each(target.url)

    async def connect(self) -> Connection:
        """Connect to the first that will do; next time it comes first.

        Raises:
            As `connection.connect`, for a host that is no standby if there is one.
        """
        urls = self._urls
        # A call has to begin its statement in the first half of its time. Who is last may take all
        # that is left: the connection is there for the next call then.
        patience = self._target.timeout / 2 / len(urls)
        failures: list[Exception] = []
        for url in urls:
            try:
                async with asyncio.timeout(None if url is urls[-1] else patience):
                    connection = await connect(self._target, url)
            except HOST_FAILURES as error:
                failures.append(error)
            else:
                self._urls = [url, *(other for other in urls if other is not url)]
                return connection
        raise next((error for error in failures if not is_standby(error)), failures[0])


def one_each(url: str) -> list[str]:
    """URLs that name one host each and else the same. What is not plainly a list of hosts is left
    to the driver as it is."""
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    if not hosts:
        return _one_of_options_each(url)
    names = hosts.split(",")
    if not _are_plain(names):
        return [url]
    return [urlunsplit(parts._replace(netloc=f"{login}{at}{name}")) for name in names]


def _one_of_options_each(url: str) -> list[str]:
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    options = dict(pairs)
    names = _named_hosts(options).split(",")
    ports = options.get("port", "").split(",")
    if len(ports) == 1:
        ports *= len(names)
    if not _are_plain(names) or len(ports) != len(names):
        return [url]
    others = [pair for pair in pairs if pair[0] not in ("host", "port")]
    queries = (
        urlencode([*others, ("host", name), *([("port", port)] if port else [])])
        for name, port in zip(names, ports, strict=True)
    )
    return [urlunsplit(parts._replace(query=query)) for query in queries]


def _are_plain(names: list[str]) -> bool:
    return len(names) > 1 and all(names) and "," not in os.environ.get("PGPORT", "")


def _named_hosts(options: dict[str, str]) -> str:
    """By the URL's options or the environment; a service file comes before the environment."""
    has_service = options.get("service") or os.environ.get("PGSERVICE")
    return options.get("host") or ("" if has_service else os.environ.get("PGHOST", ""))
