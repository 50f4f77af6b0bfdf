"""One-way channels and their factory in scenarios, written with the SDK's own XDR."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from stellar_sdk import Address, Keypair, StrKey, scval, xdr

from tests.oracle import entries
from tests.oracle.authorization import Invocation, calling
from tests.oracle.entries import ALICE, BOB, NETWORK_ID, USD, address_of, person, symbol_map, token

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMITMENT_KEY = person("commitment")
Who = Keypair | str


def contract_address(deployer: Who, salt: bytes) -> str:
    """Where a contract is that the deployer creates."""
    preimage = xdr.HashIDPreimage(
        xdr.EnvelopeType.ENVELOPE_TYPE_CONTRACT_ID,
        contract_id=xdr.HashIDPreimageContractID(xdr.Hash(NETWORK_ID), _preimage(deployer, salt)),
    )
    return StrKey.encode_contract(sha256(preimage.to_xdr_bytes()).digest())


def _preimage(deployer: Who, salt: bytes) -> xdr.ContractIDPreimage:
    body = xdr.ContractIDPreimageFromAddress(
        Address(address_of(deployer)).to_xdr_sc_address(), xdr.Uint256(salt)
    )
    kind = xdr.ContractIDPreimageType.CONTRACT_ID_PREIMAGE_FROM_ADDRESS
    return xdr.ContractIDPreimage(kind, from_address=body)


def wasm(code_hash: bytes) -> xdr.ContractExecutable:
    kind = xdr.ContractExecutableType.CONTRACT_EXECUTABLE_WASM
    return xdr.ContractExecutable(kind, wasm_hash=xdr.Hash(code_hash))


def creation(
    deployer: Who, salt: bytes, code_hash: bytes, args: Sequence[xdr.SCVal]
) -> xdr.HostFunction:
    body = xdr.CreateContractArgsV2(_preimage(deployer, salt), wasm(code_hash), list(args))
    kind = xdr.HostFunctionType.HOST_FUNCTION_TYPE_CREATE_CONTRACT_V2
    return xdr.HostFunction(kind, create_contract_v2=body)


def creating(
    deployer: Who,
    salt: bytes,
    code_hash: bytes,
    args: Sequence[xdr.SCVal],
    below: Sequence[Invocation] = (),
) -> Invocation:
    """A creation that is allowed, and the calls below it."""
    kinds = xdr.SorobanAuthorizedFunctionType
    body = xdr.CreateContractArgsV2(_preimage(deployer, salt), wasm(code_hash), list(args))
    function = xdr.SorobanAuthorizedFunction(
        kinds.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CREATE_CONTRACT_V2_HOST_FN,
        create_contract_v2_host_fn=body,
    )
    return Invocation(function, list(below))


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A channel of Alice's to Bob in USD, unless told otherwise."""

    funder: Who = ALICE
    recipient: Who = BOB
    token: str = token(USD)
    key: Keypair = COMMITMENT_KEY
    amount: int = 500
    period: int = 100
    deployer: Who = ALICE
    salt: bytes = bytes(32)

    @property
    def address(self) -> str:
        return contract_address(self.deployer, self.salt)

    @property
    def terms(self) -> list[xdr.SCVal]:
        """The constructor's arguments."""
        return [
            scval.to_address(self.token),
            scval.to_address(address_of(self.funder)),
            scval.to_bytes(self.key.raw_public_key()),
            scval.to_address(address_of(self.recipient)),
            scval.to_int128(self.amount),
            scval.to_uint32(self.period),
        ]

    def deposit(self, amount: int) -> Invocation:
        """The funder's transfer into the channel."""
        return calling(
            self.token,
            "transfer",
            [
                scval.to_address(address_of(self.funder)),
                scval.to_address(self.address),
                scval.to_int128(amount),
            ],
        )

    def constructing(self) -> Invocation:
        """What the funder allows to have the channel funded."""
        return calling(self.address, "__constructor", self.terms, [self.deposit(self.amount)])

    def instance(self, code_hash: bytes, **more: xdr.SCVal) -> str:
        """The channel as its constructor leaves it, or with more."""
        terms = dict(zip(_TERMS, (*self.terms[:4], self.terms[5]), strict=True))
        value = entries.instance(wasm(code_hash), terms | more)
        return entries.contract_data(self.address, entries.INSTANCE_KEY, value)

    def commitment(
        self, amount: int, *, network_id: bytes = NETWORK_ID, domain: str = "chancmmt"
    ) -> bytes:
        value = symbol_map(
            amount=scval.to_int128(amount),
            channel=scval.to_address(self.address),
            domain=scval.to_symbol(domain),
            network=scval.to_bytes(network_id),
        )
        return value.to_xdr_bytes()

    def signature(self, amount: int) -> xdr.SCVal:
        """The funder's promise of the amount in total."""
        return scval.to_bytes(self.key.sign(self.commitment(amount)))


_TERMS = ("Token", "From", "CommitmentKey", "To", "RefundWaitingPeriod")
