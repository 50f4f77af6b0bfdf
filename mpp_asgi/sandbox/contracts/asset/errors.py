"""Error codes of the Stellar Asset Contract."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.host.errors import ErrorType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpp_asgi.sandbox.host.errors import HostError
    from mpp_asgi.sandbox.host.invocation import Host
    from mpp_asgi.sandbox.wire.values import Val


class AssetError(IntEnum):
    OPERATION_NOT_SUPPORTED = 2
    ALREADY_INITIALIZED = 3
    UNAUTHORIZED = 4
    AUTHENTICATION = 5
    ACCOUNT_MISSING = 6
    ACCOUNT_IS_NOT_CLASSIC = 7
    NEGATIVE_AMOUNT = 8
    ALLOWANCE = 9
    BALANCE = 10
    BALANCE_DEAUTHORIZED = 11
    OVERFLOW = 12
    TRUSTLINE_MISSING = 13
    INSUFFICIENT_ACCOUNT_RESERVE = 14
    TOO_MANY_ACCOUNT_SUBENTRIES = 15


def failure(host: Host, code: AssetError, text: str, args: Sequence[Val] = ()) -> HostError:
    return host.error(ErrorType.CONTRACT, code, text, args)
