"""Operations on accounts: create account, set options, manage data, bump sequence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.operations.context import (
    Context,
    OperationFailedError,
    Threshold,
    with_subentry,
)
from mpp_asgi.sandbox.state import find_account, require_account
from mpp_asgi.sandbox.wire.assets import NATIVE
from mpp_asgi.sandbox.wire.entries import (
    AUTH_CLAWBACK_ENABLED,
    AUTH_IMMUTABLE,
    AUTH_REQUIRED,
    AUTH_REVOCABLE,
    Account,
    Data,
    Signer,
    SignerKind,
)
from mpp_asgi.sandbox.wire.keys import data_key
from mpp_asgi.sandbox.wire.values import Address

if TYPE_CHECKING:
    from mpp_asgi.sandbox.wire.operations import (
        BumpSequence,
        CreateAccount,
        ManageData,
        SetOptions,
    )

_ALL_FLAGS = AUTH_REQUIRED | AUTH_REVOCABLE | AUTH_IMMUTABLE | AUTH_CLAWBACK_ENABLED
_MAX_SIGNERS = 20
_MAX_WEIGHT = 255


class CreateAccountCode:
    MALFORMED = -1
    UNDERFUNDED = -2
    LOW_RESERVE = -3
    ALREADY_EXIST = -4


def check_create_account(body: CreateAccount, source: bytes) -> int:
    if body.balance < 0 or body.destination == source:
        return CreateAccountCode.MALFORMED
    return 0


def apply_create_account(body: CreateAccount, context: Context) -> None:
    layer = context.layer
    if find_account(layer, body.destination) is not None:
        raise OperationFailedError(CreateAccountCode.ALREADY_EXIST)
    if body.balance < 2 * context.base_reserve:
        raise OperationFailedError(CreateAccountCode.LOW_RESERVE)
    source = source_account(context)
    if source.available_balance(context.base_reserve) < body.balance:
        raise OperationFailedError(CreateAccountCode.UNDERFUNDED)
    layer.put(replace(source, balance=source.balance - body.balance))
    layer.put(
        Account(
            public_key=body.destination,
            balance=body.balance,
            sequence=context.sequence << 32,
        )
    )
    context.announce_payment(NATIVE, Address.account(body.destination), body.balance)


class SetOptionsCode:
    LOW_RESERVE = -1
    TOO_MANY_SIGNERS = -2
    BAD_FLAGS = -3
    INVALID_INFLATION = -4
    CANT_CHANGE = -5
    UNKNOWN_FLAG = -6
    THRESHOLD_OUT_OF_RANGE = -7
    BAD_SIGNER = -8
    INVALID_HOME_DOMAIN = -9
    AUTH_REVOCABLE_REQUIRED = -10


def set_options_threshold(body: SetOptions) -> Threshold:
    weights = (body.master_weight, body.low, body.medium, body.high)
    if body.signer is not None or any(weight is not None for weight in weights):
        return Threshold.HIGH
    return Threshold.MEDIUM


def check_set_options(body: SetOptions, source: bytes) -> int:
    set_flags, clear_flags = body.set_flags or 0, body.clear_flags or 0
    if (set_flags | clear_flags) & ~_ALL_FLAGS:
        return SetOptionsCode.UNKNOWN_FLAG
    if set_flags & clear_flags:
        return SetOptionsCode.BAD_FLAGS
    weights = (body.master_weight, body.low, body.medium, body.high)
    if any(weight is not None and weight > _MAX_WEIGHT for weight in weights):
        return SetOptionsCode.THRESHOLD_OUT_OF_RANGE
    if body.signer is not None and not _is_good_signer(body.signer, source):
        return SetOptionsCode.BAD_SIGNER
    if body.home_domain is not None and not _is_printable(body.home_domain):
        return SetOptionsCode.INVALID_HOME_DOMAIN
    return 0


def _is_good_signer(signer: Signer, source: bytes) -> bool:
    key = signer.key
    if key.kind == SignerKind.ED25519 and key.key == source:
        return False
    if key.kind == SignerKind.SIGNED_PAYLOAD and not key.payload:
        return False
    return signer.weight <= _MAX_WEIGHT


def _is_printable(text: bytes) -> bool:
    return all(0x20 <= character < 0x7F for character in text)


def apply_set_options(body: SetOptions, context: Context) -> None:
    account = source_account(context)
    account = _with_inflation_destination(account, body.inflation_destination, context)
    account = _with_flags(account, body)
    wanted = (body.master_weight, body.low, body.medium, body.high)
    pairs = zip(account.thresholds, wanted, strict=True)
    thresholds = bytes(old if new is None else new for old, new in pairs)
    home_domain = account.home_domain if body.home_domain is None else body.home_domain
    account = replace(account, thresholds=thresholds, home_domain=home_domain)
    if body.signer is not None:
        account = _with_signer(account, body.signer, context.base_reserve)
    context.layer.put(account)


def _with_inflation_destination(
    account: Account, destination: bytes | None, context: Context
) -> Account:
    if destination is None:
        return account
    if destination != account.public_key and find_account(context.layer, destination) is None:
        raise OperationFailedError(SetOptionsCode.INVALID_INFLATION)
    return replace(account, inflation_destination=destination)


def _with_flags(account: Account, body: SetOptions) -> Account:
    if not body.set_flags and not body.clear_flags:
        return account
    if account.flags & AUTH_IMMUTABLE:
        raise OperationFailedError(SetOptionsCode.CANT_CHANGE)
    flags = (account.flags & ~(body.clear_flags or 0)) | (body.set_flags or 0)
    if flags & AUTH_CLAWBACK_ENABLED and not flags & AUTH_REVOCABLE:
        raise OperationFailedError(SetOptionsCode.AUTH_REVOCABLE_REQUIRED)
    return replace(account, flags=flags)


def _with_signer(account: Account, signer: Signer, base_reserve: int) -> Account:
    """The account with a signer added, changed, or (weight 0) removed."""
    others = tuple(s for s in account.signers if s.key != signer.key)
    is_known = len(others) < len(account.signers)
    if not signer.weight:
        removed = len(account.signers) - len(others)
        return replace(account, signers=others, subentries=account.subentries - removed)
    if not is_known:
        if len(account.signers) >= _MAX_SIGNERS:
            raise OperationFailedError(SetOptionsCode.TOO_MANY_SIGNERS)
        account = with_subentry(account, base_reserve, SetOptionsCode.LOW_RESERVE)
    signers = tuple(sorted((*others, signer), key=lambda s: s.key.xdr))
    return replace(account, signers=signers)


class ManageDataCode:
    NAME_NOT_FOUND = -2
    LOW_RESERVE = -3
    INVALID_NAME = -4


def check_manage_data(body: ManageData, _source: bytes) -> int:
    if not body.name or not _is_printable(body.name):
        return ManageDataCode.INVALID_NAME
    return 0


def apply_manage_data(body: ManageData, context: Context) -> None:
    account = source_account(context)
    key = data_key(account.public_key, body.name)
    exists = context.layer.stored(key) is not None
    if body.value is None:
        if not exists:
            raise OperationFailedError(ManageDataCode.NAME_NOT_FOUND)
        context.layer.remove(key)
        context.layer.put(replace(account, subentries=account.subentries - 1))
        return
    if not exists:
        low_reserve = ManageDataCode.LOW_RESERVE
        context.layer.put(with_subentry(account, context.base_reserve, low_reserve))
    context.layer.put(Data(public_key=account.public_key, name=body.name, value=body.value))


class BumpSequenceCode:
    BAD_SEQ = -1


def check_bump_sequence(body: BumpSequence, _source: bytes) -> int:
    return BumpSequenceCode.BAD_SEQ if body.to < 0 else 0


def apply_bump_sequence(body: BumpSequence, context: Context) -> None:
    account = source_account(context)
    context.layer.put(
        replace(
            account,
            sequence=max(account.sequence, body.to),
            sequence_ledger=context.sequence,
            sequence_time=context.close_time,
        )
    )


def source_account(context: Context) -> Account:
    """The operation's source, which was found to exist before the operation was applied."""
    return require_account(context.layer, context.source.key)
