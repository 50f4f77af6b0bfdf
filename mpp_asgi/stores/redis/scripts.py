"""What is said to the server: scripts in Lua, each a function of keys and arguments.

A script runs alone on the server, from its first line to its last, so a call that is one script is
atomic, and it is one round trip however many records it looks at. All keys of a store share the
hash tag of its prefix, so they are in one slot of a cluster and on one node; every key that a
script touches is passed in ``KEYS``. That is why records are fields of a few hashes instead of keys
of their own: which proofs go with a charge that is purged, only the script finds out.

**Numbers.** Lua's are doubles, exact to 2^53, and amounts have 128 bits. So amounts, and whatever
else is compared or added here, are decimal strings, added in pieces of 15 digits (`DECIMALS`). The
other way, to decide in Python and to write only if the record is still the same, needs two round
trips, and most writers of a busy channel would have to begin again each time one gets through:
eight workers could keep each other from it without end. Times are scores of sorted sets, too, which
are doubles: Unix seconds are far below 2^53.

**Records** are JSON objects without the fields that are ``None``. Lua writes only objects whose
values are strings, as its numbers would be rounded to 14 digits.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

REPLACED: Final = "MPPREPLACED"
"""The error of every script that runs on other data than the store was opened on."""

DECIMALS: Final = """
-- A piece of a decimal string that ends at a digit, 15 digits at most.
local function piece(digits, last)
  if last < 1 then return 0 end
  return tonumber(digits:sub(math.max(1, last - 14), last))
end

local function trimmed(digits)
  return (digits:gsub('^0+(%d)', '%1'))
end

local function less(a, b)
  if #a ~= #b then return #a < #b end
  for last = 15, #a + 14, 15 do
    local one, other = tonumber(a:sub(last - 14, last)), tonumber(b:sub(last - 14, last))
    if one ~= other then return one < other end
  end
  return false
end

local function add(a, b)
  local sum, carry, i, j = '', 0, #a, #b
  while i > 0 or j > 0 or carry > 0 do
    local total = piece(a, i) + piece(b, j) + carry
    carry = total >= 1e15 and 1 or 0
    sum = string.format('%015.0f', total - carry * 1e15) .. sum
    i, j = i - 15, j - 15
  end
  return trimmed(sum)
end

-- What is left of a; never less than nothing.
local function take(a, b)
  if not less(b, a) then return '0' end
  local rest, borrow, i, j = '', 0, #a, #b
  while i > 0 do
    local total = piece(a, i) - piece(b, j) - borrow
    borrow = total < 0 and 1 or 0
    rest = string.format('%015.0f', total + borrow * 1e15) .. rest
    i, j = i - 15, j - 15
  end
  return trimmed(rest)
end
"""
"""Arithmetic of decimal strings: digits without leading zeros, not negative, of any length."""

_GUARD = f"""
if call('HGET', meta, 'identity') ~= identity then
  return redis.error_reply('{REPLACED} other data')
end
"""


@dataclass(frozen=True, slots=True)
class Script:
    """A script as the server gets it."""

    text: str
    keys: tuple[str, ...]
    """Names of the keys it touches, without the store's prefix."""
    sha: str
    """What the server knows it by, once it has seen it."""


def script(
    body: str, *, keys: str, arguments: str = "", needs: str = "", guarded: bool = True
) -> Script:
    """Make a script of its body.

    Args:
        body: Lua. It has a local variable for each key and each argument, ``rest`` for the index in
            ``ARGV`` of the first argument beyond those named, and ``call`` for ``redis.call``.
        keys: names of keys; the body sees ``charge_proofs`` as a variable of that name. ``meta`` is
            always there, and so is ``identity`` before the first argument.
        arguments: names of arguments.
        needs: functions that the body calls.
        guarded: do nothing unless the data is what the store was opened on.
    """
    key_names = ("meta", *keys.split())
    argument_names = ("identity", *arguments.split())
    lines = [f"local {name} = KEYS[{n}]" for n, name in enumerate(key_names, 1)]
    lines += [f"local {name} = ARGV[{n}]" for n, name in enumerate(argument_names, 1)]
    lines += [f"local rest = {len(argument_names) + 1}", "local call = redis.call"]
    text = "\n".join([*lines, _GUARD if guarded else "", needs, body])
    return Script(text, key_names, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True)
class Call(Generic[_T]):
    """A script with its arguments, and how its answer is read."""

    script: Script
    arguments: tuple[str | bytes | int, ...]
    read: Callable[[Any], _T]


def nothing(answer: object) -> None:
    """Reads the answer of a script that has nothing to say."""
    del answer
