"""A shop and its network as those who attack by hand know them: by URL.

Payers and funders of channels, with everything they may do wrongly, are those of the tests in one
process (`tests.shop`, `tests.session.drawer`); this is what they need of a shop, over HTTP. It
blocks, so what uses it runs in a thread.
"""

from __future__ import annotations

import time
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import httpx
from stellar_sdk import Address, Keypair, scval, xdr

from mpp_asgi.stellar.accounts import get_account, get_asset, get_trustline
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.rpc_drivers import SyncRpc
from tests.shop import RECIPIENT, SPONSOR, Payer

if TYPE_CHECKING:
    from mpp_asgi.protocol import Challenge, Credential
    from tests.attacks.scene import Scene
    from tests.attacks.wire import Answer

LEDGERS = 600
"""For how long a payer's authorization is good; a challenge is good for an hour."""


class Node:
    """The network, by its URL."""

    def __init__(self, url: str, settings: dict[str, str]) -> None:
        self.url = url
        self.channel_factory = settings["MPP_CHANNEL_FACTORY"]
        self.channel_wasm_hash = settings["MPP_CHANNEL_WASM_HASHES"]
        self.usdc = TESTNET.tokens["USDC"].address
        self.xlm = TESTNET.tokens["XLM"].address
        self.http = httpx.Client(base_url=url, timeout=30)
        self._rpc = SyncRpc(url, client=self.http)
        self._asset = self._rpc.do(get_asset(self.usdc))

    @property
    def sequence(self) -> int:
        return int(self.ask("getLatestLedger")["sequence"])

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = self.http.post("/", json=request).json()
        result: dict[str, Any] = answer["result"]
        return result

    def control(self, action: str, **wishes: Any) -> dict[str, Any]:
        """``/admin``."""
        answer = self.http.post(f"/admin/{action}", json=wishes)
        answer.raise_for_status()
        said: dict[str, Any] = answer.json()
        return said

    def fund(self, address: str, *, usdc: str = "0", xlm: str = "100") -> None:
        query = {"addr": address, "usdc": usdc, "xlm": xlm}
        self.http.post("/faucet", params=query).raise_for_status()

    def balance(self, address: str, token: str) -> int:
        """Base units."""
        if token == self.xlm:
            account = self._rpc.do(get_account(address))
            return account.balance if account else 0
        if self._asset is None:
            return 0
        trustline = self._rpc.do(get_trustline(address, self._asset))
        return trustline.balance if trustline else 0

    def held_by_contract(self, contract: str) -> int:
        """USDC, in base units."""
        key = xdr.LedgerKey(
            type=xdr.LedgerEntryType.CONTRACT_DATA,
            contract_data=xdr.LedgerKeyContractData(
                contract=Address(self.usdc).to_xdr_sc_address(),
                key=scval.to_vec([scval.to_symbol("Balance"), scval.to_address(contract)]),
                durability=xdr.ContractDataDurability.PERSISTENT,
            ),
        )
        found = self.ask("getLedgerEntries", keys=[key.to_xdr()])["entries"]
        if not found:
            return 0
        data = xdr.LedgerEntryData.from_xdr(found[0]["xdr"]).contract_data
        assert data is not None
        fields = scval.to_native(data.val)
        return int(fields["amount"])

    def close(self) -> None:
        self.http.close()


class Clock:
    """The clock on the wall. It is put forward by having the network close a ledger."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def __call__(self) -> float:
        return time.time()

    @property
    def now(self) -> float:
        return time.time()

    @now.setter
    def now(self, _: float) -> None:
        self._node.control("close")


class PatientPayer(Payer):
    """Signs for as long as it may: attacks take their time."""

    def sponsored(self, challenge: Challenge, **how: Any) -> Credential:
        how.setdefault("expiration_ledger", self.shop.sandbox.sequence + LEDGERS)
        return super().sponsored(challenge, **how)


class Market:
    """What `tests.shop.Payer` and `tests.session.drawer.Funder` take for a shop."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.sandbox = scene.ground.node
        self.time = Clock(self.sandbox)

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        return self.sandbox.ask(method, **params)

    def payer(self, number: int = 1, *, usdc: str = "10") -> Payer:
        """Somebody with money, the same for the same number."""
        seed = sha256(f"{self.scene.name} {self.scene.seed} {number}".encode()).digest()
        keypair = Keypair.from_raw_ed25519_seed(seed)
        if keypair.public_key not in self.scene.purses:
            self.sandbox.fund(keypair.public_key, usdc=usdc)
            had = self.sandbox.balance(keypair.public_key, self.sandbox.usdc)
            self.scene.purses[keypair.public_key] = had
        return PatientPayer(self, keypair)  # type: ignore[arg-type] # all that it asks is here

    def earned(self) -> int:
        return self.sandbox.balance(RECIPIENT.public_key, self.sandbox.usdc)

    def sponsor_funds(self) -> int:
        """Stroops."""
        return self.sandbox.balance(SPONSOR.public_key, self.sandbox.xlm)

    async def challenges(self, path: str = "/paid", **request: Any) -> list[Challenge]:
        return await self.scene.challenges(path, **request)

    async def show(self, credential: Credential, path: str = "/paid", **request: Any) -> Answer:
        return await self.scene.show(credential, path, **request)
