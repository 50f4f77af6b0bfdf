"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

from tests.database import postgres_schemas, postgres_url, postgres_urls
from tests.redis_server import redis_urls

__all__ = ["postgres_schemas", "postgres_url", "postgres_urls", "redis_urls"]

pytest_plugins = ["tests.pace"]

# Machines are shared and slow at times, so nothing is timed; enough examples to be worth it, few
# enough that the whole suite stays quick.
# The same ones every time: what is found by looking elsewhere (HYPOTHESIS_PROFILE=elsewhere) gets a
# test of its own.
settings.register_profile("steady", max_examples=60, deadline=None, derandomize=True)
settings.register_profile("elsewhere", max_examples=60, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
