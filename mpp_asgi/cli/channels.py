"""``mpp-asgi channels``: the payment channels on record, and the money in them.

Works on the server's own store, while it runs or not. What two processes do at a time is done once:
the store sees to that, as it does between the server's own.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from mpp_asgi.cli.channel_rows import channel_finding, channel_table, money, total_text
from mpp_asgi.cli.inspection import show as show_finding
from mpp_asgi.cli.records import chosen_settings, open_store, open_till
from mpp_asgi.cli.terminal import CommandError, printable
from mpp_asgi.config import ConfigError
from mpp_asgi.intents import FaultError, PendingError, RefusalError
from mpp_asgi.methods import settlement_policy
from mpp_asgi.stellar.channel_watch import FOLLOWED, ChannelWatch, on_record
from mpp_asgi.stellar.guardian_duties import Duty, duty_of
from mpp_asgi.stellar.settlement import NothingToSettleError, headroom, settle_now
from mpp_asgi.stores.channels import ChannelStatus, CloseOutcome
from mpp_asgi.stores.contract import OwnershipLostError, StoreUnavailableError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Awaitable, Callable

    from mpp_asgi.cli.terminal import Terminal
    from mpp_asgi.config import Settings
    from mpp_asgi.stellar.session import Till
    from mpp_asgi.stores.channels import Channel
    from mpp_asgi.stores.contract import Store

    Command = Callable[[Namespace, Settings, Store, Terminal], Awaitable[int]]


def run(arguments: Namespace, terminal: Terminal) -> int:
    """List, show, settle or close channels."""
    settings = chosen_settings(arguments)
    command = _COMMANDS[arguments.action]

    async def work() -> int:
        async with open_store(settings) as store:
            return await command(arguments, settings, store, terminal)

    try:
        return asyncio.run(work())
    except (StoreUnavailableError, ConfigError, NothingToSettleError) as error:
        raise CommandError(printable(str(error))) from None
    except FaultError as error:
        raise CommandError(f"{error} Nothing is lost; run this again.") from None
    except (PendingError, OwnershipLostError):
        raise CommandError(
            "Another process is at this channel: run this again in a minute."
        ) from None
    except RefusalError as error:
        raise CommandError(printable(str(error))) from None


async def _list(arguments: Namespace, settings: Settings, store: Store, terminal: Terminal) -> int:
    statuses = tuple(ChannelStatus) if arguments.all else FOLLOWED
    channels = [channel async for channel in on_record(store, statuses)]
    tokens = settings.accepted_tokens()
    headings, *lines = channel_table(channels, tokens, now=time.time())
    if lines:
        terminal.say(headings, style="bold")
    for line in lines:
        terminal.say(line)
    terminal.note(total_text(channels, tokens))
    return 0


async def _show(arguments: Namespace, settings: Settings, store: Store, terminal: Terminal) -> int:
    channel = await _on_record(store, arguments.channel)
    show_finding(channel_finding(channel, settings.accepted_tokens(), now=time.time()), terminal)
    return 0


async def _settle(
    arguments: Namespace, settings: Settings, store: Store, terminal: Terminal
) -> int:
    async with open_till(settings, store) as till:
        if arguments.due:
            return await _settle_due(settings, store, till, terminal)
        before = await _on_record(store, arguments.channel)
        tx_hash = await settle_now(store, till.cashier, before.id)
        _say_paid(before, await store.channel(before.id), tx_hash, till, terminal)
    return 0


async def _settle_due(settings: Settings, store: Store, till: Till, terminal: Terminal) -> int:
    """What the guardian would do now."""
    policy = settlement_policy(settings)
    counter = till.teller.counter
    watch = ChannelWatch(store, counter.ledger, till.cashier, sleep=counter.sleep)
    duties: list[Duty] = []
    async for some in watch.sweep(closed_too=True):
        found = (duty_of(seen, policy, time.time()) for seen in some)
        duties += [duty for duty in found if duty is not None]
    failed = 0
    for duty in sorted(duties, key=Duty.urgency):
        before = duty.channel
        try:
            if before.status is ChannelStatus.CLOSING:
                tx_hash = await till.cashier.close(before)
            else:
                tx_hash = await settle_now(store, till.cashier, before.id)
        except (FaultError, PendingError, RefusalError, NothingToSettleError) as error:
            failed += 1
            terminal.note(f"{before.id}  {printable(str(error))}")
        else:
            _say_paid(before, await store.channel(before.id), tx_hash, till, terminal)
    if not duties:
        terminal.note("Nothing is due.")
    return int(failed > 0)


async def _close(arguments: Namespace, settings: Settings, store: Store, terminal: Terminal) -> int:
    before = await _on_record(store, arguments.channel)
    async with open_till(settings, store) as till:
        closing = await _closing(before, settings, store)
        tx_hash = await till.cashier.close(closing, reopens=True)
        _say_paid(before, await store.channel(before.id), tx_hash, till, terminal)
    terminal.note("The channel is closed; its funder has the rest.")
    return 0


async def _closing(channel: Channel, settings: Settings, store: Store) -> Channel:
    """The channel, being closed from now on.

    Raises:
        CommandError: it cannot be closed from here.
    """
    if channel.status is ChannelStatus.CLOSED:
        raise CommandError("The channel is closed already.")
    if channel.status is ChannelStatus.CLOSING:
        return channel
    if not channel.signature:
        raise CommandError("No voucher is held for this channel, so only its funder can close it.")
    begun = await store.begin_close(
        channel.id, amount=channel.accepted, signature=channel.signature, now=int(time.time())
    )
    if begun.outcome is CloseOutcome.BEGUN and begun.channel is not None:
        return begun.channel
    rest = money(headroom(channel), channel.token, settings.accepted_tokens())
    raise CommandError(
        f"The voucher held is for {rest} more than was spent, and a channel is closed at what was "
        "spent: that takes a voucher of its payer's. `mpp-asgi channels settle` takes what is held."
    )


async def _on_record(store: Store, channel_id: str) -> Channel:
    channel = await store.channel(channel_id)
    if channel is None:
        raise CommandError("This channel is not on record: see `mpp-asgi channels list`.")
    return channel


def _say_paid(
    before: Channel, after: Channel | None, tx_hash: str | None, till: Till, terminal: Terminal
) -> None:
    paid = (after or before).settled - before.settled
    amount = money(max(0, paid), before.token, till.tokens)
    terminal.say(
        f"{before.id}  {amount}  {f'transaction {tx_hash}' if tx_hash else 'no transaction'}"
    )


_COMMANDS: dict[str, Command] = {
    "list": _list,
    "show": _show,
    "settle": _settle,
    "close": _close,
}
