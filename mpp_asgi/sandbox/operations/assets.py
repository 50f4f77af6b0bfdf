"""Operations on assets: payment, change trust, set trustline flags."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.operations.accounts import source_account
from mpp_asgi.sandbox.operations.context import MAX_SUBENTRIES, TOO_MANY_SUBENTRIES, Context
from mpp_asgi.sandbox.state import find_account, find_trustline
from mpp_asgi.sandbox.wire.entries import (
    AUTH_CLAWBACK_ENABLED,
    AUTH_REQUIRED,
    AUTH_REVOCABLE,
    AUTHORIZED,
    AUTHORIZED_TO_MAINTAIN_LIABILITIES,
    CLAWBACK_ENABLED,
    INT64_MAX,
    Trustline,
)
from mpp_asgi.sandbox.wire.values import Address, bool_val

if TYPE_CHECKING:
    from mpp_asgi.sandbox.wire.assets import Asset
    from mpp_asgi.sandbox.wire.operations import ChangeTrust, Payment, SetTrustlineFlags
    from mpp_asgi.sandbox.wire.results import OperationResult


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


def apply_payment(body: Payment, context: Context) -> int:
    destination = body.destination.key
    if body.asset.is_native:
        code = _pay_native(context, destination, body.amount)
    else:
        code = _pay_issued(context, body.asset, destination, body.amount)
    if not code:
        context.announce_payment(body.asset, body.destination, body.amount)
    return code


def _pay_native(context: Context, destination: bytes, amount: int) -> int:
    if destination == context.source.key:
        return 0
    receiver = find_account(context.layer, destination)
    if receiver is None:
        return PaymentCode.NO_DESTINATION
    if receiver.balance + amount > INT64_MAX:
        return PaymentCode.LINE_FULL
    sender = source_account(context)
    if amount > sender.available_balance(context.base_reserve):
        return PaymentCode.UNDERFUNDED
    context.layer.put(replace(receiver, balance=receiver.balance + amount))
    context.layer.put(replace(sender, balance=sender.balance - amount))
    return 0


def _pay_issued(context: Context, asset: Asset, destination: bytes, amount: int) -> int:
    """The receiver's side comes first, as the network has it: its failures win."""
    layer = context.layer
    source = context.source.key
    # An issuer that takes back its own asset need not exist any more.
    if destination != asset.issuer and find_account(layer, destination) is None:
        return PaymentCode.NO_DESTINATION
    if destination != asset.issuer:
        line = find_trustline(layer, destination, asset)
        if line is None:
            return PaymentCode.NO_TRUST
        if not line.is_authorized:
            return PaymentCode.NOT_AUTHORIZED
        if line.balance + amount > line.limit:
            return PaymentCode.LINE_FULL
        layer.put(replace(line, balance=line.balance + amount))
    if source != asset.issuer:
        line = find_trustline(layer, source, asset)
        if line is None:
            return PaymentCode.SRC_NO_TRUST
        if not line.is_authorized:
            return PaymentCode.SRC_NOT_AUTHORIZED
        if line.balance < amount:
            return PaymentCode.UNDERFUNDED
        layer.put(replace(line, balance=line.balance - amount))
    return 0


class ChangeTrustCode:
    MALFORMED = -1
    NO_ISSUER = -2
    INVALID_LIMIT = -3
    LOW_RESERVE = -4
    SELF_NOT_ALLOWED = -5


def check_change_trust(body: ChangeTrust, source: bytes) -> int:
    asset = body.asset
    if body.limit < 0 or asset is None or asset.is_native or not asset.is_valid:
        return ChangeTrustCode.MALFORMED
    return ChangeTrustCode.MALFORMED if asset.issuer == source else 0


def apply_change_trust(body: ChangeTrust, context: Context) -> int | OperationResult:
    layer = context.layer
    asset = body.asset
    assert asset is not None
    account = source_account(context)
    line = find_trustline(layer, account.public_key, asset)
    if line is not None:
        return _change_line(context, line, body.limit)
    if body.limit == 0:
        return ChangeTrustCode.INVALID_LIMIT
    issuer = find_account(layer, asset.issuer)
    if issuer is None:
        return ChangeTrustCode.NO_ISSUER
    if account.subentries >= MAX_SUBENTRIES:
        return TOO_MANY_SUBENTRIES
    if account.available_balance(context.base_reserve) < context.base_reserve:
        return ChangeTrustCode.LOW_RESERVE
    flags = 0 if issuer.flags & AUTH_REQUIRED else AUTHORIZED
    if issuer.flags & AUTH_CLAWBACK_ENABLED:
        flags |= CLAWBACK_ENABLED
    layer.put(replace(account, subentries=account.subentries + 1))
    layer.put(Trustline(public_key=account.public_key, asset=asset, limit=body.limit, flags=flags))
    return 0


def _change_line(context: Context, line: Trustline, limit: int) -> int:
    if limit < line.balance:
        return ChangeTrustCode.INVALID_LIMIT
    if limit == 0:
        account = source_account(context)
        context.layer.remove(line.key)
        context.layer.put(replace(account, subentries=account.subentries - 1))
        return 0
    if find_account(context.layer, line.asset.issuer) is None:
        return ChangeTrustCode.NO_ISSUER
    context.layer.put(replace(line, limit=limit))
    return 0


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


def apply_set_trustline_flags(body: SetTrustlineFlags, context: Context) -> int:
    issuer = source_account(context)
    revokes = body.clear_flags & _AUTH_FLAGS and not body.set_flags & AUTHORIZED
    if revokes and not issuer.flags & AUTH_REVOCABLE:
        return SetTrustlineFlagsCode.CANT_REVOKE
    line = find_trustline(context.layer, body.trustor, body.asset)
    if line is None:
        return SetTrustlineFlagsCode.NO_TRUST_LINE
    flags = (line.flags & ~body.clear_flags) | body.set_flags
    if flags & _AUTH_FLAGS == _AUTH_FLAGS:
        return SetTrustlineFlagsCode.INVALID_STATE
    trustor = Address.account(body.trustor)
    context.announce(body.asset, "set_authorized", [trustor], bool_val(bool(flags & AUTHORIZED)))
    context.layer.put(replace(line, flags=flags))
    return 0
