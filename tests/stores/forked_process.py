"""A process that opens the Redis store at its URL and forks, run by test_redis_life.py. It prints
what each call says in the child, then what one says in the parent."""

from __future__ import annotations

import asyncio
import os
import sys

from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.redis.store import RedisStore
from tests.stores.backends import patient_store


async def use(store: RedisStore) -> None:
    await store.open()
    await store.heartbeat("w", alive_until=1)


async def try_all(store: RedisStore) -> None:
    for call in (store.secret, store.open, store.close, store.secret):
        try:
            print(call.__name__, await call(), flush=True)
        except StoreUnavailableError as error:
            print(call.__name__, error, flush=True)


def main(url: str) -> None:
    store = patient_store(url)
    assert isinstance(store, RedisStore)
    asyncio.run(use(store))
    with store._lock:  # as another thread may have it in that moment
        child = os.fork()
    if child == 0:
        store._lock.acquire()
        asyncio.run(try_all(store))
        del store  # its finalizer is none of the child's business
        os._exit(0)
    os.waitpid(child, 0)
    asyncio.run(use(store))
    print("parent", "fine")
    asyncio.run(store.close())


main(sys.argv[1])
