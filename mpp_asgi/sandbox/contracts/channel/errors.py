"""Error codes of the channel contract."""

from __future__ import annotations

from enum import IntEnum


class ChannelError(IntEnum):
    NEGATIVE_AMOUNT = 1
    NOT_CLOSED = 2
    REFUND_WAITING_PERIOD_NOT_ELAPSED = 3
    ALREADY_CLOSED = 4
