"""What a Redis URL says: where the server is, and how much of its durability is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

FORM: Final = "redis://host:6379/0"
SCHEMES: Final = frozenset({"redis", "rediss", "redis+unix"})
DEFAULT_PREFIX: Final = "mpp"
_PREFIX = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_OPTIONS = "durability, prefix, ca (with rediss) and db (with redis+unix)"


class Durability(StrEnum):
    """What the server has to do with what is written before it may lose it."""

    ALWAYS = "always"
    """On the disk before the answer: ``appendonly yes``, ``appendfsync always``."""
    EVERYSEC = "everysec"
    """On the disk within about a second: ``appendonly yes`` and not ``appendfsync no``."""
    UNCHECKED = "unchecked"
    """Whatever it does: it is not asked, since it may not answer (managed servers)."""


@dataclass(frozen=True, slots=True, repr=False)
class RedisServer:
    """A server, and which part of it is the store's. It is never shown: it has the password."""

    host: str = ""
    port: int = 6379
    path: str = ""
    """Of its socket, instead of host and port."""
    database: int = 0
    tls: bool = False
    ca: str | None = None
    """A file of certificates to trust instead of the system's."""
    user: str | None = None
    password: str | None = None
    prefix: str = DEFAULT_PREFIX
    """Every key is ``{prefix}:…``, so all are in one slot of a cluster."""
    durability: Durability = Durability.ALWAYS


def redis_server(url: str) -> RedisServer:
    """Read ``redis://[user:password@]host[:port][/database]``, ``rediss://…`` for TLS, or
    ``redis+unix:///path/of.sock?db=0``; options follow a ``?``.

    Raises:
        ValueError: one sentence that says what to write; it repeats nothing of the URL.
    """
    if "#" in url:
        raise ValueError("A Redis URL has no #: write %23 where one is part of a password.")
    try:
        parts = urlsplit(url)
        port = 6379 if parts.port is None else parts.port
    except ValueError:
        raise ValueError(f"The Redis URL cannot be read: write {FORM}.") from None
    local = parts.scheme == "redis+unix"
    options = _options(parts, local)
    host = parts.hostname or ""
    if local and (parts.netloc.rpartition("@")[2] or not parts.path.strip("/")):
        raise ValueError("A Redis socket is a path: write redis+unix:///run/redis.sock.")
    if not local and not host:
        raise ValueError(f"A Redis URL names a host: write {FORM}.")
    return RedisServer(
        host=host,
        port=port,
        path=unquote(parts.path) if local else "",
        database=_database(options.get("db", "") if local else parts.path.strip("/")),
        tls=parts.scheme == "rediss",
        ca=options.get("ca"),
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        prefix=_prefix(options.get("prefix", DEFAULT_PREFIX)),
        durability=_durability(options.get("durability", Durability.ALWAYS)),
    )


def _options(parts: SplitResult, local: bool) -> dict[str, str]:
    known = {"durability", "prefix"}
    known |= {"db"} if local else {"ca"} if parts.scheme == "rediss" else set()
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError("The options of a Redis URL read ?name=value&name=value.") from None
    options = dict(pairs)
    if len(options) < len(pairs):
        raise ValueError("An option of a Redis URL is given twice: leave one out.")
    if not options.keys() <= known:
        raise ValueError(f"The options of a Redis URL are {_OPTIONS}: leave out any other.")
    return options


def _database(text: str) -> int:
    if text and not re.fullmatch(r"[0-9]{1,5}", text):
        raise ValueError(f"A Redis database is a number: write {FORM}.")
    return int(text or 0)


def _prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text):
        raise ValueError(
            "The prefix of a Redis URL is 1 to 64 letters, digits and any of _ . : - without a "
            "space: write ?prefix=shop."
        )
    return text


def _durability(text: str) -> Durability:
    try:
        return Durability(text)
    except ValueError:
        raise ValueError(
            "The durability of a Redis URL is always, everysec or unchecked: leave it out unless "
            "you can afford to lose payments."
        ) from None
