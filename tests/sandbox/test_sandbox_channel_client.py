"""A channel's whole life over RPC, with the SDK as it is: opened sponsored, settled, closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from stellar_sdk import Address, Keypair, TransactionBuilder, scval
from stellar_sdk import xdr as sdk
from stellar_sdk.auth import authorize_entry
from stellar_sdk.contract import ContractClientAsync
from stellar_sdk.soroban_rpc import EventFilter, EventFilterType, GetTransactionStatus
from stellar_sdk.soroban_server_async import SorobanServerAsync

from tests.sandbox.channels import Channels, instance_key
from tests.sandbox.in_process import InProcessClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conftest import Stage


@pytest.fixture
async def server(stage: Stage) -> AsyncIterator[SorobanServerAsync]:
    async with SorobanServerAsync("http://sandbox", InProcessClient(stage.sandbox.app)) as server:
        yield server


async def sponsored(
    server: SorobanServerAsync,
    stage: Stage,
    signer: Keypair,
    contract: str,
    function: str,
    args: list[sdk.SCVal],
) -> sdk.SCVal:
    """A call that the signer allows and the sponsor pays for; gives what it returned."""
    source = await server.load_account(stage.sponsor.public_key)
    draft = (
        TransactionBuilder(source, stage.passphrase, 100)
        .add_time_bounds(0, 0)
        .append_invoke_contract_function_op(contract, function, args)
        .build()
    )
    simulated = await server.simulate_transaction(draft, use_upgraded_auth=False)
    assert simulated.error is None
    assert simulated.results is not None
    (encoded,) = simulated.results[0].auth
    until = simulated.latest_ledger + 12
    operation: Any = draft.transaction.operations[0]
    operation.auth = [authorize_entry(encoded, signer, until, stage.passphrase)]
    envelope = await server.prepare_transaction(draft)
    envelope.sign(stage.sponsor)
    sent = await server.send_transaction(envelope)
    stage.sandbox.close_ledger()
    found = await server.get_transaction(sent.hash)
    assert found.status is GetTransactionStatus.SUCCESS
    assert found.result_meta_xdr is not None
    meta = sdk.TransactionMeta.from_xdr(found.result_meta_xdr).v4
    assert meta is not None
    assert meta.soroban_meta is not None
    assert meta.soroban_meta.return_value is not None
    return meta.soroban_meta.return_value


async def test_the_life_of_a_channel(server: SorobanServerAsync, stage: Stage) -> None:
    channels = Channels(stage)
    start = stage.sandbox.sequence
    xlm, usdc = stage.xlm_of(stage.payer), stage.usdc_of(stage.payer)
    opening = [scval.to_bytes(b"\5" * 32), *channels.opening(amount=1_000_000)]
    opened = await sponsored(server, stage, stage.payer, channels.factory, "open", opening)
    channel = scval.from_address(opened).address
    assert stage.xlm_of(stage.payer) == xlm
    assert stage.usdc_of(stage.payer) == usdc - 1_000_000

    reading = InProcessClient(stage.sandbox.app)
    client = ContractClientAsync(channel, "http://sandbox", stage.passphrase, reading)
    deposited = await client.invoke("deposited", parse_result_xdr_fn=scval.from_int128)
    assert deposited.result() == 1_000_000
    await reading.close()

    for function, amount in (("settle", 250_000), ("close", 400_000)):
        proof = [scval.to_int128(amount), scval.to_bytes(channels.sign(channel, amount))]
        await sponsored(server, stage, stage.seller, channel, function, proof)

    found = await server.get_events(
        start_ledger=start,
        filters=[EventFilter(event_type=EventFilterType.CONTRACT, contract_ids=[channel])],
    )
    names = [scval.from_symbol(event.topic[0]) for event in found.events]
    assert names == ["open", "withdraw", "withdraw", "close", "refund"]
    paid = [scval.to_native(found.events[index].value)["amount"] for index in (1, 2, 4)]
    assert paid == [250_000, 150_000, 600_000]

    answer = await server.get_ledger_entries([instance_key(channel)])
    assert answer.entries is not None
    data = sdk.LedgerEntryData.from_xdr(answer.entries[0].xdr).contract_data
    assert data is not None
    assert data.val.instance is not None
    executable = data.val.instance.executable
    assert executable.wasm_hash is not None
    assert executable.wasm_hash.hash.hex() == stage.sandbox.channel_wasm_hash
    assert data.val.instance.storage is not None
    storage = {scval.to_native(e.key)[0]: e.val for e in data.val.instance.storage.sc_map}
    assert scval.from_int128(storage["WithdrawnAmount"]) == 400_000
    assert scval.from_address(storage["To"]) == Address(stage.seller.public_key)
    assert stage.usdc_of(stage.payer) == usdc - 400_000
