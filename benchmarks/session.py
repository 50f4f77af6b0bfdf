"""What a paid call of a session costs, its voucher checked and durable before the handler runs; and
what an open channel takes in memory and on disk.

Many channels take turns, so that no two requests on the way at once draw on the same one.
"""

from __future__ import annotations

import asyncio
import gc
import os
import tempfile
import time
import tracemalloc
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.testclient import TestClient
from stellar_sdk import Keypair, StrKey

from benchmarks import apps, load, machine
from benchmarks.comparison import Subject, compare
from benchmarks.http import comparison_rows
from benchmarks.results import Row, fact
from mpp_asgi.protocol import Challenge, Credential
from mpp_asgi.stellar.commitment import sign_commitment
from mpp_asgi.stellar.envelope import network_id
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stores.channels import Channel
from mpp_asgi.stores.memory.store import MemoryStore
from mpp_asgi.stores.url import store_from_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.comparison import Drive
    from mpp_asgi.stores.contract import Store

CHANNELS = 256
REQUESTS = 12_000
"""For one round; more than any server here will take."""
COST = 100_000
DEPOSIT = 10**24
OPEN_CHANNELS = 100_000
_NETWORK_ID = network_id(TESTNET.passphrase)


def run() -> list[Row]:
    """Every figure about sessions."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sessions.db"
        os.environ[apps.SESSION_STORE] = f"sqlite:///{path}"
        asyncio.run(_fill(store_from_url(os.environ[apps.SESSION_STORE]), CHANNELS))
        with load.generator() as drive:
            rows = [*machine.rows(), *_requests(drive)]
        rows += _sizes(Path(folder))
    return rows


def _requests(drive: Drive) -> Iterator[Row]:
    bare = Subject(app="benchmarks.apps:bare", requests=load.same(load.get(apps.PAID)))
    with TestClient(apps.in_sessions, base_url="http://localhost") as client:
        offered = Challenge.all_from_headers(
            client.get(apps.PAID).headers.get_list("www-authenticate")
        )
    (challenge,) = [each for each in offered if each.intent == "session"]
    for case, wanted, riding in (
        ("a paid session request, a voucher each", 0.45, False),
        ("a paid session request, on the headroom of an earlier voucher", 0.55, True),
    ):
        shown = partial(paid_requests, challenge, riding=riding)
        subject = Subject(app="benchmarks.apps:in_sessions", requests=shown)
        yield from comparison_rows(case, wanted, compare(bare, subject, drive))


def paid_requests(challenge: Challenge, *, riding: bool) -> Iterator[bytes]:
    """Requests with vouchers of all channels in turn: each higher than the one before, or, if they
    are ``riding``, all alike. They count on from the clock, beyond those of earlier rounds."""
    base = int(time.time() * 1_000) * COST
    rendered: dict[int, bytes] = {}
    requests = []
    for number in range(REQUESTS):
        which = number % CHANNELS
        if riding and which in rendered:
            requests.append(rendered[which])
            continue
        rendered[which] = _request(challenge, which, base + (number // CHANNELS + 1) * COST)
        requests.append(rendered[which])
    return iter(requests)


def _request(challenge: Challenge, number: int, amount: int) -> bytes:
    channel = address(number)
    payload = {
        "action": "voucher",
        "channelId": channel,
        "cumulativeAmount": str(amount),
        "signature": sign_commitment(_key(number), _NETWORK_ID, channel, amount).hex(),
    }
    return load.get(apps.PAID, authorization=Credential(challenge, payload).to_header())


async def _fill(store: Store, count: int) -> None:
    await store.open()
    for number in range(count):
        await store.add_channel(_channel(number))
    await store.close()


def _channel(number: int) -> Channel:
    return Channel(
        id=address(number),
        key=_key(number % CHANNELS).raw_public_key().hex(),
        funder=_key(number % CHANNELS).public_key,
        recipient=apps.RECIPIENT,
        token=TESTNET.tokens["USDC"].address,
        waiting_period=17_280,
        deposited=DEPOSIT,
        settled=0,
        seen_ledger=1,
        opened_at=int(time.time()),
    )


def _sizes(folder: Path) -> list[Row]:
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    memory = MemoryStore()
    asyncio.run(_fill(memory, OPEN_CHANNELS))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    path = folder / "many.db"
    asyncio.run(_fill(store_from_url(f"sqlite:///{path}"), OPEN_CHANNELS))
    size = sum(each.stat().st_size for each in folder.glob("many.db*"))
    case = f"an open channel, of {OPEN_CHANNELS:,}"
    return [
        fact(f"{case}: memory store", (after - before) / OPEN_CHANNELS, "bytes of memory"),
        fact(f"{case}: SQLite store", size / OPEN_CHANNELS, "bytes on disk"),
    ]


_keys: dict[int, Keypair] = {}


def _key(number: int) -> Keypair:
    if number not in _keys:
        seed = sha256(b"session %d" % number).digest()
        _keys[number] = Keypair.from_raw_ed25519_seed(seed)
    return _keys[number]


def address(number: int) -> str:
    """The contract of a channel; on no ledger, and none is asked."""
    return StrKey.encode_contract(sha256(b"channel %d" % number).digest())
