"""What an attack on a charge is, and those that every way to pay has in common."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from stellar_sdk import (
    scval,
    xdr,
)

from mpp_asgi.protocol import Challenge, Credential
from mpp_asgi.stellar.network import TESTNET
from mpp_asgi.stellar.transfer import Transfer
from tests.charge import forgery
from tests.charge.forgery import (
    THIEF,
    fee_bumped,
    forged,
    forged_own,
    showing,
    transaction_in,
)
from tests.shop import PRICE, SPONSOR, Payer

SPONSORED, UNSPONSORED, PUSH = "sponsored", "unsponsored", "push"
XLM = TESTNET.tokens["XLM"].address

Forge = Callable[[Payer, Challenge], Credential]


@dataclass(frozen=True)
class Attack:
    mode: str
    name: str
    forge: Forge
    says: str
    """Part of the problem's detail: the reason is this check's and no other's."""
    slug: str = "verification-failed"

    def __str__(self) -> str:
        return f"{self.mode}: {self.name}"


# --- what is paid ---------------------------------------------------------------------------------

TransferChange = Callable[[Transfer], Transfer]

OTHER_TRANSFERS: dict[str, tuple[TransferChange, str]] = {
    "another token": (lambda t: replace(t, token=XLM), "another token"),
    "another recipient": (
        lambda t: replace(t, recipient=SPONSOR.public_key),
        "another recipient",
    ),
    "less": (lambda t: replace(t, amount=PRICE - 1), "another amount"),
    "more": (lambda t: replace(t, amount=PRICE + 1), "another amount"),
    "nothing": (lambda t: replace(t, amount=0), "another amount"),
}


def paying(mode: str, change: TransferChange) -> Forge:
    def forge(payer: Payer, challenge: Challenge) -> Credential:
        if mode == SPONSORED:
            return payer.sponsored(challenge, change=change)
        if mode == UNSPONSORED:
            return payer.unsponsored(challenge, change=change)
        payer.push(payer.transfer(challenge))  # what the attack is told apart from
        return payer.signed_hash(challenge, payer.push(change(payer.transfer(challenge))))

    return forge


def with_transaction(mode: str, *changes: forgery.TransactionChange) -> Forge:
    def forge(payer: Payer, challenge: Challenge) -> Credential:
        pull = forged if mode == SPONSORED else forged_own
        return pull(payer, challenge, *changes)

    return forge


OTHER_TRANSACTIONS: dict[str, tuple[forgery.TransactionChange, str]] = {
    "a huge amount": (forgery.amount(2**127 - 1), "another amount"),
    "a negative amount": (forgery.amount(-PRICE), "another amount"),
    "two operations": (forgery.operation_twice, "exactly one operation"),
    "a classic payment": (forgery.payment_operation, "of type invokeHostFunction"),
    "another host function": (forgery.upload_of_code, "host function is"),
    "approve": (forgery.function("approve"), "calls 'approve'"),
    "burn": (forgery.function("burn"), "calls 'burn'"),
    "transfer_from": (forgery.function("transfer_from"), "calls 'transfer_from'"),
    "text as amount": (
        forgery.function("transfer", *[scval.to_string("x")] * 3),
        "arguments are not",
    ),
    "no arguments": (
        forgery.function("transfer", scval.to_void()),
        "arguments are not",
    ),
}


def without_operations(transaction: xdr.Transaction) -> None:
    transaction.operations = []


def bumped(payer: Payer, credential: Credential) -> Credential:
    return showing(credential, fee_bumped(transaction_in(credential), payer.keypair))


def of_source(credential: Credential, source: str) -> Credential:
    return replace(credential, source=source)


def did(address: str, network: str = "stellar:testnet") -> str:
    return f"did:pkh:{network}:{address}"


BAD_SOURCES: dict[str, tuple[str, str]] = {
    "another payer": (did(THIEF.public_key), "not from the credential's source"),
    "another network": (did(THIEF.public_key, "stellar:pubnet"), "source must be"),
    "another scheme": ("did:key:z6Mk", "source must be"),
    "an address alone": (THIEF.public_key, "source must be"),
    "a wallet of another chain": ("did:pkh:eip155:1:0xab", "source must be"),
    "an empty text": (" ", "source must be"),
}


def common(mode: str) -> list[Attack]:
    """What is refused in either way of pull."""
    honest = Payer.sponsored if mode == SPONSORED else Payer.unsponsored
    attacks = [
        Attack(mode, f"pays {name}", paying(mode, change), says)
        for name, (change, says) in OTHER_TRANSFERS.items()
    ]
    attacks += [
        Attack(mode, name, with_transaction(mode, change), says)
        for name, (change, says) in OTHER_TRANSACTIONS.items()
    ]
    attacks += [
        Attack(
            mode,
            f"source is {name}",
            lambda p, c, source=source: of_source(honest(p, c), source),  # type: ignore[misc]
            says,
        )
        for name, (source, says) in BAD_SOURCES.items()
    ]
    attacks += [
        Attack(
            mode,
            "no operation",
            with_transaction(mode, without_operations),
            "has no operation",
        ),
        Attack(mode, "a fee bump", lambda p, c: bumped(p, honest(p, c)), "must not be a fee bump"),
    ]
    return attacks


# --- payloads -------------------------------------------------------------------------------------


def payload(fields: Mapping[str, object]) -> Forge:
    return lambda p, c: Credential(c, fields, p.source)


BAD_PAYLOADS: list[tuple[str, Mapping[str, object], str]] = [
    ("empty", {}, "type must be"),
    ("of another type", {"type": "voucher"}, "type must be"),
    ("with a number as type", {"type": 1}, "type must be"),
    ("with a list as type", {"type": ["transaction"]}, "type must be"),
    ("without a transaction", {"type": "transaction"}, "transaction must be a text"),
    ("with an empty one", {"type": "transaction", "transaction": ""}, "must be a text"),
    ("with an object", {"type": "transaction", "transaction": {}}, "must be a text"),
    ("without a hash", {"type": "signedHash"}, "must be a text"),
    ("with a short hash", {"type": "hash", "hash": "ab"}, "64 hex digits"),
    ("with a hash of other letters", {"type": "hash", "hash": "g" * 64}, "64 hex digits"),
    (
        "without a signature",
        {"type": "signedHash", "hash": "a" * 64},
        "sourceSignature must be a text",
    ),
    (
        "with a short signature",
        {"type": "signedHash", "hash": "a" * 64, "sourceSignature": "00"},
        "128 hex digits",
    ),
]

PAYLOADS = [
    Attack(mode, f"payload {name}", payload(fields), says, "invalid-payload")
    for mode in (SPONSORED, UNSPONSORED)
    for name, fields, says in BAD_PAYLOADS
]
