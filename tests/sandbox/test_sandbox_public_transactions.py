"""Transactions that really happened, as others published them: the sandbox's rules take them."""

from __future__ import annotations

from base64 import b64decode
from collections import Counter
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from stellar_sdk import xdr

from mpp_asgi.sandbox.contracts.registry import CONTRACTS
from mpp_asgi.sandbox.diagnostics import Diagnostics
from mpp_asgi.sandbox.fees import Resources, resource_fee
from mpp_asgi.sandbox.network import Moment, Network
from mpp_asgi.sandbox.settings import Settings
from mpp_asgi.sandbox.signatures import SignatureChecker, Verifier
from mpp_asgi.sandbox.state import State
from mpp_asgi.sandbox.validity import judge
from mpp_asgi.sandbox.wire.entries import Account, Signer, SignerKey, SignerKind
from mpp_asgi.sandbox.wire.keys import account_key
from mpp_asgi.sandbox.wire.operations import InvokeContract, InvokeHostFunction, Unsupported
from mpp_asgi.sandbox.wire.results import Code, OperationCode, Result
from mpp_asgi.sandbox.wire.stream import Reader
from tests.sandbox.public_examples.gathered import network_id, records
from tests.sandbox.public_examples.transactions import Published, published

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mpp_asgi.sandbox.frame import Frame
    from mpp_asgi.sandbox.wire.transactions import Signature

KNOWN_OPERATIONS = {
    "CHANGE_TRUST": 2,
    "CREATE_ACCOUNT": 2,
    "INVOKE_HOST_FUNCTION": 54,
    "PAYMENT": 126,
}
UNSUPPORTED_OPERATIONS = {
    "BEGIN_SPONSORING_FUTURE_RESERVES": 1,
    "END_SPONSORING_FUTURE_RESERVES": 1,
    "MANAGE_BUY_OFFER": 53,
    "MANAGE_SELL_OFFER": 56,
    "PATH_PAYMENT_STRICT_RECEIVE": 3,
    "PATH_PAYMENT_STRICT_SEND": 3,
}


def test_envelopes_are_hashed_as_on_the_network() -> None:
    for each in published():
        frame = each.frame
        assert frame.envelope.xdr == b64decode(each.record["envelope"])
        assert frame.hash.hex() == each.record["hash"]
        pair = each.result.result.inner_result_pair
        inner_hash = frame.hash if pair is None else pair.transaction_hash.hash
        assert frame.inner_hash == inner_hash
        assert frame.is_fee_bump == (pair is not None)
    kinds = Counter((each.record["network"], each.frame.is_fee_bump) for each in published())
    assert kinds == {
        ("public", False): 45,
        ("public", True): 55,
        ("testnet", False): 6,
        ("testnet", True): 1,
    }


def test_operations_are_known_or_read_past() -> None:
    known, unsupported = Counter[str](), Counter[str]()
    for each in published():
        for operation in each.frame.transaction.operations:
            counter = unsupported if isinstance(operation.body, Unsupported) else known
            counter[operation.kind.name] += 1
    assert known == KNOWN_OPERATIONS
    assert unsupported == UNSUPPORTED_OPERATIONS


# Fees


