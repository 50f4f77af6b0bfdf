"""``mpp-asgi doctor``: everything that must be right before money can come in."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpp_asgi.cli.check import Check
from mpp_asgi.cli.nodes import look_at_all
from mpp_asgi.cli.prices import price_checks
from mpp_asgi.cli.reading import amount_text
from mpp_asgi.cli.terminal import CommandError, printable
from mpp_asgi.config import ConfigError, Settings, read_settings
from mpp_asgi.middleware import PaymentMiddleware
from mpp_asgi.stellar.accounts import get_account, get_accounts, get_asset, get_trustline
from mpp_asgi.stellar.rpc import get_latest_ledger, get_network
from mpp_asgi.stellar.rpc_call import RpcError
from mpp_asgi.stellar.rpc_drivers import SyncRpc
from mpp_asgi.stellar.rpc_endpoints import endpoint_names
from mpp_asgi.stellar.secret_key import key_from_secret
from mpp_asgi.stellar.sponsor_accounts import channel_accounts
from mpp_asgi.stores.contract import StoreUnavailableError
from mpp_asgi.stores.memory.store import MemoryStore
from mpp_asgi.stores.sqlite.store import SqliteStore
from mpp_asgi.stores.url import store_from_url

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Mapping

    from pydantic import SecretStr

    from mpp_asgi.cli.terminal import Terminal
    from mpp_asgi.stellar.network import Token
    from mpp_asgi.stellar.rpc import LatestLedger

CLOCK_SECONDS = 30
"""How far clock and ledger may be apart: ledgers are some seconds old when they are read."""
FEW_PAYMENTS = 100
"""A sponsor with the XLM for fewer is about to run dry."""

_STROOPS = 10_000_000
_STYLES = {"ok": "good", "note": "bold", "wrong": "bad"}


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Check everything; the exit status is 1 if anything is wrong."""
    wrong = 0
    for check in _everything(arguments.app):
        wrong += not check.good
        coloured = terminal.painted(f"{check.mark:5}", _STYLES[check.mark])
        terminal.say(f"{coloured}  {check.name:9}  {printable(check.text)}")
    if wrong:
        terminal.note(f"mpp-asgi: {wrong} to put right.")
    return int(wrong > 0)


def _everything(app_name: str | None) -> Iterator[Check]:
    app, options = _app_and_options(app_name) if app_name else (None, {})
    try:
        settings = read_settings(_settings_among(options))
    except ConfigError as error:
        yield Check("settings", good=False, text=str(error))
        return
    yield from examine(settings)
    if app is not None:
        yield from price_checks(app, options, settings)


def examine(settings: Settings, *, clock: Callable[[], float] = time.time) -> Iterator[Check]:
    """Look at one thing after the other."""
    check = _settings_check(settings)
    yield check
    if not check.good:
        return
    if settings.network == "sandbox":
        yield Check("network", good=True, text="inside the app itself, with play money")
    else:
        with ExitStack() as finally_:
            nodes = [SyncRpc(url) for url in settings.rpc_urls]
            for each in nodes:
                finally_.callback(each.close)
            yield from _network_checks(settings, nodes, clock)
    yield _store_check(settings, clock)


def settings_of(name: str) -> Mapping[str, Any]:
    """What an app's own code sets.

    Raises:
        CommandError: there is no such app, or it has no PaymentMiddleware.
    """
    return _settings_among(_app_and_options(name)[1])


def _settings_among(options: Mapping[str, Any]) -> Mapping[str, Any]:
    given = {name: value for name, value in options.items() if name in Settings.model_fields}
    intents = given.get("intents")
    if isinstance(intents, Sequence) and any(callable(each) for each in intents):
        del given["intents"]  # makers of the app's own, which are no setting
    return given


