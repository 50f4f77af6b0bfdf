"""Whether a transaction may be in the ledger at all.

The same rules are asked twice: when a transaction is submitted (``charge`` counts then: can the
fee be paid) and when it is applied, after its fee was taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.diagnostics import Diagnostics
from mpp_asgi.sandbox.fees import Resources, resource_fee
from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType
from mpp_asgi.sandbox.operations.context import Threshold
from mpp_asgi.sandbox.operations.rules import RULES
from mpp_asgi.sandbox.resources import check_resources
from mpp_asgi.sandbox.signatures import SignatureChecker
from mpp_asgi.sandbox.state import find_account
from mpp_asgi.sandbox.wire.operations import (
    CreateContract,
    InvokeHostFunction,
    OperationKind,
    UploadWasm,
)
from mpp_asgi.sandbox.wire.results import Code, OperationCode, OperationResult, Result
from mpp_asgi.sandbox.wire.entries import Signer, SignerKind
from mpp_asgi.sandbox.wire.transactions import EnvelopeKind
from mpp_asgi.sandbox.wire.values import AddressKind

if TYPE_CHECKING:
    from mpp_asgi.sandbox.frame import Frame
    from mpp_asgi.sandbox.rules import Moment, Network
    from mpp_asgi.sandbox.state import View
    from mpp_asgi.sandbox.wire.entries import Account
    from mpp_asgi.sandbox.wire.operations import Operation

INT64_MAX = 2**63 - 1


class Stage(IntEnum):
    """How far a transaction got before it was refused; decides what applying it still does."""

    INVALID = 0
    SEQUENCE_USED = 1
    AUTHORIZED = 2
    VALID = 3


@dataclass(slots=True)
class Judgement:
    """A transaction before one state of the ledger."""

    frame: Frame
    network: Network
    view: View
    moment: Moment
    diagnostics: Diagnostics
    charge: bool = True
    """Whether the transaction pays for itself, as all but the inside of a fee bump do."""
    applying: bool = False

    def inner(self, signatures: SignatureChecker) -> tuple[Stage, Code]:
        """Judge the transaction itself, without its operations."""
        code = self._before_account()
        if code is not Code.SUCCESS:
            return Stage.INVALID, code
        account = find_account(self.view, self.frame.source)
        if account is None:
            return Stage.INVALID, Code.NO_ACCOUNT
        if self._is_bad_sequence(account):
            return Stage.INVALID, Code.BAD_SEQ
        if self._is_too_early_for(account):
            return Stage.SEQUENCE_USED, Code.BAD_MIN_SEQ_AGE_OR_GAP
        if not self._is_signed(account, signatures):
            return Stage.SEQUENCE_USED, Code.BAD_AUTH
        fee = 0 if self.applying else self.frame.full_fee
        if self.charge and account.available_balance(self.network.base_reserve) < fee:
            return Stage.AUTHORIZED, Code.INSUFFICIENT_BALANCE
        return Stage.VALID, Code.SUCCESS

    def _before_account(self) -> Code:
        frame = self.frame
        transaction = frame.transaction
        conditions = transaction.conditions
        if frame.envelope.kind is EnvelopeKind.V0:
            return Code.NOT_SUPPORTED
        signers = conditions.extra_signers
        if len(signers) == 2 and signers[0] == signers[1]:
            return Code.MALFORMED
        if any(s.kind == SignerKind.SIGNED_PAYLOAD and not s.payload for s in signers):
            return Code.MALFORMED
        if not transaction.operations:
            return Code.MISSING_OPERATION
        soroban = [operation.is_soroban for operation in transaction.operations]
        if any(soroban) and len(soroban) > 1:
            return Code.MALFORMED
        if frame.is_soroban:
            code = self._soroban()
            if code is not Code.SUCCESS:
                return code
        elif transaction.soroban is not None:
            return Code.MALFORMED
        code = self._timing()
        if code is Code.SUCCESS and self.charge:
            minimum = self.network.base_fee * max(1, frame.inner_operation_count)
            if frame.inner_inclusion_fee < minimum:
                return Code.INSUFFICIENT_FEE
        return code

    def _timing(self) -> Code:
        conditions = self.frame.transaction.conditions
        moment = self.moment
        if conditions.has_time and conditions.min_time > moment.close_time:
            return Code.TOO_EARLY
        if conditions.min_ledger > moment.sequence:
            return Code.TOO_EARLY
        latest = moment.close_time + moment.latest
        if conditions.has_time and 0 < conditions.max_time < latest:
            return Code.TOO_LATE
        if 0 < conditions.max_ledger <= moment.sequence:
            return Code.TOO_LATE
        return Code.SUCCESS

    def _soroban(self) -> Code:
        frame = self.frame
        transaction = frame.transaction
        data = transaction.soroban
        assert data is not None
        if not _has_plain_source(frame):
            self._refuse(
                ErrorType.VALUE,
                ErrorCode.INVALID_INPUT,
                "Soroban transactions are not allowed to use memo or muxed source account",
            )
            return Code.SOROBAN_INVALID
        settings = self.network.settings
        size = len(frame.envelope.inner_xdr)
        if not check_resources(data, size, settings, self.diagnostics):
            return Code.SOROBAN_INVALID
        if self.charge and data.resource_fee > transaction.fee:
            self._refuse(
                ErrorType.VALUE,
                ErrorCode.EXCEEDED_LIMIT,
                "transaction `sorobanData.resourceFee` is higher than the full transaction fee",
                data.resource_fee,
                transaction.fee,
            )
            return Code.SOROBAN_INVALID
        needed = sum(resource_fee(Resources.declared(data, size), settings))
        if data.resource_fee < needed:
            self._refuse(
                ErrorType.VALUE,
                ErrorCode.EXCEEDED_LIMIT,
                "transaction `sorobanData.resourceFee` is lower than the actual Soroban "
                "resource fee",
                data.resource_fee,
                needed,
            )
            return Code.SOROBAN_INVALID
        keys = [key.xdr for key in (*data.footprint.read_only, *data.footprint.read_write)]
        if len(set(keys)) < len(keys):
            self._refuse(
                ErrorType.STORAGE,
                ErrorCode.INVALID_INPUT,
                "Found duplicate key in the Soroban footprint; every key across read-only and "
                "read-write footprints has to be unique.",
            )
            return Code.SOROBAN_INVALID
        return Code.SUCCESS

    def _refuse(self, error_type: ErrorType, code: ErrorCode, text: str, *args: int) -> None:
        self.diagnostics.error(error_type, code, text, *args)

    def _is_bad_sequence(self, account: Account) -> bool:
        wanted = self.frame.sequence
        if wanted == self.moment.sequence << 32:
            return True
        minimum = self.frame.transaction.conditions.min_sequence
        if minimum is not None:
            return account.sequence < minimum or account.sequence >= wanted
        return account.sequence == INT64_MAX or account.sequence + 1 != wanted

    def _is_too_early_for(self, account: Account) -> bool:
        conditions = self.frame.transaction.conditions
        moment = self.moment
        if moment.close_time - conditions.min_sequence_age < account.sequence_time:
            return True
        return moment.sequence - conditions.min_sequence_gap < (account.sequence_ledger or 0)

    def _is_signed(self, account: Account, signatures: SignatureChecker) -> bool:
        if not signatures.account(account, account.low):
            return False
        extra = self.frame.transaction.conditions.extra_signers
        return not extra or signatures.check([Signer(key, 1) for key in extra], len(extra))

    def operation_signatures(
        self, signatures: SignatureChecker, operation: Operation
    ) -> OperationCode:
        """Whether the operation's source signs with enough weight."""
        source = operation.source
        key = self.frame.source if source is None else source.key
        account = find_account(self.view, key)
        if account is None:
            if self.applying or source is None:
                return OperationCode.NO_ACCOUNT
            signed = signatures.missing_account(key)
            return OperationCode.INNER if signed else OperationCode.BAD_AUTH
        needed = account.thresholds[operation_threshold(operation)]
        signed = signatures.account(account, needed)
        return OperationCode.INNER if signed else OperationCode.BAD_AUTH

    def check_operation(self, operation: Operation) -> OperationResult:
        """Whether the operation is well formed."""
        source = self.frame.source if operation.source is None else operation.source.key
        if operation.is_soroban:
            return self._check_soroban(operation)
        rule = RULES.get(operation.kind)
        if rule is None:
            return OperationResult(OperationCode.NOT_SUPPORTED)
        code = rule.check(operation.body, source)
        return OperationResult(OperationCode.INNER, operation.kind, code)

    def _check_soroban(self, operation: Operation) -> OperationResult:
        if operation.kind is not OperationKind.INVOKE_HOST_FUNCTION:
            return OperationResult(OperationCode.NOT_SUPPORTED)
        body = operation.body
        assert isinstance(body, InvokeHostFunction)
        malformed = OperationResult(OperationCode.INNER, operation.kind, -1)
        function = body.function
        if isinstance(function, UploadWasm):
            size = len(function.code)
            limit = self.network.settings.max_wasm_bytes
            if size > limit:
                self._refuse(
                    ErrorType.BUDGET,
                    ErrorCode.EXCEEDED_LIMIT,
                    "uploaded Wasm size exceeds network config maximum contract size",
                    size,
                    limit,
                )
                return malformed
        if isinstance(function, CreateContract):
            asset = function.preimage.asset
            if asset is not None and not asset.is_valid:
                self._refuse(
                    ErrorType.VALUE,
                    ErrorCode.INVALID_INPUT,
                    "invalid asset to create contract from",
                )
                return malformed
        return OperationResult(OperationCode.INNER, operation.kind, 0)


