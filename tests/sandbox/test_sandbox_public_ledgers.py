"""Ledgers that really closed: the sandbox writes the same of what it knows of them."""

from __future__ import annotations

from base64 import b64decode
from collections import Counter
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from stellar_sdk import xdr

from mpp_asgi.sandbox.frame import Frame
from mpp_asgi.sandbox.header import (
    TOTAL_COINS,
    Header,
    Phase,
    close_meta,
    result_set_hash,
    transaction_set,
)
from mpp_asgi.sandbox.history import AppliedTransaction, ClosedLedger
from mpp_asgi.sandbox.record import closed_ledger
from mpp_asgi.sandbox.settings import BASE_FEE, BASE_RESERVE, PROTOCOL_VERSION
from mpp_asgi.sandbox.wire.transactions import Envelope
from tests.sandbox.public_examples.gathered import network_id, records

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NO_HASH = xdr.Hash(bytes(32))
MODERN = 1_283_415
"""The only whole ledger that has the form of today's."""
ON_TESTNET = {36_234, MODERN}


@dataclass(frozen=True)
class Published:
    """One published ledger."""

    record: dict[str, Any]

    @property
    def raw(self) -> bytes:
        return b64decode(self.record["header"])

    @property
    def hash(self) -> bytes:
        return sha256(self.raw).digest()

    @property
    def header(self) -> xdr.LedgerHeader:
        return xdr.LedgerHeader.from_xdr_bytes(self.raw)

    @property
    def meta(self) -> xdr.LedgerCloseMetaV1 | xdr.LedgerCloseMetaV2:
        meta = xdr.LedgerCloseMeta.from_xdr(self.record["meta"])
        found = meta.v1 or meta.v2
        assert found is not None
        return found

    @property
    def transaction_set(self) -> xdr.TransactionSetV1:
        found = self.meta.tx_set.v1_tx_set
        assert found is not None
        return found

    @property
    def envelopes(self) -> list[bytes]:
        """Those of the classic phase; there are no others."""
        return [
            envelope.to_xdr_bytes()
            for component in self.transaction_set.phases[0].v0_components or ()
            for envelope in component.txs_maybe_discounted_fee.txs
        ]

    @property
    def previous_hash(self) -> bytes:
        return self.header.previous_ledger_hash.hash


@cache
def published() -> tuple[Published, ...]:
    return tuple(Published(record) for record in records("ledgers"))


def whole() -> Iterator[Published]:
    return (each for each in published() if "meta" in each.record)


def own_header(theirs: xdr.LedgerHeader) -> Header:
    return Header(
        sequence=theirs.ledger_seq.uint32,
        close_time=theirs.scp_value.close_time.time_point.uint64,
        previous_hash=theirs.previous_ledger_hash.hash,
        transaction_set_hash=theirs.scp_value.tx_set_hash.hash,
        result_hash=theirs.tx_set_result_hash.hash,
        state_hash=theirs.bucket_list_hash.hash,
        fee_pool=theirs.fee_pool.int64,
    )


def test_a_ledger_is_known_by_the_hash_of_its_header() -> None:
    checked = Counter[bool]()
    for each in published():
        checked["hash" in each.record] += 1
        if "hash" in each.record:
            assert each.hash.hex() == each.record["hash"]
    assert checked == {True: 55, False: 1}
    own = own_header(published()[0].header)
    assert closed_ledger(own).hash == sha256(own.xdr).digest()


def test_ledgers_name_the_one_before() -> None:
    linked = 0
    for before, after in pairwise(published()):
        same_network = before.record["network"] == after.record["network"]
        if same_network and before.record["sequence"] + 1 == after.record["sequence"]:
            assert after.previous_hash == before.hash
            linked += 1
    assert linked == 52


