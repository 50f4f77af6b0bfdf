"""One sandbox and one paid API for all commands, as processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from mpp_asgi.cli import main
from tests.servers import Network, running_app, running_network

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Told:
    """What a command said."""

    status: int
    out: str
    err: str


Command = Callable[..., Told]


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    with running_network() as running:
        yield running


@pytest.fixture(scope="session")
def api(network: Network) -> Iterator[str]:
    with running_app(
        "example_app.main:app", settings=network.settings | {"MPP_STORE": "memory://"}
    ) as (url, _):
        yield url


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the developer's own settings, and a folder to work in."""
    for name in ("MPP_NETWORK", "MPP_RPC_URL", "STELLAR_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """``mpp-asgi``, in this process."""

    def run(*arguments: str) -> Told:
        try:
            status = main(arguments)
        except SystemExit as ended:
            status = int(ended.code or 0)
        said = capsys.readouterr()
        return Told(status, said.out, said.err)

    return run
