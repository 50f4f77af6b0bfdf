"""``mpp-asgi sponsor``: the account that pays fees, and its channel accounts.

The settings are the server's own; the server may run meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from stellar_sdk import Asset

from mpp_asgi.cli.chain import Chain
from mpp_asgi.cli.channel_rows import count_text
from mpp_asgi.cli.reading import amount_text
from mpp_asgi.cli.records import chosen_settings, open_store
from mpp_asgi.cli.sponsor_ledger import SponsorLedger
from mpp_asgi.cli.terminal import CommandError
from mpp_asgi.methods import sponsor_terms
from mpp_asgi.stellar.accounts import BASE_RESERVE
from mpp_asgi.stellar.secret_key import key_from_secret
from mpp_asgi.stellar.sponsor_accounts import channel_accounts
from mpp_asgi.stellar.sponsor_budget import SponsorBudget
from mpp_asgi.stores.contract import StoreUnavailableError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence

    from stellar_sdk import Keypair, TransactionBuilder

    from mpp_asgi.cli.terminal import Terminal
    from mpp_asgi.config import Settings
    from mpp_asgi.stellar.accounts import Account
    from mpp_asgi.stores.contract import Store

RESERVE = 2 * BASE_RESERVE
"""Stroops that an account has to hold; a channel account pays nothing and needs no more."""
CREATED_AT_A_TIME = 50
SIGNING_AT_A_TIME = 19
"""A transaction has 20 signatures at most, and one is the sponsor's."""

