"""The storages that runs under fire are over."""

from __future__ import annotations

from tests.database import postgres_schemas, postgres_url, postgres_urls
from tests.redis_server import redis_urls
from tests.stores.conftest import sqlite_urls, url

__all__ = ["postgres_schemas", "postgres_url", "postgres_urls", "redis_urls", "sqlite_urls", "url"]
