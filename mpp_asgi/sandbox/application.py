"""Applying one transaction to the ledger: first its fee, later its operations, last its refund."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

from mpp_asgi.sandbox import soroban
from mpp_asgi.sandbox.diagnostics import Diagnostics
from mpp_asgi.sandbox.fees import Resources, resource_fee
from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType, HostError
from mpp_asgi.sandbox.host.events import Event, EventKind
from mpp_asgi.sandbox.host.execution import run
from mpp_asgi.sandbox.host.invocation import Environment, Host
from mpp_asgi.sandbox.host.storage import Storage
from mpp_asgi.sandbox.meta import Meta, OperationMeta, SorobanMeta, TxStage
from mpp_asgi.sandbox.operations.context import Context
from mpp_asgi.sandbox.operations.rules import RULES
from mpp_asgi.sandbox.signatures import SignatureChecker
from mpp_asgi.sandbox.state import find_account, live_until
from mpp_asgi.sandbox.validity import Judgement, Stage, blank_result
from mpp_asgi.sandbox.wire.assets import NATIVE
from mpp_asgi.sandbox.wire.entries import Account, SignerKind
from mpp_asgi.sandbox.wire.keys import has_ttl, is_temporary
from mpp_asgi.sandbox.wire.operations import InvokeHostFunction
from mpp_asgi.sandbox.wire.results import Code, OperationCode, OperationResult, Result
from mpp_asgi.sandbox.wire.stream import array
from mpp_asgi.sandbox.wire.values import (
    Address,
    address_val,
    bytes_val,
    i128_val,
    symbol_val,
)

if TYPE_CHECKING:
    from mpp_asgi.sandbox.frame import Frame
    from mpp_asgi.sandbox.rules import Moment, Network
    from mpp_asgi.sandbox.state import Layer
    from mpp_asgi.sandbox.wire.operations import Operation
    from mpp_asgi.sandbox.wire.transactions import SorobanData

_FEE = symbol_val("fee")


class InvokeCode:
    """``InvokeHostFunctionResultCode``."""

    TRAPPED = -2
    RESOURCE_LIMIT_EXCEEDED = -3
    ENTRY_ARCHIVED = -4
    INSUFFICIENT_REFUNDABLE_FEE = -5


class Application:
    """One transaction on its way through one ledger."""

    def __init__(self, frame: Frame, network: Network, moment: Moment) -> None:
        self.frame = frame
        self.meta = Meta()
        self.fee_changes: list[bytes] = []
        self.refund_changes: list[bytes] = []
        self.result = Result(0, Code.SUCCESS)
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
        account = find_account(layer, self.frame.fee_source)
        assert account is not None
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
        frame = self.frame
        network = self._network
        self._prepare_refund()
        if frame.is_fee_bump:
            self._drop_used_signers(layer, [frame.fee_source], frame.hash)
        signatures = SignatureChecker(frame.inner_hash, frame.envelope.signatures, network.verifier)
        prelude = layer.child()
        judgement = Judgement(
            frame,
            network,
            prelude,
            self._moment,
            self._diagnostics,
            charge=not frame.is_fee_bump,
            applying=True,
        )
        stage, code = judgement.inner(signatures)
        if stage >= Stage.SEQUENCE_USED:
            self._use_sequence(prelude)
        results: tuple[OperationResult, ...] = ()
        if code is Code.SUCCESS:
            code, results = self._authorize_operations(judgement, signatures)
        sources = [frame.source, *self._operation_sources()]
        _remove_signers(prelude, sources, frame.inner_hash)
        self.meta.before += prelude.changes()
        prelude.commit()
        if code is Code.SUCCESS:
            code, results = self._apply_operations(layer, judgement)
        self._finish(code, results)

    def _prepare_refund(self) -> None:
        data = self.frame.soroban
        if not self.frame.is_soroban or data is None:
            return
        size = len(self.frame.envelope.inner_xdr)
        settings = self._network.settings
        non_refundable, _ = resource_fee(Resources.declared(data, size), settings)
        self._refundable = data.resource_fee - non_refundable
        self.meta.soroban = SorobanMeta(non_refundable)

    def _drop_used_signers(self, layer: Layer, accounts: list[bytes], tx_hash: bytes) -> None:
        child = layer.child()
        _remove_signers(child, accounts, tx_hash)
        self.meta.before += child.changes()
        child.commit()

    def _use_sequence(self, layer: Layer) -> None:
        account = find_account(layer, self.frame.source)
        assert account is not None
        layer.put(
            replace(
                account,
                sequence=self.frame.sequence,
                sequence_ledger=self._moment.sequence,
                sequence_time=self._moment.close_time,
            )
        )

    def _operation_sources(self) -> list[bytes]:
        operations = self.frame.transaction.operations
        return [op.source.key for op in operations if op.source is not None]

    def _authorize_operations(
        self, judgement: Judgement, signatures: SignatureChecker
    ) -> tuple[Code, tuple[OperationResult, ...]]:
        operations = self.frame.transaction.operations
        results = tuple(self._authorized(judgement, signatures, op) for op in operations)
        if not all(result.succeeded for result in results):
            return Code.FAILED, results
        if not signatures.all_used():
            return Code.BAD_AUTH_EXTRA, ()
        return Code.SUCCESS, results

    def _authorized(
        self, judgement: Judgement, signatures: SignatureChecker, operation: Operation
    ) -> OperationResult:
        code = judgement.operation_signatures(signatures, operation)
        if code is OperationCode.INNER:
            return blank_result(operation)
        return OperationResult(code)

    def _apply_operations(
        self, layer: Layer, judgement: Judgement
    ) -> tuple[Code, tuple[OperationResult, ...]]:
        transaction = layer.child()
        results = []
        metas = []
        for operation in self.frame.transaction.operations:
            child = transaction.child()
            meta = OperationMeta()
            result = self._apply_operation(operation, child, meta, judgement)
            results.append(result)
            metas.append(meta)
            if result.succeeded:
                meta.changes = child.changes()
                child.commit()
        if not all(result.succeeded for result in results):
            return Code.FAILED, tuple(results)
        self.meta.operations = metas
        transaction.commit()
        return Code.SUCCESS, tuple(results)

    def _apply_operation(
        self, operation: Operation, layer: Layer, meta: OperationMeta, judgement: Judgement
    ) -> OperationResult:
        source = operation.source or self.frame.transaction.source
        if find_account(layer, source.key) is None:
            return OperationResult(OperationCode.NO_ACCOUNT)
        judgement.view = layer
        checked = judgement.check_operation(operation)
        if not checked.succeeded:
            return checked
        if isinstance(operation.body, InvokeHostFunction):
            invocation = Invocation(self.frame, self._network, self._moment, self._diagnostics)
            result = invocation.apply(operation.body, source, layer, meta, self._refundable)
            if result.succeeded and self.meta.soroban is not None:
                self._consumed = invocation.refundable_fee
                self.meta.soroban.refundable = invocation.refundable_fee
                self.meta.soroban.rent = invocation.rent_fee
                self.meta.soroban.returned = invocation.returned
            return result
        context = Context(
            layer,
            source,
            self.frame.transaction,
            self._network.network_id,
            self._network.base_reserve,
            self._moment.sequence,
            self._moment.close_time,
        )
        outcome = RULES[operation.kind].apply(operation.body, context)
        meta.events = context.events
        if isinstance(outcome, OperationResult):
            return outcome
        return OperationResult(OperationCode.INNER, operation.kind, outcome)

    def _finish(self, code: Code, results: tuple[OperationResult, ...]) -> None:
        self.result = self.result.ended(code, results)
        self.meta.diagnostics = self._diagnostics.encoded


def _remove_signers(layer: Layer, accounts: list[bytes], tx_hash: bytes) -> None:
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


class Invocation:
    """Applying the one operation of a contract transaction."""

    def __init__(
        self, frame: Frame, network: Network, moment: Moment, diagnostics: Diagnostics
    ) -> None:
        self._frame = frame
        self._network = network
        self._moment = moment
        self._diagnostics = diagnostics
        self.returned = bytes_val(b"")
        self.rent_fee = 0
        self.refundable_fee = 0

    def apply(
        self,
        body: InvokeHostFunction,
        source: Address,
        layer: Layer,
        meta: OperationMeta,
        refundable: int,
    ) -> OperationResult:
        data = self._frame.soroban
        assert data is not None
        kind = self._frame.transaction.operations[0].kind
        code = self._check_reads(data, layer)
        if code:
            return OperationResult(OperationCode.INNER, kind, code)
        host = self._host(body, source, layer, data)
        try:
            returned = run(host, body.function)
        except HostError as problem:
            self._log(host)
            return OperationResult(OperationCode.INNER, kind, self._failure(problem, host, data))
        self._log(host)
        found = soroban.changes(host.storage, layer)
        emitted = host.events.emitted()
        code = self._check_limits(found, emitted, returned.xdr, data, refundable)
        if code:
            return OperationResult(OperationCode.INNER, kind, code)
        soroban.apply_changes(found, layer)
        meta.events = emitted
        self.returned = returned
        preimage = returned.xdr + array(event.xdr for event in emitted)
        return OperationResult(OperationCode.INNER, kind, 0, sha256(preimage).digest())

    def _host(
        self, body: InvokeHostFunction, source: Address, layer: Layer, data: SorobanData
    ) -> Host:
        footprint = {key.xdr: False for key in data.footprint.read_only}
        footprint.update({key.xdr: True for key in data.footprint.read_write})
        restorable = [data.footprint.read_write[index].xdr for index in data.archived]
        network = self._network
        sequence = self._moment.sequence
        storage = Storage(layer, sequence, network.settings, footprint, restorable)
        storage.load_all()
        return Host(
            environment(network, self._moment),
            storage,
            source=source.demuxed(),
            authorization=body.authorization,
            verify=network.verifier,
            instructions=data.instructions,
        )

    def _log(self, host: Host) -> None:
        for event, failed in host.events:
            self._diagnostics.encoded.append(event.diagnostic_xdr(succeeded=not failed))

    def _failure(self, problem: HostError, host: Host, data: SorobanData) -> int:
        if problem.type is ErrorType.BUDGET:
            self._over(
                "operation instructions exceeds amount specified",
                host.budget.spent,
                data.instructions,
            )
            return InvokeCode.RESOURCE_LIMIT_EXCEEDED
        return InvokeCode.TRAPPED

    def _check_reads(self, data: SorobanData, layer: Layer) -> int:
        """What the footprint names is read before anything runs."""
        read = 0
        keys = (*data.footprint.read_only, *data.footprint.read_write)
        restorable = {data.footprint.read_write[index].xdr for index in data.archived}
        for key in keys:
            stored = layer.stored(key.xdr)
            if stored is None:
                continue
            size = soroban.entry_bytes(stored[0])
            if has_ttl(key.xdr):
                alive = (live_until(layer, key.xdr) or 0) >= self._moment.sequence
                if alive or is_temporary(key.xdr):
                    continue
                if key.xdr not in restorable:
                    self._archived(key.data, key.owner)
                    return InvokeCode.ENTRY_ARCHIVED
            read += size
            if read > data.disk_read_bytes:
                self._over(
                    "operation byte-read resources exceeds amount specified",
                    read,
                    data.disk_read_bytes,
                )
                return InvokeCode.RESOURCE_LIMIT_EXCEEDED
        return 0

    def _archived(self, name: object, owner: Address | None) -> None:
        text = (
            "trying to access an archived contract code entry"
            if name is None
            else "trying to access an archived contract data entry"
        )
        args = [] if owner is None else [address_val(owner)]
        self._diagnostics.error(ErrorType.VALUE, ErrorCode.INVALID_INPUT, text, *args)

    def _check_limits(
        self,
        found: list[soroban.Change],
        emitted: list[Event],
        returned: bytes,
        data: SorobanData,
        refundable: int,
    ) -> int:
        settings = self._network.settings
        written = soroban.written_bytes(found)
        if written > data.write_bytes:
            self._over(
                "operation byte-write resources exceeds amount specified", written, data.write_bytes
            )
            return InvokeCode.RESOURCE_LIMIT_EXCEEDED
        size = sum(len(event.xdr) for event in emitted) + len(returned)
        if size > settings.max_events_bytes:
            self._over(
                "total events size exceeds network config maximum", size, settings.max_events_bytes
            )
            return InvokeCode.RESOURCE_LIMIT_EXCEEDED
        self.rent_fee = soroban.rent(found, settings, self._moment.sequence)
        resources = replace(
            Resources.declared(data, len(self._frame.envelope.inner_xdr)), events_bytes=size
        )
        self.refundable_fee = self.rent_fee + resource_fee(resources, settings)[1]
        if self.refundable_fee > refundable:
            self._over(
                "refundable resource fee was not sufficient to cover the ledger storage rent: "
                "{} > {}",
                self.refundable_fee,
                refundable,
            )
            return InvokeCode.INSUFFICIENT_REFUNDABLE_FEE
        return 0

    def _over(self, text: str, value: int, limit: int) -> None:
        self._diagnostics.error(ErrorType.BUDGET, ErrorCode.EXCEEDED_LIMIT, text, value, limit)


def environment(network: Network, moment: Moment) -> Environment:
    return Environment(
        sequence=moment.sequence,
        close_time=moment.close_time,
        network_id=network.network_id,
        base_reserve=network.base_reserve,
        contracts=network.contracts,
    )