def test_what_is_charged_is_within_what_was_bid() -> None:
    """A classic transaction is charged by the operation, at least the base fee of 100 stroops."""
    for each in published():
        frame, charged = each.frame, each.result.fee_charged.int64
        assert charged <= frame.full_fee
        if not frame.is_soroban:
            assert 100 * frame.operation_count <= charged
            assert charged <= frame.fee_at(charged // frame.operation_count)


def test_resources_cost_what_the_network_charged() -> None:
    """With the fee per operation off, too, what the return value and rent cost is left: for calls
    of one function the same, however many instructions and bytes they declare.
    """
    left, declared = Counter[tuple[str, int]](), set[tuple[int, int]]()
    for each in published():
        frame, data = each.frame, each.frame.soroban
        if data is None or each.record["network"] != "public":
            continue
        needed, _ = resource_fee(Resources.declared(data, frame.inner_size), Settings())
        (operation,) = frame.transaction.operations
        assert isinstance(operation.body, InvokeHostFunction)
        assert isinstance(operation.body.function, InvokeContract)
        inclusion = frame.fee_at(100) - frame.resource_fee
        rest = each.result.fee_charged.int64 - inclusion - needed
        left[operation.body.function.name, rest] += 1
        declared.add((data.instructions, frame.inner_size))
    assert left == {("work", 96): 47, ("plant", 4_229): 2, ("harvest", 14_024): 1}
    assert len(declared) == 6


# Validity


def own_account(theirs: xdr.AccountEntry) -> Account:
    """The account as far as the sandbox has a place for it."""
    first = theirs.ext.v1
    second = None if first is None else first.ext.v2
    third = None if second is None else second.ext.v3
    signers = tuple(
        Signer(SignerKey.read(Reader(each.key.to_xdr_bytes())), each.weight.uint32)
        for each in theirs.signers
    )
    key = theirs.account_id.account_id.ed25519
    assert key is not None
    return Account(
        public_key=key.uint256,
        balance=theirs.balance.int64,
        sequence=theirs.seq_num.sequence_number.int64,
        subentries=theirs.num_sub_entries.uint32,
        flags=theirs.flags.uint32,
        thresholds=theirs.thresholds.thresholds,
        signers=signers,
        sequence_ledger=None if third is None else third.seq_ledger.uint32,
        sequence_time=0 if third is None else third.seq_time.time_point.uint64,
    )


def accounts_before(each: Published, frame: Frame) -> State:
    """The accounts a transaction found, where its changes show them.

    The source of a contract call inside a fee bump is not published with it; it is taken to be an
    account that has nothing but its sequence number, since it signs with its own key.
    """
    found = {}
    if each.meta is None:
        bare = Account(public_key=frame.source, balance=0, sequence=frame.sequence - 1)
        found[account_key(frame.source)] = (bare, each.ledger - 1)
    for change in each.changes:
        entry = change.state
        if entry is not None and entry.data.account is not None:
            account = own_account(entry.data.account)
            found.setdefault(account.key, (account, entry.last_modified_ledger_seq.uint32))
    return State(found)


@cache
def close_times() -> dict[int, int]:
    """When the public network's ledgers closed, Unix seconds, by their sequence."""
    headers = [each for each in records("ledgers") if each["network"] == "public"]
    found = {each["sequence"]: xdr.LedgerHeader.from_xdr(each["header"]) for each in headers}
    return {
        sequence: header.scp_value.close_time.time_point.uint64
        for sequence, header in found.items()
    }


def judged(each: Published, frame: Frame) -> Result:
    network = Network(
        network_id=network_id(each.record["network"]),
        settings=Settings(),
        contracts=CONTRACTS,
        verifier=Verifier(),
    )
    time = int(each.record["closed"]) if "closed" in each.record else close_times()[each.ledger]
    state = accounts_before(each, frame)
    return judge(frame, network, state, Moment(each.ledger, time), Diagnostics())


def is_foreign(frame: Frame) -> bool:
    """Whether it has an operation that the sandbox does not have."""
    bodies = (operation.body for operation in frame.transaction.operations)
    return any(isinstance(body, Unsupported) for body in bodies)


def test_what_the_network_took_is_valid() -> None:
    """With the accounts it met, in its ledger: fees, sequence numbers, preconditions, resources,
    thresholds and signatures. Only what the sandbox does not have it refuses, and says so.
    """
    verdicts = Counter[tuple[Code, bool]]()
    for each in published():
        frame = each.frame
        result = judged(each, frame)
        verdicts[result.code, is_foreign(frame)] += 1
        if is_foreign(frame):
            bodies = [operation.body for operation in frame.transaction.operations]
            first = next(i for i, body in enumerate(bodies) if isinstance(body, Unsupported))
            codes = [operation.code for operation in result.operations]
            assert codes[first] is OperationCode.NOT_SUPPORTED
            assert all(operation.succeeded for operation in result.operations[:first])
        else:
            assert result.succeeded
    assert verdicts == {(Code.SUCCESS, False): 70, (Code.FAILED, True): 37}


def damaged(signatures: Sequence[Signature], index: int) -> tuple[Signature, ...]:
    value = signatures[index].value
    changed = replace(signatures[index], value=bytes((value[0] ^ 1,)) + value[1:])
    return (*signatures[:index], changed, *signatures[index + 1 :])


def test_each_signature_counts() -> None:
    """A transaction with any one of its signatures damaged is refused."""
    tried = 0
    for each in published():
        frame = each.frame
        envelope = frame.envelope
        if is_foreign(frame):
            continue
        wrong = [
            replace(envelope, signatures=damaged(envelope.signatures, index))
            for index in range(len(envelope.signatures))
        ]
        wrong += [
            replace(envelope, outer_signatures=damaged(envelope.outer_signatures, index))
            for index in range(len(envelope.outer_signatures))
        ]
        for other in wrong:
            tried += 1
            result = judged(each, replace(frame, envelope=other))
            code = result.outer or result.code
            codes = {operation.code for operation in result.operations}
            refused = code in {Code.BAD_AUTH, Code.BAD_AUTH_EXTRA}
            assert refused or OperationCode.BAD_AUTH in codes, (code, codes)
    assert tried == 133


def test_no_signature_counts_twice() -> None:
    """A copy of one signature in the place of another, or beside it, makes it refused."""
    tried = 0
    for each in published():
        frame = each.frame
        name = "outer_signatures" if frame.is_fee_bump else "signatures"
        signatures = getattr(frame.envelope, name)
        if is_foreign(frame):
            continue
        first = signatures[0]
        copies = [(*signatures, first)]
        if len(signatures) > 1:
            copies.append((first, first, *signatures[2:]))
        for copied in copies:
            envelope = replace(frame.envelope, **{name: copied})
            result = judged(each, replace(frame, envelope=envelope))
            codes = {operation.code for operation in result.operations}
            refused = (result.outer or result.code) in {Code.BAD_AUTH, Code.BAD_AUTH_EXTRA}
            assert refused or OperationCode.BAD_AUTH in codes
            tried += len(copied) == len(signatures)
    assert tried == 4


def test_a_signer_adds_its_weight_once() -> None:
    tried = 0
    for each in published():
        frame = each.frame
        envelope = frame.envelope
        signatures = envelope.outer_signatures if frame.is_fee_bump else envelope.signatures
        signers = [Signer(SignerKey(SignerKind.ED25519, frame.fee_source), 1)]
        twice = SignatureChecker(frame.hash, (signatures[0],) * 2, Verifier())
        if twice.check(signers, 1):
            assert not twice.check(signers, 2)
            tried += 1
    assert tried >= 50
