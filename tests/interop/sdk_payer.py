"""A payer who pays with stellar_sdk alone, as somebody would who has only read the draft."""

import math
import time
from datetime import datetime
from typing import Any

from stellar_sdk import (
    Account,
    Keypair,
    SorobanServer,
    TransactionBuilder,
    TransactionEnvelope,
    scval,
    xdr,
)
from stellar_sdk import Network as Passphrases
from stellar_sdk.auth import authorize_entry
from stellar_sdk.operation import InvokeHostFunction
from stellar_sdk.soroban_rpc import GetTransactionStatus

NULL_ACCOUNT = "GAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAWHF"
PASSPHRASE = Passphrases.TESTNET_NETWORK_PASSPHRASE


class SdkPayer:
    """Makes the payload for a stellar/charge request, in one of the three ways."""

    def __init__(self, keypair: Keypair, rpc_url: str) -> None:
        self.keypair = keypair
        self._rpc_url = rpc_url

    @property
    def source(self) -> str:
        return f"did:pkh:stellar:testnet:{self.keypair.public_key}"

    def payload(
        self, mode: str, challenge_id: str, request: dict[str, Any], expires: str
    ) -> dict[str, str]:
        """The credential's payload; with ``push`` the money has moved."""
        deadline = int(datetime.fromisoformat(expires).timestamp())
        with SorobanServer(self._rpc_url) as server:
            if mode == "sponsored":
                return {
                    "type": "transaction",
                    "transaction": self._sponsored(server, request, deadline),
                }
            envelope = self._own(server, request, deadline)
            if mode == "unsponsored":
                return {"type": "transaction", "transaction": envelope.to_xdr()}
            return self._pushed(server, envelope, challenge_id)

    def _transfer(
        self, request: dict[str, Any], source: Account, deadline: int
    ) -> TransactionEnvelope:
        return (
            TransactionBuilder(source, PASSPHRASE, base_fee=100)
            .add_time_bounds(0, deadline)
            .append_invoke_contract_function_op(
                request["currency"],
                "transfer",
                [
                    scval.to_address(self.keypair.public_key),
                    scval.to_address(request["recipient"]),
                    scval.to_int128(int(request["amount"])),
                ],
            )
            .build()
        )

    def _sponsored(self, server: SorobanServer, request: dict[str, Any], deadline: int) -> str:
        envelope = self._transfer(request, Account(NULL_ACCOUNT, 0), deadline)
        simulated = server.simulate_transaction(envelope, use_upgraded_auth=False)
        assert simulated.results is not None
        seconds = deadline - time.time()
        last_ledger = simulated.latest_ledger + math.ceil(seconds / 5)
        operation = envelope.transaction.operations[0]
        assert isinstance(operation, InvokeHostFunction)
        operation.auth = [
            authorize_entry(
                xdr.SorobanAuthorizationEntry.from_xdr(entry), self.keypair, last_ledger, PASSPHRASE
            )
            for entry in simulated.results[0].auth or ()
        ]
        return envelope.to_xdr()

    def _own(
        self, server: SorobanServer, request: dict[str, Any], deadline: int
    ) -> TransactionEnvelope:
        account = server.load_account(self.keypair.public_key)
        envelope = server.prepare_transaction(
            self._transfer(request, account, deadline), use_upgraded_auth=False
        )
        envelope.sign(self.keypair)
        return envelope

    def _pushed(
        self, server: SorobanServer, envelope: TransactionEnvelope, challenge_id: str
    ) -> dict[str, str]:
        hash_ = server.send_transaction(envelope).hash
        for _ in range(200):
            if server.get_transaction(hash_).status is GetTransactionStatus.SUCCESS:
                break
            time.sleep(0.02)  # until the sandbox's next ledger
        signature = self.keypair.sign(f"{challenge_id}:{hash_}".encode()).hex()
        return {"type": "signedHash", "hash": hash_, "sourceSignature": signature}
