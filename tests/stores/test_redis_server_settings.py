"""Which Redis servers a store trusts, and what it says of the others."""

from __future__ import annotations

import json
import logging
import traceback
from typing import TYPE_CHECKING

import pytest

from mpp_asgi.stores.channels import SpendOutcome
from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.redis import connection, schema
from mpp_asgi.stores.redis.scripts import script
from tests.redis_server import DURABLE, redis_process
from tests.stores.backends import patient_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.redis_server import RedisProcess

LATEST = len(schema.MIGRATIONS) + 1
GOOD = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
}


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisProcess]:
    with redis_process(*DURABLE) as process:
        yield process


@pytest.fixture
def process(shared: RedisProcess) -> RedisProcess:
    """Empty and durable, whatever a test before made of it."""
    with shared.client() as client:
        for name, value in GOOD.items():
            client.config_set(name, value)
        client.flushall()
        client.acl_deluser("worker")
    return shared


def set_on(process: RedisProcess, name: str, value: str) -> None:
    with process.client() as client:
        client.config_set(name, value)


async def refusal(url: str) -> str:
    store = patient_store(url)
    with pytest.raises(StoreUnavailableError) as caught:
        await store.open()
    with pytest.raises(StoreUnavailableError, match="is not open"):
        await store.secret()
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


async def works(url: str) -> None:
    store = patient_store(url)
    await store.open()
    assert await store.secret()
    await store.close()


async def test_a_durable_server_is_trusted_without_a_word(process, caplog):
    await works(process.url)
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("appendonly", "no"),
        ("appendfsync", "everysec"),
        ("appendfsync", "no"),
        ("no-appendfsync-on-rewrite", "yes"),
        ("maxmemory-policy", "allkeys-lru"),
        ("maxmemory-policy", "volatile-ttl"),
    ],
)
async def test_a_server_that_may_forget_is_refused_with_what_to_set(process, name, value):
    set_on(process, name, value)
    sentence = await refusal(process.url)
    assert (
        "set appendonly yes, appendfsync always, no-appendfsync-on-rewrite no, maxmemory-policy "
        "noeviction" in sentence
    )
    assert "?durability=everysec" in sentence


@pytest.mark.parametrize(
    ("name", "value"), [("appendfsync", "everysec"), ("no-appendfsync-on-rewrite", "yes")]
)
async def test_the_loss_of_a_second_can_be_accepted_and_is_warned_of(process, caplog, name, value):
    set_on(process, name, value)
    await works(f"{process.url}?durability=everysec")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "durability=everysec" in record.message


@pytest.mark.parametrize(
    ("name", "value"),
    [("appendonly", "no"), ("appendfsync", "no"), ("maxmemory-policy", "allkeys-lru")],
)
async def test_more_than_a_second_is_not(process, name, value):
    set_on(process, name, value)
    assert "set appendonly yes, appendfsync everysec" in await refusal(
        f"{process.url}?durability=everysec"
    )


async def test_what_is_not_to_be_checked_is_not_and_warned_of(process, caplog):
    set_on(process, "appendonly", "no")
    await works(f"{process.url}?durability=unchecked")
    assert "durability=unchecked" in caplog.text


async def test_a_server_that_tells_nothing_has_to_be_trusted_in_words(process):
    with process.client() as client:
        commands = ["+@all", "-config"]
        client.acl_setuser("worker", True, passwords=["+secret"], keys=["*"], commands=commands)
    url = process.url.replace("redis+unix://", "redis+unix://worker:secret@")
    assert "if you know that it loses nothing, write ?durability=unchecked" in await refusal(url)
    await works(f"{url}?durability=unchecked")


async def test_a_user_that_may_run_no_scripts_is_refused(process):
    with process.client() as client:
        commands = ["+@all", "-eval", "-evalsha"]
        client.acl_setuser("worker", True, passwords=["+secret"], keys=["*"], commands=commands)
    url = process.url.replace("redis+unix://", "redis+unix://worker:secret@")
    assert "does not let its user do what a store does" in await refusal(url)


@pytest.mark.parametrize("durability", ["always", "unchecked"])
@pytest.mark.parametrize("withheld", [["-info"], ["-client"], ["-client", "+client|id"]])
async def test_a_user_that_may_not_end_lost_connections_is_refused_with_what_to_allow(
    process, withheld, durability
):
    with process.client() as client:
        commands = ["+@all", *withheld]
        client.acl_setuser("worker", True, passwords=["+secret"], keys=["*"], commands=commands)
    url = process.url.replace("redis+unix://", "redis+unix://worker:secret@")
    url += f"?durability={durability}"
    assert "allow it INFO, CLIENT ID and CLIENT KILL" in await refusal(url)
    with process.client() as client:
        client.acl_setuser("worker", True, commands=["+info", "+client|id", "+client|kill"])
    await works(url)


