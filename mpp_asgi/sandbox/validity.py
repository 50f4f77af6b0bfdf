"""Whether a transaction may be in the ledger at all.

The same rules are asked twice: when a transaction is submitted, and again when it is applied,
after its fee was taken. Whatever is wrong is raised as :class:`RefusedError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.contract_operations import ContractOperation
from mpp_asgi.sandbox.operations.context import Threshold
from mpp_asgi.sandbox.operations.rules import RULES
from mpp_asgi.sandbox.refusal import RefusedError, Stage
from mpp_asgi.sandbox.resources import check_contract_operation, check_soroban
from mpp_asgi.sandbox.signatures import SignatureChecker
from mpp_asgi.sandbox.state import find_account
from mpp_asgi.sandbox.wire.entries import INT64_MAX, Signer, SignerKind
from mpp_asgi.sandbox.wire.operations import OperationKind, Unsupported
from mpp_asgi.sandbox.wire.results import Code, OperationCode, OperationResult, Result
from mpp_asgi.sandbox.wire.transactions import EnvelopeKind

if TYPE_CHECKING:
    from mpp_asgi.sandbox.diagnostics import Diagnostics
    from mpp_asgi.sandbox.frame import Frame
    from mpp_asgi.sandbox.network import Moment, Network
    from mpp_asgi.sandbox.state import View
    from mpp_asgi.sandbox.wire.entries import Account
    from mpp_asgi.sandbox.wire.operations import Operation

_FOOTPRINT_KINDS = frozenset({OperationKind.EXTEND_FOOTPRINT_TTL, OperationKind.RESTORE_FOOTPRINT})


@dataclass(slots=True)
class Judgement:
    """A transaction before one state of the ledger."""

    frame: Frame
    network: Network
    view: View
    moment: Moment
    diagnostics: Diagnostics
    applying: bool = False

    @property
    def pays(self) -> bool:
        """Whether the transaction pays for itself; inside a fee bump it need not."""
        return not self.frame.is_fee_bump

    def transaction(self, signatures: SignatureChecker) -> None:
        """Judge the transaction itself, without its operations."""
        self._shape()
        self._timing()
        self._inclusion_fee()
        account = find_account(self.view, self.frame.source)
        if account is None:
            raise RefusedError(Code.NO_ACCOUNT)
        self._sequence(account)
        self._age(account)
        self._signatures(account, signatures)
        self._balance(account)

    def _shape(self) -> None:
        frame = self.frame
        operations = frame.transaction.operations
        signers = frame.transaction.conditions.extra_signers
        if frame.envelope.kind is EnvelopeKind.V0:
            raise RefusedError(Code.NOT_SUPPORTED)
        if len(signers) == 2 and signers[0] == signers[1]:
            raise RefusedError(Code.MALFORMED)
        if any(s.kind == SignerKind.SIGNED_PAYLOAD and not s.payload for s in signers):
            raise RefusedError(Code.MALFORMED)
        if not operations:
            raise RefusedError(Code.MISSING_OPERATION)
        if len(operations) > 1 and any(operation.is_soroban for operation in operations):
            raise RefusedError(Code.MALFORMED)
        if frame.is_soroban:
            check_soroban(frame, self.network.settings, self.diagnostics)
        elif frame.soroban is not None:
            raise RefusedError(Code.MALFORMED)

    def _timing(self) -> None:
        conditions = self.frame.transaction.conditions
        moment = self.moment
        if conditions.min_time > moment.close_time or conditions.min_ledger > moment.sequence:
            raise RefusedError(Code.TOO_EARLY)
        latest = moment.close_time + moment.latest
        if 0 < conditions.max_time < latest or 0 < conditions.max_ledger <= moment.sequence:
            raise RefusedError(Code.TOO_LATE)

    def _inclusion_fee(self) -> None:
        minimum = self.network.base_fee * max(1, self.frame.inner_operation_count)
        if self.pays and self.frame.inner_inclusion_fee < minimum:
            raise RefusedError(Code.INSUFFICIENT_FEE)

    def _sequence(self, account: Account) -> None:
        wanted = self.frame.sequence
        minimum = self.frame.transaction.conditions.min_sequence
        if minimum is not None:
            is_next = minimum <= account.sequence < wanted
        else:
            is_next = account.sequence < INT64_MAX and account.sequence + 1 == wanted
        if not is_next or wanted == self.moment.sequence << 32:
            raise RefusedError(Code.BAD_SEQ)

    def _age(self, account: Account) -> None:
        conditions = self.frame.transaction.conditions
        moment = self.moment
        too_young = moment.close_time - conditions.min_sequence_age < account.sequence_time
        used = account.sequence_ledger or 0
        if too_young or moment.sequence - conditions.min_sequence_gap < used:
            raise RefusedError(Code.BAD_MIN_SEQ_AGE_OR_GAP, stage=Stage.SEQUENCE_USED)

    def _signatures(self, account: Account, signatures: SignatureChecker) -> None:
        extra = self.frame.transaction.conditions.extra_signers
        is_signed = signatures.account(account, account.low) and (
            not extra or signatures.check([Signer(key, 1) for key in extra], len(extra))
        )
        if not is_signed:
            raise RefusedError(Code.BAD_AUTH, stage=Stage.SEQUENCE_USED)

    def _balance(self, account: Account) -> None:
        fee = 0 if self.applying else self.frame.full_fee
        if self.pays and account.available_balance(self.network.base_reserve) < fee:
            raise RefusedError(Code.INSUFFICIENT_BALANCE, stage=Stage.AUTHORIZED)

    def fee_bump(self, signatures: SignatureChecker) -> None:
        """Judge the fee bump around the transaction."""
        self._bump_fee()
        account = find_account(self.view, self.frame.fee_source)
        if account is None:
            raise RefusedError(Code.NO_ACCOUNT)
        if not signatures.account(account, account.low):
            raise RefusedError(Code.BAD_AUTH)
        if account.available_balance(self.network.base_reserve) < self.frame.full_fee:
            raise RefusedError(Code.INSUFFICIENT_BALANCE)
        if not signatures.all_used():
            raise RefusedError(Code.BAD_AUTH_EXTRA)

    def _bump_fee(self) -> None:
        """The bump must bid at least as much per operation as what it wraps."""
        frame = self.frame
        base_fee = self.network.base_fee
        minimum = base_fee * frame.operation_count
        inner_minimum = base_fee * max(1, frame.inner_operation_count)
        if frame.inclusion_fee < minimum:
            raise RefusedError(Code.INSUFFICIENT_FEE)
        if frame.inner_inclusion_fee < 0:
            if not frame.is_soroban:
                raise RefusedError(Code.FEE_BUMP_INNER_FAILED)
            return
        wanted = frame.inner_inclusion_fee * minimum
        if frame.inclusion_fee * inner_minimum < wanted:
            needed = -(-wanted // inner_minimum)
            raise RefusedError(Code.INSUFFICIENT_FEE, fee_needed=needed)

    def operation_signatures(
        self, signatures: SignatureChecker, operation: Operation
    ) -> OperationCode:
        """Whether the operation's source signs with enough weight."""
        source = operation.source
        key = self.frame.source if source is None else source.key
        account = find_account(self.view, key)
        if account is not None:
            needed = account.thresholds[operation_threshold(operation)]
            is_signed = signatures.account(account, needed)
        elif source is None:
            return OperationCode.NO_ACCOUNT
        else:
            # An earlier operation may create the account.
            is_signed = signatures.missing_account(key)
        return OperationCode.INNER if is_signed else OperationCode.BAD_AUTH

    def operation(self, operation: Operation) -> OperationResult:
        """Whether the operation is well formed."""
        source = self.frame.source if operation.source is None else operation.source.key
        body = operation.body
        rule = RULES.get(operation.kind)
        if rule is not None and not isinstance(body, Unsupported):
            code = rule.check(body, source)
        elif isinstance(body, ContractOperation):
            settings = self.network.settings
            code = check_contract_operation(body, self.frame, settings, self.diagnostics)
        else:
            return OperationResult(OperationCode.NOT_SUPPORTED)
        return OperationResult(OperationCode.INNER, operation.kind, code)

    def operations(self, signatures: SignatureChecker) -> None:
        """Judge the operations as they are when a transaction is submitted."""
        results: list[OperationResult] = []
        for operation in self.frame.transaction.operations:
            authorized = self.operation_signatures(signatures, operation)
            if authorized is OperationCode.INNER:
                results.append(self.operation(operation))
            else:
                results.append(OperationResult(authorized))
            if not results[-1].succeeded:
                rest = self.frame.transaction.operations[len(results) :]
                padded = (*results, *(blank_result(other) for other in rest))
                raise RefusedError(Code.FAILED, operations=padded)
        if not signatures.all_used():
            raise RefusedError(Code.BAD_AUTH_EXTRA)


