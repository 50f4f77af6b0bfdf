"""What each call of a `RedisStore` does to channels: its script, its arguments, its answer.

The rules are those of `mpp_asgi.stores.channel_ruling`, in Lua; a change there is a change here.
Why they are not left in Python is said in `mpp_asgi.stores.redis.scripts`.
"""

from __future__ import annotations

import json
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Unpack, get_type_hints

from mpp_asgi.stores import channel_ruling
from mpp_asgi.stores.channels import (
    RECENT_LENGTH,
    RETURNED,
    SPENT,
    Channel,
    ChannelStatus,
    Close,
    CloseOutcome,
    LedgerFacts,
    Return,
    Spend,
    SpendOutcome,
    SpendTerms,
    in_order,
)
from mpp_asgi.stores.redis.scripts import DECIMALS, Call, nothing, script

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from mpp_asgi.stores.redis.scripts import Script

_INDEXES = "channels_open channels_closing channels_closed channels_unused"

_INDEX = """
local ids_of = {open = channels_open, closing = channels_closing, closed = channels_closed}

-- In the index of its status, and, once it is closed, in that of when it was last used.
local function index(channel, before)
  if before == channel.status then return end
  if before then call('ZREM', ids_of[before], id) end
  call('ZADD', ids_of[channel.status], 0, id)
  if channel.status == 'closed' then call('ZADD', channels_unused, channel.used_at, id) end
end
"""
_BEGIN = """
local function begin()
  call('HSET', channels, id, record)
  index(cjson.decode(record))
  return record
end
"""
_KEEP = """
local function keep(channel)
  local record = cjson.encode(channel)
  call('HSET', channels, id, record)
  return record
end
"""
_ENTRIES = f"""
-- What the channel remembers of this entry: '{SPENT}', '{RETURNED}' or nothing.
local function mark_of_entry(channel)
  local at = entry ~= '' and string.find(channel.recent or '', entry, 1, true)
  return at and string.sub(channel.recent, at - 1, at - 1)
end

local function remember(channel, mark)
  if entry == '' then return end
  channel.recent = string.sub((channel.recent or '') .. mark .. entry, -{RECENT_LENGTH})
end
"""
_REFUSAL = """
local function refusal(channel)
  if channel.status == 'closed' then return 'closed' end
  if channel.status == 'closing' or channel.closes_at then return 'closing' end
  if less(amount, channel.accepted) then return 'lower' end
  if amount == channel.accepted then return end
  if less(amount, add(channel.accepted, min_delta)) then return 'delta-too-small' end
  if less(channel.deposited, amount) then return 'exceeds-deposit' end
end
"""
_OBSERVE = """
local function observe(channel)
  if less(ledger, channel.seen_ledger) then return end
  if less(channel.settled, settled) then
    channel.settled_at, channel.settled_units = now, channel.units
  end
  channel.seen_ledger, channel.deposited, channel.settled = ledger, deposited, settled
  channel.closes_at = closes_at ~= '' and closes_at or nil
  if closed == '1' and channel.status ~= 'closed' then
    channel.status, channel.used_at = 'closed', now
  end
  if less(channel.published, settled) then channel.published = settled end
  if less(channel.accepted, settled) then
    channel.spent = add(channel.spent, take(settled, channel.accepted))
    channel.accepted, channel.signature = settled, ''
  end
end
"""


def _on_channel(
    body: str, *, arguments: str = "", needs: str = "", unknown: str = "", moves: bool = False
) -> Script:
    """A script on one channel: ``found`` is its record, ``channel`` what that says.

    Args:
        body: as of `script`; it can `keep` what it has made of the channel.
        arguments: beyond ``id``.
        needs: as of `script`.
        unknown: what to return if there is no such channel.
        moves: it may change the channel's status, which was ``before``, and calls `index` then.
    """
    prelude = f"""
    local found = call('HGET', channels, id)
    if not found then return {unknown} end
    local channel = cjson.decode(found)
    local before = channel.status
    """
    return script(
        prelude + body,
        keys=f"channels {_INDEXES}" if moves else "channels",
        arguments=f"id {arguments}",
        needs=_KEEP + (_INDEX if moves else "") + needs,
    )


