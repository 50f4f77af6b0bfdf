"""What is on record of payment channels, in rows for people."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mpp_asgi.cli.reading import Finding, amount_text
from mpp_asgi.stellar.settlement import earned, headroom
from mpp_asgi.stores.channels import ChannelStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mpp_asgi.stellar.network import Token
    from mpp_asgi.stores.channels import Channel

HEADINGS = ("channel", "status", "deposited", "settled", "earned", "headroom", "last used")
_RIGHT = frozenset({"deposited", "settled", "earned", "headroom"})


def money(amount: int, token: str, tokens: Mapping[str | None, Token]) -> str:
    """``0.01 USDC``; base units of a token that is not known."""
    known = tokens.get(token)
    if known is None:
        return f"{amount} base units of {token}"
    return f"{amount_text(amount, known.decimals)} {known.symbol}"


def channel_table(
    channels: Sequence[Channel], tokens: Mapping[str | None, Token], *, now: float
) -> list[str]:
    """A line for each channel, under a line of headings. `now` is Unix seconds."""
    rows = [HEADINGS, *(_cells(channel, tokens, now) for channel in channels)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return [
        "  ".join(
            f"{cell:>{width}}" if name in _RIGHT else f"{cell:{width}}"
            for name, cell, width in zip(HEADINGS, row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _cells(channel: Channel, tokens: Mapping[str | None, Token], now: float) -> tuple[str, ...]:
    amounts = (channel.deposited, channel.settled, earned(channel), headroom(channel))
    return (
        channel.id,
        status_text(channel),
        *(money(amount, channel.token, tokens) for amount in amounts),
        ago(channel.used_at, now),
    )


def status_text(channel: Channel) -> str:
    """What may be done with it."""
    match channel.status:
        case ChannelStatus.CLOSED:
            return "closed"
        case ChannelStatus.CLOSING:
            return "being closed"
        case ChannelStatus.OPEN if channel.closes_at is not None:
            return f"refund from ledger {channel.closes_at}"
        case _:
            return "open"


def total_text(channels: Sequence[Channel], tokens: Mapping[str | None, Token]) -> str:
    """How many there are, and what is earned in them, by token."""
    sums: Counter[str] = Counter()
    for channel in channels:
        sums[channel.token] += earned(channel)
    owed = [money(amount, token, tokens) for token, amount in sums.items() if amount]
    return f"{count_text(len(channels), 'channel')}; {' and '.join(owed) or 'nothing'} to settle"


def channel_finding(channel: Channel, tokens: Mapping[str | None, Token], *, now: float) -> Finding:
    """Everything about one, but the signature that is worth its money."""

    def amount(base_units: int) -> str:
        return money(base_units, channel.token, tokens)

    rows = [
        ("channel", channel.id),
        ("status", status_text(channel)),
        ("token", channel.token),
        ("funder", channel.funder),
        ("recipient", channel.recipient),
        ("key", channel.key),
        ("deposited", amount(channel.deposited)),
        ("settled", amount(channel.settled)),
        ("voucher", amount(channel.accepted) if channel.signature else "none is held"),
        ("spent", f"{amount(channel.spent)}, for {count_text(channel.units, 'unit')}"),
        ("earned", amount(earned(channel))),
        ("headroom", amount(headroom(channel))),
    ]
    if channel.closing_amount is not None:
        rows.append(("closes with", amount(channel.closing_amount)))
    rows += [
        ("waiting", count_text(channel.waiting_period, "ledger")),
        ("opened", moment_text(channel.opened_at, now)),
        ("last used", moment_text(channel.used_at, now)),
        ("last settled", moment_text(channel.settled_at, now)),
        ("changed", f"in ledger {channel.seen_ledger} or before"),
    ]
    return Finding("Channel", rows)


def count_text(number: int, noun: str) -> str:
    """``1 channel``, ``2 channels``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def moment_text(moment: int, now: float) -> str:
    """``2026-11-22 10:00:00 UTC (3 min ago)``; Unix seconds, 0: never."""
    if not moment:
        return "never"
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC ({ago(moment, now)})"


def ago(moment: int, now: float) -> str:
    """``3 min ago``; Unix seconds, 0: never."""
    if not moment:
        return "never"
    seconds = max(0, round(now - moment))
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
