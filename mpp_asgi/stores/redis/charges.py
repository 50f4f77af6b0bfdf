"""What each call of a `RedisStore` does to charges: its script, its arguments, its answer.

The owner is kept beside the record, so that a charge changes hands without being written anew.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from mpp_asgi.stores.contract import Charge, Claim, Outcome, OwnershipLostError, State
from mpp_asgi.stores.redis.scripts import Call, nothing, script

if TYPE_CHECKING:
    from collections.abc import Sequence

_KEYS = "charges owners proofs charge_proofs charge_expiry unsettled"

_PROOFS = """
local function is_foreign(proof)
  local holder = call('HGET', proofs, proof)
  return holder and holder ~= id
end

local function any_is_foreign()
  for i = rest, #ARGV do
    if is_foreign(ARGV[i]) then return true end
  end
  return false
end

local function keep_proofs()
  if rest > #ARGV then return end
  local held = cjson.decode(call('HGET', charge_proofs, id) or '[]')
  for i = rest, #ARGV do
    if call('HSETNX', proofs, ARGV[i], id) == 1 then held[#held + 1] = ARGV[i] end
  end
  call('HSET', charge_proofs, id, cjson.encode(held))
end
"""
_KEEP = """
local function keep(state, owner)
  call('HSET', charges, id, record)
  call('ZADD', charge_expiry, keep_until, id)
  if owner == '' then call('HDEL', owners, id) else call('HSET', owners, id, owner) end
  if state == 'claimed' or state == 'submitted' then
    call('ZADD', unsettled, keep_until, id)
  else
    call('ZREM', unsettled, id)
  end
end
"""
_FORGET = """
local function forget(id)
  for _, proof in ipairs(cjson.decode(call('HGET', charge_proofs, id) or '[]')) do
    call('HDEL', proofs, proof)
  end
  call('HDEL', charge_proofs, id)
  call('HDEL', charges, id)
  call('HDEL', owners, id)
  call('ZREM', charge_expiry, id)
  call('ZREM', unsettled, id)
end
"""

_CLAIM = script(
    """
    local function lives(holder)
      local alive_until = call('ZSCORE', heartbeats, holder)
      return alive_until and tonumber(alive_until) > tonumber(now)
    end

    if any_is_foreign() then return {'conflict'} end
    local found = call('HGET', charges, id)
    if not found then
      keep('claimed', owner)
      keep_proofs()
      return {'new'}
    end
    local holder = call('HGET', owners, id)
    local charge = cjson.decode(found)
    local outcome = 'taken'
    if charge.credential ~= credential then
      outcome = 'conflict'
    elseif charge.state == 'delivered' or charge.state == 'failed' then
      outcome = 'over'
    elseif holder and holder ~= owner and lives(holder) then
      outcome = 'busy'
    else
      call('HSET', owners, id, owner)
      holder = owner
      keep_proofs()
    end
    return {outcome, found, holder}
    """,
    keys=f"{_KEYS} heartbeats",
    arguments="id credential keep_until owner record now",
    needs=_PROOFS + _KEEP,
)
_WRITE = script(
    """
    if call('HGET', owners, id) ~= writer or any_is_foreign() then return 0 end
    keep(state, owner)
    keep_proofs()
    return 1
    """,
    keys=_KEYS,
    arguments="id state keep_until owner record writer",
    needs=_PROOFS + _KEEP,
)
_RELEASE = script(
    """
    if call('HGET', owners, id) ~= owner then return end
    if cjson.decode(call('HGET', charges, id)).state == 'claimed' then forget(id) end
    """,
    keys=_KEYS,
    arguments="id owner",
    needs=_FORGET,
)
_GET = script(
    "return {call('HGET', charges, id), call('HGET', owners, id)}",
    keys="charges owners",
    arguments="id",
)
_OPEN_CHARGES = script(
    """
    local alive = {}
    for _, owner in ipairs(call('ZRANGEBYSCORE', heartbeats, '(' .. now, '+inf')) do
      alive[owner] = true
    end
    local found, first, left = {}, 0, tonumber(limit)
    while left > 0 do
      local ids = call('ZRANGE', unsettled, first, first + 99)
      if #ids == 0 then break end
      local holders = call('HMGET', owners, unpack(ids))
      for n, id in ipairs(ids) do
        if left > 0 and not (holders[n] and alive[holders[n]]) then
          found[#found + 1] = {call('HGET', charges, id), holders[n]}
          left = left - 1
        end
      end
      first = first + 100
    end
    return found
    """,
    keys="charges owners unsettled heartbeats",
    arguments="now limit",
)
_HEARTBEAT = script(
    "call('ZADD', heartbeats, alive_until, owner)",
    keys="heartbeats",
    arguments="owner alive_until",
)
_PURGE = script(
    """
    local left = tonumber(limit)
    local function due(index)
      local names = call('ZRANGEBYSCORE', index, '-inf', now, 'LIMIT', 0, left)
      left = left - #names
      return names
    end

    call('ZREMRANGEBYSCORE', heartbeats, '-inf', now)
    for _, name in ipairs(call('ZRANGEBYSCORE', leases, '-inf', now, 'LIMIT', 0, limit)) do
      call('HDEL', lease_owners, name)
      call('ZREM', leases, name)
    end
    for _, id in ipairs(due(charge_expiry)) do forget(id) end
    for _, name in ipairs(due(budget_expiry)) do
      call('HDEL', budgets, name)
      call('ZREM', budget_expiry, name)
    end
    for _, key in ipairs(due(answer_expiry)) do
      call('HDEL', answers, key)
      call('HDEL', answer_contents, key)
      call('ZREM', answer_expiry, key)
    end
    return tonumber(limit) - left
    """,
    keys=f"{_KEYS} heartbeats leases lease_owners budgets budget_expiry answers answer_contents"
    " answer_expiry",
    arguments="now limit",
    needs=_FORGET,
)


def claim(charge: Charge, proofs: Sequence[str], now: int) -> Call[Claim]:
    """As `Store.claim`."""
    arguments = (charge.credential, charge.keep_until, charge.owner or "", _record(charge), now)
    return Call(_CLAIM, (charge.id, *arguments, *proofs), partial(_claim, charge))


def write(charge: Charge, proofs: Sequence[str], writer: str) -> Call[None]:
    """As `Store.write`."""
    arguments = (charge.state, charge.keep_until, charge.owner or "", _record(charge), writer)
    return Call(_WRITE, (charge.id, *arguments, *proofs), partial(_written, charge.id))


def release(charge_id: str, owner: str) -> Call[None]:
    """As `Store.release`."""
    return Call(_RELEASE, (charge_id, owner), nothing)


def get(charge_id: str) -> Call[Charge | None]:
    """As `Store.get`."""
    return Call(_GET, (charge_id,), _found)


def open_charges(now: int, limit: int) -> Call[list[Charge]]:
    """As `Store.open_charges`."""
    return Call(_OPEN_CHARGES, (now, limit), lambda rows: [_charge(*row) for row in rows])


def heartbeat(owner: str, alive_until: int) -> Call[None]:
    """As `Store.heartbeat`."""
    return Call(_HEARTBEAT, (owner, alive_until), nothing)


def purge(now: int, limit: int) -> Call[int]:
    """As `Store.purge`, of budgets and kept answers, too; the oldest of each go first."""
    return Call(_PURGE, (now, limit), int)


def _claim(claimed: Charge, answer: list[bytes]) -> Claim:
    outcome = Outcome(answer[0].decode())
    if outcome is Outcome.NEW:
        return Claim(outcome, claimed)
    return Claim(outcome, _found(answer[1:]))


def _written(charge_id: str, answer: int) -> None:
    if not answer:
        raise OwnershipLostError(charge_id)


def _found(row: Sequence[bytes | None]) -> Charge | None:
    record, owner = (*row, None, None)[:2]  # an answer may end before what is not there
    return None if record is None else _charge(record, owner)


def _record(charge: Charge) -> str:
    fields = zip(Charge._fields, charge, strict=True)
    return json.dumps({k: v for k, v in fields if v is not None and k != "owner"})


def _charge(record: bytes, owner: bytes | None = None) -> Charge:
    fields: dict[str, Any] = json.loads(record)
    fields["state"] = State(fields["state"])
    return Charge(**fields, owner=None if owner is None else owner.decode())
