"""Sponsored USDC transfers in bulk, without the time that building each with the SDK would take.

The SDK builds one of each sponsor's, with conspicuous numbers in it; all others are copies with
their own numbers and signatures in their place.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from stellar_sdk import Account, Keypair, TransactionBuilder, scval
from stellar_sdk import xdr as sdk

if TYPE_CHECKING:
    from mpp_asgi.sandbox import Sandbox

_NONCE = 0x1122334455667788
_EXPIRATION = 0x1AB2C3D4
_SEQUENCE = 0x0102030405060708
_SIGNATURE_BYTES = 64
_TAIL = 4 + 4 + 4 + _SIGNATURE_BYTES
"""What comes after the transaction in an envelope with one signature."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """What makes one transfer differ from another."""

    sequence: int
    nonce: int
    expiration: int

    def into(self, template: bytes) -> bytes:
        for old, new, size in (
            (_SEQUENCE, self.sequence, 8),
            (_NONCE, self.nonce, 8),
            (_EXPIRATION, self.expiration, 4),
        ):
            template = template.replace(old.to_bytes(size, "big"), new.to_bytes(size, "big"))
        return template


class Sponsor:
    """Pays the fees of transfers of one base unit from ``payer`` to ``recipient``."""

    def __init__(self, sandbox: Sandbox, key: Keypair, payer: Keypair, recipient: str) -> None:
        self._key = key
        self._payer = payer
        self._network_id = sha256(sandbox.passphrase.encode()).digest()
        builder = TransactionBuilder(
            Account(key.public_key, _SEQUENCE - 1), sandbox.passphrase, 100
        )
        envelope = (
            builder.add_time_bounds(0, 0)
            .append_invoke_contract_function_op(
                sandbox.usdc,
                "transfer",
                [
                    scval.to_address(payer.public_key),
                    scval.to_address(recipient),
                    scval.to_int128(1),
                ],
            )
            .build()
        )
        self.unsigned = envelope.to_xdr()
        """To be simulated for what it needs to be authorized; equal for all transfers."""
        found = call(sandbox, "simulateTransaction", transaction=self.unsigned)
        entry = sdk.SorobanAuthorizationEntry.from_xdr(found["results"][0]["auth"][0])
        credentials = entry.credentials.address
        if credentials is None:
            raise RuntimeError("the payer need not sign")
        recorded = credentials.nonce.int64
        credentials.nonce = sdk.Int64(_NONCE)
        credentials.signature_expiration_ledger = sdk.Uint32(_EXPIRATION)
        self._stand_in = bytes(range(100, 100 + _SIGNATURE_BYTES))
        credentials.signature = scval.to_vec(
            [
                scval.to_map(
                    {
                        scval.to_symbol("public_key"): scval.to_bytes(payer.raw_public_key()),
                        scval.to_symbol("signature"): scval.to_bytes(self._stand_in),
                    }
                )
            ]
        )
        self._payload = sdk.HashIDPreimage(
            sdk.EnvelopeType.ENVELOPE_TYPE_SOROBAN_AUTHORIZATION,
            soroban_authorization=sdk.HashIDPreimageSorobanAuthorization(
                sdk.Hash(self._network_id),
                credentials.nonce,
                credentials.signature_expiration_ledger,
                entry.root_invocation,
            ),
        ).to_xdr_bytes()
        operation = envelope.transaction.operations[0]
        operation.auth = [entry]  # type: ignore[attr-defined] # it is an InvokeHostFunction
        data = sdk.SorobanTransactionData.from_xdr(found["transactionData"])
        envelope.transaction.soroban_data = sdk.SorobanTransactionData.from_xdr_bytes(
            data.to_xdr_bytes().replace(recorded.to_bytes(8, "big"), _NONCE.to_bytes(8, "big"))
        )
        envelope.transaction.fee += int(found["minResourceFee"])
        envelope.sign(key)
        self._envelope = envelope.to_xdr_object().to_xdr_bytes()

    def transfer(self, numbers: Numbers) -> bytes:
        """The envelope, authorized by the payer and signed."""
        payload = sha256(numbers.into(self._payload)).digest()
        authorized = numbers.into(self._envelope).replace(self._stand_in, self._payer.sign(payload))
        body = authorized[:-_TAIL]
        signature = self._key.sign(sha256(self._network_id + body).digest())
        return authorized[:-_SIGNATURE_BYTES] + signature


def call(sandbox: Sandbox, method: str, **params: Any) -> dict[str, Any]:
    """The result of an RPC call that is no error."""
    answer = sandbox.rpc({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    result: dict[str, Any] = answer["result"]
    return result
