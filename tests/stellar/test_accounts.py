"""Accounts, trustlines and assets as a node tells them, and nonsense as none."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stellar_sdk import Asset, Keypair

from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.accounts import Account, Trustline, get_account, get_asset, get_trustline
from mpp_asgi.stellar.rpc_call import RpcUnavailableError
from mpp_asgi.stellar.rpc_drivers import InProcessSyncRpc

KEY = Keypair.from_raw_ed25519_seed(bytes(31) + b"a").public_key
ISSUER = Keypair.from_raw_ed25519_seed(bytes(31) + b"i").public_key


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(close_interval=None, clock=lambda: 1_790_000_000)


@pytest.fixture
def rpc(sandbox: Sandbox) -> InProcessSyncRpc:
    return InProcessSyncRpc(sandbox.rpc)


def test_an_account_and_its_trustline(sandbox: Sandbox, rpc: InProcessSyncRpc) -> None:
    usdc = Asset("USDC", sandbox.usdc_issuer.public_key)
    assert rpc.do(get_account(KEY)) is None
    assert rpc.do(get_trustline(KEY, usdc)) is None
    sandbox.fund(KEY, xlm=100, usdc="2.5")
    account = rpc.do(get_account(KEY))
    assert isinstance(account, Account)
    assert account.balance == 100 * 10**7
    assert account.spendable == account.balance - 3 * 5_000_000  # two, and one for the trustline
    assert rpc.do(get_trustline(KEY, usdc)) == Trustline(
        balance=25_000_000, limit=2**63 - 1, authorized=True
    )
    assert rpc.do(get_trustline(KEY, Asset("USDC", ISSUER))) is None


def test_the_asset_of_a_contract(sandbox: Sandbox, rpc: InProcessSyncRpc) -> None:
    assert rpc.do(get_asset(sandbox.usdc)) == Asset("USDC", sandbox.usdc_issuer.public_key)
    assert rpc.do(get_asset(sandbox.xlm)) == Asset.native()
    elsewhere = Asset("EURC", ISSUER).contract_id(sandbox.passphrase)
    assert rpc.do(get_asset(elsewhere)) is None


@given(st.binary(max_size=200))
def test_nonsense_is_no_answer(data: bytes) -> None:
    entry = {
        "key": "AAAA",
        "xdr": base64.b64encode(data).decode(),
        "lastModifiedLedgerSeq": 1,
    }

    def node(request: dict[str, Any]) -> dict[str, Any]:
        result = {"latestLedger": 1, "entries": [entry]}
        return {"jsonrpc": "2.0", "id": request["id"], "result": result}

    rpc = InProcessSyncRpc(node)
    for call in (get_account(KEY), get_trustline(KEY, Asset("USDC", ISSUER))):
        with pytest.raises(RpcUnavailableError):
            rpc.do(call)
    with pytest.raises(RpcUnavailableError):
        rpc.do(get_asset(Asset.native().contract_id("x")))


def test_another_entry_than_the_one_asked_for_is_no_answer(sandbox: Sandbox) -> None:
    sandbox.fund(KEY)
    right = get_account(KEY)

    def node(request: dict[str, Any]) -> dict[str, Any]:
        return sandbox.rpc({**request, "params": dict(right.params)})

    with pytest.raises(RpcUnavailableError):
        InProcessSyncRpc(node).do(get_trustline(KEY, Asset("USDC", ISSUER)))
    with pytest.raises(RpcUnavailableError):
        InProcessSyncRpc(node).do(get_asset(sandbox.usdc))
