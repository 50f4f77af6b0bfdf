"""The classic operations the sandbox has, by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mpp_asgi.sandbox.operations import accounts, assets
from mpp_asgi.sandbox.operations.context import Rule, low, medium
from mpp_asgi.sandbox.wire.operations import OperationKind

if TYPE_CHECKING:
    from collections.abc import Mapping

RULES: Final[Mapping[OperationKind, Rule]] = {
    OperationKind.CREATE_ACCOUNT: Rule(
        accounts.check_create_account, accounts.apply_create_account, medium
    ),
    OperationKind.PAYMENT: Rule(assets.check_payment, assets.apply_payment, medium),
    OperationKind.SET_OPTIONS: Rule(
        accounts.check_set_options,
        accounts.apply_set_options,
        accounts.set_options_threshold,
    ),
    OperationKind.CHANGE_TRUST: Rule(assets.check_change_trust, assets.apply_change_trust, medium),
    OperationKind.MANAGE_DATA: Rule(accounts.check_manage_data, accounts.apply_manage_data, medium),
    OperationKind.BUMP_SEQUENCE: Rule(
        accounts.check_bump_sequence, accounts.apply_bump_sequence, low
    ),
    OperationKind.SET_TRUSTLINE_FLAGS: Rule(
        assets.check_set_trustline_flags, assets.apply_set_trustline_flags, low
    ),
}
