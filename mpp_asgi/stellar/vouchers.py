"""What a session's credential shows: its payload, read and in shape."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mpp_asgi.intents import RefusalError
from mpp_asgi.protocol import problems
from mpp_asgi.stellar.commitment import MAX_AMOUNT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpp_asgi.protocol import Credential

_SIGNATURE: Final = re.compile(r"[0-9a-fA-F]{128}")
_CONTRACT: Final = re.compile(r"C[A-Z2-7]{55}")
_MOST_DIGITS: Final = len(str(MAX_AMOUNT))


class Action(StrEnum):
    """What a credential does about its channel."""

    OPEN = "open"
    VOUCHER = "voucher"
    TOP_UP = "topUp"
    CLOSE = "close"


class Voucher(NamedTuple):
    """A cumulative amount of a channel, signed."""

    channel: str
    """Its contract, ``C…``."""
    amount: int
    """Base units, since the channel was opened."""
    signature: str
    """128 hex digits in lower case, not verified yet."""


class ShownSession(NamedTuple):
    """One credential of a session. What it says of a deposit is for `Funding` to read."""

    action: Action
    channel: str
    voucher: Voucher | None
    """``None`` for ``topUp``."""


def action_of(credential: Credential) -> Action | None:
    """What the credential says that it does, if anything that there is."""
    action = credential.payload.get("action")
    return _ACTIONS.get(action) if isinstance(action, str) else None


_ACTIONS: Final = {action.value: action for action in Action}


def read_session(credential: Credential) -> ShownSession:
    """The payload of a ``stellar/session`` credential.

    Raises:
        RefusalError: it has not the shape of one.
    """
    payload = credential.payload
    action = action_of(credential)
    if action is None:
        raise malformed("action must be 'open', 'voucher', 'topUp' or 'close'.")
    channel = _channel(payload)
    if action is Action.TOP_UP:
        return ShownSession(action, channel, None)
    amount = read_amount(payload, "cumulativeAmount")
    return ShownSession(action, channel, Voucher(channel, amount, read_signature(payload)))


def _channel(payload: Mapping[str, Any]) -> str:
    channel = payload.get("channelId")
    # Whether its checksum is right costs more than all the rest, and the records know.
    if not isinstance(channel, str) or not _CONTRACT.fullmatch(channel):
        raise malformed("channelId must be a contract's address, 'C...'.")
    return channel


def read_amount(payload: Mapping[str, Any], field: str) -> int:
    """An amount in a payload, base units.

    Raises:
        RefusalError: it is none.
    """
    text = payload.get(field)
    if not isinstance(text, str) or not is_amount(text):
        raise malformed(f"{field} must be base units as a text of digits.")
    return int(text)


def is_amount(text: str) -> bool:
    """Whether the text is an amount of base units as the wire has it."""
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        return False
    if len(text) == _MOST_DIGITS and int(text) > MAX_AMOUNT:
        return False
    return text == "0" or text[0] != "0"


def read_signature(payload: Mapping[str, Any]) -> str:
    """The ``signature`` of a payload, 128 hex digits in lower case.

    Raises:
        RefusalError: it is none.
    """
    signature = payload.get("signature")
    if not isinstance(signature, str) or not _SIGNATURE.fullmatch(signature):
        raise malformed("signature must be 128 hex digits.")
    return signature.lower()


def malformed(detail: str) -> RefusalError:
    """The refusal of a payload that has not the right shape."""
    return RefusalError(problems.INVALID_PAYLOAD.because(f"The payload's {detail}"))
