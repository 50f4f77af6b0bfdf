"""What a PostgreSQL URL says, and that nobody else is told."""

from __future__ import annotations

import logging
import subprocess
import sys
import traceback
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.postgres.connection import CONNECTIONS, SCHEMA, TIMEOUT, Target
from mpp_asgi.stores.postgres.store import PostgresStore
from mpp_asgi.stores.url import store_from_url

SECRETS = ("hunter2", "shopkeeper", "db.invalid", "ledgerdb")
URL = "postgresql://shopkeeper:hunter2@db.invalid:5432/ledgerdb"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "PostgreSQL"])
def test_a_postgres_url_is_a_postgres_store(scheme):
    assert isinstance(store_from_url(f"{scheme}://shop:x@db/shop"), PostgresStore)


def test_our_options_are_not_the_drivers():
    target = Target.from_url(f"{URL}?schema=tea&sslmode=require&connections=3&timeout=2.5")
    assert target == Target(f"{URL}?sslmode=require", "tea", 3, 2.5)


def test_without_options_it_is_as_documented():
    assert Target.from_url(URL) == Target(URL, SCHEMA, CONNECTIONS, TIMEOUT)


@pytest.mark.parametrize(
    ("rest", "advice"),
    [
        ("[db/hunter2", "cannot be read: write postgresql://user:password@host:5432/database."),
        ("db/shop?schema=", "schema of a PostgreSQL URL is a name of lower-case letters"),
        ("db/shop?schema=Tea", "lower-case letters"),
        ('db/shop?schema=a"b', "lower-case letters"),
        ("db/shop?schema=pg_hunter2", "does not begin with pg_"),
        ("db/shop?connections=0", "a number from 1 to 999"),
        ("db/shop?connections=hunter2", "a number from 1 to 999"),
        ("db/shop?timeout=0", "in seconds, from 0.1 to 999"),
        ("db/shop?timeout=hunter2", "in seconds, from 0.1 to 999"),
    ],
)
def test_what_cannot_be_read_is_answered_with_advice(rest, advice):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 # the message is looked at below
        store_from_url(f"postgresql://{rest}")
    assert advice in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("connection=2", "connections"),
        ("Timeout=2", "timeout"),
        ("shema=hunter2", "schema"),
        ("sslmode=require&applicationname=hunter2", "application_name"),
    ],
)
def test_an_option_that_is_nearly_ours_is_told(option, meant):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 # the message is looked at below
        store_from_url(f"{URL}?{option}")
    assert str(caught.value) == (
        "A PostgreSQL URL takes the options schema, connections, timeout, application_name, and "
        f"those of PostgreSQL itself: write {meant}=."
    )


def test_a_setting_of_the_servers_is_not_ours():
    for name in ("lock_timeout", "statement_timeout", "search_path", "sslmode", "host"):
        assert isinstance(store_from_url(f"{URL}?{name}=x"), PostgresStore)


@settings(max_examples=200, deadline=None)
@given(st.text().map("postgresql://".__add__) | st.text().map("postgresql://db/x?".__add__))
def test_any_text_is_a_store_or_one_sentence(url):
    try:
        store_from_url(url)
        said = ""
    except ValueError as error:
        said = str(error)
    assert said == "" or (said.endswith(".") and "\n" not in said)


def test_nothing_shows_what_it_was_given():
    store = store_from_url(URL)
    shown = [repr(store), str(store), repr(store._target), str(vars(store))]
    assert not [secret for secret in SECRETS for text in shown if secret in text]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://shopkeeper:hunter2@127.0.0.1:1/ledgerdb",
        "postgresql://shopkeeper:hunter2@127.0.0.1:1,127.0.0.1:2/ledgerdb",
        "postgresql://shopkeeper:hunter2@127.0.0.1:port/ledgerdb",
        "postgresql://shopkeeper:hunter2@127.0.0.1:1/ledgerdb?sslmode=hunter2",
        "postgresql://shopkeeper:hunter2@/ledgerdb?host=/nonexistent/db.invalid",
    ],
)
async def test_what_fails_says_nothing_of_the_url(url, caplog):
    caplog.set_level(logging.DEBUG)
    store = store_from_url(url)
    with pytest.raises(StoreUnavailableError) as caught:
        await store.open()
    told = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert not [secret for secret in (*SECRETS, "127.0.0.1") if secret in told]
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert str(caught.value).startswith("The PostgreSQL store failed: it")


async def test_a_database_that_does_not_exist_is_not_named(postgres_url):
    store = store_from_url(urlsplit(postgres_url)._replace(path="/ledgerdb").geturl())
    with pytest.raises(StoreUnavailableError) as caught:
        await store.open()
    assert str(caught.value) == "The PostgreSQL store failed: there is no such database."


WITHOUT_DRIVER = """
import sys
sys.modules["asyncpg"] = None
import mpp_asgi
from mpp_asgi.stores.url import store_from_url
try:
    store_from_url("postgresql://shop:hunter2@db/shop")
except ValueError as error:
    print(error)
"""


def test_without_the_driver_all_else_works_and_one_sentence_says_what_to_install():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DRIVER], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "A PostgreSQL store needs its driver: run pip install 'mpp-asgi[postgres]'.\n"
    )