_FACTS = " ".join(LedgerFacts.__annotations__)
_TAKE_FACTS = """
    observe(channel)
    index(channel, before)
    return keep(channel)
"""
_OBSERVED = _on_channel(_TAKE_FACTS, arguments=_FACTS, needs=DECIMALS + _OBSERVE, moves=True)
_ADD = _on_channel(
    _TAKE_FACTS,
    arguments=f"{_FACTS} record",
    needs=DECIMALS + _OBSERVE + _BEGIN,
    unknown="begin()",
    moves=True,
)
_FIND = script("return call('HGET', channels, id)", keys="channels", arguments="id")
_SPEND = _on_channel(
    """
    local mark = mark_of_entry(channel)
    if mark then return {mark == '+' and 'spent' or 'void', found} end
    local outcome = refusal(channel)
    if outcome then return {outcome, found} end

    local is_higher = less(channel.accepted, amount)
    if is_higher then
      channel.accepted, channel.signature, channel.used_at = amount, signature, now
    end
    local spent = add(channel.spent, cost)
    if less(channel.accepted, spent) then
      outcome = 'insufficient'
    elseif shown == '1' and cost ~= '0' and not less(channel.published, amount) then
      outcome = 'published'
    else
      outcome = 'spent'
      channel.spent, channel.units, channel.used_at = spent, add(channel.units, units), now
      remember(channel, '+')
    end
    if is_higher or outcome == 'spent' then found = keep(channel) end
    return {outcome, found}
    """,
    arguments=" ".join(SpendTerms.__annotations__),
    needs=DECIMALS + _ENTRIES + _REFUSAL,
    unknown="{'unknown'}",
)
_PUBLISH = _on_channel(
    """
    if less(channel.published, amount) then
      channel.published = amount
      keep(channel)
    end
    """,
    arguments="amount",
    needs=DECIMALS,
)
_GIVE_BACK = _on_channel(
    """
    local mark = mark_of_entry(channel)
    if mark == '-' then return end
    if mark then
      channel.recent = string.gsub(channel.recent, '%+' .. entry, '-' .. entry)
    else
      remember(channel, '-')
    end
    if mark or certain == '1' then
      channel.spent, channel.units = take(channel.spent, cost), take(channel.units, units)
    end
    keep(channel)
    """,
    arguments=" ".join(Return.__annotations__),
    needs=DECIMALS + _ENTRIES,
)
_BEGIN_CLOSE = _on_channel(
    """
    if channel.status == 'closed' then return {'closed', found} end
    if amount ~= channel.spent then return {'not-spent', found} end
    channel.status, channel.used_at = 'closing', now
    channel.closing_amount, channel.closing_signature = amount, signature
    index(channel, before)
    return {'begun', keep(channel)}
    """,
    arguments="amount signature now",
    unknown="{'unknown'}",
    moves=True,
)
_CANCEL_CLOSE = _on_channel(
    """
    if channel.status ~= 'closing' or channel.closing_amount ~= amount then return end
    channel.status, channel.closing_amount, channel.closing_signature = 'open', nil, ''
    index(channel, before)
    keep(channel)
    """,
    arguments="amount",
    moves=True,
)
_PAGE = script(
    """
    local found = {}
    for i = rest, #ARGV do
      local ids = call('ZRANGEBYLEX', ids_of[ARGV[i]], '(' .. after, '+', 'LIMIT', 0, limit)
      for _, id in ipairs(ids) do found[#found + 1] = call('HGET', channels, id) end
    end
    return found
    """,
    keys=f"channels {_INDEXES}",
    arguments="limit after",
    needs=_INDEX,
)
_FORGET = script(
    """
    local ids = call('ZRANGEBYSCORE', channels_unused, '-inf', '(' .. before, 'LIMIT', 0, limit)
    for _, id in ipairs(ids) do
      call('HDEL', channels, id)
      call('ZREM', channels_closed, id)
      call('ZREM', channels_unused, id)
    end
    return #ids
    """,
    keys=f"channels {_INDEXES}",
    arguments="before limit",
)