def _app_and_options(name: str) -> tuple[object, Mapping[str, Any]]:
    module_name, colon, attribute = name.partition(":")
    if not colon:
        raise CommandError("An app is named as uvicorn is told: main:app.")
    sys.path.insert(0, str(Path.cwd()))
    try:
        app = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise CommandError(f"There is no app {printable(name)}: {printable(str(error))}.") from None
    finally:
        sys.path.pop(0)
    for added in getattr(app, "user_middleware", ()):
        if added.cls is PaymentMiddleware:
            return app, added.kwargs
    raise CommandError(f"{printable(name)} has no PaymentMiddleware.")


def _settings_check(settings: Settings) -> Check:
    try:
        settings.accepted_tokens()
    except ConfigError as error:
        return Check("settings", good=False, text=str(error))
    fee = "fees sponsored" if settings.sponsor else "payers pay the network fee"
    if settings.network == "sandbox":
        fee = "fees sponsored"
    return Check("settings", good=True, text=f"{settings.network}, {settings.currency}, {fee}")


def _network_checks(
    settings: Settings, nodes: Sequence[SyncRpc], clock: Callable[[], float]
) -> Iterator[Check]:
    rpc = nodes[0]
    if len(nodes) > 1:
        named = dict(zip(endpoint_names(settings.rpc_urls), nodes, strict=True))
        views = look_at_all(named, passphrase=settings.stellar_network.passphrase, now=clock())
        for view in views:
            yield Check("rpc", good=view.trouble is None, text=view.text)
        rpc = next((named[view.name] for view in views if view.trouble is None), None) or rpc
    try:
        network = rpc.do(get_network())
        ledger = rpc.do(get_latest_ledger())
    except RpcError as error:
        yield Check("rpc", good=False, text=f"{error} Set MPP_RPC_URL to an RPC that answers.")
        return
    if len(nodes) == 1:
        yield Check("rpc", good=True, text=f"answers; ledger {ledger.sequence}")
    if network.passphrase != settings.stellar_network.passphrase:
        yield Check(
            "network",
            good=False,
            text=f"the RPC does not follow {settings.network}: change MPP_RPC_URL or MPP_NETWORK.",
        )
        return
    yield Check("network", good=True, text=network.passphrase)
    try:
        yield _recipient_check(settings, rpc)
        yield _sponsor_check(settings, rpc)
        if settings.sponsor is not None and settings.sponsor_accounts:
            yield _channel_accounts_check(settings.sponsor, settings.sponsor_accounts, rpc)
    except RpcError as error:
        yield Check("rpc", good=False, text=f"{error} Try again, or change MPP_RPC_URL.")
    yield _clock_check(ledger, clock)


def _recipient_check(settings: Settings, rpc: SyncRpc) -> Check:
    recipient = settings.recipient or ""
    if recipient.startswith("C"):
        return Check("recipient", good=True, text="a contract, which needs no trustline")
    if rpc.do(get_account(recipient)) is None:
        return Check(
            "recipient",
            good=False,
            text=f"{recipient} does not exist: create it with `mpp-asgi fund`, or send XLM to it.",
        )
    problem = _trust_problem(settings.accepted_tokens()[None], recipient, rpc)
    if problem is not None:
        return Check("recipient", good=False, text=problem)
    return Check("recipient", good=True, text=f"{recipient} can hold {settings.currency}")


def _trust_problem(token: Token, recipient: str, rpc: SyncRpc) -> str | None:
    asset = rpc.do(get_asset(token.address))
    if asset is None or asset.is_native() or asset.issuer == recipient:
        return None
    trustline = rpc.do(get_trustline(recipient, asset))
    if trustline is None:
        return (
            f"{recipient} cannot hold {token.symbol}: with its key in STELLAR_SECRET, run "
            f"`mpp-asgi trust {asset.code}:{asset.issuer}`."
        )
    if not trustline.authorized:
        return f"{recipient} is not authorized by the issuer of {token.symbol}: ask the issuer."
    if trustline.balance >= trustline.limit:
        return f"{recipient} has reached its limit for {token.symbol}: raise the trustline's limit."
    return None


