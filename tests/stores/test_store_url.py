"""Which store a URL means, and what is said of one that means none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpp_asgi.stores.memory.store import MemoryStore
from mpp_asgi.stores.sqlite.store import SqliteStore
from mpp_asgi.stores.url import store_from_url


@pytest.mark.parametrize("url", ["memory://", "MEMORY://"])
def test_memory(url):
    assert isinstance(store_from_url(url), MemoryStore)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///charges.db", "charges.db"),
        ("SQLite:///charges.db", "charges.db"),
        ("sqlite:///data/charges.db", "data/charges.db"),
        ("sqlite:///../charges.db", "../charges.db"),
        ("sqlite:////var/lib/charges.db", "/var/lib/charges.db"),
        ("sqlite:////var/my%20data/what%3F%23.db", "/var/my data/what?#.db"),
        ("sqlite:///100%.db", "100%.db"),
    ],
)
def test_sqlite(url, path):
    store = store_from_url(url)
    assert isinstance(store, SqliteStore)
    assert store.path == Path(path).absolute()


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("", "has no scheme: write memory://, sqlite:///relative.db, sqlite:////absolute.db"),
        ("charges.db", "has no scheme"),
        ("memory:", "has no scheme"),
        ("sqlite:charges.db", "has no scheme"),
        ("mysql://localhost/x", "no store for 'mysql' URLs: write memory://, sqlite:///rel"),
        (" sqlite:///x.db", "no store for ' sqlite' URLs"),
        ("://", "no store for '' URLs"),
        ("memory://x", "write memory:// alone"),
        ("memory:///", "write memory:// alone"),
        ("sqlite://", "three slashes, or four if its path is absolute: write sqlite:///relative"),
        ("sqlite://charges.db", "three slashes"),
        ("sqlite://data/charges.db", "three slashes"),
        ("sqlite:///", "ends with a file's name"),
        ("sqlite:////", "ends with a file's name"),
        ("sqlite:///data/", "ends with a file's name"),
        ("sqlite:///x%00.db", "ends with a file's name"),
        ("sqlite:///x.db?mode=ro", "leave out what follows ? or #"),
        ("sqlite:///x.db#top", "leave out what follows ? or #"),
        ("sqlite:///:memory:", "write memory:// instead"),
    ],
)
def test_what_is_no_store_is_answered_with_advice(url, advice):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 # the message is looked at below
        store_from_url(url)
    assert advice in str(caught.value)


def test_no_password_is_repeated():
    with pytest.raises(ValueError, match="no store for 'mysql'") as caught:
        store_from_url("mysql://shop:hunter2@db/shop")
    assert "hunter2" not in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(st.text() | st.text().map("sqlite://".__add__) | st.text().map("sqlite:///".__add__))
def test_any_text_is_a_store_or_one_sentence(url):
    try:
        store_from_url(url)
        said = ""
    except ValueError as error:
        said = str(error)
    assert said == "" or (said.endswith(".") and "\n" not in said)
