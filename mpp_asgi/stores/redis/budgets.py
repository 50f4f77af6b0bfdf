"""What each call of a `RedisStore` does to budgets and kept answers: its script, its arguments, its
answer. `mpp_asgi.stores.redis.charges.purge` deletes what is over."""

from __future__ import annotations

import json
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from mpp_asgi.stores.kept_answers import KeptAnswer
from mpp_asgi.stores.redis.scripts import DECIMALS, Call, nothing, script

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mpp_asgi.stores.budgets import Budget

_DRAW = script(
    """
    for i = rest, #ARGV, 3 do
      if less(ARGV[i + 1], add(call('HGET', budgets, ARGV[i]) or '0', amount)) then
        return ARGV[i]
      end
    end
    for i = rest, #ARGV, 3 do
      local drawn = call('HGET', budgets, ARGV[i]) or '0'
      call('HSET', budgets, ARGV[i], add(drawn, amount))
      call('ZADD', budget_expiry, 'GT', ARGV[i + 2], ARGV[i])
    end
    """,
    keys="budgets budget_expiry",
    arguments="amount",
    needs=DECIMALS,
)
_PUT_BACK = script(
    """
    for i = rest, #ARGV do
      local drawn = call('HGET', budgets, ARGV[i])
      if drawn then call('HSET', budgets, ARGV[i], take(drawn, amount)) end
    end
    """,
    keys="budgets",
    arguments="amount",
    needs=DECIMALS,
)
_DRAWN = script("return call('HGET', budgets, name) or '0'", keys="budgets", arguments="name")

_KEEP_ANSWER = script(
    """
    local found = call('HGET', answers, key)
    if found and less(now, cjson.decode(found).keep_until) then
      return {found, call('HGET', answer_contents, key)}
    end
    call('HSET', answers, key, cjson.encode({request = request, keep_until = keep_until}))
    call('HSET', answer_contents, key, content)
    call('ZADD', answer_expiry, keep_until, key)
    """,
    keys="answers answer_contents answer_expiry",
    arguments="key request keep_until now content",
    needs=DECIMALS,
)
_KEPT_ANSWER = script(
    """
    local found = call('HGET', answers, key)
    if found and less(now, cjson.decode(found).keep_until) then
      return {found, call('HGET', answer_contents, key)}
    end
    """,
    keys="answers answer_contents",
    arguments="key now",
    needs=DECIMALS,
)


def draw(budgets: Sequence[Budget], amount: int) -> Call[str | None]:
    """As `BudgetStore.draw`."""
    triples: Iterable[tuple[str | int, ...]] = budgets
    return Call(_DRAW, (amount, *chain.from_iterable(triples)), _name)


def put_back(names: Sequence[str], amount: int) -> Call[None]:
    """As `BudgetStore.put_back`."""
    return Call(_PUT_BACK, (amount, *names), nothing)


def drawn(name: str) -> Call[int]:
    """As `BudgetStore.drawn`."""
    return Call(_DRAWN, (name,), int)


def keep_answer(answer: KeptAnswer, now: int) -> Call[KeptAnswer]:
    """As `AnswerStore.keep_answer`."""
    arguments = (answer.key, answer.request, answer.keep_until, now, answer.content)
    return Call(_KEEP_ANSWER, arguments, lambda found: _answer(answer.key, found) or answer)


def kept_answer(key: str, now: int) -> Call[KeptAnswer | None]:
    """As `AnswerStore.kept_answer`."""
    return Call(_KEPT_ANSWER, (key, now), partial(_answer, key))


def _name(answer: bytes | None) -> str | None:
    return None if answer is None else answer.decode()


def _answer(key: str, found: list[bytes] | None) -> KeptAnswer | None:
    if found is None:
        return None
    terms, content = found
    record = json.loads(terms)
    return KeptAnswer(key, record["request"], content, int(record["keep_until"]))
