"""Everything that is open while the application runs: store, network, gate; opened and closed."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import secrets
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from stellar_sdk import Keypair

from mpp_asgi.charges import ChargeBook
from mpp_asgi.config import ConfigError, EmbeddedNetwork, Settings, embedded_sandbox
from mpp_asgi.gate import Gate
from mpp_asgi.protocol import ProtocolError, Secrets
from mpp_asgi.stellar.admissions import Counter
from mpp_asgi.stellar.charge import ChargeIntent
from mpp_asgi.stellar.ledger import Ledger
from mpp_asgi.stellar.rpc_drivers import AsyncRpc, InProcessRpc
from mpp_asgi.stellar.sponsor import Sponsor
from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.url import store_from_url
from mpp_asgi.toll import HouseRules

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mpp_asgi.intents import Intent
    from mpp_asgi.stellar.rpc import Rpc
    from mpp_asgi.stores.contract import Store

log = logging.getLogger("mpp_asgi")

SANDBOX_POLL_SECONDS = 0.05
NETWORK_POLL_SECONDS = 1.0

_worker_lock: IO[str] | None = None


@dataclass(frozen=True, slots=True)
class World:
    """Time, as the outside gives it."""

    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]


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
        sandbox: EmbeddedNetwork | None,
    ) -> None:
        self.gate = gate
        self.rules = rules
        self.sandbox = sandbox
        self._store = store
        self._rpc = rpc
        self._book = book

    def keep_alive(self) -> None:
        """Tell the other processes that this one lives, until it is closed."""
        self._book.heart.keep()

    async def close(self) -> None:
        """Finish what is under way and let go of everything."""
        async with AsyncExitStack() as finally_:
            finally_.push_async_callback(self._store.close)
            finally_.push_async_callback(self._rpc.aclose)
            await self._book.close()


async def open_house(
    settings: Settings,
    world: World,
    *,
    sandbox: EmbeddedNetwork | None,
    intents: Sequence[Callable[[ChargeBook], Intent]],
) -> House:
    """Open everything.

    Args:
        settings: checked.
        world: time.
        sandbox: an embedded network to use instead of a new one.
        intents: makers of further ways to pay, instead of the built-in ones.

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
        rpc = _rpc(settings, sandbox)
        if_it_fails.push_async_callback(rpc.aclose)
        ways = [make(book) for make in intents] or [_charge(settings, world, rpc, book, sandbox)]
        gate = Gate(
            ways,
            secret,
            clock=world.clock,
            challenge_seconds=settings.challenge_seconds,
            currency=settings.currency,
        )
        if_it_fails.pop_all()
    rules = HouseRules(
        realm=settings.realm,
        allow_http=settings.allow_http,
        body_limit=settings.body_limit,
        hold_limit=settings.hold_limit,
    )
    return House(store=store, rpc=rpc, book=book, gate=gate, rules=rules, sandbox=sandbox)


async def _open_store(settings: Settings) -> Store:
    try:
        store = store_from_url(settings.store_url)
        await store.open()
    except (ValueError, StoreUnavailableError) as error:
        raise ConfigError(str(error)) from None
    return store


def _rpc(settings: Settings, sandbox: EmbeddedNetwork | None) -> Rpc:
    if sandbox is not None:
        return InProcessRpc(sandbox.rpc)
    return AsyncRpc(settings.rpc_url or settings.stellar_network.rpc_url or "")


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


def _charge(
    settings: Settings, world: World, rpc: Rpc, book: ChargeBook, sandbox: EmbeddedNetwork | None
) -> Intent:
    ledger = Ledger(
        rpc,
        clock=world.clock,
        sleep=world.sleep,
        poll_seconds=NETWORK_POLL_SECONDS if sandbox is None else SANDBOX_POLL_SECONDS,
        patience_seconds=settings.settle_seconds,
    )
    sponsor_key = (
        Keypair.from_secret(settings.sponsor.get_secret_value()) if settings.sponsor else None
    )
    recipient = settings.recipient
    if sandbox is not None:
        sponsor_key = sponsor_key or _sandbox_key("sponsor")
        recipient = recipient or _sandbox_key("recipient").public_key
        sandbox.fund(sponsor_key.public_key)
        if recipient.startswith("G"):
            sandbox.fund(recipient)
    if recipient is None:
        raise ConfigError("A recipient is needed.")
    if sponsor_key is not None and sponsor_key.public_key == recipient:
        raise ConfigError(
            "The sponsor and the recipient must be two accounts: the sponsor's key is in this "
            "process, the recipient's need not be."
        )
    sponsor = _sponsor(settings, sponsor_key, ledger) if sponsor_key else None
    counter = Counter(
        network=settings.stellar_network,
        ledger=ledger,
        book=book,
        sponsor=sponsor,
        own_addresses=frozenset({recipient, *([sponsor.address] if sponsor else [])}),
        clock=world.clock,
        sleep=world.sleep,
    )
    return ChargeIntent(
        counter,
        recipient=recipient,
        tokens=settings.accepted_tokens(),
        allow_hash=settings.allow_hash,
    )


def _sponsor(settings: Settings, key: Keypair, ledger: Ledger) -> Sponsor:
    return Sponsor(key, ledger, max_fee=settings.max_fee, patience_seconds=settings.settle_seconds)


def _sandbox_key(role: str) -> Keypair:
    """An account of the sandbox's; play money needs no secrecy, and a restart the same address."""
    seed = hashlib.sha256(f"mpp_asgi sandbox {role}".encode()).digest()
    return Keypair.from_raw_ed25519_seed(seed)


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
