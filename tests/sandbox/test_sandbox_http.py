"""The sandbox over HTTP: the SDK's servers, friendbot, faucet, browsers, and what is no request."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn
from stellar_sdk import Account, Keypair, SorobanServer, TransactionBuilder, scval
from stellar_sdk.auth import authorize_entry
from stellar_sdk.contract import ContractClient
from stellar_sdk.soroban_rpc import GetTransactionStatus, SendTransactionStatus
from stellar_sdk.soroban_server_async import SorobanServerAsync

from mpp_asgi.sandbox import Sandbox
from tests.sandbox.in_process import InProcessClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def served(sandbox: Sandbox) -> Iterator[str]:
    """The sandbox under a real server on a loopback port; gives its URL."""
    config = uvicorn.Config(sandbox.app, port=0, log_level="error", lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def live() -> Iterator[tuple[Sandbox, str]]:
    sandbox = Sandbox(close_interval=0.02)
    with served(sandbox) as url:
        yield sandbox, url


@pytest.fixture
def web(stage: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=stage.sandbox.app)
    return httpx.AsyncClient(transport=transport, base_url="http://sandbox")


def test_the_sdk_pays_over_http(
    live: tuple[Sandbox, str], person: Callable[[str], Keypair]
) -> None:
    sandbox, url = live
    payer, seller, sponsor = person("payer"), person("seller"), person("sponsor")
    for who in (payer, seller, sponsor):
        answer = httpx.post(f"{url}friendbot", params={"addr": who.public_key})
        assert answer.status_code == 200
        httpx.post(f"{url}faucet", params={"addr": who.public_key, "usdc": "10"})

    with SorobanServer(url) as server:
        assert server.get_network().passphrase == sandbox.passphrase
        source = server.load_account(sponsor.public_key)
        envelope = (
            TransactionBuilder(source, sandbox.passphrase, 100)
            .set_timeout(60)
            .append_invoke_contract_function_op(
                sandbox.usdc,
                "transfer",
                [
                    scval.to_address(payer.public_key),
                    scval.to_address(seller.public_key),
                    scval.to_int128(25),
                ],
            )
            .build()
        )
        simulated = server.simulate_transaction(envelope, use_upgraded_auth=False)
        assert simulated.results is not None
        until = server.get_latest_ledger().sequence + 100
        envelope.transaction.operations[0].auth = [
            authorize_entry(entry, payer, until, sandbox.passphrase)
            for entry in simulated.results[0].auth
        ]
        prepared = server.prepare_transaction(envelope, use_upgraded_auth=False)
        prepared.sign(sponsor)
        sent = server.send_transaction(prepared)
        assert sent.status is SendTransactionStatus.PENDING
        found = server.poll_transaction(sent.hash, sleep_strategy=lambda _: 0)
        assert found.status is GetTransactionStatus.SUCCESS
        assert sandbox.balance(seller.public_key, sandbox.usdc) == 10_0000000 + 25
        events = server.get_events(start_ledger=found.ledger)
        assert any(event.contract_id == sandbox.usdc for event in events.events)
        page = server.get_transactions(start_ledger=found.ledger)
        assert sent.hash in {item.transaction_hash for item in page.transactions}
        server.get_health()
        server.get_fee_stats()
        server.get_version_info()


def test_the_sdks_contract_client_reads(live: tuple[Sandbox, str]) -> None:
    sandbox, url = live
    client = ContractClient(sandbox.usdc, url, sandbox.passphrase)
    try:
        assembled = client.invoke("symbol", [], parse_result_xdr_fn=scval.to_native)
        assert assembled.result() == "USDC"
    finally:
        client.server.close()


async def test_the_asynchronous_sdk_pays_in_process(stage: Any) -> None:
    client = InProcessClient(stage.sandbox.app)
    async with SorobanServerAsync("http://sandbox/", client) as server:
        source = await server.load_account(stage.payer.public_key)
        envelope = (
            TransactionBuilder(source, stage.passphrase, 100)
            .add_time_bounds(0, 0)
            .append_invoke_contract_function_op(
                stage.usdc,
                "transfer",
                [
                    scval.to_address(stage.payer.public_key),
                    scval.to_address(stage.seller.public_key),
                    scval.to_int128(25),
                ],
            )
            .build()
        )
        prepared = await server.prepare_transaction(envelope)
        prepared.sign(stage.payer)
        sent = await server.send_transaction(prepared)
        assert sent.status is SendTransactionStatus.PENDING
        waiting = await server.get_transaction(sent.hash)
        assert waiting.status is GetTransactionStatus.NOT_FOUND
        stage.sandbox.close_ledger()
        found = await server.get_transaction(sent.hash)
        assert found.status is GetTransactionStatus.SUCCESS
    assert stage.usdc_of(stage.seller) == 1_0000000 + 25


async def test_friendbot_creates_accounts_at_once(
    stage: Any, web: httpx.AsyncClient, person: Callable[[str], Keypair]
) -> None:
    address = person("newcomer").public_key
    answer = await web.get("/friendbot", params={"addr": address})
    content = answer.json()
    assert content["successful"] is True
    assert stage.rpc("getTransaction", hash=content["hash"])["status"] == "SUCCESS"
    assert stage.sandbox.balance(address, stage.sandbox.xlm) == 10_000_0000000

    again = await web.post("/friendbot", data={"addr": address})
    assert again.status_code == 400
    assert "createAccountAlreadyExist" in again.json()["detail"]
    for bad in ("", "G", "GABC", person("x").secret):
        answer = await web.get("/friendbot", params={"addr": bad})
        assert answer.status_code == 400


async def test_the_faucet_gives_tokens(
    stage: Any, web: httpx.AsyncClient, person: Callable[[str], Keypair]
) -> None:
    address = person("newcomer").public_key
    answer = await web.post("/faucet", params={"addr": address, "usdc": "12.5"})
    expected = {"address": address, "xlm": "100000000000", "usdc": "125000000"}
    assert answer.json() == expected
    answer = await web.post("/faucet", params={"addr": address, "usdc": "0.5", "xlm": "1"})
    assert answer.json()["usdc"] == "130000000"
    for bad in ("-1", "x", "0.00000001", "1e30", "NaN", "Infinity"):
        answer = await web.post("/faucet", params={"addr": address, "usdc": bad})
        assert answer.status_code == 400, bad
    assert (await web.get("/faucet", params={"addr": address})).status_code == 405


async def test_browsers_are_welcome(web: httpx.AsyncClient) -> None:
    preflight = await web.options(
        "/",
        headers={
            "Origin": "https://wallet.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        },
    )
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "*"
    call = {"jsonrpc": "2.0", "id": 1, "method": "getHealth"}
    answer = await web.post("/", json=call, headers={"Origin": "https://wallet.example"})
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_batches_and_notifications(web: httpx.AsyncClient) -> None:
    call = {"jsonrpc": "2.0", "method": "getHealth"}
    silent = await web.post("/", json=call)
    assert (silent.status_code, silent.content) == (204, b"")
    batch = await web.post("/", json=[call | {"id": 1}, call, call | {"id": 2}])
    assert [answer["id"] for answer in batch.json()] == [1, 2]
    assert (await web.post("/", json=[])).json()["error"]["code"] == -32600


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"nonsense", b"\xff\xfe", b"[" * 100_000, b'{"id":1', b"\0" * 10),
        b'{"jsonrpc":"2.0","id":NaN,"method":"getHealth"}',
        b'{"jsonrpc":"2.0","id":1,"method":"getHealth","params":{"x":-Infinity}}',
        b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"getHealth"}',
    ],
)
async def test_what_is_no_json(web: httpx.AsyncClient, body: bytes) -> None:
    answer = await web.post("/", content=body)
    assert answer.status_code == 200
    assert answer.json()["error"]["code"] in {-32700, -32600}


@pytest.mark.parametrize("identity", ["1e999", '"\\ud800"', "{}", "[1]", "-1.5", "null"])
async def test_odd_ids_do_no_harm(web: httpx.AsyncClient, identity: str) -> None:
    body = f'{{"jsonrpc":"2.0","id":{identity},"method":"getHealth"}}'
    answer = await web.post("/", content=body)
    assert answer.json()["result"]["status"] == "healthy"


async def test_words_that_cannot_be_encoded_come_back(web: httpx.AsyncClient) -> None:
    body = (
        b'{"jsonrpc":"2.0","id":1,"method":"getLedgerEntries",'
        b'"params":{"keys":["\\ud800"],"\\udfff":1}}'
    )
    assert (await web.post("/", content=body)).json()["error"]["code"] == -32602


async def test_the_network_tells_where_its_friendbot_is(web: httpx.AsyncClient) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "getNetwork"}
    answer = (await web.post("/", json=[call])).json()[0]
    assert answer["result"]["friendbotUrl"] == "http://sandbox/friendbot"


async def test_requests_may_not_be_too_large(web: httpx.AsyncClient) -> None:
    call = {"jsonrpc": "2.0", "id": 1, "method": "getHealth", "params": {"x": ""}}
    room = 512 * 1024 - len(json.dumps(call))
    call["params"] = {"x": "a" * room}
    assert "result" in (await web.post("/", content=json.dumps(call))).json()
    call["params"] = {"x": "a" * (room + 1)}
    assert (await web.post("/", content=json.dumps(call))).status_code == 413


async def test_a_lost_answer_is_a_gateway_timeout(stage: Any, web: httpx.AsyncClient) -> None:
    envelope = stage.ready_transfer(1)
    stage.sandbox.lose_next_answer("sendTransaction")
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "sendTransaction",
        "params": {"transaction": envelope.to_xdr()},
    }
    assert (await web.post("/", json=call)).status_code == 504
    stage.sandbox.close_ledger()
    assert stage.outcome(envelope)["status"] == "SUCCESS"


@pytest.mark.repeating
def test_many_threads_share_one_ledger(live: tuple[Sandbox, str]) -> None:
    sandbox, url = live
    accounts = [Keypair.random().public_key for _ in range(8)]

    def play(address: str) -> None:
        sandbox.fund(address, usdc=1)
        call = {"jsonrpc": "2.0", "id": 1, "method": "getLatestLedger"}
        for _ in range(20):
            assert "result" in httpx.post(url, json=call).json()

    with ThreadPoolExecutor(len(accounts)) as threads:
        list(threads.map(play, accounts))
    assert all(sandbox.balance(address, sandbox.usdc) == 10**7 for address in accounts)


def test_a_null_source_can_read(live: tuple[Sandbox, str]) -> None:
    _, url = live
    nobody = "GAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAWHF"
    with SorobanServer(url) as server:
        assert isinstance(server.load_account(nobody), Account)
