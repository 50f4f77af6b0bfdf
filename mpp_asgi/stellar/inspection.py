"""What a transaction from a payer says. Facts only; whether they will do is for policy to decide.

The input is hostile: it is bounded, decoded once, and must be encoded as the network encodes it,
so that what was inspected, what is hashed and what is submitted are the same bytes.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Final, Literal

from stellar_sdk import scval, xdr
from xdrlib3 import Error as XdrError
from xdrlib3 import Packer, Unpacker

from mpp_asgi.stellar.address import account_from_xdr, address_from_xdr
from mpp_asgi.stellar.envelope import transaction_hash
from mpp_asgi.stellar.transfer import TRANSFER, EncodingError, Transfer, TransferError

MAX_ENVELOPE: Final = 16 * 1024
"""Bytes. A transfer with one signature takes about 700, with twenty some 4,000. Decoding takes up
to 3 ms for each kilobyte, and whoever sends it has paid nothing yet."""

_MAX_TEXT: Final = len(base64.b64encode(bytes(MAX_ENVELOPE)))

_MAX_DEPTH: Final = 100
"""Nesting of XDR values; a transfer needs 14 levels and a signature may add some."""

XDR_ERRORS: Final = (ValueError, EOFError, XdrError, RecursionError)
"""Everything that decoding XDR garbage can raise."""

CredentialKind = Literal["source", "address", "address_v2", "delegates"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedAuthorization:
    """One Soroban authorization entry."""

    kind: CredentialKind
    """``address`` is ``sorobanCredentialsAddress``, the one draft-stellar-charge asks for."""
    address: str | None
    """Who gives leave; ``None`` for ``source``, as are the next two."""
    nonce: int | None
    expiration_ledger: int | None
    """The last ledger in which the entry is valid."""
    signed: bool
    """A signature is there. Whether it is right, the simulation says."""
    authorizes_operation: bool
    """The invocation is exactly the operation's: contract, function and arguments."""
    sub_invocations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedTransfer:
    """One transaction. Of a fee bump everything but ``hash`` is the inner transaction's."""

    hash: str
    """64 hex digits."""
    fee_bump: bool
    source: str
    """``G…``, or ``M…`` for a multiplexed one."""
    sequence: int
    fee: int
    """Stroops."""
    min_time: int | None
    """Unix seconds; ``None``: no such bound. So is ``max_time``."""
    max_time: int | None
    other_preconditions: bool
    """Bounds on ledgers or sequence numbers, or extra signers."""
    memo: bool
    operations: tuple[str, ...]
    """The types of all operations, as the network names them: ``INVOKE_HOST_FUNCTION``."""
    operation_source: str | None
    """The first operation's own source."""
    operation: bytes
    """The first operation (XDR), to be copied into another transaction."""
    transfer: Transfer | None
    """The transfer that the first operation makes."""
    no_transfer: str | None
    """Why it makes none: a clause such as ``it calls 'burn'``. Set where ``transfer`` is not."""
    authorizations: tuple[InspectedAuthorization, ...]
    signatures: int


def inspect_envelope(envelope: str, passphrase: str) -> InspectedTransfer:
    """What the TransactionEnvelope (base64 XDR) says.

    Raises:
        TransferError: it is too large, or not the encoding of a transaction with an operation.
    """
    raw = _decoded(envelope)
    try:
        return _inspected(raw, passphrase)
    except TransferError:
        raise
    except XDR_ERRORS:
        raise EncodingError("The transaction is not valid XDR.") from None


def last_leave(envelope: str) -> int:
    """The last ledger in which anything is good that is allowed in a transaction of ours
    (TransactionEnvelope, base64 XDR), whichever transaction it is put into; 0 if nothing is."""
    try:
        inspected = _inspected(base64.b64decode(envelope), passphrase="")  # the hash is not wanted
    except (TransferError, *XDR_ERRORS):
        return 0  # it is no transaction, but another way to pay's
    return max((entry.expiration_ledger or 0 for entry in inspected.authorizations), default=0)


def _decoded(envelope: str) -> bytes:
    if len(envelope) > _MAX_TEXT:
        raise TransferError(f"The transaction is larger than {MAX_ENVELOPE} bytes.")
    try:
        raw = base64.b64decode(envelope, validate=True)
    except (binascii.Error, ValueError):
        raise EncodingError("The transaction is not base64.") from None
    if base64.b64encode(raw).decode("ascii") != envelope:
        raise TransferError("The transaction is not canonical base64.")
    return raw


def _inspected(raw: bytes, passphrase: str) -> InspectedTransfer:
    unpacker = Unpacker(raw)
    kind = xdr.EnvelopeType.unpack(unpacker)
    if kind == xdr.EnvelopeType.ENVELOPE_TYPE_TX:
        outer: xdr.Transaction | xdr.FeeBumpTransaction = xdr.Transaction.unpack(
            unpacker, _MAX_DEPTH
        )
    elif kind == xdr.EnvelopeType.ENVELOPE_TYPE_TX_FEE_BUMP:
        outer = xdr.FeeBumpTransaction.unpack(unpacker, _MAX_DEPTH)
    else:
        raise TransferError("The transaction is of an outdated kind.")
    signed = unpacker.get_position()
    signatures = unpacker.unpack_array(lambda: xdr.DecoratedSignature.unpack(unpacker))
    _require_canonical(raw, kind, outer, signatures)

    if isinstance(outer, xdr.FeeBumpTransaction):
        inner = outer.inner_tx.v1
        assert inner is not None  # noqa: S101 - XDR knows no other kind of inner transaction
        transaction, signatures = inner.tx, inner.signatures
    else:
        transaction = outer
    if not transaction.operations:
        raise TransferError("The transaction has no operation.")
    return _facts(
        transaction,
        hash_=transaction_hash(raw[:signed], passphrase).hex(),
        fee_bump=outer is not transaction,
        signatures=len(signatures),
    )


