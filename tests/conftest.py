"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

from tests.database import postgres_schemas, postgres_url, postgres_urls
from tests.redis_server import redis_urls

__all__ = ["postgres_schemas", "postgres_url", "postgres_urls", "redis_urls"]

# Machines are shared and slow at times, so nothing is timed; enough examples to be worth it, few
# enough that the whole suite stays quick.
settings.register_profile("mpp_asgi", max_examples=60, deadline=None)
settings.load_profile("mpp_asgi")
