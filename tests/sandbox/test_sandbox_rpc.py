"""The JSON-RPC methods: their shapes, their errors, their windows."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from stellar_sdk import Address, Asset, TextMemo, scval
from stellar_sdk import xdr as sdk

if TYPE_CHECKING:
    from stellar_sdk import Keypair


def request(stage: Any, **content: Any) -> dict[str, Any]:
    return stage.sandbox.rpc(content)


# The envelope


def test_id_is_echoed(stage: Any) -> None:
    for identity in (1, "a1b2", None, 0):
        call = {"jsonrpc": "2.0", "id": identity, "method": "getHealth"}
        assert request(stage, **call)["id"] == identity


@pytest.mark.parametrize("params", [None, {}, {"unheard": "of"}])
def test_params_may_be_absent(stage: Any, params: Any) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "getNetwork", "params": params}
    assert "result" in request(stage, **call)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ({"jsonrpc": "2.0", "id": 1, "method": "getHeaven"}, -32601),
        ({"jsonrpc": "1.0", "id": 1, "method": "getHealth"}, -32600),
        ({"id": 1, "method": "getHealth"}, -32600),
        ({"jsonrpc": "2.0", "id": 1}, -32600),
        ({"jsonrpc": "2.0", "id": 1, "method": 5}, -32600),
        ({"jsonrpc": "2.0", "id": 1, "method": "getHealth", "params": [1]}, -32602),
        ({"jsonrpc": "2.0", "id": 1, "method": "getHealth", "params": "x"}, -32602),
    ],
)
def test_bad_requests(stage: Any, content: dict[str, Any], code: int) -> None:
    assert request(stage, **content)["error"]["code"] == code


@pytest.mark.parametrize("content", [None, 5, "x", [], [1], True])
def test_what_is_no_request_at_all(stage: Any, content: Any) -> None:
    assert stage.sandbox.rpc(content)["error"]["code"] == -32600


# The ledger


def test_health_network_version(stage: Any) -> None:
    assert stage.rpc("getHealth") == {
        "status": "healthy",
        "latestLedger": stage.sandbox.sequence,
        "latestLedgerCloseTime": str(int(stage.clock.now)),
        "oldestLedger": 1_000,
        "oldestLedgerCloseTime": str(int(stage.clock.now)),
        "ledgerRetentionWindow": 120_960,
    }
    network = stage.rpc("getNetwork")
    assert network["passphrase"] == "Test SDF Network ; September 2015"
    assert network["protocolVersion"] == stage.rpc("getVersionInfo")["protocolVersion"] == 28


def too_old(said: str) -> dict[str, Any]:
    """What a node says whose last ledger is so old (Stellar RPC, ``methods/get_health.go``)."""
    text = f"latency ({said}) since last known ledger closed is too high (>30s)"
    return {"code": -32603, "message": text}


@pytest.mark.parametrize(
    ("elapsed", "said"),
    [(30.1, "30s"), (30.5, "31s"), (60, "1m0s"), (3_599.4, "59m59s"), (7_205, "2h0m5s")],
)
def test_a_node_whose_ledgers_stand_still_is_not_well(
    new_stage: Any, elapsed: float, said: str
) -> None:
    stage = new_stage(close_interval=5)
    stage.sandbox.freeze()
    stage.clock.now += 30
    assert stage.rpc("getHealth")["status"] == "healthy"
    stage.clock.now += elapsed - 30
    assert stage.rpc_error("getHealth") == too_old(said)
    assert stage.rpc("getLatestLedger")["sequence"] == stage.sandbox.sequence  # it does answer
    stage.sandbox.thaw()
    assert stage.rpc_error("getHealth") == too_old(said)
    stage.clock.now += 5
    assert stage.rpc("getHealth")["status"] == "healthy"


@pytest.mark.parametrize("interval", [5, None])
def test_a_node_that_has_fallen_behind_is_not_well(new_stage: Any, interval: int | None) -> None:
    stage = new_stage(close_interval=interval)
    stage.sandbox.fall_behind()
    stage.clock.now += 31
    assert stage.rpc_error("getHealth") == too_old("31s")
    stage.sandbox.catch_up()
    assert stage.rpc("getHealth")["status"] == "healthy"


def test_no_ledger_is_late_where_they_close_on_demand(stage: Any) -> None:
    stage.clock.now += 1_000_000
    assert stage.rpc("getHealth")["status"] == "healthy"
    stage.sandbox.freeze()
    assert stage.rpc_error("getHealth") == too_old("277h46m40s")


def test_latest_ledger_is_genuine(stage: Any) -> None:
    first = stage.rpc("getLatestLedger")
    outcome = stage.succeed(stage.ready_transfer(1))
    latest = stage.rpc("getLatestLedger")
    header = sdk.LedgerHeader.from_xdr(latest["headerXdr"])
    assert header.to_xdr() == latest["headerXdr"]
    assert sha256(header.to_xdr_bytes()).hexdigest() == latest["id"]
    assert header.previous_ledger_hash.hash.hex() == first["id"]
    assert header.ledger_seq.uint32 == latest["sequence"] == outcome["ledger"]
    assert str(header.scp_value.close_time.time_point.uint64) == latest["closeTime"]
    assert header.ledger_version.uint32 == latest["protocolVersion"] == 28
    charged = sdk.TransactionResult.from_xdr(outcome["resultXdr"]).fee_charged.int64
    assert header.fee_pool.int64 == charged

    meta = sdk.LedgerCloseMeta.from_xdr(latest["metadataXdr"])
    assert meta.to_xdr() == latest["metadataXdr"]
    assert meta.v2 is not None
    assert meta.v2.ledger_header.hash.hash.hex() == latest["id"]
    (processing,) = meta.v2.tx_processing
    assert processing.tx_apply_processing.to_xdr() == outcome["resultMetaXdr"]
    assert processing.result.result.to_xdr() == outcome["resultXdr"]
    assert processing.result.transaction_hash.hash.hex() == outcome["txHash"]
    set_hash = sha256(meta.v2.tx_set.to_xdr_bytes()).digest()
    assert header.scp_value.tx_set_hash.hash == set_hash
    (stages,) = [p.parallel_txs_component for p in meta.v2.tx_set.v1_tx_set.phases if p.v == 1]
    (envelope,) = stages.execution_stages[0].parallel_tx_execution_stage[0].dependent_tx_cluster
    assert envelope.to_xdr() == outcome["envelopeXdr"]
    results = sdk.TransactionResultSet([processing.result])
    assert header.tx_set_result_hash.hash == sha256(results.to_xdr_bytes()).digest()


def test_ledgers_of_many_transactions_decode(stage: Any) -> None:
    for who in (stage.payer, stage.seller):
        builder = stage.builder(who)
        builder.append_payment_op(stage.sponsor.public_key, Asset.native(), "1")
        envelope = builder.build()
        envelope.sign(who)
        stage.send(envelope)
    stage.send(stage.ready_transfer(1))
    stage.sandbox.close_ledger()
    encoded = stage.rpc("getLatestLedger")["metadataXdr"]
    meta = sdk.LedgerCloseMeta.from_xdr(encoded)
    assert meta.to_xdr() == encoded
    assert len(meta.v2.tx_processing) == 3
    header = meta.v2.ledger_header.header
    transactions = meta.v2.tx_set.to_xdr_bytes()
    assert header.scp_value.tx_set_hash.hash == sha256(transactions).digest()
    pairs = [item.result.to_xdr_bytes() for item in meta.v2.tx_processing]
    results = len(pairs).to_bytes(4, "big") + b"".join(pairs)
    assert header.tx_set_result_hash.hash == sha256(results).digest()
    assert meta.v2.ledger_header.hash.hash == sha256(header.to_xdr_bytes()).digest()


def test_fee_stats(stage: Any) -> None:
    empty = stage.rpc("getFeeStats")
    assert empty["inclusionFee"]["transactionCount"] == "0"
    stage.succeed(stage.ready_transfer(1))
    stats = stage.rpc("getFeeStats")
    assert stats["sorobanInclusionFee"]["max"] == "100"
    assert stats["sorobanInclusionFee"]["p99"] == "100"
    assert stats["sorobanInclusionFee"]["transactionCount"] == "1"
    assert stats["inclusionFee"]["transactionCount"] == "0"
    assert set(stats["inclusionFee"]) == {
        "max", "min", "mode", "p10", "p20", "p30", "p40", "p50", "p60", "p70", "p80", "p90",
        "p95", "p99", "transactionCount", "ledgerCount",
    }  # fmt: skip


def account_key(who: Keypair) -> sdk.LedgerKey:
    account = sdk.LedgerKeyAccount(who.xdr_account_id())
    return sdk.LedgerKey(sdk.LedgerEntryType.ACCOUNT, account=account)


def test_ledger_entries(stage: Any, person: Any) -> None:
    keys = [account_key(w) for w in (stage.seller, person("nobody"), stage.payer)]
    answer = stage.rpc("getLedgerEntries", keys=[key.to_xdr() for key in keys])
    assert answer["latestLedger"] == stage.sandbox.sequence
    found = [entry["key"] for entry in answer["entries"]]
    assert found == [keys[0].to_xdr(), keys[2].to_xdr()]
    entry = answer["entries"][0]
    assert set(entry) == {"key", "xdr", "lastModifiedLedgerSeq", "extXdr"}
    data = sdk.LedgerEntryData.from_xdr(entry["xdr"])
    assert data.to_xdr() == entry["xdr"]
    assert stage.rpc("getLedgerEntries", keys=[])["entries"] == []


def test_ledger_entries_of_contracts_tell_how_long_they_live(stage: Any) -> None:
    key = sdk.LedgerKey(
        sdk.LedgerEntryType.CONTRACT_DATA,
        contract_data=sdk.LedgerKeyContractData(
            Address(stage.usdc).to_xdr_sc_address(),
            sdk.SCVal(sdk.SCValType.SCV_LEDGER_KEY_CONTRACT_INSTANCE),
            sdk.ContractDataDurability.PERSISTENT,
        ),
    )
    (entry,) = stage.rpc("getLedgerEntries", keys=[key.to_xdr()])["entries"]
    assert entry["liveUntilLedgerSeq"] > stage.sandbox.sequence
    instance = sdk.LedgerEntryData.from_xdr(entry["xdr"]).contract_data.val.instance
    kind = sdk.ContractExecutableType.CONTRACT_EXECUTABLE_STELLAR_ASSET
    assert instance.executable.type is kind
    metadata = instance.storage.sc_map[0]
    assert scval.to_native(metadata.key) == "METADATA"
    assert scval.to_native(metadata.val)["decimal"] == 7


def test_ledger_entries_refuses_what_it_cannot_answer(stage: Any) -> None:
    ttl = sdk.LedgerKey(sdk.LedgerEntryType.TTL, ttl=sdk.LedgerKeyTtl(sdk.Hash(b"\1" * 32)))
    assert stage.rpc_error("getLedgerEntries", keys=[ttl.to_xdr()])["code"] == -32602
    assert stage.rpc_error("getLedgerEntries", keys=["AAAA"])["code"] == -32602
    assert stage.rpc_error("getLedgerEntries", keys=["!"])["code"] == -32602
    assert stage.rpc_error("getLedgerEntries", keys="AAAA")["code"] == -32602
    many = [account_key(stage.payer).to_xdr()] * 201
    assert "exceeds maximum" in stage.rpc_error("getLedgerEntries", keys=many)["message"]


# Transactions


def test_get_transaction_shapes(stage: Any) -> None:
    unknown = stage.rpc("getTransaction", hash="ab" * 32)
    assert unknown == {
        "status": "NOT_FOUND",
        "txHash": "ab" * 32,
        "latestLedger": stage.sandbox.sequence,
        "latestLedgerCloseTime": str(int(stage.clock.now)),
        "oldestLedger": 1_000,
        "oldestLedgerCloseTime": str(int(stage.clock.now)),
        "applicationOrder": 0,
        "feeBump": False,
        "events": {},
        "ledger": 0,
        "createdAt": "0",
    }
    found = stage.succeed(stage.ready_transfer(1))
    assert set(found) == set(unknown) | {
        "envelopeXdr", "resultXdr", "resultMetaXdr", "diagnosticEventsXdr",
    }  # fmt: skip
    assert found["applicationOrder"] == 1
    assert found["createdAt"] == str(int(stage.clock.now))


def test_get_transaction_wants_a_hash(stage: Any) -> None:
    assert "hash length" in stage.rpc_error("getTransaction", hash="ab")["message"]
    assert stage.rpc_error("getTransaction", hash="zz" * 32)["code"] == -32602
    assert stage.rpc_error("getTransaction")["code"] == -32602
    envelope = stage.ready_transfer(1)
    stage.succeed(envelope)
    upper = stage.rpc("getTransaction", hash=envelope.hash_hex().upper())
    assert upper["status"] == "SUCCESS"


def test_get_transactions_pages(stage: Any) -> None:
    first = stage.sandbox.sequence
    hashes = []
    for amount in range(1, 6):
        envelope = stage.ready_transfer(amount)
        stage.succeed(envelope)
        hashes.append(envelope.hash_hex())
    page = stage.rpc("getTransactions", startLedger=first, pagination={"limit": 2})
    assert [item["txHash"] for item in page["transactions"]] == hashes[:2]
    assert page["transactions"][0]["createdAt"] == int(stage.clock.now)
    seen = hashes[:2]
    while page["transactions"]:
        pagination = {"cursor": page["cursor"], "limit": 2}
        page = stage.rpc("getTransactions", pagination=pagination)
        seen += [item["txHash"] for item in page["transactions"]]
    assert seen == hashes
    error = stage.rpc_error("getTransactions", startLedger=1)
    assert "between the oldest ledger" in error["message"]
    assert stage.rpc_error("getTransactions", startLedger=first, pagination={"limit": 201})
    assert stage.rpc_error("getTransactions", pagination={"cursor": "x"})["code"] == -32602


def test_send_transaction_shapes(stage: Any) -> None:
    envelope = stage.ready_transfer(1)
    assert stage.send(envelope) == {
        "status": "PENDING",
        "hash": envelope.hash_hex(),
        "latestLedger": stage.sandbox.sequence,
        "latestLedgerCloseTime": str(int(stage.clock.now)),
    }
    for garbage in ("", "AAAA", "!", envelope.to_xdr() + "AAAA", envelope.to_xdr()[:-8]):
        error = stage.rpc_error("sendTransaction", transaction=garbage)
        assert error == {"code": -32602, "message": "invalid_xdr"}


# Simulation


def test_simulation_shapes(stage: Any) -> None:
    success = stage.simulate(stage.transfer(1))
    assert set(success) == {
        "transactionData", "minResourceFee", "events", "results", "stateChanges", "latestLedger",
    }  # fmt: skip
    data = sdk.SorobanTransactionData.from_xdr(success["transactionData"])
    assert data.to_xdr() == success["transactionData"]
    assert str(data.resource_fee.int64) == success["minResourceFee"]
    for event in success["events"]:
        assert sdk.DiagnosticEvent.from_xdr(event).to_xdr() == event
    for change in success["stateChanges"]:
        assert set(change) == {"type", "key", "before", "after"}
        for side in ("before", "after"):
            if change[side] is not None:
                assert sdk.LedgerEntry.from_xdr(change[side]).to_xdr() == change[side]
        assert sdk.LedgerKey.from_xdr(change["key"]).to_xdr() == change["key"]
    kinds = sorted(change["type"] for change in success["stateChanges"])
    assert kinds == ["created", "updated", "updated"]

    failure = stage.simulate(stage.transfer(10**15))
    assert set(failure) == {"error", "events", "latestLedger"}


def test_simulation_leaves_no_trace(stage: Any) -> None:
    before = stage.usdc_of(stage.payer), stage.sandbox.sequence
    for _ in range(3):
        stage.simulate(stage.transfer(1))
    assert (stage.usdc_of(stage.payer), stage.sandbox.sequence) == before


def test_simulation_needs_no_funds_no_sequence_and_no_signature(stage: Any) -> None:
    nobody = "GAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAWHF"
    from stellar_sdk import Account, TransactionBuilder

    builder = TransactionBuilder(Account(nobody, 0), stage.passphrase, 100)
    builder.append_invoke_contract_function_op(stage.usdc, "decimals", [])
    result = stage.simulate(builder.add_time_bounds(0, 0).build())
    assert scval.to_native(result["results"][0]["xdr"]) == 7


def test_the_null_account_exists(stage: Any) -> None:
    key = sdk.LedgerKey(
        sdk.LedgerEntryType.ACCOUNT,
        account=sdk.LedgerKeyAccount(
            sdk.AccountID(
                sdk.PublicKey(sdk.PublicKeyType.PUBLIC_KEY_TYPE_ED25519, sdk.Uint256(bytes(32)))
            )
        ),
    )
    assert len(stage.rpc("getLedgerEntries", keys=[key.to_xdr()])["entries"]) == 1


def test_simulations_that_are_not_run(stage: Any) -> None:
    def error(transaction: str, **params: Any) -> str:
        return stage.rpc("simulateTransaction", transaction=transaction, **params)["error"]

    assert error("AAAA") == error("") == "Could not unmarshal transaction"
    two = stage.builder(stage.payer)
    for _ in range(2):
        two.append_payment_op(stage.seller.public_key, Asset.native(), "1")
    assert error(two.build().to_xdr()) == "Transaction contains more than one operation"
    with_memo = stage.transfer(1)
    with_memo.transaction.memo = TextMemo("hello")
    expected = "Transaction contains a memo. Soroban transactions do not support memos."
    assert error(with_memo.to_xdr()) == expected
    classic = stage.builder(stage.payer)
    classic.append_payment_op(stage.seller.public_key, Asset.native(), "1")
    assert "unsupported operation type" in error(classic.build().to_xdr())


def test_leeway_raises_the_instructions(stage: Any) -> None:
    def instructions(**params: Any) -> int:
        encoded = stage.simulate(stage.transfer(1), **params)["transactionData"]
        return sdk.SorobanTransactionData.from_xdr(encoded).resources.instructions.uint32

    plain = instructions()
    assert instructions(resourceConfig={"instructionLeeway": 1_050_000}) == plain + 1_000_000
    assert instructions(resourceConfig=None) == plain


def test_explicit_nulls_are_as_good_as_nothing(stage: Any) -> None:
    nulls = {"resourceConfig": None, "authMode": None, "useUpgradedAuth": None, "xdrFormat": None}
    assert "results" in stage.simulate(stage.transfer(1), **nulls)


# Footprints