def operation_threshold(operation: Operation) -> Threshold:
    rule = RULES.get(operation.kind)
    if rule is not None and not isinstance(operation.body, Unsupported):
        return rule.threshold(operation.body)
    return Threshold.LOW if operation.kind in _FOOTPRINT_KINDS else Threshold.MEDIUM


def blank_result(operation: Operation) -> OperationResult:
    """The success that stands for an operation nobody has looked at."""
    return OperationResult(OperationCode.INNER, operation.kind, 0)


def judge(
    frame: Frame, network: Network, view: View, moment: Moment, diagnostics: Diagnostics
) -> Result:
    """Judge a transaction that is submitted: its result if it may not be in the ledger, or a
    success.
    """
    inner_hash = frame.inner_hash if frame.is_fee_bump else None
    result = Result(frame.minimum_fee(network.base_fee), Code.SUCCESS, inner_hash=inner_hash)
    judgement = Judgement(frame, network, view, moment, diagnostics)
    verifier = network.verifier
    if frame.is_fee_bump:
        try:
            judgement.fee_bump(
                SignatureChecker(frame.hash, frame.envelope.outer_signatures, verifier)
            )
        except RefusedError as refusal:
            needed = result.fee_charged if refusal.fee_needed is None else refusal.fee_needed
            return result.charged(needed).refused(refusal.code)
    signatures = SignatureChecker(frame.inner_hash, frame.envelope.signatures, verifier)
    try:
        judgement.transaction(signatures)
        judgement.operations(signatures)
    except RefusedError as refusal:
        return result.ended(refusal.code, refusal.operations)
    return result
