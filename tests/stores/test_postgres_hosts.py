"""Several hosts in a PostgreSQL URL: the one that serves is found, whatever the others do."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.postgres.connection import StandbyError, Target
from mpp_asgi.stores.postgres.hosts import Hosts, one_each
from mpp_asgi.stores.postgres.store import PostgresStore
from tests import database
from tests.stores.postgres_sessions import PATIENCE
from tests.stores.silent_host import silent_host

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("url", "one_host_each"),
    [
        ("postgresql://u:p@a/db", ["postgresql://u:p@a/db"]),
        ("postgresql://u:p@/db?host=/run", ["postgresql://u:p@/db?host=/run"]),
        ("postgresql:///db", ["postgresql:///db"]),
        (
            "postgresql://u:p@a:1,[::1]:2,%2Frun/db?sslmode=require",
            [
                "postgresql://u:p@a:1/db?sslmode=require",
                "postgresql://u:p@[::1]:2/db?sslmode=require",
                "postgresql://u:p@%2Frun/db?sslmode=require",
            ],
        ),
        (
            "postgresql://u:p@/db?host=a,/run&port=1,2&user=x",
            [
                "postgresql://u:p@/db?user=x&host=a&port=1",
                "postgresql://u:p@/db?user=x&host=%2Frun&port=2",
            ],
        ),
        (
            "postgresql:///db?host=a,b&port=1",
            ["postgresql:///db?host=a&port=1", "postgresql:///db?host=b&port=1"],
        ),
        ("postgresql:///db?host=a:1,b", ["postgresql:///db?host=a:1", "postgresql:///db?host=b"]),
        # what the driver cannot read either
        ("postgresql://a,,b/db", ["postgresql://a,,b/db"]),
        ("postgresql:///db?host=a,b,c&port=1,2", ["postgresql:///db?host=a,b,c&port=1,2"]),
    ],
)
def test_a_url_of_several_hosts_is_several_urls(url, one_host_each, monkeypatch):
    for name in ("PGHOST", "PGPORT", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    assert [read(each) for each in one_each(url)] == [read(each) for each in one_host_each]


def read(url: str) -> tuple[str, ...]:
    parts = urlsplit(url)
    return (*parts[:3], *sorted(map(str, parse_qs(parts.query).items())))


def test_hosts_of_the_environment_are_those_of_a_url_without(monkeypatch):
    monkeypatch.setenv("PGHOST", "a,b")
    monkeypatch.delenv("PGPORT", raising=False)
    monkeypatch.delenv("PGSERVICE", raising=False)
    assert [read(each) for each in one_each("postgresql:///db")] == [
        read("postgresql:///db?host=a"),
        read("postgresql:///db?host=b"),
    ]
    assert one_each("postgresql://c/db") == ["postgresql://c/db"]
    monkeypatch.setenv("PGPORT", "1,2")  # the driver knows which belongs to which
    assert one_each("postgresql:///db") == ["postgresql:///db"]


@pytest.fixture(scope="module")
def mortal() -> Iterator[database.Server]:
    """A server that tests may stop."""
    try:
        with database.server() as server:
            yield server
    except database.UnavailableError as error:
        pytest.skip(str(error))


def with_another(server: database.Server, host: str, port: int, *, options: str) -> str:
    """The URL of both, the other one first."""
    (directory,) = parse_qs(urlsplit(server.url).query)["host"]
    hosts = f"host={host},{directory}&port={port},5432"
    return f"postgresql://mpp@/postgres?{hosts}&sslmode=disable&{options}"


async def test_a_silent_host_is_passed_over_and_no_longer_asked(mortal):
    async with silent_host() as host:
        url = with_another(mortal, "127.0.0.1", host.port, options="timeout=999")
        hosts = Hosts(Target.from_url(url))
        connecting = asyncio.create_task(hosts.connect())
        await host.is_asked.wait()
        loop = asyncio.get_running_loop()
        loop.time = partial(lambda time: time() + 999 / 2 / 2, loop.time)
        for connection in (await connecting, await hosts.connect()):
            assert await connection.fetchval("SELECT 1") == 1
            await connection.close(timeout=PATIENCE)
        assert host.asked == 1


@pytest.mark.parametrize("attributes", ["any", "read-write"])
async def test_a_standby_is_passed_over(mortal, attributes):
    with database.server() as standby:
        signal = standby.data / "standby.signal"
        standby.stop()
        signal.touch()
        standby.start()
        (directory,) = parse_qs(urlsplit(standby.url).query)["host"]
        options = f"timeout=60&target_session_attrs={attributes}"
        store = PostgresStore.from_url(with_another(mortal, directory, 5432, options=options))
        await store.open()
        await store.close()


async def test_what_is_wrong_with_the_primary_is_told_rather_than_that_another_is_none(
    monkeypatch,
):
    told = {
        "standby": StandbyError("s"),
        "other": asyncpg.TargetServerAttributeNotMatched("t"),
        "down": ConnectionRefusedError(),
        "late": TimeoutError(),
        "locked": asyncpg.InvalidPasswordError("p"),
        "unfit": StoreUnavailableError("u"),
    }

    async def fail(target: Target, url: str) -> None:
        raise told[urlsplit(url).hostname]

    monkeypatch.setattr("mpp_asgi.stores.postgres.hosts.connect", fail)
    for hosts, which in {
        "standby,down": "down",
        "down,standby": "down",
        "other,late,standby": "late",
        "standby,other": "standby",
        "down,locked,late": "locked",  # the others would refuse it, too
        "unfit,down": "unfit",
    }.items():
        with pytest.raises(type(told[which])):
            await Hosts(Target(f"postgresql://{hosts}/db")).connect()
