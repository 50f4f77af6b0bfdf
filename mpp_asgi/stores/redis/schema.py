"""Which data a store is on: its schema, its identity, and the secret that is kept with it."""

from __future__ import annotations

from typing import Final

from mpp_asgi.stores.redis.scripts import Call, Script, script

_OPEN = script(
    """
    local known = call('HGET', meta, 'identity')
    if not known then
      known = schema .. ':' .. candidate
      call('HSET', meta, 'identity', known)
    end
    return known
    """,
    keys="",
    arguments="schema candidate",
    guarded=False,
)
_SECRET = script(
    """
    call('HSETNX', meta, 'secret', candidate)
    return call('HGET', meta, 'secret')
    """,
    keys="",
    arguments="candidate",
)

ADVANCE: Final = """
local schema, name = identity:match('^(%d+):(.*)$')
identity = string.format('%d', tonumber(schema) + 1) .. ':' .. name
call('HSET', meta, 'identity', identity)
return identity
"""
"""Ends a migration."""

_RECENT_ENTRIES = script("-- A channel that has none yet has no such field." + ADVANCE, keys="")

MIGRATIONS: tuple[Script, ...] = (_RECENT_ENTRIES,)
"""What takes the data from each schema to the next, the first from 1 to 2. Only ever added to.

Each is a guarded script without arguments and ends with `ADVANCE`, so that of several processes one
does it, and stores that were opened before refuse to go on with what they do not know."""


def identify(candidate: str) -> Call[str]:
    """What the data is known by: its schema and a name it was given by whoever came first, from
    now on ``candidate`` if nobody did."""
    return Call(_OPEN, (len(MIGRATIONS) + 1, candidate), bytes.decode)


def schema_of(identity: str) -> int:
    """The schema the data is at."""
    return int(identity.partition(":")[0])


def migrate(schema: int) -> Call[str]:
    """Take the data from that schema to the next; what it is known by then."""
    return Call(MIGRATIONS[schema - 1], (), bytes.decode)


def secret(candidate: str) -> Call[str]:
    """As `Store.secret`; from now on ``candidate``, if there was none."""
    return Call(_SECRET, (candidate,), bytes.decode)