def add(channel: Channel) -> Call[Channel]:
    """As `ChannelStore.add_channel`."""
    facts: LedgerFacts = {
        "ledger": channel.seen_ledger,
        "deposited": channel.deposited,
        "settled": channel.settled,
        "closes_at": channel.closes_at,
        "closed": channel.status is ChannelStatus.CLOSED,
        "now": channel.opened_at,
    }
    record = _record(channel_ruling.added(channel))
    return Call(_ADD, (channel.id, *_said(LedgerFacts, facts), record), _channel)


def find(channel_id: str) -> Call[Channel | None]:
    """As `ChannelStore.channel`."""
    return Call(_FIND, (channel_id,), _found)


def spend(channel_id: str, **terms: Unpack[SpendTerms]) -> Call[Spend]:
    """As `ChannelStore.spend`."""
    return Call(_SPEND, (channel_id, *_said(SpendTerms, terms)), _spend)


def publish(channel_id: str, amount: int) -> Call[None]:
    """As `ChannelStore.publish`."""
    return Call(_PUBLISH, (channel_id, amount), nothing)


def give_back(channel_id: str, **what: Unpack[Return]) -> Call[None]:
    """As `ChannelStore.give_back`."""
    return Call(_GIVE_BACK, (channel_id, *_said(Return, what)), nothing)


def observe(channel_id: str, **facts: Unpack[LedgerFacts]) -> Call[Channel | None]:
    """As `ChannelStore.observe`."""
    return Call(_OBSERVED, (channel_id, *_said(LedgerFacts, facts)), _found)


def begin_close(channel_id: str, amount: int, signature: str, now: int) -> Call[Close]:
    """As `ChannelStore.begin_close`."""
    return Call(_BEGIN_CLOSE, (channel_id, amount, signature, now), _close)


def cancel_close(channel_id: str, amount: int) -> Call[None]:
    """As `ChannelStore.cancel_close`."""
    return Call(_CANCEL_CLOSE, (channel_id, amount), nothing)


def page(limit: int, after: str, statuses: Collection[ChannelStatus]) -> Call[list[Channel]]:
    """As `ChannelStore.channels`."""

    def read(records: list[bytes]) -> list[Channel]:
        return sorted(map(_channel, records), key=attrgetter("id"))[:limit]

    return Call(_PAGE, (limit, after, *sorted(set(statuses))), read)


def forget(used_before: int, limit: int) -> Call[int]:
    """As `ChannelStore.forget_channels`."""
    return Call(_FORGET, (used_before, limit), int)


def _said(
    kind: type[SpendTerms | Return | LedgerFacts], told: SpendTerms | Return | LedgerFacts
) -> Iterator[str | int]:
    """In words of a script: nothing is empty, and what is true is 1."""
    for value in in_order(kind, told):
        yield "" if value is None else int(value) if isinstance(value, bool) else value


def _spend(answer: list[bytes]) -> Spend:
    outcome, *found = answer
    return Spend(SpendOutcome(outcome.decode()), _found(*found))


def _close(answer: list[bytes]) -> Close:
    outcome, *found = answer
    return Close(CloseOutcome(outcome.decode()), _found(*found))


def _found(record: bytes | None = None) -> Channel | None:
    return None if record is None else _channel(record)


def _record(channel: Channel) -> str:
    fields = zip(Channel._fields, channel, strict=True)
    return json.dumps({name: str(value) for name, value in fields if value is not None})


def _channel(record: bytes) -> Channel:
    fields: dict[str, Any] = json.loads(record)
    for name in _NUMBERS & fields.keys():
        fields[name] = int(fields[name])
    fields["status"] = ChannelStatus(fields["status"])
    return Channel(**fields)


_NUMBERS = frozenset(
    name for name, kind in get_type_hints(Channel).items() if kind in (int, int | None)
)
