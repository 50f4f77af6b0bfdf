"""Every answer has the shape that the published description of Stellar RPC gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from stellar_sdk import Asset, Keypair, xdr

from mpp_asgi.sandbox.rpc.dispatch import METHODS
from tests.sandbox.rpc_shapes import differences, fields, published

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Stage

    from tests.sandbox.channels import Channels

RESULTS = published()["results"]
NOT_OFFERED = {"getLedgers"}
"""It would take the headers of empty ledgers, which are not kept."""
IN_EXAMPLES_ONLY = {("sendTransaction", "latestLedgerCloseTime"): "string"}
"""What the document's schema says is a number, and all of its examples show as a string, as the
SDKs want it."""
IN_NO_SCHEMA = {("getLedgerEntries", "extXdr"): "string"}
"""What RPC servers send, and the document does not know."""
NO_LONGER_SENT = {("simulateTransaction", "restorePreamble")}
"""Since protocol 23 a transaction restores by itself what it touches."""


def shape_of(method: str) -> dict[str, Any]:
    shape: dict[str, Any] = dict(RESULTS[method])
    for (of, name), kind in IN_EXAMPLES_ONLY.items():
        if of == method:
            shape.pop(name, None)
            shape[f"{name}!"] = kind
    for of, name in NO_LONGER_SENT:
        if of == method:
            del shape[name]
    if method == "getLedgerEntries":
        (entry,) = shape["entries"]
        shape["entries"] = [entry | {"extXdr": IN_NO_SCHEMA["getLedgerEntries", "extXdr"]}]
    return shape


class Asked:
    """Asks a sandbox over HTTP, and keeps its answers."""

    def __init__(self, stage: Stage) -> None:
        transport = httpx.ASGITransport(app=stage.sandbox.app)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://sandbox")
        self.results: dict[str, list[dict[str, Any]]] = {}

    async def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = (await self._client.post("/", json=call)).json()
        result: dict[str, Any] = answer["result"]
        self.results.setdefault(method, []).append(result)
        return result


def account_key(who: Keypair) -> str:
    return xdr.LedgerKey(
        xdr.LedgerEntryType.ACCOUNT, account=xdr.LedgerKeyAccount(who.xdr_account_id())
    ).to_xdr()


async def submissions(stage: Stage, ask: Asked) -> list[str]:
    """Every status there is; what is returned are hashes: applied, failed, unknown."""
    good = stage.ready_transfer()
    await ask("sendTransaction", transaction=good.to_xdr())
    await ask("sendTransaction", transaction=good.to_xdr())
    other = stage.builder(stage.sponsor).append_bump_sequence_op(1).build()
    other.sign(stage.sponsor)
    await ask("sendTransaction", transaction=other.to_xdr())
    unsigned = stage.transfer(source=stage.payer)
    await ask("sendTransaction", transaction=stage.prepare(unsigned).to_xdr())
    bare = stage.ready_transfer(source=stage.seller)
    assert bare.transaction.soroban_data is not None
    bare.transaction.soroban_data.resources.instructions.uint32 = 2**32 - 1
    bare.signatures.clear()
    bare.sign(stage.seller)
    await ask("sendTransaction", transaction=bare.to_xdr())
    failing = stage.builder(stage.seller).append_payment_op(
        stage.payer.public_key, Asset.native(), "999999"
    )
    failed = failing.build()
    failed.sign(stage.seller)
    await ask("sendTransaction", transaction=failed.to_xdr())
    stage.sandbox.close_ledger()
    return [good.hash_hex(), failed.hash_hex(), "0" * 64]


async def simulations(stage: Stage, ask: Asked) -> None:
    """Successes, failures, refusals; entries created, changed, and to be restored."""
    await ask("simulateTransaction", transaction=stage.transfer().to_xdr())
    await ask("simulateTransaction", transaction=stage.transfer().to_xdr(), useUpgradedAuth=True)
    await ask("simulateTransaction", transaction=stage.ready_transfer().to_xdr())
    await ask("simulateTransaction", transaction=stage.transfer(10**15).to_xdr())
    await ask("simulateTransaction", transaction="AAAA")
    classic = stage.builder(stage.payer).append_bump_sequence_op(1).build()
    await ask("simulateTransaction", transaction=classic.to_xdr())


@pytest.fixture
def ask(stage: Stage) -> Asked:
    return Asked(stage)


async def test_results_are_as_published(
    stage: Stage, channels: Channels, ask: Asked, person: Callable[[str], Keypair]
) -> None:
    first = stage.sandbox.sequence
    channel = channels.open()
    for name in await submissions(stage, ask):
        await ask("getTransaction", hash=name)
    await simulations(stage, ask)
    await ask("getTransactions", startLedger=first)
    await ask("getEvents", startLedger=first)
    keys = [account_key(stage.payer), account_key(person("nobody"))]
    data = stage.ready_transfer().transaction.soroban_data
    assert data is not None
    keys += [key.to_xdr() for key in data.resources.footprint.read_only]
    await ask("getLedgerEntries", keys=keys)
    for method in ("getFeeStats", "getHealth", "getLatestLedger", "getNetwork", "getVersionInfo"):
        await ask(method)
    # By then the channel is archived, and the latest ledger is an empty one.
    stage.sandbox.close_ledger(130_000)
    await ask("simulateTransaction", transaction=channels.call(channel, "balance").to_xdr())
    await ask("getTransactions", startLedger=stage.sandbox.sequence)

    assert set(ask.results) == set(METHODS) == set(RESULTS) - NOT_OFFERED
    for method, results in ask.results.items():
        for result in results:
            assert sorted(set(differences(result, shape_of(method), method))) == []
    assert {result["status"] for result in ask.results["sendTransaction"]} == {
        *("PENDING", "DUPLICATE", "TRY_AGAIN_LATER", "ERROR")
    }

    # And nothing that is published never comes.
    for method, results in ask.results.items():
        seen = set[str]().union(*(fields(result, method) for result in results))
        assert fields(shape_of(method), method) - seen == set()


def test_differences_are_seen() -> None:
    """By the very comparison that found none above."""
    shape = shape_of("getTransaction")
    good = {
        "status": "NOT_FOUND",
        "txHash": "0" * 64,
        "latestLedger": 5,
        "latestLedgerCloseTime": "7",
        "oldestLedger": 1,
        "oldestLedgerCloseTime": "3",
    }
    assert list(differences(good, shape)) == []
    for change, difference in (
        ({"status": "LOST"}, ".status is not SUCCESS|NOT_FOUND|FAILED"),
        ({"latestLedger": "5"}, ".latestLedger is not number"),
        ({"latestLedger": True}, ".latestLedger is not number"),
        ({"latestLedgerCloseTime": 7}, ".latestLedgerCloseTime is not string"),
        ({"surplus": 1}, ".surplus is not in the document"),
        ({"events": []}, ".events is no object"),
        ({"events": {"contractEventsXdr": ["x"]}}, ".events.contractEventsXdr[] is no list"),
        ({"diagnosticEventsXdr": "x"}, ".diagnosticEventsXdr is no list"),
    ):
        assert list(differences(good | change, shape)) == [difference]
    del good["oldestLedger"]
    assert list(differences(good, shape)) == [".oldestLedger is missing"]


@pytest.mark.parametrize("method", sorted(METHODS))
def test_xdr_as_json_is_refused_in_words(stage: Stage, method: str) -> None:
    """The document offers it; the sandbox says that it does not, where it would matter."""
    taken = {"getFeeStats", "getHealth", "getLatestLedger", "getNetwork", "getVersionInfo"}
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"xdrFormat": "json"}}
    answer = stage.sandbox.rpc(call)
    if method in taken:
        assert "result" in answer
    else:
        assert answer["error"] == {
            "code": -32602,
            "message": "the sandbox offers XDR as base64 only",
        }


def test_what_is_not_offered_is_said(stage: Stage) -> None:
    for method in sorted(NOT_OFFERED):
        error = stage.rpc_error(method, startLedger=stage.sandbox.sequence)
        assert error == {"code": -32601, "message": "method not found"}
