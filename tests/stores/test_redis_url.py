"""What a Redis URL means, and what is said of one that means nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_asgi.stores.redis.store import RedisStore
from mpp_asgi.stores.redis.url import Durability, RedisServer, redis_server
from mpp_asgi.stores.url import store_from_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://cache", {"host": "cache"}),
        ("REDIS://cache/", {"host": "cache"}),
        ("redis://10.0.0.1:6380/3", {"host": "10.0.0.1", "port": 6380, "database": 3}),
        ("redis://[::1]:6380", {"host": "::1", "port": 6380}),
        ("redis://:pa%40ss@cache", {"host": "cache", "password": "pa@ss"}),
        ("redis://shop:p%2Fw@cache", {"host": "cache", "user": "shop", "password": "p/w"}),
        ("rediss://cache", {"host": "cache", "tls": True}),
        ("rediss://cache?ca=/etc/ca.pem", {"host": "cache", "tls": True, "ca": "/etc/ca.pem"}),
        ("redis://cache?prefix=shop-2", {"host": "cache", "prefix": "shop-2"}),
        (
            "redis://cache/1?durability=everysec&prefix=a",
            {"host": "cache", "database": 1, "durability": Durability.EVERYSEC, "prefix": "a"},
        ),
        ("redis+unix:///run/redis.sock", {"path": "/run/redis.sock"}),
        ("redis+unix://u:p@/run/r%20s.sock?db=2",
         {"path": "/run/r s.sock", "user": "u", "password": "p", "database": 2}),
    ],
)  # fmt: skip
def test_a_url_names_a_server(url, expected):
    assert redis_server(url) == RedisServer(**expected)
    assert isinstance(store_from_url(url), RedisStore)


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("redis://", "names a host: write redis://host:6379/0"),
        ("redis:///0", "names a host"),
        ("redis://:hunter2@/0", "names a host"),
        ("redis://hunter2:x", "cannot be read"),
        ("redis://hunter2:99999", "cannot be read"),
        ("redis://[hunter2", "cannot be read"),
        ("redis://hunter2/x", "database is a number"),
        ("redis://hunter2/0/1", "database is a number"),
        ("redis://hunter2/-1", "database is a number"),
        ("redis://:hunt#er2@cache", "write %23 where one"),
        ("redis://cache?hunter2=1", "options of a Redis URL are durability, prefix"),
        ("redis://cache?ca=/hunter2", "options of a Redis URL are"),
        ("redis://cache?socket_timeout=9", "options of a Redis URL are"),
        ("redis://cache?hunter2", "read ?name=value"),
        ("redis://cache?prefix=a&prefix=b", "given twice"),
        ("redis://cache?durability=hunter2", "always, everysec or unchecked"),
        ("redis://cache?durability=", "always, everysec or unchecked"),
        ("redis://cache?prefix=", "write ?prefix=shop"),
        ("redis://cache?prefix=a%7Db", "write ?prefix=shop"),
        ("redis://cache?prefix=" + "a" * 65, "write ?prefix=shop"),
        ("redis+unix://", "a path: write redis+unix:///run"),
        ("redis+unix://run/redis.sock", "a path: write redis+unix:///run"),
        ("redis+unix:///r.sock?db=hunter2", "database is a number"),
    ],
)
def test_what_names_no_server_is_answered_with_advice(url, advice):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 # the message is looked at below
        store_from_url(url)
    assert advice in str(caught.value)
    assert "hunter2" not in str(caught.value)


@given(st.sampled_from(["redis", "rediss", "redis+unix"]), st.text())
def test_any_text_is_a_server_or_one_sentence(scheme, rest):
    try:
        store_from_url(f"{scheme}://{rest}")
        said = ""
    except ValueError as error:
        said = str(error)
    assert said == "" or (said.endswith(".") and "\n" not in said)


WITHOUT_DRIVER = """
import sys
import mpp_asgi
from mpp_asgi.stores.url import store_from_url
print("redis" in sys.modules)
sys.modules["redis"] = None
try:
    store_from_url("redis://:hunter2@cache")
except ValueError as error:
    print(error)
"""


def test_nobody_needs_the_driver_but_who_has_a_redis_url_and_is_told_how_to_get_it():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DRIVER], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "False\nA Redis store needs its driver: run pip install 'mpp-asgi[redis]'.\n"
    )
