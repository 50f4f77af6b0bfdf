"""Applying one transaction to the ledger: first its fee, later its operations, last its refund."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mpp_asgi.sandbox.contract_operations import ContractOperation, FailedError, Scene
from mpp_asgi.sandbox.diagnostics import Diagnostics
from mpp_asgi.sandbox.fees import Resources, resource_fee
from mpp_asgi.sandbox.host.events import Event, EventKind
from mpp_asgi.sandbox.meta import Meta, OperationMeta, SorobanMeta, TxStage
from mpp_asgi.sandbox.operations.context import Context, OperationFailedError
from mpp_asgi.sandbox.operations.rules import RULES
from mpp_asgi.sandbox.refusal import RefusedError, Stage
from mpp_asgi.sandbox.signatures import SignatureChecker
from mpp_asgi.sandbox.state import find_account, require_account
from mpp_asgi.sandbox.validity import Judgement, blank_result
from mpp_asgi.sandbox.wire.assets import NATIVE
from mpp_asgi.sandbox.wire.entries import SignerKind
from mpp_asgi.sandbox.wire.results import Code, OperationCode, OperationResult, Result
from mpp_asgi.sandbox.wire.values import Address, address_val, i128_val, symbol_val

if TYPE_CHECKING:
    from mpp_asgi.sandbox.frame import Frame
    from mpp_asgi.sandbox.network import Moment, Network
    from mpp_asgi.sandbox.state import Layer
    from mpp_asgi.sandbox.wire.operations import Operation

_FEE = symbol_val("fee")

Results = tuple[OperationResult, ...]


class Application:
    """One transaction on its way through one ledger."""

    def __init__(self, frame: Frame, network: Network, moment: Moment) -> None:
        self.frame = frame
        self.meta = Meta()
        self.fee_changes: list[bytes] = []
        self.refund_changes: list[bytes] = []
        self.result = Result(0, Code.SUCCESS)
        self.base_fee = network.base_fee
        """What the ledger takes for each operation."""
        self._network = network
        self._moment = moment
        self._diagnostics = Diagnostics()
        self._refundable = 0
        """What may come back at most."""
        self._consumed = 0
        """What of that was used: rent and events."""

    # The fee, before any transaction of the ledger is applied

    def charge(self, layer: Layer, base_fee: int) -> int:
        """Take the fee up front; returns what was taken."""
        self.base_fee = base_fee
        account = require_account(layer, self.frame.fee_source)
        fee = min(account.balance, self.frame.fee_at(base_fee))
        child = layer.child()
        child.put(replace(account, balance=account.balance - fee))
        self.fee_changes = child.changes()
        child.commit()
        inner_hash = self.frame.inner_hash if self.frame.is_fee_bump else None
        self.result = Result(fee, Code.SUCCESS, inner_hash=inner_hash)
        self._announce_fee(fee, TxStage.BEFORE_ALL)
        return fee

    def _announce_fee(self, amount: int, stage: TxStage) -> None:
        if not amount:
            return
        payer = Address.account(self.frame.fee_source)
        contract = NATIVE.contract(self._network.network_id)
        topics = (_FEE, address_val(payer))
        event = Event(EventKind.CONTRACT, contract, topics, i128_val(amount))
        self.meta.events.append((stage, event))

    # The refund, after all transactions of the ledger were applied

    def refund(self, layer: Layer) -> int:
        """Give back what was not used; returns how much."""
        amount = self._refundable - self._consumed
        account = find_account(layer, self.frame.fee_source)
        if not amount or account is None:
            return 0
        child = layer.child()
        child.put(replace(account, balance=account.balance + amount))
        self.refund_changes = child.changes()
        child.commit()
        self.result = self.result.charged(self.result.fee_charged - amount)
        self._announce_fee(-amount, TxStage.AFTER_ALL)
        return amount

    # The transaction itself

    def apply(self, layer: Layer) -> None:
        """Use up the sequence number and apply the operations, all of them or none."""
        self._prepare_refund()
        if self.frame.is_fee_bump:
            self._touch_fee_source(layer)
        try:
            judgement = self._prepare(layer)
            results = self._apply_operations(layer, judgement)
        except RefusedError as refusal:
            self.result = self.result.ended(refusal.code, refusal.operations)
        else:
            self.result = self.result.ended(Code.SUCCESS, results)
        self.meta.diagnostics = self._diagnostics.encoded

    def _prepare_refund(self) -> None:
        data = self.frame.soroban
        if not self.frame.is_soroban or data is None:
            return
        declared = Resources.declared(data, self.frame.inner_size)
        non_refundable, _ = resource_fee(declared, self._network.settings)
        self._refundable = data.resource_fee - non_refundable
        self.meta.soroban = SorobanMeta(non_refundable)

    def _touch_fee_source(self, layer: Layer) -> None:
        child = layer.child()
        child.put(require_account(child, self.frame.fee_source))
        _remove_used_signers(child, [self.frame.fee_source], self.frame.hash)
        self.meta.before += child.changes()
        child.commit()

    def _prepare(self, layer: Layer) -> Judgement:
        """Judge the transaction once more, use its sequence number and its one-time signers."""
        frame = self.frame
        child = layer.child()
        signatures = SignatureChecker(
            frame.inner_hash, frame.envelope.signatures, self._network.verifier
        )
        judgement = Judgement(
            frame, self._network, child, self._moment, self._diagnostics, applying=True
        )
        try:
            try:
                judgement.transaction(signatures)
            except RefusedError as refusal:
                if refusal.stage >= Stage.SEQUENCE_USED:
                    self._use_sequence(child)
                raise
            self._use_sequence(child)
            self._authorize_operations(judgement, signatures)
        finally:
            sources = [op.source.key for op in frame.transaction.operations if op.source]
            _remove_used_signers(child, [frame.source, *sources], frame.inner_hash)
            self.meta.before += child.changes()
            child.commit()
        return judgement

    def _use_sequence(self, layer: Layer) -> None:
        account = require_account(layer, self.frame.source)
        layer.put(
            replace(
                account,
                sequence=self.frame.sequence,
                sequence_ledger=self._moment.sequence,
                sequence_time=self._moment.close_time,
            )
        )

    def _authorize_operations(self, judgement: Judgement, signatures: SignatureChecker) -> None:
        results = []
        for operation in self.frame.transaction.operations:
            code = judgement.operation_signatures(signatures, operation)
            if code is OperationCode.INNER:
                results.append(blank_result(operation))
            else:
                results.append(OperationResult(code))
        if not all(result.succeeded for result in results):
            raise RefusedError(Code.FAILED, operations=tuple(results))
        if not signatures.all_used():
            raise RefusedError(Code.BAD_AUTH_EXTRA)

    def _apply_operations(self, layer: Layer, judgement: Judgement) -> Results:
        together = layer.child()
        results = []
        metas = []
        for operation in self.frame.transaction.operations:
            child = together.child()
            meta = OperationMeta()
            judgement.view = child
            result = self._apply_operation(operation, child, meta, judgement)
            results.append(result)
            metas.append(meta)
            if result.succeeded:
                meta.changes = child.changes()
                child.commit()
        if not all(result.succeeded for result in results):
            raise RefusedError(Code.FAILED, operations=tuple(results))
        self.meta.operations = metas
        together.commit()
        return tuple(results)

    def _apply_operation(
        self, operation: Operation, layer: Layer, meta: OperationMeta, judgement: Judgement
    ) -> OperationResult:
        source = operation.source or self.frame.transaction.source
        if find_account(layer, source.key) is None:
            return OperationResult(OperationCode.NO_ACCOUNT)
        checked = judgement.operation(operation)
        if not checked.succeeded:
            return checked
        if isinstance(operation.body, ContractOperation):
            return self._apply_contract_operation(operation, operation.body, layer, meta)
        context = Context(
            layer,
            source,
            self.frame.transaction,
            self._network.network_id,
            self._network.base_reserve,
            self._moment.sequence,
            self._moment.close_time,
        )
        try:
            RULES[operation.kind].apply(operation.body, context)
        except OperationFailedError as failure:
            return OperationResult(failure.code, operation.kind, failure.inner)
        meta.events = context.events
        return OperationResult(OperationCode.INNER, operation.kind, 0)

    def _apply_contract_operation(
        self, operation: Operation, body: ContractOperation, layer: Layer, meta: OperationMeta
    ) -> OperationResult:
        data, charges = self.frame.soroban, self.meta.soroban
        if data is None or charges is None:
            return OperationResult(OperationCode.NOT_SUPPORTED)
        scene = Scene(
            data,
            self.frame.inner_size,
            self._network,
            self._moment,
            self._diagnostics,
            self._refundable,
        )
        source = operation.source or self.frame.transaction.source
        try:
            outcome = scene.apply(body, source, layer)
        except FailedError as failure:
            return OperationResult(OperationCode.INNER, operation.kind, failure.code)
        self._consumed = charges.refundable = outcome.refundable
        charges.rent = outcome.rent
        charges.returned = outcome.returned
        meta.events = outcome.events
        return OperationResult(OperationCode.INNER, operation.kind, 0, outcome.value)


def _remove_used_signers(layer: Layer, accounts: list[bytes], tx_hash: bytes) -> None:
    """Signers that pre-authorized this transaction are used up."""
    for public_key in dict.fromkeys(accounts):
        account = find_account(layer, public_key)
        if account is None:
            continue
        kept = tuple(
            signer
            for signer in account.signers
            if not (signer.key.kind == SignerKind.PRE_AUTH_TX and signer.key.key == tx_hash)
        )
        removed = len(account.signers) - len(kept)
        if removed:
            subentries = account.subentries - removed
            layer.put(replace(account, signers=kept, subentries=subentries))