def _require_canonical(
    raw: bytes,
    kind: xdr.EnvelopeType,
    transaction: xdr.Transaction | xdr.FeeBumpTransaction,
    signatures: list[xdr.DecoratedSignature],
) -> None:
    """The SDK's decoder takes bytes that the network's does not: odd padding, a boolean 2."""
    packer = Packer()
    kind.pack(packer)
    transaction.pack(packer)
    packer.pack_array(signatures, lambda signature: signature.pack(packer))
    if packer.get_buffer() != raw:
        raise TransferError("The transaction is not canonical XDR.")


def _facts(
    transaction: xdr.Transaction, *, hash_: str, fee_bump: bool, signatures: int
) -> InspectedTransfer:
    operation = transaction.operations[0]
    call = _contract_call(operation)
    transfer = call if isinstance(call, str) else _transfer(call)
    bounds, others = _preconditions(transaction.cond)
    entries = operation.body.invoke_host_function_op
    return InspectedTransfer(
        hash=hash_,
        fee_bump=fee_bump,
        source=account_from_xdr(transaction.source_account),
        sequence=transaction.seq_num.sequence_number.int64,
        fee=transaction.fee.uint32,
        min_time=(bounds.min_time.time_point.uint64 or None) if bounds else None,
        max_time=(bounds.max_time.time_point.uint64 or None) if bounds else None,
        other_preconditions=others,
        memo=transaction.memo.type != xdr.MemoType.MEMO_NONE,
        operations=tuple(each.body.type.name for each in transaction.operations),
        operation_source=account_from_xdr(operation.source_account)
        if operation.source_account
        else None,
        operation=operation.to_xdr_bytes(),
        transfer=transfer if isinstance(transfer, Transfer) else None,
        no_transfer=transfer if isinstance(transfer, str) else None,
        authorizations=tuple(
            _authorization(entry, None if isinstance(call, str) else call)
            for entry in (entries.auth if entries else ())
        ),
        signatures=signatures,
    )


def _preconditions(conditions: xdr.Preconditions) -> tuple[xdr.TimeBounds | None, bool]:
    """The time bounds, and whether there is any other condition."""
    more = conditions.v2
    if more is None:
        return conditions.time_bounds, False
    others = (
        more.ledger_bounds is not None
        or more.min_seq_num is not None
        or more.min_seq_age.duration.uint64 != 0
        or more.min_seq_ledger_gap.uint32 != 0
        or bool(more.extra_signers)
    )
    return more.time_bounds, others


def _contract_call(operation: xdr.Operation) -> xdr.InvokeContractArgs | str:
    """The contract call that the operation makes, or why it makes none."""
    invocation = operation.body.invoke_host_function_op
    if invocation is None:
        return f"its operation is {operation.body.type.name}"
    call = invocation.host_function.invoke_contract
    if call is None:
        return f"its host function is {invocation.host_function.type.name}"
    return call


def _transfer(call: xdr.InvokeContractArgs) -> Transfer | str:
    """The transfer that the call makes, or why it makes none."""
    function = call.function_name.sc_symbol
    if function != TRANSFER.encode("ascii"):
        return f"it calls {function.decode('ascii', 'replace')!r}"
    if call.contract_address.type != xdr.SCAddressType.SC_ADDRESS_TYPE_CONTRACT:
        return "what it calls is not a contract"
    match call.args:
        case [
            xdr.SCVal(address=xdr.SCAddress() as sender),
            xdr.SCVal(address=xdr.SCAddress() as recipient),
            xdr.SCVal(type=xdr.SCValType.SCV_I128) as amount,
        ]:
            return Transfer(
                token=address_from_xdr(call.contract_address),
                sender=address_from_xdr(sender),
                recipient=address_from_xdr(recipient),
                amount=scval.from_int128(amount),
            )
        case _:
            return "the arguments are not an address, an address and an i128"


def _authorization(
    entry: xdr.SorobanAuthorizationEntry, call: xdr.InvokeContractArgs | None
) -> InspectedAuthorization:
    root = entry.root_invocation
    kind, credentials = _credentials(entry.credentials)
    return InspectedAuthorization(
        kind=kind,
        address=address_from_xdr(credentials.address) if credentials else None,
        nonce=credentials.nonce.int64 if credentials else None,
        expiration_ledger=credentials.signature_expiration_ledger.uint32 if credentials else None,
        signed=bool(credentials and credentials.signature.type != xdr.SCValType.SCV_VOID),
        authorizes_operation=call is not None and root.function.contract_fn == call,
        sub_invocations=len(root.sub_invocations),
    )


def _credentials(
    credentials: xdr.SorobanCredentials,
) -> tuple[CredentialKind, xdr.SorobanAddressCredentials | None]:
    if credentials.address is not None:
        return "address", credentials.address
    if credentials.address_v2 is not None:
        return "address_v2", credentials.address_v2
    if credentials.address_with_delegates is not None:
        return "delegates", credentials.address_with_delegates.address_credentials
    return "source", None
