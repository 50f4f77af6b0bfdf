"""The examples of the published RPC description, asked of the sandbox."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import pytest
from stellar_sdk import Asset, TransactionEnvelope, xdr

from mpp_asgi.sandbox.history import Position
from mpp_asgi.sandbox.host.events import Event, EventKind
from mpp_asgi.sandbox.rpc.dispatch import METHODS
from mpp_asgi.sandbox.wire.assets import NATIVE
from mpp_asgi.sandbox.wire.keys import LedgerKey
from mpp_asgi.sandbox.wire.stored import read_entry
from mpp_asgi.sandbox.wire.transactions import Envelope
from mpp_asgi.sandbox.wire.values import Address, Val
from tests.sandbox.public_examples.gathered import network_id, records
from tests.sandbox.rpc_shapes import fields

if TYPE_CHECKING:
    from conftest import Stage

EXAMPLES = records("rpc")
TESTNET = network_id("testnet")
NATIVE_CONTRACT = str(NATIVE.contract(TESTNET))
EVENTS = [event for each in EXAMPLES for event in each["result"].get("events", ())]
PLACED_EVENTS = [event for event in EVENTS if isinstance(event, dict)]


def examples(method: str) -> list[dict[str, Any]]:
    return [each for each in EXAMPLES if each["method"] == method]


# What the examples hold


def test_event_ids_and_cursors_say_where_an_event_stands() -> None:
    for event in PLACED_EVENTS:
        position = Position.parse(event["id"])
        assert position.id == event["id"]
        assert position.ledger == event["ledger"]
        assert position.transaction == event["transactionIndex"]
        assert position.operation == event["operationIndex"]
    assert len(PLACED_EVENTS) == 4
    for each in examples("getEvents"):
        assert each["result"]["cursor"] == each["result"]["events"][-1]["id"]


def test_events_of_lumens_come_from_their_contract() -> None:
    for event in PLACED_EVENTS:
        assert event["contractId"] == NATIVE_CONTRACT
        topics = tuple(Val.parse(b64decode(topic)) for topic in event["topic"])
        data = Val.parse(b64decode(event["value"]))
        own = Event(EventKind.CONTRACT, Address.parse(event["contractId"]), topics, data)
        theirs = xdr.ContractEvent.from_xdr_bytes(own.xdr)
        assert theirs.body.v0 is not None
        assert [topic.to_xdr() for topic in theirs.body.v0.topics] == event["topic"]
        assert theirs.body.v0.data.to_xdr() == event["value"]


def test_diagnostics_of_simulations_are_written_as_published() -> None:
    checked = 0
    for each in examples("simulateTransaction"):
        for encoded in each["result"]["events"]:
            theirs = xdr.DiagnosticEvent.from_xdr(encoded)
            body = theirs.event.body.v0
            assert body is not None
            contract = theirs.event.contract_id
            own = Event(
                EventKind(theirs.event.type.value),
                None if contract is None else Address.contract(contract.contract_id.hash),
                tuple(Val.parse(topic.to_xdr_bytes()) for topic in body.topics),
                Val.parse(body.data.to_xdr_bytes()),
            )
            succeeded = theirs.in_successful_contract_call
            assert own.diagnostic_xdr(succeeded=succeeded) == b64decode(encoded)
            checked += 1
    assert checked == 4


def test_entries_stand_under_the_keys_that_were_asked_for() -> None:
    checked = 0
    for each in examples("getLedgerEntries"):
        wanted = {b64decode(key) for key in each["params"]["keys"]}
        assert {LedgerKey.parse(key).xdr for key in wanted} == wanted
        entries = [b64decode(entry["xdr"]) for entry in each["result"]["entries"]]
        own = [read_entry(data) for data in entries]
        assert {entry.key for entry in own} == wanted
        assert [entry.data for entry in own] == entries
        checked += len(own)
    assert checked == 4


# What the sandbox answers


def request_of(example: dict[str, Any], stage: Stage) -> dict[str, Any]:
    """The example's parameters, asked from a ledger that the sandbox has."""
    params = dict(example["params"])
    if "startLedger" in params:
        params["startLedger"] = stage.sandbox.sequence
    if "cursor" in params.get("pagination", {}):
        cursor = str(stage.sandbox.sequence << 32 | 1)
        params["pagination"] = params["pagination"] | {"cursor": cursor}
    return params


@pytest.mark.parametrize(
    "example",
    [each for each in EXAMPLES if each["method"] in METHODS],
    ids=lambda each: each["method"],
)
def test_requests_are_understood(stage: Stage, example: dict[str, Any]) -> None:
    assert stage.rpc(example["method"], **request_of(example, stage))


def test_transactions_are_known_by_the_published_hash(stage: Stage) -> None:
    for each in examples("sendTransaction"):
        assert stage.rpc("sendTransaction", **each["params"])["hash"] == each["result"]["hash"]


def test_a_wrong_sequence_number_is_refused_with_the_published_result(stage: Stage) -> None:
    (each,) = (e for e in examples("sendTransaction") if e["result"]["status"] == "ERROR")
    source = Envelope.parse(b64decode(each["params"]["transaction"])).transaction.source
    stage.sandbox.fund(str(source))
    answer = stage.rpc("sendTransaction", **each["params"])
    for name in ("errorResultXdr", "hash", "status"):
        assert answer[name] == each["result"][name]