def _sponsor_check(settings: Settings, rpc: SyncRpc) -> Check:
    if settings.sponsor is None:
        return Check(
            "sponsor", good=True, text="none: payers need XLM for the fee (MPP_SPONSOR changes it)"
        )
    address = key_from_secret(settings.sponsor.get_secret_value()).public_key
    if address == settings.recipient:
        return Check(
            "sponsor", good=False, text="is the recipient, too: make another account the sponsor."
        )
    account = rpc.do(get_account(address))
    if account is None:
        return Check(
            "sponsor",
            good=False,
            text=f"{address} does not exist: create it with `mpp-asgi fund`, or send XLM to it.",
        )
    payments = account.spendable // settings.max_fee
    has = f"{address} has {amount_text(account.spendable, 7)} XLM to spend"
    if payments < FEW_PAYMENTS:
        wanted = FEW_PAYMENTS * settings.max_fee // _STROOPS
        return Check("sponsor", good=False, text=f"{has}: send it {wanted} XLM or more.")
    text = f"{has}, enough for {payments:,} payments or more"
    if not settings.sponsor_accounts:
        text += ", one at a time (MPP_SPONSOR_ACCOUNTS changes it)"
    return Check("sponsor", good=True, text=text)


def _channel_accounts_check(sponsor: SecretStr, count: int, rpc: SyncRpc) -> Check:
    key = key_from_secret(sponsor.get_secret_value())
    addresses = [each.public_key for each in channel_accounts(key, count)]
    missing = count - len(rpc.do(get_accounts(addresses)))
    if missing:
        return Check(
            "accounts",
            good=False,
            text=f"{missing} of {count} channel accounts are missing: run "
            "`mpp-asgi sponsor create`.",
        )
    return Check("accounts", good=True, text=f"all {count} channel accounts are there")


def _clock_check(ledger: LatestLedger, clock: Callable[[], float]) -> Check:
    if ledger.close_time is None:
        return Check("clock", good=True, text="the RPC does not tell the ledger's time")
    ahead = round(clock() - ledger.close_time)
    if abs(ahead) <= CLOCK_SECONDS:
        return Check("clock", good=True, text=f"{ahead} s from the last ledger's")
    where = "ahead of" if ahead > 0 else "behind"
    return Check(
        "clock",
        good=False,
        text=f"{abs(ahead)} s {where} the last ledger's: set this machine's clock (NTP), or use an "
        "RPC that is not behind.",
    )


def _store_check(settings: Settings, clock: Callable[[], float]) -> Check:
    try:
        store = store_from_url(settings.store_url)
    except ValueError as error:
        return Check("store", good=False, text=str(error))
    if isinstance(store, SqliteStore):
        if not store.path.exists():
            return _new_file_check(store.path)
    elif settings.network != "sandbox" and settings.store_url.startswith("memory:"):
        return Check(
            "store",
            good=False,
            text="memory forgets payments at every restart: leave MPP_STORE out, or set it to "
            "sqlite:////var/lib/app/payments.db.",
        )

    async def write() -> None:
        await store.open()
        try:
            await store.heartbeat("doctor", alive_until=int(clock()) - 1)
        finally:
            await store.close()

    try:
        asyncio.run(write())
    except StoreUnavailableError as error:
        return Check("store", good=False, text=str(error))
    scheme, _, place = settings.store_url.partition("://")
    # Of servers' URLs only what is certainly no password.
    shown = f"{scheme}://{place}" if isinstance(store, (MemoryStore, SqliteStore)) else scheme
    return Check("store", good=True, text=f"{shown} can be written")


def _new_file_check(path: Path) -> Check:
    """The app makes the file itself, and is then its owner; the doctor may be somebody else."""
    folder = path.parent
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return Check("store", good=True, text=f"{path} will be made at the first start")
    return Check(
        "store",
        good=False,
        text=f"{path} cannot be made: create its folder, writable for the app.",
    )
