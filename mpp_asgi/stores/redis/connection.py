"""One connection to a Redis server that may be relied on, and what is said when it may not."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import redis.asyncio as driver
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 # the driver's
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 # the driver's
    TryAgainError,
)

from mpp_asgi.stores.redis.predecessors import Session, run_of
from mpp_asgi.stores.redis.scripts import REPLACED
from mpp_asgi.stores.redis.url import Durability

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpp_asgi.stores.redis.predecessors import Predecessors
    from mpp_asgi.stores.redis.scripts import Call, Script
    from mpp_asgi.stores.redis.url import RedisServer

LEAST_VERSION: Final = (6, 2)
HOPS: Final = 5
"""Nodes of a cluster that are asked, each of which names another, before it is given up."""

_SETTINGS = ("appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy")
_WANTED = (
    "appendonly yes, appendfsync {}, no-appendfsync-on-rewrite no, maxmemory-policy noeviction"
)

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (AuthenticationError, "the server does not take its user or password"),
    (AuthorizationError, "the server does not let its user do what a store does"),
    (NoPermissionError, "the server does not let its user do what a store does"),
    (BusyLoadingError, "the server is still loading its data"),
    (TimeoutError, "the server took too long to answer"),
    (asyncio.TimeoutError, "the server took too long to answer"),
    (ConnectionError, "the server cannot be reached"),
    (OSError, "the server cannot be reached"),
    (ReadOnlyError, "the server is a replica, which takes no writes"),
    (OutOfMemoryError, "the server's memory is full"),
)
_CODES = {
    "MOVED": "the cluster has moved it to another node",
    "ASK": "the cluster is moving it to another node",
    "TRYAGAIN": "the cluster is moving it to another node",
    "CLUSTERDOWN": "the cluster is down",
    "MISCONF": "the server cannot write to its disk",
    "NOREPLICAS": "the server has lost its replicas",
    "BUSY": "another script keeps the server busy",
    "MASTERDOWN": "the server has lost its primary",
    REPLACED: "its data was removed, replaced or migrated; restart to use what is there now",
}
_CODE_OF: dict[type[Exception], str] = {
    MovedError: "MOVED",
    AskError: "ASK",
    TryAgainError: "TRYAGAIN",
    ClusterDownError: "CLUSTERDOWN",
    MasterDownError: "MASTERDOWN",
}


_Address: TypeAlias = tuple[str, int]


class UnfitServerError(ConnectionError):
    """The server is there, but nothing may be kept on it as it is; the message says why."""


def reason(error: BaseException) -> str:
    """What is wrong, for an operator: nothing of the URL, of a key or of a value."""
    if isinstance(error, UnfitServerError):
        return str(error)
    wrapped = error.__cause__ or error.__context__  # the driver's own wrapping
    if isinstance(wrapped, ssl.SSLError):
        return "the server's certificate is not trusted, or it speaks no TLS"
    if isinstance(wrapped, RedisError):
        error = wrapped
    for kind, why in _REASONS:
        if isinstance(error, kind):
            return why
    return _CODES.get(_code(error), "the server failed")


def _code(error: BaseException) -> str:
    """The word that the server's error began with. The driver takes it away from the errors it
    knows, and from one version to the next it knows more."""
    for kind, code in _CODE_OF.items():
        if isinstance(error, kind):
            return code
    return str(error).partition(" ")[0]


def _moved_to(answer: Any) -> _Address | None:
    """Where the store is, if the answer is that it is elsewhere."""
    if not isinstance(answer, ResponseError) or _code(answer) != "MOVED":
        return None
    host, _, port = str(answer).rpartition(" ")[2].rpartition(":")
    return host, int(port)


class Command(NamedTuple):
    """A script to be run, and what follows it."""

    script: Script
    words: list[bytes | int]

    @property
    def size(self) -> int:
        """Bytes, about."""
        return sum(len(word) for word in self.words if isinstance(word, bytes))


class RedisConnection:
    """Asks one server, over one connection at a time, which is made when it is needed and given up
    at the first doubt. In a cluster that is the node that has the store: the last one known, or
    else whichever the node in the URL knows of.

    Nothing is ever asked twice: whether it was done is for the caller to doubt. If it was not done
    when the next call is, it never will be (`Predecessors`).

    Args:
        server: where it is.
        timeout: seconds to wait for a connection, and for an answer.
        predecessors: connections of the same store that were given up.
    """

    def __init__(self, server: RedisServer, *, timeout: float, predecessors: Predecessors) -> None:
        self._server = server
        self._timeout = timeout
        self._predecessors = predecessors
        self._named = self._good = self._at = (server.host, server.port)
        self._client: driver.Redis | None = None
        self._session: Session | None = None
        """Of the connection on which something may have been asked for."""
        self._may_have_asked = False  # since the last drop

    def command(self, call: Call[Any], identity: str) -> Command:
        """A call as it is sent.

        Args:
            call: what to do.
            identity: which data it is for.

        Raises:
            UnicodeEncodeError: an argument is no text.
        """
        keys = [f"{{{self._server.prefix}}}:{name}" for name in call.script.keys]
        words = (len(keys), *keys, identity, *call.arguments)
        return Command(
            call.script, [word.encode() if isinstance(word, str) else word for word in words]
        )

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Have them done in this order, in one round trip; their answers, or a `ResponseError` in
        the place of each that failed.

        Raises:
            RedisError: the server failed, and any of them may have been done.
            OSError: likewise.
        """
        failed: dict[_Address, BaseException] = {}
        for hop in range(HOPS):
            try:
                answers = await self._ask(commands)
            except _ElsewhereError as elsewhere:  # found out while connecting: nothing was asked
                await self.drop()
                self._at = elsewhere.at
            except (RedisError, OSError) as error:
                failed[self._at] = error
                if await self._gave_up_unasked():
                    self._at = self._other_node()
            except BaseException:
                # The time is over. If a node took all of it, the next call tries the other first.
                if await self._gave_up_unasked() and not hop:
                    self._at = self._other_node()
                raise
            else:
                if any(isinstance(found, ReadOnlyError) or _moved_to(found) for found in answers):
                    await self.drop()  # another server has it by now
                return answers
            if self._at in failed:
                raise failed[self._at]
        raise UnfitServerError("the nodes of its cluster do not agree on which of them has it")

    async def drop(self) -> None:
        """Give up the connection, if there is one. The next call makes another."""
        client, self._client = self._client, None
        self._may_have_asked = False
        self._part()
        if client is not None:
            with contextlib.suppress(RedisError, OSError):  # it is of no use any more anyhow
                await client.connection_pool.disconnect()

    async def _gave_up_unasked(self) -> bool:
        """Drop the connection; whether it is sure that no command was sent, to whichever node."""
        is_unasked = not self._may_have_asked
        await self.drop()
        return is_unasked

    def _other_node(self) -> _Address:
        """The one to try instead: that which had the store last comes before the one in the URL,
        which may know where it is now, or be gone for good."""
        return self._named if self._at == self._good else self._good

    def _part(self) -> None:
        """What was sent may arrive yet: the next connection begins with ruling that out."""
        session, self._session = self._session, None
        if session is not None:
            self._predecessors.add(session)

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        answers = await self._send([("EVALSHA", of.sha, *words) for of, words in commands])
        # The server forgets scripts when it restarts. What it does not know it has not done.
        unknown = [n for n, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            again = [commands[n] for n in unknown]
            try:
                answered = await self._send([("EVAL", of.text, *words) for of, words in again])
            except _ElsewhereError:  # the others were done here: they must not be asked again there
                raise UnfitServerError(_CODES["MOVED"]) from None
            for n, answer in zip(unknown, answered, strict=True):
                answers[n] = answer
        return answers

    async def _send(self, commands: Sequence[Sequence[str | bytes | int]]) -> list[Any]:
        if self._client is None:
            self._client = self._new_client()
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return await pipeline.execute(raise_on_error=False)

    def _new_client(self) -> driver.Redis:
        """A client with one connection, which it makes, and makes again if the server has closed it
        meanwhile, before it asks for anything; and which asks for nothing twice."""
        server = self._server
        where: dict[str, Any]
        kind: type[driver.Connection | driver.UnixDomainSocketConnection]
        if server.path:
            kind, where = driver.UnixDomainSocketConnection, {"path": server.path}
        else:
            kind, where = driver.Connection, dict(zip(("host", "port"), self._at, strict=True))
        if server.tls:
            kind = driver.SSLConnection
            where |= {"ssl_ca_certs": server.ca, "ssl_check_hostname": True}
        pool: driver.ConnectionPool = driver.ConnectionPool(
            connection_class=kind,
            max_connections=1,
            db=server.database,
            username=server.user,
            password=server.password,
            protocol=2,
            socket_connect_timeout=self._timeout,
            socket_timeout=self._timeout,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=self._greet,
            **where,
        )
        return driver.Redis(connection_pool=pool)

    async def _greet(self, connection: driver.Connection) -> None:
        """Make sure of the server, on every new connection: it may have been restarted with other
        settings, and another may have taken its place; and of what was sent on the one before."""
        self._part()  # from one that the driver has replaced by itself
        await connection.on_connect()
        session = await _introduced(connection)
        await self._predecessors.end(session, partial(_permitted, connection))
        meta = f"{{{self._server.prefix}}}:meta"
        where = await _answer(connection, "HEXISTS", meta, "identity")
        if moved := _moved_to(where):
            host, port = moved
            raise _ElsewhereError((host or self._at[0], port))
        if isinstance(where, ResponseError):
            raise where
        if self._server.durability is not Durability.UNCHECKED:
            settings = [await _answer(connection, "CONFIG", "GET", name) for name in _SETTINGS]
            _check_durability(settings, self._server.durability)
        self._session, self._may_have_asked = session, True
        self._good = self._at


class _ElsewhereError(UnfitServerError):
    """Another node of the cluster has the store."""

    def __init__(self, at: _Address) -> None:
        super().__init__("another node of its cluster has it")
        self.at = at


async def _answer(connection: driver.Connection, *command: str) -> Any:
    """The answer, be it an error."""
    await connection.send_command(*command)
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


async def _permitted(connection: driver.Connection, *command: str) -> Any:
    """The answer to what it takes to end a connection. Without that nothing can be kept here, as
    a call that failed might be done after others have gone by its not being done."""
    answer = await _answer(connection, *command)
    if not isinstance(answer, ResponseError):
        return answer
    if _code(answer) in _CODES:
        raise answer
    raise UnfitServerError(
        "the server does not let its user end a connection that was lost; allow it INFO, CLIENT ID "
        "and CLIENT KILL"
    )


async def _introduced(connection: driver.Connection) -> Session:
    """What the connection goes by, at a server that is new enough."""
    about = await _permitted(connection, "INFO", "server")
    _check_version(about)
    run = run_of(about)
    if run is None:
        raise UnfitServerError("the server does not tell its run_id (INFO)")
    return Session(run, await _permitted(connection, "CLIENT", "ID"))


def _check_version(about: bytes) -> None:
    found = re.search(rb"redis_version:(\d+)\.(\d+)", about)
    if found and tuple(map(int, found.groups())) < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        raise UnfitServerError(f"the server is too old; a store needs Redis {least} or newer")


def _check_durability(answers: Sequence[Any], durability: Durability) -> None:
    """Refuse a server that may forget what it has said it keeps."""
    if any(isinstance(answer, ResponseError) or len(answer) != 2 for answer in answers):
        raise UnfitServerError(
            "the server does not tell its settings (CONFIG GET); if you know that it loses "
            "nothing, write ?durability=unchecked"
        )
    found = tuple(answer[1].decode() for answer in answers)
    synced = ("always",) if durability is Durability.ALWAYS else ("always", "everysec")
    # While the log is rewritten, no-appendfsync-on-rewrite would have "always" mean "now and then".
    paused = ("no",) if durability is Durability.ALWAYS else ("no", "yes")
    for setting, allowed in zip(found, (("yes",), synced, paused, ("noeviction",)), strict=True):
        if setting not in allowed:
            raise UnfitServerError(
                "the server may forget what it has acknowledged; set "
                + _WANTED.format(durability)
                + (
                    ", or accept the loss of a second with ?durability=everysec"
                    if durability is Durability.ALWAYS
                    else ""
                )
            )
