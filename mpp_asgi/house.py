"""Everything that is open while the application runs: store, network, gate; opened and closed."""

from __future__ import annotations

import logging
import multiprocessing
import os
import secrets
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING

from mpp_asgi.charges import ChargeBook
from mpp_asgi.config import ConfigError, EmbeddedNetwork, Settings, embedded_sandbox
from mpp_asgi.gate import Gate
from mpp_asgi.idempotency import Repetition
from mpp_asgi.methods import Methods, World, open_methods
from mpp_asgi.protocol import ProtocolError, Secrets
from mpp_asgi.recovery import Recovery
from mpp_asgi.stellar.rpc_drivers import InProcessRpc
from mpp_asgi.stellar.rpc_endpoints import open_rpc
from mpp_asgi.stellar.rpc_failover import WrongNetworkError
from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.url import store_from_url
from mpp_asgi.toll import ChannelOf, HouseRules, PlainHttp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mpp_asgi.intents import Intent
    from mpp_asgi.stellar.guardian import Guardian
    from mpp_asgi.stellar.rpc_call import Rpc
    from mpp_asgi.stores.contract import Store

log = logging.getLogger("mpp_asgi")

_worker_lock: IO[str] | None = None


class House:
    """The open resources of one middleware."""

    def __init__(
        self,
        *,
        store: Store,
        rpc: Rpc,
        book: ChargeBook,
        gate: Gate,
        rules: HouseRules,
        guardian: Guardian | None,
        methods: Methods | None,
        recovery: Recovery,
        sandbox: EmbeddedNetwork | None,
    ) -> None:
        self.gate = gate
        self.rules = rules
        self.sandbox = sandbox
        self._store = store
        self._rpc = rpc
        self._book = book
        self._guardian = guardian
        self._methods = methods
        self._recovery = recovery

    def keep_alive(self) -> None:
        """Tell the other processes that this one lives, until it is closed."""
        self._book.heart.keep()

    async def close(self) -> None:
        """Finish what is under way and let go of everything."""
        async with AsyncExitStack() as finally_:
            finally_.push_async_callback(self._store.close)
            finally_.push_async_callback(self._rpc.aclose)
            finally_.push_async_callback(self._book.close)
            if self._methods is not None:
                finally_.push_async_callback(self._methods.aclose)
            finally_.push_async_callback(self._recovery.aclose)
            if self._guardian is not None:
                await self._guardian.aclose()


async def open_house(
    settings: Settings,
    world: World,
    *,
    sandbox: EmbeddedNetwork | None,
    intents: Sequence[Callable[[ChargeBook], Intent]],
    channel_of: ChannelOf | None,
) -> House:
    """Open everything.

    Args:
        settings: checked.
        world: time.
        sandbox: an embedded network to use instead of a new one.
        intents: makers of further ways to pay, instead of the built-in ones.
        channel_of: which channel a request is paid from, if it does not say.

    Raises:
        ConfigError: a setting cannot work; the message says what to change.
    """
    if settings.network == "sandbox":
        _be_the_only_worker()
        sandbox = sandbox or embedded_sandbox()
    async with AsyncExitStack() as if_it_fails:
        store = await _open_store(settings)
        if_it_fails.push_async_callback(store.close)
        secret = await _secrets(settings, store)
        book = ChargeBook(store, owner=secrets.token_hex(8), clock=world.clock, sleep=world.sleep)
        rpc = await _open_rpc(settings, world, sandbox)
        if_it_fails.push_async_callback(rpc.aclose)
        methods = None
        if not intents:
            methods = open_methods(
                settings, world, rpc=rpc, book=book, store=store, sandbox=sandbox
            )
            if_it_fails.push_async_callback(methods.aclose)
        gate = Gate(
            [make(book) for make in intents] if methods is None else methods.intents,
            secret,
            clock=world.clock,
            challenge_seconds=settings.challenge_seconds,
            currency=settings.currency,
            sponsors=(lambda: False) if methods is None else methods.sponsors,
        )
        if_it_fails.pop_all()
    rules = HouseRules(
        realm=settings.realm,
        channel_of=channel_of,
        allow_http=settings.allow_http,
        body_limit=settings.body_limit,
        hold_limit=settings.hold_limit,
        plain_http=PlainHttp(world.clock),
        repetition=_repetition(settings, book, world),
    )
    guardian = methods.guardian if methods is not None else None
    if guardian is not None:
        guardian.start()  # with lifespan events or without, and so does the next
    recovery = Recovery(
        book,
        methods.ledger if methods is not None else None,
        redelivery_seconds=settings.redelivery_seconds,
        clock=world.clock,
    )
    recovery.start()
    return House(
        store=store,
        rpc=rpc,
        book=book,
        gate=gate,
        rules=rules,
        guardian=guardian,
        methods=methods,
        recovery=recovery,
        sandbox=sandbox,
    )


def _repetition(settings: Settings, book: ChargeBook, world: World) -> Repetition | None:
    seconds, limit = settings.idempotency_seconds, settings.idempotency_limit
    return Repetition(book, seconds=seconds, limit=limit, clock=world.clock) if seconds else None


async def _open_store(settings: Settings) -> Store:
    try:
        store = store_from_url(settings.store_url)
        await store.open()
    except (ValueError, StoreUnavailableError) as error:
        raise ConfigError(str(error)) from None
    return store


async def _open_rpc(settings: Settings, world: World, sandbox: EmbeddedNetwork | None) -> Rpc:
    if sandbox is not None:
        return InProcessRpc(sandbox.rpc)
    rpc = open_rpc(
        settings.rpc_urls, passphrase=settings.stellar_network.passphrase, clock=world.clock
    )
    try:
        await rpc.require_network()
    except WrongNetworkError:
        await rpc.aclose()
        raise ConfigError(
            f"The RPC does not follow {settings.network}: change rpc_url or network."
        ) from None
    return rpc


async def _secrets(settings: Settings, store: Store) -> Secrets:
    try:
        if settings.secret is None:
            signing = await store.secret()
        else:
            signing = settings.secret.get_secret_value()
        if settings.previous_secret is None:
            return Secrets(signing)
        return Secrets(signing, settings.previous_secret.get_secret_value())
    except (ProtocolError, StoreUnavailableError) as error:
        raise ConfigError(str(error)) from None


def _be_the_only_worker() -> None:
    """An embedded ledger lives in one process, so a second worker would sell on another ledger.

    Raises:
        ConfigError: another worker of the same server is running.
    """
    global _worker_lock  # noqa: PLW0603 # one per process, held as long as it lives
    is_worker = multiprocessing.parent_process() is not None or os.environ.get(
        "SERVER_SOFTWARE", ""
    ).startswith("gunicorn")
    if _worker_lock is not None or not is_worker:
        return
    try:
        import fcntl  # noqa: PLC0415 # there is none on Windows
    except ImportError:
        return
    path = Path(tempfile.gettempdir()) / f"mpp-asgi-sandbox-{os.getuid()}-{os.getppid()}.lock"
    lock = path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise ConfigError(
            "Several workers need one sandbox between them: run `mpp-asgi sandbox` and start them "
            "with the network, RPC URL, recipient and sponsor that it prints."
        ) from None
    _worker_lock = lock
