"""What each call of a `RedisStore` does to loans and leases: its script, its arguments, its answer.

A loan's record says whose turn it was (``fence``), from when on the account is free (``free_at``),
which of all returns was its last (``returned``, 0 while its sequence is not known) and the
``sequence``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.stores.channels import LEASE_SLACK_SECONDS
from mpp_asgi.stores.loans import LONGEST_SECONDS, Loan
from mpp_asgi.stores.redis.scripts import DECIMALS, Call, nothing, script

if TYPE_CHECKING:
    from collections.abc import Sequence

_NEXT_TURN = """
-- Never twice the same, so that accounts that were forgotten keep no fence of before.
local function next_turn()
  return string.format('%.0f', call('HINCRBY', meta, 'turn', 1))
end
"""
_REPLACE = """
local function replace(changed)
  local found = call('HGET', loans, account)
  if not found or cjson.decode(found).fence ~= fence then return 0 end
  changed.fence = fence
  call('HSET', loans, account, cjson.encode(changed))
  return 1
end
"""

_BORROW = script(
    """
    local best, most, sequence
    for i = rest, #ARGV do
      local found = call('HGET', loans, ARGV[i])
      local account = found and cjson.decode(found) or {free_at = '0', returned = '0'}
      local is_free = not found or not less(now, account.free_at) or less(latest, account.free_at)
      if is_free and (not best or less(most, account.returned)) then
        best, most, sequence = ARGV[i], account.returned, account.sequence
      end
    end
    if not best then return end
    local fence = next_turn()
    call('HSET', loans, best, cjson.encode({fence = fence, free_at = till, returned = '0'}))
    return {best, fence, sequence}
    """,
    keys="loans",
    arguments="till now latest",
    needs=DECIMALS + _NEXT_TURN,
)
_PROLONG = script(
    "return replace({free_at = till, returned = '0'})",
    keys="loans",
    arguments="account fence till",
    needs=_REPLACE,
)
_HAND_BACK = script(
    """
    if sequence == '' then return replace({free_at = free_at, returned = '0'}) end
    return replace({free_at = free_at, returned = next_turn(), sequence = sequence})
    """,
    keys="loans",
    arguments="account fence free_at sequence",
    needs=_NEXT_TURN + _REPLACE,
)
_FORGET = script("for i = rest, #ARGV do call('HDEL', loans, ARGV[i]) end", keys="loans")

_LEASE = script(
    """
    local ends = tonumber(call('ZSCORE', leases, name) or 0)
    local is_held = ends > tonumber(now) and ends <= tonumber(latest)
    if is_held and call('HGET', lease_owners, name) ~= owner then return 0 end
    call('ZADD', leases, till, name)
    call('HSET', lease_owners, name, owner)
    return 1
    """,
    keys="leases lease_owners",
    arguments="name owner till now latest",
)
_RELEASE_LEASE = script(
    """
    if call('HGET', lease_owners, name) == owner then
      call('HDEL', lease_owners, name)
      call('ZREM', leases, name)
    end
    """,
    keys="leases lease_owners",
    arguments="name owner",
)


def borrow(accounts: Sequence[str], until: int, now: int) -> Call[Loan | None]:
    """As `LoanStore.borrow`."""
    return Call(_BORROW, (until, now, now + LONGEST_SECONDS, *accounts), _loan)


def prolong(loan: Loan, until: int) -> Call[bool]:
    """As `LoanStore.prolong`."""
    return Call(_PROLONG, (loan.account, loan.fence, until), bool)


def hand_back(loan: Loan, sequence: int | None, free_at: int) -> Call[bool]:
    """As `LoanStore.hand_back`."""
    known = "" if sequence is None else sequence
    return Call(_HAND_BACK, (loan.account, loan.fence, free_at, known), bool)


def forget(accounts: Sequence[str]) -> Call[None]:
    """As `LoanStore.forget_loans`."""
    return Call(_FORGET, tuple(accounts), nothing)


def lease(name: str, owner: str, until: int, now: int) -> Call[bool]:
    """As `ChannelStore.lease`."""
    return Call(_LEASE, (name, owner, until, now, until + LEASE_SLACK_SECONDS), bool)


def release_lease(name: str, owner: str) -> Call[None]:
    """As `ChannelStore.release_lease`."""
    return Call(_RELEASE_LEASE, (name, owner), nothing)


def _loan(answer: list[bytes] | None) -> Loan | None:
    if answer is None:
        return None
    account, fence, *sequence = answer
    return Loan(account.decode(), int(fence), int(sequence[0]) if sequence else None)