def lumens(stage: Stage, amount: str) -> TransactionEnvelope:
    """A payment from the seller to the payer, signed."""
    builder = stage.builder(stage.seller).append_payment_op(
        stage.payer.public_key, Asset.native(), amount
    )
    envelope = builder.build()
    envelope.sign(stage.seller)
    return envelope


def test_events_are_found_by_the_published_filter(stage: Stage) -> None:
    (each,) = (e for e in examples("getEvents") if e["params"].get("filters"))
    start = stage.sandbox.sequence
    for _ in range(3):
        stage.succeed(lumens(stage, "1"))
    stage.succeed(stage.ready_transfer())  # of another asset
    answer = stage.rpc("getEvents", **each["params"] | {"startLedger": start})
    assert fields(answer) == fields(each["result"])
    assert len(answer["events"]) == len(each["result"]["events"]) == 2
    for own, theirs in zip(answer["events"], each["result"]["events"], strict=True):
        assert own["topic"][0] == theirs["topic"][0]
        assert own["topic"][3] == theirs["topic"][3]
        for name in ("contractId", "type", "operationIndex", "inSuccessfulContractCall"):
            assert own[name] == theirs[name]
        for name in ("id", "ledgerClosedAt", "txHash"):
            assert form(own[name]) == form(theirs[name])


def form(text: str) -> str:
    """A text with every digit, also a hexadecimal one, made the same."""
    return re.sub(r"[0-9a-f]", "0", text)


def outcomes(stage: Stage) -> dict[str, list[dict[str, Any]]]:
    """What the sandbox answers where it ends as in the examples."""
    good, bad = stage.ready_transfer(), lumens(stage, "99999999")
    refused = stage.builder(stage.payer, sequence=7).append_bump_sequence_op(1).build()
    refused.sign(stage.payer)
    waiting = stage.builder(stage.sponsor).append_bump_sequence_op(1).build()
    waiting.sign(stage.sponsor)
    sent = [stage.send(envelope) for envelope in (good, good, waiting, refused, bad)]
    stage.sandbox.close_ledger()
    known = [stage.outcome(good), stage.outcome(bad)]
    return {"sendTransaction": sent, "getTransaction": known}


def test_answers_have_the_fields_of_the_examples(stage: Stage) -> None:
    checked = set()
    for method, answers in outcomes(stage).items():
        for each in examples(method):
            published = each["result"]
            for answer in answers:
                if answer["status"] == published["status"]:
                    assert fields(answer) == fields(published), (method, answer["status"])
                    checked.add((method, answer["status"]))
    assert {status for method, status in checked if method == "getTransaction"} == {
        *("SUCCESS", "FAILED")
    }
    assert {status for method, status in checked if method == "sendTransaction"} == {
        *("PENDING", "DUPLICATE", "ERROR", "TRY_AGAIN_LATER")
    }


def later(method: str, example: dict[str, Any]) -> set[str]:
    """Fields in which the answers of today's servers differ from an older example."""
    costs = {".cost", ".cost.cpuInsns", ".cost.memBytes"}
    changes = {".stateChanges"} | {
        f".stateChanges[].{name}" for name in ("type", "key", "before", "after")
    }
    if method == "simulateTransaction":
        return costs if "error" in example["result"] else costs | changes
    if method == "getLedgerEntries":
        return {".entries[].extXdr", ".entries[].liveUntilLedgerSeq"}
    # Only who asks over HTTP is told where the friendbot is.
    return {".friendbotUrl"} if method == "getNetwork" else set()


def test_results_have_the_fields_of_the_examples(stage: Stage) -> None:
    start = stage.sandbox.sequence
    answers = {
        method: [stage.rpc(method)]
        for method in ("getFeeStats", "getHealth", "getLatestLedger", "getNetwork")
    }
    answers["getVersionInfo"] = [stage.rpc("getVersionInfo")]
    simulated = [stage.simulate(stage.transfer(amount)) for amount in (1, 10**12)]
    transfer = stage.ready_transfer()
    data = transfer.transaction.soroban_data
    assert data is not None
    keys = [key.to_xdr() for key in data.resources.footprint.read_only]
    answers["getLedgerEntries"] = [stage.rpc("getLedgerEntries", keys=keys)] * 3
    stage.succeed(transfer)
    answers["getTransactions"] = [stage.rpc("getTransactions", startLedger=start)] * 2
    answers["getNetwork"] *= 2
    answers["simulateTransaction"] = simulated
    for method, own in answers.items():
        for answer, example in zip(own, examples(method), strict=True):
            differences = fields(answer) ^ fields(example["result"])
            assert differences == later(method, example), method


def test_cursors_of_transactions_are_made_as_published(stage: Stage) -> None:
    def place(transaction: dict[str, Any]) -> int:
        return transaction["ledger"] << 32 | transaction["applicationOrder"] << 12 | 1

    for each in examples("getTransactions"):
        assert each["result"]["cursor"] == str(place(each["result"]["transactions"][-1]))
    start = stage.sandbox.sequence
    for _ in range(3):
        stage.succeed(lumens(stage, "1"))
    first = stage.rpc("getTransactions", startLedger=start, pagination={"limit": 2})
    assert first["cursor"] == str(place(first["transactions"][-1]))
    rest = stage.rpc("getTransactions", pagination={"cursor": first["cursor"], "limit": 5})
    assert [place(each) > int(first["cursor"]) for each in rest["transactions"]] == [True]