def operation_threshold(operation: Operation) -> Threshold:
    rule = RULES.get(operation.kind)
    if rule is not None:
        return rule.threshold(operation.body)
    if operation.kind in {OperationKind.EXTEND_FOOTPRINT_TTL, OperationKind.RESTORE_FOOTPRINT}:
        return Threshold.LOW
    return Threshold.MEDIUM


def _has_plain_source(frame: Frame) -> bool:
    """Contract calls carry neither a memo nor a muxed source."""
    transaction = frame.transaction
    operation = transaction.operations[0]
    if operation.kind is not OperationKind.INVOKE_HOST_FUNCTION:
        return True
    sources = (transaction.source, operation.source)
    is_muxed = any(s is not None and s.kind == AddressKind.MUXED for s in sources)
    return not transaction.memo and not is_muxed


def judge(
    frame: Frame, network: Network, view: View, moment: Moment, diagnostics: Diagnostics
) -> Result:
    """Judge a transaction that is submitted: its result if it may not be in the ledger, or a
    success.
    """
    fee = frame.minimum_fee(network.base_fee)
    if frame.is_fee_bump:
        return _judge_fee_bump(frame, network, view, moment, diagnostics, fee)
    judgement = Judgement(frame, network, view, moment, diagnostics)
    return _judge_inner(judgement, Result(fee, Code.SUCCESS))