async def test_every_new_connection_makes_sure_again(process):
    store = patient_store(process.url)
    await store.open()
    set_on(process, "appendfsync", "no")
    assert await store.secret()
    with process.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
    with pytest.raises(StoreUnavailableError, match="may forget what it has acknowledged"):
        await store.secret()
    set_on(process, "appendfsync", "always")
    assert await store.secret()
    await store.close()


@pytest.mark.parametrize("version", ["5.0.14", "6.0.16", "6.1.240"])
async def test_a_server_that_is_too_old_is_refused(version):
    about = f"# Server\r\nredis_version:{version}\r\nredis_mode:standalone\r\n".encode()
    with pytest.raises(connection.UnfitServerError, match=r"needs Redis 6\.2 or newer"):
        connection._check_version(about)


@pytest.mark.parametrize("version", ["6.2.0", "7.4.1", "8.2.0", "10.0.0"])
async def test_a_server_that_is_new_enough_is_taken(version):
    connection._check_version(f"redis_version:{version}\r\n".encode())


# what is never said


@pytest.mark.parametrize("user", ["worker", ""])
async def test_nothing_of_the_url_is_said_to_anybody(process, caplog, user):
    caplog.set_level(logging.DEBUG)
    credentials = f"{user}:hunter2@"
    url = f"{process.url.replace('//', f'//{credentials}')}?prefix=myprefix&durability=unchecked"
    store = patient_store(url)
    with pytest.raises(StoreUnavailableError) as caught:
        await store.open()
    said = "".join(traceback.format_exception_only(caught.value))
    said += f"{caught.value.__cause__} {caught.value.__context__}"
    said += caplog.text + repr(store) + repr(store.server)
    assert "does not take its user or password" in said
    for word in ("hunter2", "worker", "myprefix", "redis.sock"):
        assert word not in said


async def test_a_server_that_is_not_there_is_not_named(caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    store = patient_store(f"redis+unix://u:hunter2@{tmp_path}/nothing.sock")
    with pytest.raises(StoreUnavailableError, match="the server cannot be reached") as caught:
        await store.open()
    said = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert "hunter2" not in said
    assert f"{tmp_path}" not in said


# schemas


async def test_a_newer_schema_is_refused_and_left_alone(process):
    await works(process.url)
    with process.client() as client:
        client.hset("{mpp}:meta", "identity", f"{LATEST + 1}:other")
        before = client.hgetall("{mpp}:meta")
        sentence = await refusal(process.url)
        newer = f"a newer mpp-asgi wrote it (schema {LATEST + 1}, this one knows {LATEST})"
        assert newer in sentence
        assert client.hgetall("{mpp}:meta") == before


async def test_an_older_schema_is_migrated_once_and_ends_the_stores_of_before(process, monkeypatch):
    old = patient_store(process.url)
    await old.open()
    secret = await old.secret()
    migration = "call('HINCRBY', meta, 'migrated', 1)" + schema.ADVANCE
    later = (*schema.MIGRATIONS, *[script(migration, keys="")] * 2)
    monkeypatch.setattr(schema, "MIGRATIONS", later)
    for _ in range(2):
        store = patient_store(process.url)
        await store.open()
        assert await store.secret() == secret
        await store.close()
    with process.client() as client:
        assert client.hget("{mpp}:meta", "migrated") == b"2"
        assert client.hget("{mpp}:meta", "identity").startswith(b"%d:" % (LATEST + 2))
    with pytest.raises(StoreUnavailableError, match="migrated; restart"):
        await old.secret()
    await old.close()


async def test_channels_of_the_first_schema_remember_spends_from_now_on(
    process, new_channel, monkeypatch
):
    old = patient_store(process.url)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", ())
        await old.open()
    await old.add_channel(new_channel())
    await old.close()
    with process.client() as client:
        record = json.loads(client.hget("{mpp}:channels", "channel"))
        del record["recent"]
        client.hset("{mpp}:channels", "channel", json.dumps(record))
    store = patient_store(process.url)
    await store.open()
    assert await store.channel("channel") == new_channel()
    voucher = {"amount": 9, "signature": "s", "cost": 9, "units": 1, "min_delta": 0, "now": 1}
    for _ in range(2):
        spend = await store.spend("channel", **voucher, entry="0" * 15)
        assert (spend.outcome, spend.channel.spent) == (SpendOutcome.SPENT, 9)
    await store.close()


async def test_a_migration_that_fails_is_told(process, monkeypatch):
    await works(process.url)
    broken = (*schema.MIGRATIONS, script("error('no')", keys=""))
    monkeypatch.setattr(schema, "MIGRATIONS", broken)
    assert "the server failed" in await refusal(process.url)
