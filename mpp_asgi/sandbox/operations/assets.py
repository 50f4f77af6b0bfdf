"""Operations on assets: payment, change trust, set trustline flags."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.operations.accounts import source_account
from mpp_asgi.sandbox.operations.context import Context, OperationFailedError, with_subentry
from mpp_asgi.sandbox.state import find_account, find_trustline
from mpp_asgi.sandbox.wire.entries import (
    AUTH_REVOCABLE,
    AUTHORIZED,
    AUTHORIZED_TO_MAINTAIN_LIABILITIES,
    CLAWBACK_ENABLED,
    INT64_MAX,
    Trustline,
    trustline_flags,
)
from mpp_asgi.sandbox.wire.values import Address, bool_val

if TYPE_CHECKING:
    from mpp_asgi.sandbox.wire.assets import Asset
    from mpp_asgi.sandbox.wire.operations import ChangeTrust, Payment, SetTrustlineFlags


class PaymentCode:
    MALFORMED = -1
    UNDERFUNDED = -2
    SRC_NO_TRUST = -3
    SRC_NOT_AUTHORIZED = -4
    NO_DESTINATION = -5
    NO_TRUST = -6
    NOT_AUTHORIZED = -7
    LINE_FULL = -8
    NO_ISSUER = -9


def check_payment(body: Payment, _source: bytes) -> int:
    return 0 if body.amount > 0 and body.asset.is_valid else PaymentCode.MALFORMED


def apply_payment(body: Payment, context: Context) -> None:
    destination = body.destination.key
    if body.asset.is_native:
        _pay_native(context, destination, body.amount)
    else:
        _pay_issued(context, body.asset, destination, body.amount)
    context.announce_payment(body.asset, body.destination, body.amount)


def _pay_native(context: Context, destination: bytes, amount: int) -> None:
    if destination == context.source.key:
        return
    receiver = find_account(context.layer, destination)
    if receiver is None:
        raise OperationFailedError(PaymentCode.NO_DESTINATION)
    if receiver.balance + amount > INT64_MAX:
        raise OperationFailedError(PaymentCode.LINE_FULL)
    sender = source_account(context)
    if amount > sender.available_balance(context.base_reserve):
        raise OperationFailedError(PaymentCode.UNDERFUNDED)
    context.layer.put(replace(receiver, balance=receiver.balance + amount))
    context.layer.put(replace(sender, balance=sender.balance - amount))


def _pay_issued(context: Context, asset: Asset, destination: bytes, amount: int) -> None:
    """The receiver's side comes first, as the network has it: its failures win."""
    # An issuer that takes back its own asset need not exist any more.
    if destination != asset.issuer:
        if find_account(context.layer, destination) is None:
            raise OperationFailedError(PaymentCode.NO_DESTINATION)
        _receive(context, asset, destination, amount)
    if context.source.key != asset.issuer:
        _spend(context, asset, amount)


def _receive(context: Context, asset: Asset, destination: bytes, amount: int) -> None:
    line = find_trustline(context.layer, destination, asset)
    if line is None:
        raise OperationFailedError(PaymentCode.NO_TRUST)
    if not line.is_authorized:
        raise OperationFailedError(PaymentCode.NOT_AUTHORIZED)
    if line.balance + amount > line.limit:
        raise OperationFailedError(PaymentCode.LINE_FULL)
    context.layer.put(replace(line, balance=line.balance + amount))


def _spend(context: Context, asset: Asset, amount: int) -> None:
    line = find_trustline(context.layer, context.source.key, asset)
    if line is None:
        raise OperationFailedError(PaymentCode.SRC_NO_TRUST)
    if not line.is_authorized:
        raise OperationFailedError(PaymentCode.SRC_NOT_AUTHORIZED)
    if line.balance < amount:
        raise OperationFailedError(PaymentCode.UNDERFUNDED)
    context.layer.put(replace(line, balance=line.balance - amount))


class ChangeTrustCode:
    MALFORMED = -1
    NO_ISSUER = -2
    INVALID_LIMIT = -3
    LOW_RESERVE = -4
    SELF_NOT_ALLOWED = -5


def check_change_trust(body: ChangeTrust, source: bytes) -> int:
    asset = body.asset
    well_formed = (
        body.limit >= 0 and not asset.is_native and asset.is_valid and asset.issuer != source
    )
    return 0 if well_formed else ChangeTrustCode.MALFORMED


def apply_change_trust(body: ChangeTrust, context: Context) -> None:
    account = source_account(context)
    line = find_trustline(context.layer, account.public_key, body.asset)
    if line is not None:
        _change_line(context, line, body.limit)
        return
    if body.limit == 0:
        raise OperationFailedError(ChangeTrustCode.INVALID_LIMIT)
    issuer = find_account(context.layer, body.asset.issuer)
    if issuer is None:
        raise OperationFailedError(ChangeTrustCode.NO_ISSUER)
    low_reserve = ChangeTrustCode.LOW_RESERVE
    context.layer.put(with_subentry(account, context.base_reserve, low_reserve))
    context.layer.put(
        Trustline(
            public_key=account.public_key,
            asset=body.asset,
            limit=body.limit,
            flags=trustline_flags(issuer),
        )
    )


def _change_line(context: Context, line: Trustline, limit: int) -> None:
    if limit < line.balance:
        raise OperationFailedError(ChangeTrustCode.INVALID_LIMIT)
    if limit == 0:
        account = source_account(context)
        context.layer.remove(line.key)
        context.layer.put(replace(account, subentries=account.subentries - 1))
        return
    if find_account(context.layer, line.asset.issuer) is None:
        raise OperationFailedError(ChangeTrustCode.NO_ISSUER)
    context.layer.put(replace(line, limit=limit))


class SetTrustlineFlagsCode:
    MALFORMED = -1
    NO_TRUST_LINE = -2
    CANT_REVOKE = -3
    INVALID_STATE = -4


_AUTH_FLAGS = AUTHORIZED | AUTHORIZED_TO_MAINTAIN_LIABILITIES


def check_set_trustline_flags(body: SetTrustlineFlags, source: bytes) -> int:
    asset = body.asset
    well_formed = (
        not asset.is_native
        and asset.is_valid
        and asset.issuer == source
        and body.trustor != source
        and not body.set_flags & body.clear_flags
        and not body.set_flags & ~_AUTH_FLAGS
        and body.set_flags & _AUTH_FLAGS != _AUTH_FLAGS
        and not body.clear_flags & ~(_AUTH_FLAGS | CLAWBACK_ENABLED)
    )
    return 0 if well_formed else SetTrustlineFlagsCode.MALFORMED


def apply_set_trustline_flags(body: SetTrustlineFlags, context: Context) -> None:
    issuer = source_account(context)
    revokes = body.clear_flags & _AUTH_FLAGS and not body.set_flags & AUTHORIZED
    if revokes and not issuer.flags & AUTH_REVOCABLE:
        raise OperationFailedError(SetTrustlineFlagsCode.CANT_REVOKE)
    line = find_trustline(context.layer, body.trustor, body.asset)
    if line is None:
        raise OperationFailedError(SetTrustlineFlagsCode.NO_TRUST_LINE)
    flags = (line.flags & ~body.clear_flags) | body.set_flags
    if flags & _AUTH_FLAGS == _AUTH_FLAGS:
        raise OperationFailedError(SetTrustlineFlagsCode.INVALID_STATE)
    trustor = Address.account(body.trustor)
    authorized = bool_val(bool(flags & AUTHORIZED))
    context.announce(body.asset, "set_authorized", [trustor], authorized)
    context.layer.put(replace(line, flags=flags))