def _judge_inner(judgement: Judgement, result: Result) -> Result:
    frame = judgement.frame
    signatures = SignatureChecker(
        frame.inner_hash, frame.envelope.signatures, judgement.network.verifier
    )
    _, code = judgement.inner(signatures)
    if code is not Code.SUCCESS:
        return result.ended(code)
    results: list[OperationResult] = []
    for operation in frame.transaction.operations:
        authorized = judgement.operation_signatures(signatures, operation)
        if authorized is OperationCode.INNER:
            results.append(judgement.check_operation(operation))
        else:
            results.append(OperationResult(authorized))
        if not results[-1].succeeded:
            return result.ended(Code.FAILED, pad(results, frame))
    if not signatures.all_used():
        return result.ended(Code.BAD_AUTH_EXTRA)
    return result.ended(Code.SUCCESS, tuple(results))


def pad(results: list[OperationResult], frame: Frame) -> tuple[OperationResult, ...]:
    """Results for the operations that were not looked at: successes, which mean nothing."""
    missing = frame.transaction.operations[len(results) :]
    return (*results, *(blank_result(operation) for operation in missing))


def blank_result(operation: Operation) -> OperationResult:
    return OperationResult(OperationCode.INNER, operation.kind, 0)


def _judge_fee_bump(
    frame: Frame,
    network: Network,
    view: View,
    moment: Moment,
    diagnostics: Diagnostics,
    fee: int,
) -> Result:
    signatures = SignatureChecker(frame.hash, frame.envelope.outer_signatures, network.verifier)
    result = Result(fee, Code.SUCCESS, inner_hash=frame.inner_hash)
    minimum = network.base_fee * frame.operation_count
    if frame.inclusion_fee < minimum:
        return result.refused(Code.INSUFFICIENT_FEE)
    inner_minimum = network.base_fee * max(1, frame.inner_operation_count)
    if frame.inner_inclusion_fee >= 0:
        # The bump must bid at least as much per operation as what it wraps.
        offered = frame.inclusion_fee * inner_minimum
        wanted = frame.inner_inclusion_fee * minimum
        if offered < wanted:
            needed = -(-wanted // inner_minimum)
            return result.refused(Code.INSUFFICIENT_FEE).charged(needed)
    elif not frame.is_soroban:
        return result.refused(Code.FEE_BUMP_INNER_FAILED)
    account = find_account(view, frame.fee_source)
    if account is None:
        return result.refused(Code.NO_ACCOUNT)
    if not signatures.account(account, account.low):
        return result.refused(Code.BAD_AUTH)
    if account.available_balance(network.base_reserve) < frame.full_fee:
        return result.refused(Code.INSUFFICIENT_BALANCE)
    if not signatures.all_used():
        return result.refused(Code.BAD_AUTH_EXTRA)
    judgement = Judgement(frame, network, view, moment, diagnostics, charge=False)
    return _judge_inner(judgement, result)
