"""The servers under attack: a network and a shop on it, as processes of their own."""

from __future__ import annotations

import asyncio
import itertools
import resource
import sqlite3
import tempfile
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from example_app.demo.processes import Server
from tests.attacks import goods
from tests.attacks.crooked_node import CrookedNode, served_node
from tests.attacks.market import Node
from tests.attacks.variant import Place
from tests.attacks.wire import Wire
from tests.servers import clean_environment
from tests.shop import RECIPIENT, SPONSOR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.attacks.goods import Goods

SHOP = "tests.attacks.shop:app"
WEAKENED = "tests.attacks.weakened:app"
SECRET = "planted-secret-of-the-shop-0123456789"
CHANNEL_FACTORY = "CCVIRHCRCFG3MFNDLFM5RJEKMD65AV2MCO3ALPX6VUQLOOMWFZ4LIWSG"
START_SECONDS = 120.0


class Premises:
    """A shop, by the processes that run it."""

    def __init__(self, folder: Path, settings: dict[str, str], app: str) -> None:
        self.wires: list[Wire] = []
        self.servers: list[Server] = []
        self.file = folder / "goods.txt"
        self.settings = settings
        self._app = app
        self._folder = folder
        self._numbers = itertools.count()

    @property
    def url(self) -> str:
        wire = self.wires[0]
        return f"http://{wire.host}:{wire.port}"

    def made(self, tag: str) -> list[Goods]:
        """What the handlers made for an attack."""
        return goods.made(self.file).get(tag, []) if self.file.exists() else []

    def start(self, *arguments: str, port: int = 0, **settings: str) -> Wire:
        """Start a shop over the same store, and say the way to it."""
        environment = clean_environment() | self.settings | settings
        server = Server(
            *("uvicorn", self._app, "--port", str(port), "--no-access-log", *arguments),
            environment=environment,
        )
        self.servers.append(server)
        url = urlsplit(server.wait_for(r"running on (http://\S+)", START_SECONDS)[1])
        server.wait_for("Application startup complete", START_SECONDS)
        return Wire(url.hostname or "", url.port or 0)

    async def hang_up(self) -> None:
        """Close every connection."""
        for wire in self.wires:
            await wire.close()

    async def kill(self) -> None:
        """As a crash would."""
        self.servers.pop().kill()
        await self.wires[0].close()

    async def restart(self) -> None:
        """At the same port."""
        port = self.wires[0].port
        self.wires[0] = await asyncio.to_thread(self.start, port=port)

    def release(self) -> None:
        """Let go on what hangs, from now on."""
        self.file.with_suffix(".release").touch()

    def hold(self) -> None:
        """Let hang what hangs."""
        self.file.with_suffix(".release").unlink(missing_ok=True)
        self.file.with_suffix(".hanging").unlink(missing_ok=True)

    @property
    def is_hanging(self) -> bool:
        return self.file.with_suffix(".hanging").exists()

    def memory(self) -> int:
        """Resident bytes of the shop."""
        text = Path(f"/proc/{self.servers[0].process.pid}/statm").read_text()
        return int(text.split()[1]) * resource.getpagesize()

    def close(self) -> None:
        """End all that runs."""
        self.release()
        for server in self.servers:
            server.process.terminate()
        for server in self.servers:
            server.stop()


class Ground(Premises):
    """A shop of ours, its network, and what is known of both."""

    def __init__(self, node: Node, folder: Path, settings: dict[str, str], app: str) -> None:
        super().__init__(folder, settings, app)
        self.node = node
        self.crooked: CrookedNode | None = None
        self.store = folder / "store.db"

    @asynccontextmanager
    async def another(self, *arguments: str, **settings: str) -> AsyncIterator[Server]:
        """Attack another shop for a while, with records of its own: what is done to its clock or
        its settings is over when it ends."""
        own = {"MPP_STORE": f"sqlite:///{self._folder}/another-{next(self._numbers)}.db"}
        wire = await asyncio.to_thread(self.start, *arguments, **{**own, **settings})
        server = self.servers.pop()
        self.wires.insert(0, wire)
        try:
            yield server
        finally:
            self.wires.pop(0)
            await wire.close()
            await asyncio.to_thread(server.stop)

    async def set_clock(self, seconds: float) -> None:
        """Put the shop's clock so much ahead of everybody's."""
        url = f"{self.url}/control/clock"
        await asyncio.to_thread(httpx.post, url, params={"seconds": seconds}, timeout=60)

    async def weaken(self, check: str) -> None:
        """Remove a check from a shop that can be weakened, and put back the last one."""
        url = f"{self.url}/control/weaken"
        answer = await asyncio.to_thread(httpx.post, url, params={"check": check}, timeout=60)
        answer.raise_for_status()

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """The shop can write no file that is longer than its goods'."""
        process = self.servers[0].process.pid
        most = self.file.stat().st_size + 4096 if self.file.exists() else 4096
        before = resource.prlimit(process, resource.RLIMIT_FSIZE)
        resource.prlimit(process, resource.RLIMIT_FSIZE, (most, before[1]))
        try:
            yield
        finally:
            resource.prlimit(process, resource.RLIMIT_FSIZE, before)

    @contextmanager
    def locked_store(self) -> Iterator[None]:
        """Somebody else writes to the store, and does not stop."""
        connection = sqlite3.connect(self.store, isolation_level=None, timeout=30)
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
        finally:
            connection.close()

    def disk(self) -> int:
        """Bytes of the store."""
        return sum(file.stat().st_size for file in self._folder.glob("store.db*"))


@contextmanager
def open_ground(
    place: Place, *, app: str = SHOP, is_small: bool = False, **environment: str
) -> Iterator[Ground]:
    """Start the servers of a place; if it ``is_small``, without another host beside the workers."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        network = stack.enter_context(
            Server(
                *("uvicorn", "tests.attacks.network:app", "--port", "0", "--no-access-log"),
                *("--lifespan", "off"),
                environment=clean_environment(),
            )
        )
        url = network.wait_for(r"running on (http://\S+)", START_SECONDS)[1]
        settings = {
            "MPP_NETWORK": "stellar:testnet",
            "MPP_RPC_URL": url,
            "MPP_RECIPIENT": RECIPIENT.public_key,
            "MPP_RECIPIENT_SECRET": RECIPIENT.secret,
            "MPP_SPONSOR": SPONSOR.secret,
            "MPP_CHANNEL_FACTORY": CHANNEL_FACTORY,
            "MPP_CHANNEL_WASM_HASHES": _channel_code(),
            "MPP_STORE": f"sqlite:///{folder}/store.db",
            "MPP_SECRET": SECRET,
            "MPP_CHALLENGE_SECONDS": "3600",
            "MPP_GUARDIAN_INTERVAL": "5",
            "GOODS": str(folder / "goods.txt"),
            **environment,
        }
        node = Node(url, settings)
        stack.callback(node.close)
        ground = Ground(node, folder, settings, app)
        stack.callback(ground.close)
        if place is Place.TROUBLED:
            ground.crooked = stack.enter_context(served_node(url))
            settings["MPP_RPC_URL"] = ground.crooked.url
        if place is Place.WORKERS:
            ground.wires.append(ground.start("--workers", "2"))
        if place is not Place.WORKERS or not is_small:
            ground.wires.append(ground.start())
        yield ground


def _channel_code() -> str:
    from mpp_asgi.sandbox.contracts.registry import CHANNEL_WASM_HASH

    return CHANNEL_WASM_HASH.hex()
