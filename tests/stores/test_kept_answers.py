"""What every store promises of responses that are kept to be given again."""

from __future__ import annotations

import asyncio

from mpp_asgi.stores.kept_answers import KeptAnswer

ANSWER = KeptAnswer("key", "ab" * 32, b'{"paid": true}', keep_until=10)
OTHER = ANSWER._replace(request="cd" * 32, content=b"another", keep_until=20)


async def test_nothing_is_kept_at_first(store):
    assert await store.kept_answer("key", now=0) is None


async def test_what_is_kept_is_found_until_it_is_over(stores):
    one, other = stores
    assert await one.keep_answer(ANSWER, now=0) == ANSWER
    assert await other.kept_answer("key", now=9) == ANSWER
    assert await other.kept_answer("key", now=10) is None
    assert await other.kept_answer("another key", now=0) is None


async def test_the_first_answer_stays_until_it_is_over(stores):
    one, other = stores
    await one.keep_answer(ANSWER, now=0)
    assert await other.keep_answer(OTHER, now=9) == ANSWER
    assert await other.kept_answer("key", now=9) == ANSWER
    assert await other.keep_answer(OTHER, now=10) == OTHER
    assert await one.kept_answer("key", now=19) == OTHER


async def test_an_answer_that_took_the_place_of_another_is_kept_as_long_as_it_says(store):
    await store.keep_answer(ANSWER, now=0)
    await store.keep_answer(OTHER, now=10)
    assert await store.purge(now=19, limit=10) == 0
    assert await store.kept_answer("key", now=19) == OTHER
    assert await store.purge(now=20, limit=10) == 1
    assert await store.purge(now=2**40, limit=10) == 0


async def test_content_is_kept_to_the_byte(store):
    contents = [b"", bytes(range(256)), b"\0" * 100_000, "Grüße".encode()]
    for number, content in enumerate(contents):
        await store.keep_answer(ANSWER._replace(key=f"{number}", content=content), now=0)
    for number, content in enumerate(contents):
        found = await store.kept_answer(f"{number}", now=0)
        assert found.content == content
        assert type(found.content) is bytes


async def test_what_is_over_is_purged(stores):
    one, other = stores
    await one.keep_answer(ANSWER, now=0)
    await one.keep_answer(OTHER._replace(key="later"), now=0)
    assert await other.purge(now=9, limit=10) == 0
    assert await other.purge(now=10, limit=10) == 1
    assert await one.kept_answer("key", now=0) is None  # gone for a clock that is behind, too
    assert await one.kept_answer("later", now=19) is not None


async def test_of_many_answers_at_once_one_is_kept_and_all_are_told_which(stores):
    answers = [ANSWER._replace(content=b"%d" % n) for n in range(50)]
    told = await asyncio.gather(
        *(stores[n % 2].keep_answer(answer, now=0) for n, answer in enumerate(answers))
    )
    kept = await stores[0].kept_answer("key", now=0)
    assert kept in answers
    assert set(told) == {kept}
