"""The server's own settings, store and keys, for commands that do a part of its work."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mpp_asgi.charges import ChargeBook
from mpp_asgi.cli.checkup import settings_of
from mpp_asgi.cli.terminal import CommandError
from mpp_asgi.config import ConfigError, read_settings
from mpp_asgi.methods import World, open_methods
from mpp_asgi.stellar.rpc_endpoints import open_rpc
from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.memory.store import MemoryStore
from mpp_asgi.stores.sqlite.store import SqliteStore
from mpp_asgi.stores.url import store_from_url

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import AsyncIterator

    from mpp_asgi.config import Settings
    from mpp_asgi.stellar.session import Till
    from mpp_asgi.stores.contract import Store


def chosen_settings(arguments: Namespace) -> Settings:
    """As an app says, if one is named, and the environment; but for the store's URL.

    Raises:
        CommandError: they cannot work.
    """
    given = dict(settings_of(arguments.app)) if arguments.app else {}
    if arguments.store:
        given["store"] = arguments.store
    try:
        return read_settings(given)
    except ConfigError as error:
        raise CommandError(str(error)) from None


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Store]:
    """The records of a server that may be running.

    Raises:
        CommandError: there are none that another process could read.
    """
    try:
        store = store_from_url(settings.store_url)
    except ValueError as error:
        raise CommandError(str(error)) from None
    if isinstance(store, MemoryStore):
        raise CommandError(
            "The records are in the server's own memory, where no command can read them: have it "
            "use a file, with MPP_STORE=sqlite:///mpp-asgi.db or the like."
        )
    if isinstance(store, SqliteStore) and not store.path.exists():
        raise CommandError(f"There is no store at {store.path}: name the server's with --store.")
    try:
        await store.open()
    except StoreUnavailableError as error:
        raise CommandError(str(error)) from None
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def open_till(settings: Settings, store: Store) -> AsyncIterator[Till]:
    """What it takes to settle, as one more process beside the server's.

    Raises:
        CommandError: the settings do not allow for it.
    """
    if settings.network == "sandbox":
        raise CommandError(
            "This sandbox is inside the app, where no command can reach it: run `mpp-asgi sandbox` "
            "and start the app with the settings that it prints."
        )
    owner = f"cli-{secrets.token_hex(8)}"
    book = ChargeBook(store, owner=owner, clock=time.time)
    rpc = open_rpc(
        settings.rpc_urls, passphrase=settings.stellar_network.passphrase, clock=time.time
    )
    methods = None
    try:
        methods = open_methods(
            settings,
            World(time.time, asyncio.sleep),
            rpc=rpc,
            book=book,
            store=store,
            sandbox=None,
        )
        if methods.till is None:
            raise CommandError(
                "There is no key to settle with: set MPP_RECIPIENT_SECRET to the recipient's, and "
                "MPP_CHANNEL_WASM_HASHES, as for the server."
            )
        yield methods.till
    except ConfigError as error:
        raise CommandError(str(error)) from None
    finally:
        if methods is not None:
            await methods.aclose()
        await book.close()
        await rpc.aclose()
