"""One shop for all fronts, and the fronts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.attacks.ground import open_ground
from tests.attacks.variant import Place
from tests.fronts.nginx import MISSING, running_front
from tests.fronts.stage import address, caching, proxying

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.attacks.ground import Ground
    from tests.fronts.nginx import Front

SHOP = "tests.fronts.shop:app"


@pytest.fixture(scope="session")
def ground() -> Iterator[Ground]:
    if MISSING is not None:
        pytest.skip(MISSING)
    with open_ground(Place.PLAIN, app=SHOP) as opened:
        yield opened


@pytest.fixture(scope="session")
def proxy(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """As documented."""
    with running_front(proxying(address(ground)), tmp_path_factory.mktemp("proxy")) as front:
        yield front


@pytest.fixture(scope="session")
def cache(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """As documented, with a cache that all share and that keeps everything it may, also what says
    nothing of caches."""
    folder = tmp_path_factory.mktemp("cache")
    more = "proxy_cache_valid 10m; proxy_cache_valid 404 410 10m; proxy_cache_use_stale error;"
    with running_front(caching(address(ground), folder, more), folder) as front:
        yield front
