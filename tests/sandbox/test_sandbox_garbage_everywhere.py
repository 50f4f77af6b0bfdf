"""Random bytes and spoilt XDR at every method, in the process and over HTTP: an answer, always, and
a ledger that goes on. (What is no request, and spoilt transactions that are signed:
``test_sandbox_garbage.py``.)"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from stellar_sdk import xdr as sdk

from mpp_asgi.sandbox.rpc.dispatch import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Stage

ERRORS = {-32600, -32601, -32602}


@pytest.fixture(scope="module")
def shared(new_stage: Callable[..., Stage]) -> Stage:
    """A stage where something has happened already."""
    stage = new_stage(admin=True)
    stage.succeed(stage.ready_transfer())
    return stage


@pytest.fixture(scope="module")
def web(shared: Stage) -> TestClient:
    return TestClient(shared.sandbox.app, base_url="http://sandbox", client=("127.0.0.1", 1))


@pytest.fixture(scope="module")
def samples(shared: Stage) -> list[bytes]:
    """XDR of every sort that a method takes: transactions, ledger keys, topics, a hash."""
    ready = shared.ready_transfer()
    data = ready.transaction.soroban_data
    assert data is not None
    footprint = data.resources.footprint
    upload = shared.builder(shared.payer).append_upload_contract_wasm_op(b"\0asm\1\0\0\0").build()
    extend = shared.builder(shared.payer).append_extend_footprint_ttl_op(5).build()
    extend.transaction.soroban_data = data
    restore = shared.builder(shared.payer).append_restore_footprint_op().build()
    restore.transaction.soroban_data = data
    envelopes = [ready, shared.transfer(), upload, extend, restore]
    keys = [*footprint.read_only, *footprint.read_write]
    topic = sdk.SCVal(sdk.SCValType.SCV_SYMBOL, sym=sdk.SCSymbol(b"transfer"))
    return [
        *(b64decode(envelope.to_xdr()) for envelope in envelopes),
        *(key.to_xdr_bytes() for key in keys),
        topic.to_xdr_bytes(),
        ready.hash(),
    ]


def everywhere(data: bytes) -> dict[str, list[dict[str, Any]]]:
    """Requests that put the data wherever a method takes XDR, or a name made of bytes."""
    text, name = b64encode(data).decode(), data.hex()
    page = {"cursor": str(int.from_bytes(data[:8], "big"))}
    return {
        "getEvents": [
            {"startLedger": 1_001, "filters": [{"topics": [[text, "**"]]}]},
            {"startLedger": 1_001, "filters": [{"contractIds": [text]}]},
            {"pagination": page},
            {"pagination": {"cursor": text}},
        ],
        "getLedgerEntries": [{"keys": [text]}, {"keys": [text, text]}],
        "getTransaction": [{"hash": name[:64]}, {"hash": text}],
        "getTransactions": [{"pagination": page}, {"pagination": {"cursor": text}}],
        "sendTransaction": [{"transaction": text}],
        "simulateTransaction": [
            {"transaction": text},
            {"transaction": text, "authMode": "record_allow_nonroot", "useUpgradedAuth": True},
            {"transaction": text, "authMode": "enforce"},
        ],
    }


def check(stage: Stage, data: bytes) -> None:
    """Every method answers, and not with an error of its own."""
    requests = everywhere(data) | {
        method: [{b64encode(data).decode(): data.hex()}]
        for method in METHODS
        if method not in everywhere(data)
    }
    assert set(requests) == set(METHODS)
    for method, many in requests.items():
        for params in many:
            call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            answer = stage.sandbox.rpc(call)
            json.dumps(answer, allow_nan=False)
            if "error" in answer:
                assert answer["error"]["code"] in ERRORS, answer
            else:
                assert answer["result"]


def goes_on(stage: Stage) -> None:
    """The ledger closes, and pays."""
    before = stage.sandbox.sequence
    assert stage.sandbox.close_ledger() == before + 1
    received = stage.usdc_of(stage.seller)
    stage.succeed(stage.ready_transfer())
    assert stage.usdc_of(stage.seller) >= received + 10


@given(data=st.binary(max_size=300))
def test_random_bytes(shared: Stage, data: bytes) -> None:
    check(shared, data)
    shared.sandbox.close_ledger()


spoilings = st.lists(
    st.tuples(st.sampled_from(["set", "cut", "insert", "repeat"]), st.integers(0), st.binary()),
    min_size=1,
    max_size=4,
)


def spoilt(data: bytes, spoiling: list[tuple[str, int, bytes]]) -> bytes:
    for how, where, what in spoiling:
        at = where % (len(data) + 1)
        match how:
            case "set":
                data = data[:at] + what[:8] + data[at + len(what[:8]) :]
            case "cut":
                data = data[:at]
            case "insert":
                data = data[:at] + what[:8] + data[at:]
            case _:
                data = data[:at] + data[at : at + 64] * 3 + data[at + 64 :]
    return data


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(which=st.integers(0, 100), spoiling=spoilings)
def test_spoilt_xdr(
    shared: Stage, samples: list[bytes], which: int, spoiling: list[tuple[str, int, bytes]]
) -> None:
    check(shared, spoilt(samples[which % len(samples)], spoiling))
    shared.sandbox.close_ledger()


def test_every_byte_of_a_transaction_set_to_the_most(shared: Stage, samples: list[bytes]) -> None:
    """Counts, lengths and kinds that promise more than follows."""
    data = samples[0]
    for at in range(0, len(data), 4):
        spoiled = data[:at] + b"\xff" * 4 + data[at + 4 :]
        text = b64encode(spoiled).decode()
        for method in ("sendTransaction", "simulateTransaction"):
            call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"transaction": text}}
            answer = shared.sandbox.rpc(call)
            assert "error" not in answer or answer["error"]["code"] in ERRORS
    goes_on(shared)


@pytest.mark.parametrize("depth", [150, 250, 2_000, 20_000])
def test_deep_nesting(shared: Stage, depth: int) -> None:
    """Vectors in vectors, as an argument, a key and a topic."""
    nested = (b"\0\0\0\x10" + b"\0\0\0\1" + b"\0\0\0\1") * depth + b"\0\0\0\1"
    check(shared, nested)
    key = b"\0\0\0\6" + b"\0\0\0\1" + bytes(32) + nested + b"\0\0\0\1"
    check(shared, key)
    goes_on(shared)


@given(body=st.one_of(st.binary(max_size=200), st.text(max_size=100).map(str.encode)))
def test_any_body_over_http(web: TestClient, body: bytes) -> None:
    answer = web.post("/", content=body)
    assert answer.status_code in {200, 204}
    if answer.status_code == 200:
        assert answer.json()["error"]["code"] in {-32700, *ERRORS}


paths = st.sampled_from(
    [
        "/friendbot",
        "/faucet",
        "/admin",
        "/admin/close",
        "/admin/restore",
        "/admin/lose-answer",
        "/x",
    ]
)


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "OPTIONS", "DELETE"]),
    path=paths,
    query=st.dictionaries(
        st.sampled_from(["addr", "usdc", "xlm", "x"]), st.text(max_size=20), max_size=3
    ),
    body=st.binary(max_size=100),
)
def test_anything_at_any_path(
    web: TestClient, method: str, path: str, query: dict[str, str], body: bytes
) -> None:
    answer = web.request(method, path, params=query, content=body)
    assert answer.status_code < 500


def test_after_all_that_it_goes_on(shared: Stage) -> None:
    shared.sandbox.thaw()
    goes_on(shared)