def test_headers_are_written_as_on_the_network() -> None:
    """Apart from what the sandbox has not: a validator's signature, skipped ledgers, offers'
    numbers, inflation, and another protocol.
    """
    for each in published():
        header = each.header
        assert header.base_fee.uint32 == BASE_FEE
        assert header.base_reserve.uint32 == BASE_RESERVE
        assert not header.scp_value.upgrades
        header.scp_value.ext = xdr.StellarValueExt(xdr.StellarValueType.STELLAR_VALUE_BASIC)
        header.ledger_version = xdr.Uint32(PROTOCOL_VERSION)
        header.total_coins = xdr.Int64(TOTAL_COINS)
        header.inflation_seq = xdr.Uint32(0)
        header.id_pool = xdr.Uint64(0)
        header.max_tx_set_size = xdr.Uint32(1_000)
        header.skip_list = [NO_HASH] * 4
        assert own_header(header).xdr == header.to_xdr_bytes()


def result_pairs(each: Published) -> list[bytes]:
    return [done.result.to_xdr_bytes() for done in each.meta.tx_processing]


def test_result_sets_are_hashed_as_on_the_network() -> None:
    counts = []
    for each in whole():
        pairs = result_pairs(each)
        assert result_set_hash(pairs) == each.header.tx_set_result_hash.hash
        counts.append(len(pairs))
    assert sorted(counts) == [0, 0, 0, 1, 4]


def test_transaction_sets_are_written_as_on_the_network() -> None:
    for each in whole():
        theirs = each.meta.tx_set
        assert sha256(theirs.to_xdr_bytes()).digest() == each.header.scp_value.tx_set_hash.hash
        given = list(reversed(each.envelopes))  # the order is the set's own
        own = transaction_set(each.previous_hash, Phase(given))
        if each.record["sequence"] == MODERN:
            assert own == theirs.to_xdr_bytes()
        decoded = xdr.GeneralizedTransactionSet.from_xdr_bytes(own).v1_tx_set
        assert decoded is not None
        assert decoded.previous_ledger_hash == each.transaction_set.previous_ledger_hash
        assert decoded.phases[0] == each.transaction_set.phases[0]


def test_transactions_of_a_ledger_have_the_hashes_of_its_results() -> None:
    for each in whole():
        if each.record["sequence"] in ON_TESTNET:
            frames = [Frame.of(Envelope.parse(e), network_id("testnet")) for e in each.envelopes]
            found = [done.result.transaction_hash.hash for done in each.meta.tx_processing]
            assert sorted(frame.hash for frame in frames) == sorted(found)


def changes(theirs: xdr.LedgerEntryChanges) -> tuple[bytes, ...]:
    return tuple(change.to_xdr_bytes() for change in theirs.ledger_entry_changes)


def applied(each: Published, envelopes: Sequence[bytes]) -> Iterator[AppliedTransaction]:
    processing = each.meta.tx_processing
    for order, (envelope, done) in enumerate(zip(envelopes, processing, strict=True), start=1):
        assert isinstance(done, xdr.TransactionResultMetaV1)
        name = done.result.transaction_hash.hash
        yield AppliedTransaction(
            hash=name,
            inner_hash=name,
            ledger=each.record["sequence"],
            close_time=0,
            order=order,
            is_fee_bump=False,
            is_soroban=False,
            succeeded=True,
            inclusion_fee=100,
            envelope=envelope,
            result=done.result.result.to_xdr_bytes(),
            meta=done.tx_apply_processing.to_xdr_bytes(),
            fee_changes=changes(done.fee_processing),
            refund_changes=changes(done.post_tx_apply_fee_processing),
            transaction_events=(),
            contract_events=(),
            diagnostics=(),
        )


def test_a_closed_ledger_is_written_as_on_the_network() -> None:
    """Apart from how much state there is, which the sandbox does not count."""
    (each,) = (ledger for ledger in whole() if ledger.record["sequence"] == MODERN)
    own = ClosedLedger(
        sequence=MODERN,
        close_time=0,
        hash=each.hash,
        header=each.raw,
        previous_hash=each.previous_hash,
        transactions=tuple(applied(each, each.envelopes)),
        events=(),
        evicted=(),
    )
    theirs = xdr.LedgerCloseMeta.from_xdr(each.record["meta"])
    assert theirs.v2 is not None
    theirs.v2.total_byte_size_of_live_soroban_state = xdr.Uint64(0)
    assert close_meta(own) == theirs.to_xdr_bytes()
