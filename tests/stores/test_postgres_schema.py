"""What a PostgreSQL store makes of the database it is given, and which ones it refuses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mpp_asgi.stores.channels import SpendOutcome
from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.postgres import schema as definitions
from mpp_asgi.stores.postgres.store import PostgresStore
from tests import database
from tests.stores import racing
from tests.stores.postgres_sessions import another_session, waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

LATEST = len(definitions.MIGRATIONS)


@pytest.fixture
def schema(postgres_schemas) -> Iterator[str]:
    """The name of one that is not there yet."""
    name = postgres_schemas.new()
    yield name
    postgres_schemas.drop(name)


@pytest.fixture
def url(postgres_schemas, schema) -> str:
    return postgres_schemas.url(schema)


async def opens(url: str) -> None:
    store = PostgresStore.from_url(url)
    await store.open()
    try:
        assert await store.get("nothing") is None
    finally:
        await store.close()


async def version(url: str) -> int:
    async with another_session(url) as session:
        return await session.fetchval("SELECT number FROM schema_version")


async def relations(url: str, schema: str) -> int:
    async with another_session(url) as session:
        return await session.fetchval(
            "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace($1)", schema
        )


async def test_a_schema_is_made_where_there_is_none(url):
    await opens(url)
    assert await version(url) == LATEST


async def test_an_empty_schema_is_filled(url, schema):
    async with another_session(url) as session:
        await session.execute(f"CREATE SCHEMA {schema}")
    await opens(url)
    assert await version(url) == LATEST


async def test_of_two_schemas_each_is_a_storage_of_its_own(postgres_urls):
    secrets = set()
    for url in (postgres_urls(), postgres_urls()):
        store = PostgresStore.from_url(url)
        await store.open()
        secrets.add(await store.secret())
        await store.close()
    assert len(secrets) == 2


def test_processes_that_start_at_one_time_make_it_once(url):
    owners = ["w0", "w1", "w2"]
    with racing.processes("store_process", *(("race", url, owner) for owner in owners)) as racers:
        said = racing.results(racers)
    assert len({each["secret"] for each in said}) == 1
    assert sum(len(each["won"]) for each in said) == 80


async def test_whoever_migrates_is_waited_for(url):
    async with another_session(url) as session:
        await session.execute("SELECT pg_advisory_lock($1)", definitions.MIGRATION_LOCK)
        opening = [asyncio.create_task(opens(url)) for _ in range(2)]
        await waiting(url, 2)
        await session.execute("SELECT pg_advisory_unlock($1)", definitions.MIGRATION_LOCK)
        await asyncio.gather(*opening)


async def test_an_opening_that_is_cancelled_can_be_done_again(url):
    store = PostgresStore.from_url(url)
    async with another_session(url) as session:
        await session.execute("SELECT pg_advisory_lock($1)", definitions.MIGRATION_LOCK)
        opening = asyncio.create_task(store.open())
        await waiting(url, 1)
        opening.cancel()
        await session.execute("SELECT pg_advisory_unlock($1)", definitions.MIGRATION_LOCK)
        with pytest.raises(asyncio.CancelledError):
            await opening
    await store.open()
    assert await store.get("nothing") is None
    await store.close()


async def test_a_migration_brings_what_is_there_up_to_date(url, new_charge, monkeypatch):
    store = PostgresStore.from_url(url)
    await store.open()
    await store.claim(new_charge(), [], now=0)
    later = (*definitions.MIGRATIONS, "ALTER TABLE charge ADD COLUMN more text")
    monkeypatch.setattr(definitions, "MIGRATIONS", later)
    await opens(url)
    assert await version(url) == LATEST + 1
    # What is running meanwhile goes on.
    assert await store.get("challenge") == new_charge()
    await store.write(new_charge(), ["tx:1"], owner="w")
    await store.close()


async def test_a_schema_of_the_first_version_keeps_its_channels(url, new_channel, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(definitions, "MIGRATIONS", definitions.MIGRATIONS[:1])
        await opens(url)
    fields = new_channel()._asdict()
    del fields["recent"]
    async with another_session(url) as session:
        places = ", ".join(f"${n + 1}" for n in range(len(fields)))
        await session.execute(
            f"INSERT INTO channel ({', '.join(fields)}) VALUES ({places})", *fields.values()
        )
    store = PostgresStore.from_url(url)
    await store.open()
    assert await store.channel("channel") == new_channel()
    voucher = {"amount": 9, "signature": "s", "cost": 9, "units": 1, "min_delta": 0, "now": 1}
    for _ in range(2):
        spend = await store.spend("channel", **voucher, entry="0" * 15)
        assert (spend.outcome, spend.channel.spent) == (SpendOutcome.SPENT, 9)
    await store.close()


async def test_a_migration_that_fails_leaves_everything_as_it_was(url, schema, monkeypatch):
    broken = (*definitions.MIGRATIONS, "SELECT 1 / 0")
    with monkeypatch.context() as patch:
        patch.setattr(definitions, "MIGRATIONS", broken)
        with pytest.raises(StoreUnavailableError, match="PostgreSQL answered 22012"):
            await opens(url)
    assert await relations(url, schema) == 0
    await opens(url)


async def test_a_newer_schema_is_refused(url):
    await opens(url)
    async with another_session(url) as session:
        await session.execute("UPDATE schema_version SET number = $1", LATEST + 1)
    store = PostgresStore.from_url(url)
    with pytest.raises(StoreUnavailableError) as caught:
        await store.open()
    assert str(caught.value) == (
        f"Cannot open the PostgreSQL store: a newer mpp-asgi wrote it (schema {LATEST + 1}, this "
        f"one knows {LATEST}); upgrade mpp-asgi or use another database."
    )
    with pytest.raises(StoreUnavailableError, match="not open"):
        await store.get("nothing")


async def test_another_programs_schema_is_refused(url, schema):
    async with another_session(url) as session:
        await session.execute(f"CREATE SCHEMA {schema}")
        await session.execute("CREATE TABLE orders (id integer)")
    with pytest.raises(StoreUnavailableError, match="is another program's; name another one"):
        await opens(url)
    assert await relations(url, schema) == 1


@pytest.mark.parametrize("commit", ["off", "local", "remote_write"])
async def test_a_server_that_acknowledges_what_it_may_forget_is_refused(url, schema, commit):
    with pytest.raises(StoreUnavailableError, match=f"as synchronous_commit is {commit}: have it"):
        await opens(f"{url}&synchronous_commit={commit}")
    assert await relations(url, schema) == 0


@pytest.mark.parametrize("commit", ["on", "remote_apply"])
async def test_a_server_that_keeps_what_it_acknowledges_is_taken(url, commit):
    await opens(f"{url}&synchronous_commit={commit}")


# a server of its own, where there are rights to give and to keep


@pytest.fixture(scope="module")
def own() -> Iterator[database.Server]:
    try:
        with database.server() as server:
            yield server
    except database.UnavailableError as error:
        pytest.skip(str(error))


def as_user(server: database.Server, user: str) -> str:
    return server.url.replace("//mpp@", f"//{user}@")


async def test_who_may_not_make_the_schema_is_told_what_it_needs(own):
    async with another_session(own.url) as session:
        await session.execute("CREATE ROLE lodger LOGIN")
    with pytest.raises(StoreUnavailableError, match=r"lacks a right .* CREATE on the database"):
        await opens(as_user(own, "lodger"))


async def test_once_it_is_made_no_right_to_make_anything_is_needed(own):
    await opens(own.url)
    async with another_session(own.url) as session:
        await session.execute("CREATE ROLE worker LOGIN")
        await session.execute("GRANT USAGE ON SCHEMA mpp_asgi TO worker")
        await session.execute("GRANT ALL ON ALL TABLES IN SCHEMA mpp_asgi TO worker")
        await session.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA mpp_asgi TO worker")
    store = PostgresStore.from_url(as_user(own, "worker"))
    await store.open()
    await store.heartbeat("w", alive_until=1)
    assert (await store.borrow(["G"], until=1, now=0)).account == "G"
    await store.close()


async def test_a_standby_is_refused(own):
    own.stop()
    standby = own.data / "standby.signal"
    standby.touch()
    try:
        own.start()
        with pytest.raises(StoreUnavailableError, match="on a standby, which takes no writes"):
            await opens(own.url)
    finally:
        own.stop()
        standby.unlink()
        own.start()