_XLM = 7


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Create channel accounts, show them, or put them in order."""
    settings = chosen_settings(arguments)
    ledger = _ledger(settings)
    count = settings.sponsor_accounts if arguments.accounts is None else arguments.accounts
    keys = channel_accounts(ledger.sponsor, count)
    try:
        ledger.chain.require_right_network(ledger.rpc)
        return _COMMANDS[arguments.action](ledger, keys, settings, terminal)
    finally:
        ledger.rpc.close()


def _ledger(settings: Settings) -> SponsorLedger:
    if settings.network == "sandbox":
        raise CommandError(
            "The sandbox inside an app makes its channel accounts itself. For one that is served, "
            "start the app with the settings that `mpp-asgi sandbox` prints."
        )
    if settings.sponsor is None:
        raise CommandError("There is no sponsor: set MPP_SPONSOR to its secret key.")
    chain = Chain(settings.stellar_network, settings.rpc_urls[0])
    key = key_from_secret(settings.sponsor.get_secret_value())
    return SponsorLedger(chain, chain.rpc(), key)


def _create(
    ledger: SponsorLedger, keys: Sequence[Keypair], settings: Settings, terminal: Terminal
) -> int:
    if not keys:
        raise CommandError("How many? Add --accounts 20, or set MPP_SPONSOR_ACCOUNTS.")
    there = ledger.accounts(keys)
    missing = [key for key in keys if key.public_key not in there]
    _require_funds(ledger.account(), len(missing))
    for some in _batches(missing, CREATED_AT_A_TIME):
        ledger.perform(_creating(some))
        for key in some:
            terminal.say(f"created  {key.public_key}")
    kept = len(keys) - len(missing)
    terminal.note(
        f"{count_text(len(missing), 'channel account')} created, {kept} there before."
        if missing
        else f"All {count_text(len(keys), 'channel account')} are there."
    )
    if settings.sponsor_accounts != len(keys):
        terminal.note(f"Have the server use them: MPP_SPONSOR_ACCOUNTS={len(keys)}")
    return 0


def _require_funds(sponsor: Account, missing: int) -> None:
    needed = missing * RESERVE
    if sponsor.spendable <= needed:
        raise CommandError(
            f"{count_text(missing, 'channel account')} take {amount_text(needed, _XLM)} XLM and "
            f"fees, and the sponsor has {amount_text(sponsor.spendable, _XLM)} to spend: send it "
            "more."
        )


def _creating(keys: Sequence[Keypair]) -> Callable[[TransactionBuilder], object]:
    def add(builder: TransactionBuilder) -> None:
        for key in keys:
            builder.append_create_account_op(key.public_key, amount_text(RESERVE, _XLM))

    return add


def _status(
    ledger: SponsorLedger, keys: Sequence[Keypair], settings: Settings, terminal: Terminal
) -> int:
    sponsor = ledger.account()
    there = ledger.accounts(keys)
    loans = asyncio.run(_look_into_store(settings, ledger.sponsor.public_key, keys))
    terminal.say(
        f"sponsor  {ledger.sponsor.public_key}  {amount_text(sponsor.spendable, _XLM)} XLM to spend"
    )
    if loans.drawn is not None:
        limit = settings.sponsor_budget
        of = "no limit" if limit is None else f"of {limit} XLM"
        terminal.say(f"today    {amount_text(loans.drawn, _XLM)} XLM counted, {of}")
    missing = 0
    for key in keys:
        account = there.get(key.public_key)
        missing += account is None
        terminal.say(_row(key.public_key, account, loans.standing.get(key.public_key, "")))
    if missing:
        terminal.note(
            f"{count_text(missing, 'channel account')} missing: run `mpp-asgi sponsor create`."
        )
    elif not keys:
        terminal.note("There are no channel accounts: one payment is under way at a time.")
    if loans.trouble:
        terminal.note(loans.trouble)
    return int(missing > 0 or sponsor.spendable < settings.max_fee)


def _row(address: str, account: Account | None, standing: str) -> str:
    if account is None:
        return f"account  {address}  is not on the ledger"
    balance = amount_text(account.balance, _XLM)
    return f"account  {address}  {balance} XLM  sequence {account.sequence}  {standing}".rstrip()


class _Loans:
    """What the store says of a sponsor."""

    def __init__(self) -> None:
        self.standing: dict[str, str] = {}
        self.drawn: int | None = None
        self.trouble = ""


async def _look_into_store(settings: Settings, sponsor: str, keys: Sequence[Keypair]) -> _Loans:
    found = _Loans()
    try:
        async with open_store(settings) as store:
            limits = sponsor_terms(settings).limits
            budget = SponsorBudget(sponsor, limits, store, clock=time.time)
            found.drawn = await budget.drawn()
            for key in keys:
                found.standing[key.public_key] = await _standing(store, key.public_key)
    except (CommandError, StoreUnavailableError) as error:
        found.trouble = f"What is on loan cannot be told: {error}"
    return found


async def _standing(store: Store, address: str) -> str:
    """Whether somebody has the account: it is borrowed for a moment, if nobody has."""
    now = int(time.time())
    loan = await store.borrow([address], until=now + 5, now=now)
    if loan is None:
        return "in use"
    await store.hand_back(loan, sequence=loan.sequence, free_at=now)
    return "free" if loan.sequence is None else f"free, known to be at {loan.sequence}"


def _rebalance(
    ledger: SponsorLedger, keys: Sequence[Keypair], settings: Settings, terminal: Terminal
) -> int:
    if keys:
        _create(ledger, keys, settings, terminal)
    there = ledger.accounts(keys)
    surplus = {
        key: there[key.public_key].spendable
        for key in keys
        if key.public_key in there and there[key.public_key].spendable > 0
    }
    for some in _batches(list(surplus), SIGNING_AT_A_TIME):
        ledger.perform(_returning({key: surplus[key] for key in some}, ledger.sponsor), some)
    total = sum(surplus.values())
    terminal.say(
        f"{amount_text(total, _XLM)} XLM returned to the sponsor by "
        f"{count_text(len(surplus), 'channel account')}"
    )
    return 0


def _returning(
    surplus: dict[Keypair, int], sponsor: Keypair
) -> Callable[[TransactionBuilder], object]:
    def add(builder: TransactionBuilder) -> None:
        for key, amount in surplus.items():
            builder.append_payment_op(
                sponsor.public_key,
                Asset.native(),
                amount_text(amount, _XLM),
                source=key.public_key,
            )

    return add


def _batches(keys: Sequence[Keypair], size: int) -> list[Sequence[Keypair]]:
    return [keys[start : start + size] for start in range(0, len(keys), size)]


_COMMANDS: dict[str, Callable[[SponsorLedger, Sequence[Keypair], Settings, Terminal], int]] = {
    "create": _create,
    "status": _status,
    "rebalance": _rebalance,
}
