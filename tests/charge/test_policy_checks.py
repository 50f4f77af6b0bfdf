"""Every check on a payment, and the attack that only this check stops.

One row, one attack: it is refused for its own reason, nothing moves, nothing is kept of it, and the
same challenge can still be paid as it should be.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from stellar_sdk import Keypair, Network, scval, xdr

from mpp_asgi.protocol import Challenge, Credential
from mpp_asgi.stellar.network import LEDGER_SECONDS, TESTNET
from mpp_asgi.stellar.policy import DRIFT_LEDGERS, LEAST_LEDGERS
from mpp_asgi.stellar.transfer import Transfer
from tests.charge import forgery
from tests.charge.forgery import (
    THIEF,
    authorization,
    authorized_by,
    changed,
    entry,
    fee_bumped,
    forged,
    forged_own,
    hash_of,
    showing,
    transaction_in,
    without_signatures,
)
from tests.shop import PRICE, RECIPIENT, SPONSOR, START, Payer, Shop

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
    "another payer": (did(THIEF.public_key), "source"),
    "another network": (did("G" + "A" * 55, "stellar:pubnet"), "source must be"),
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


# --- sponsored ------------------------------------------------------------------------------------


def naming(sender: Keypair) -> Forge:
    """A transfer from somebody who did not sign it: the payer did."""

    def forge(payer: Payer, challenge: Challenge) -> Credential:
        transfer = replace(payer.transfer(challenge), sender=sender.public_key)
        honest = payer.sponsored(challenge, change=lambda _: transfer)
        return replace(honest, source=None)

    return forge


def authorized(*entries: Callable[[Transfer, Payer], xdr.SorobanAuthorizationEntry]) -> Forge:
    """With other authorization entries than the payer's one."""

    def forge(payer: Payer, challenge: Challenge) -> Credential:
        transfer = payer.transfer(challenge)
        made = [make(transfer, payer) for make in entries]
        return forged(payer, challenge, authorized_by(*made))

    return forge


def of_payer(transfer: Transfer, payer: Payer) -> xdr.SorobanAuthorizationEntry:
    return authorization(transfer, payer.keypair, expiration_ledger=_soon(payer))


def of_payer_again(transfer: Transfer, payer: Payer) -> xdr.SorobanAuthorizationEntry:
    return authorization(transfer, payer.keypair, nonce=8, expiration_ledger=_soon(payer))


def of_server(transfer: Transfer, payer: Payer) -> xdr.SorobanAuthorizationEntry:
    """The payer's entry that names the server."""
    made = of_payer(transfer, payer)
    forgery.in_the_name_of(SPONSOR.public_key)(made)
    return made


def of_thief(transfer: Transfer, payer: Payer) -> xdr.SorobanAuthorizationEntry:
    return authorization(
        replace(transfer, sender=THIEF.public_key), THIEF, expiration_ledger=_soon(payer)
    )


def of_source_account(transfer: Transfer, payer: Payer) -> xdr.SorobanAuthorizationEntry:
    return forgery.source_account_entry(transfer)


def _soon(payer: Payer) -> int:
    return payer.shop.sandbox.sequence + 50


def latest_expiration(payer: Payer, challenge: Challenge) -> int:
    """The bound of the draft, and what clocks may drift."""
    seconds = payer.expires(challenge) - int(payer.shop.time())
    return payer.shop.sandbox.sequence + -(-seconds // LEDGER_SECONDS) + DRIFT_LEDGERS


def expiring(when: Callable[[Payer, Challenge], int]) -> Forge:
    return lambda p, c: p.sponsored(c, expiration_ledger=when(p, c))


ONLY_SPONSORED = [
    Attack(SPONSORED, "from the recipient", naming(RECIPIENT), "cannot pay itself"),
    Attack(SPONSORED, "from the sponsor", naming(SPONSOR), "must not be from the server"),
    *(
        Attack(
            SPONSORED,
            f"transaction source is {name}",
            lambda p, c, k=key: forged(p, c, forgery.source((k or p.keypair).public_key)),  # type: ignore[misc]
            "must be the all-zeros account",
        )
        for name, key in {"the payer": None, "the sponsor": SPONSOR, "anyone": THIEF}.items()
    ),
    *(
        Attack(
            SPONSORED,
            f"operation source is {name}",
            lambda p, c, k=key: forged(p, c, forgery.operation_source((k or p.keypair).public_key)),  # type: ignore[misc]
            "operation must not have a source",
        )
        for name, key in {"the payer": None, "the sponsor": SPONSOR, "anyone": THIEF}.items()
    ),
    Attack(SPONSORED, "no authorization", authorized(), "must be authorized by its sender"),
    Attack(
        SPONSORED,
        "two authorizations",
        authorized(of_payer, of_payer_again),
        "One authorization entry is needed",
    ),
    Attack(
        SPONSORED,
        "an authorization by the server beside",
        authorized(of_payer, of_server),
        "server must not be asked to authorize",
    ),
    Attack(
        SPONSORED,
        "an authorization by anyone beside",
        authorized(of_payer, of_thief),
        "Only the sender's authorization",
    ),
    Attack(
        SPONSORED,
        "authorized by the transaction's source, which would be us",
        authorized(of_source_account),
        "of type sorobanCredentialsAddress",
    ),
    *(
        Attack(
            SPONSORED,
            f"credentials {name}",
            with_transaction(SPONSORED, entry(change)),
            "of type sorobanCredentialsAddress",
        )
        for name, change in {
            "of version 2": forgery.of_version_2,
            "with delegates": forgery.with_delegates,
        }.items()
    ),
    Attack(
        SPONSORED,
        "not signed",
        with_transaction(SPONSORED, entry(forgery.unsigned)),
        "is not signed",
    ),
    Attack(
        SPONSORED,
        "signed by another key",
        lambda p, c: p.sponsored(c, signer=THIEF),
        "not validly authorized",
    ),
    Attack(
        SPONSORED,
        "signed for another network",
        lambda p, c: p.sponsored(c, passphrase=Network.PUBLIC_NETWORK_PASSPHRASE),
        "not validly authorized",
    ),
    Attack(
        SPONSORED,
        "authorizes a sub-invocation",
        with_transaction(SPONSORED, entry(forgery.with_sub_invocation)),
        "for the transfer and nothing else",
    ),
    Attack(
        SPONSORED,
        "authorizes other arguments",
        with_transaction(SPONSORED, entry(forgery.for_other_arguments)),
        "for the transfer and nothing else",
    ),
    Attack(
        SPONSORED,
        "expired",
        expiring(lambda p, c: p.shop.sandbox.sequence - 1),
        "not validly authorized",
    ),
    Attack(
        SPONSORED,
        "about to expire: it would fail at the sponsor's cost",
        expiring(lambda p, c: p.shop.sandbox.sequence + LEAST_LEDGERS - 1),
        "expires too soon",
    ),
    Attack(
        SPONSORED,
        "valid one ledger too long",
        expiring(lambda p, c: latest_expiration(p, c) + 1),
        "valid beyond the challenge",
    ),
    Attack(
        SPONSORED,
        "valid for ever",
        expiring(lambda p, c: 1_000_000),
        "valid beyond the challenge",
    ),
    Attack(
        SPONSORED,
        "a hash instead",
        lambda p, c: p.signed_hash(c, p.push(p.transfer(c))),
        "paid with a transaction",
    ),
]


# --- unsponsored ----------------------------------------------------------------------------------


def own(payer: Payer, challenge: Challenge) -> str:
    return transaction_in(payer.unsponsored(challenge))


def conditions(**given: object) -> xdr.PreconditionsV2:
    values: dict[str, object] = {
        "time_bounds": None,
        "ledger_bounds": None,
        "min_seq_num": None,
        "min_seq_age": xdr.Duration(xdr.Uint64(0)),
        "min_seq_ledger_gap": xdr.Uint32(0),
        "extra_signers": [],
    }
    return xdr.PreconditionsV2(**{**values, **given})  # type: ignore[arg-type] # as they are there


def stolen(payer: Payer, challenge: Challenge) -> Credential:
    """Somebody else's payment, copied from the ledger."""
    victim = payer.shop.payer(9)
    transaction, _ = victim.own_transaction(
        victim.transfer(challenge), max_time=payer.expires(challenge)
    )
    assert payer.shop.ask("sendTransaction", transaction=transaction)["status"] == "PENDING"
    payer.shop.time.now += 2
    return showing(payer.unsponsored(challenge), transaction)


ONLY_UNSPONSORED = [
    Attack(
        UNSPONSORED,
        "from the recipient",
        lambda p, c: forged_own(p, c, forgery.sender(RECIPIENT.public_key)),
        "cannot pay itself",
    ),
    Attack(
        UNSPONSORED,
        "from the sponsor",
        lambda p, c: forged_own(p, c, forgery.sender(SPONSOR.public_key)),
        "must not involve the server's",
    ),
    Attack(
        UNSPONSORED,
        "source is the sponsor",
        lambda p, c: forged_own(p, c, forgery.source(SPONSOR.public_key)),
        "must not involve the server's",
    ),
    Attack(
        UNSPONSORED,
        "operation source is the sponsor",
        lambda p, c: forged_own(p, c, forgery.operation_source(SPONSOR.public_key)),
        "must not involve the server's",
    ),
    Attack(
        UNSPONSORED,
        "authorized by the server",
        lambda p, c: forged_own(
            p, c, authorized_by(of_payer(p.transfer(c), p), of_server(p.transfer(c), p))
        ),
        "must not involve the server's",
    ),
    Attack(
        UNSPONSORED,
        "leaves the fee to the server",
        lambda p, c: showing(p.unsponsored(c), transaction_in(p.sponsored(c))),
        "needs a source of its own",
    ),
    Attack(
        UNSPONSORED,
        "not signed",
        lambda p, c: showing(p.unsponsored(c), without_signatures(own(p, c))),
        "must be signed",
    ),
    Attack(
        UNSPONSORED,
        "no maxTime",
        lambda p, c: p.unsponsored(c, max_time=None),
        "maxTime must be set",
    ),
    Attack(
        UNSPONSORED,
        "no time bounds",
        lambda p, c: forged_own(p, c, forgery.no_time_bounds),
        "maxTime must be set",
    ),
    Attack(
        UNSPONSORED,
        "maxTime after the challenge",
        lambda p, c: p.unsponsored(c, max_time=p.expires(c) + 1),
        "not after the challenge's expiry",
    ),
    Attack(
        UNSPONSORED,
        "maxTime is over",
        lambda p, c: p.unsponsored(c, max_time=int(p.shop.time()) - 1),
        "maxTime has passed",
    ),
    Attack(
        UNSPONSORED,
        "minTime is ahead",
        lambda p, c: forged_own(
            p, c, forgery.time_bounds(least=int(p.shop.time()) + 60, most=p.expires(c))
        ),
        "must be good now",
    ),
    *(
        Attack(
            UNSPONSORED,
            f"another precondition: {name}",
            lambda p, c, extra=extra: forged_own(  # type: ignore[misc]
                p, c, forgery.preconditions(conditions(**extra))
            ),
            "must be good now",
        )
        for name, extra in {
            "ledgers": {"ledger_bounds": xdr.LedgerBounds(xdr.Uint32(10**6), xdr.Uint32(0))},
            "age of the sequence number": {"min_seq_age": xdr.Duration(xdr.Uint64(10**6))},
        }.items()
    ),
    Attack(
        UNSPONSORED,
        "authorizes a sub-invocation",
        lambda p, c: forged_own(p, c, entry(forgery.with_sub_invocation)),
        "for the transfer and nothing else",
    ),
    Attack(
        UNSPONSORED,
        "authorizes another invocation beside",
        lambda p, c: forged_own(
            p,
            c,
            authorized_by(
                forgery.source_account_entry(p.transfer(c)),
                forgery.source_account_entry(replace(p.transfer(c), amount=10**12)),
            ),
        ),
        "for the transfer and nothing else",
    ),
    Attack(
        UNSPONSORED,
        "no authorization",
        lambda p, c: forged_own(p, c, authorized_by()),
        "not validly authorized",
    ),
    Attack(
        UNSPONSORED,
        "authorized with another's signature",
        lambda p, c: forged_own(p, c, authorized_by(authorization(p.transfer(c), THIEF))),
        "not validly authorized",
    ),
    Attack(UNSPONSORED, "somebody else's, from the ledger", stolen, "on the ledger already"),
]


# --- push -----------------------------------------------------------------------------------------


def pushed(payer: Payer, transaction: str) -> str:
    """Submit what the payer signed and see it onto the ledger; its hash."""
    sent = payer.shop.ask("sendTransaction", transaction=transaction)
    assert sent["status"] == "PENDING", sent
    payer.shop.time.now += 2
    return hash_of(transaction)


def other_transaction(payer: Payer, *operations: object) -> str:
    """A transaction of other operations, simulated and signed."""
    from stellar_sdk import Account, SorobanDataBuilder, TransactionBuilder

    account = Account(payer.address, payer.sequence(payer.keypair))
    builder = TransactionBuilder(account, TESTNET.passphrase, base_fee=1_000)
    builder.add_time_bounds(0, START + 10_000)
    for operation in operations:
        builder.append_operation(operation)  # type: ignore[arg-type]
    made = builder.build()
    if len(operations) == 1:
        simulated = payer.shop.ask("simulateTransaction", transaction=made.to_xdr())
        if "transactionData" in simulated:
            made.transaction.soroban_data = SorobanDataBuilder.from_xdr(
                simulated["transactionData"]
            ).build()
            made.transaction.fee += int(simulated["minResourceFee"])
    made.sign(payer.keypair)
    return made.to_xdr()


def calling(name: str, *args: Callable[[Payer], xdr.SCVal]) -> Forge:
    """Push of another function of the token."""

    def forge(payer: Payer, challenge: Challenge) -> Credential:
        from stellar_sdk import Address, InvokeHostFunction

        transfer = payer.transfer(challenge)
        call = xdr.InvokeContractArgs(
            Address(transfer.token).to_xdr_sc_address(),
            xdr.SCSymbol(name.encode()),
            [arg(payer) for arg in args],
        )
        leave = xdr.SorobanAuthorizationEntry(
            xdr.SorobanCredentials(xdr.SorobanCredentialsType.SOROBAN_CREDENTIALS_SOURCE_ACCOUNT),
            xdr.SorobanAuthorizedInvocation(
                xdr.SorobanAuthorizedFunction(
                    xdr.SorobanAuthorizedFunctionType.SOROBAN_AUTHORIZED_FUNCTION_TYPE_CONTRACT_FN,
                    contract_fn=call,
                ),
                [],
            ),
        )
        function = xdr.HostFunction(
            xdr.HostFunctionType.HOST_FUNCTION_TYPE_INVOKE_CONTRACT, invoke_contract=call
        )
        transaction = other_transaction(payer, InvokeHostFunction(function, [leave]))
        return payer.signed_hash(challenge, pushed(payer, transaction))

    return forge


def classic_payments(count: int) -> Forge:
    def forge(payer: Payer, challenge: Challenge) -> Credential:
        from stellar_sdk import Asset, Payment

        pay = Payment(RECIPIENT.public_key, Asset.native(), "0.01")
        return payer.signed_hash(challenge, pushed(payer, other_transaction(payer, *[pay] * count)))

    return forge


def failed_push(payer: Payer, challenge: Challenge) -> Credential:
    """On the ledger, but failed: signed for more than there was by then."""
    transfer = payer.transfer(challenge)
    transaction, _ = payer.own_transaction(transfer, max_time=START + 10_000)
    broken = changed(
        transaction,
        authorized_by(forgery.source_account_entry(replace(transfer, amount=1))),
        signer=payer.keypair,
    )
    hash_ = pushed(payer, broken)
    assert payer.shop.ask("getTransaction", hash=hash_)["status"] == "FAILED"
    return payer.signed_hash(challenge, hash_)


def pushed_and_bumped(payer: Payer, challenge: Challenge) -> Credential:
    transaction, _ = payer.own_transaction(payer.transfer(challenge), max_time=START + 10_000)
    bump = fee_bumped(transaction, payer.keypair)
    assert payer.shop.ask("sendTransaction", transaction=bump)["status"] == "PENDING"
    payer.shop.time.now += 2
    return payer.signed_hash(challenge, hash_of(bump))


def stolen_hash(payer: Payer, challenge: Challenge) -> Credential:
    """Somebody else's payment, which anyone can read off the ledger."""
    victim = payer.shop.payer(9)
    return payer.signed_hash(challenge, victim.push(victim.transfer(challenge)))


def stolen_hash_in_its_payers_name(payer: Payer, challenge: Challenge) -> Credential:
    victim = payer.shop.payer(9)
    honest = payer.signed_hash(challenge, victim.push(victim.transfer(challenge)))
    return of_source(honest, victim.source)


def honest_push(payer: Payer, challenge: Challenge) -> Credential:
    return payer.signed_hash(challenge, payer.push(payer.transfer(challenge)))


def paid_by_server(payer: Payer, challenge: Challenge) -> Credential:
    """A transaction in which the sponsor lent its name."""
    server = Payer(payer.shop, SPONSOR)
    transaction, hash_ = payer.own_transaction(
        payer.transfer(challenge), max_time=START + 10_000, source=SPONSOR
    )
    assert server.shop.ask("sendTransaction", transaction=transaction)["status"] == "PENDING"
    payer.shop.time.now += 2
    return payer.signed_hash(challenge, hash_)


NOWHERE = "ab" * 32

ONLY_PUSH = [
    *(
        Attack(PUSH, f"paid {name}", paying(PUSH, change), says)
        for name, (change, says) in OTHER_TRANSFERS.items()
    ),
    Attack(
        PUSH,
        "approve",
        calling(
            "approve",
            lambda p: scval.to_address(p.address),
            lambda p: scval.to_address(RECIPIENT.public_key),
            lambda p: scval.to_int128(PRICE),
            lambda p: scval.to_uint32(p.shop.sandbox.sequence + 100),
        ),
        "calls 'approve'",
    ),
    Attack(
        PUSH,
        "burn",
        calling("burn", lambda p: scval.to_address(p.address), lambda p: scval.to_int128(PRICE)),
        "calls 'burn'",
    ),
    Attack(PUSH, "a classic payment", classic_payments(1), "of type invokeHostFunction"),
    Attack(PUSH, "two operations", classic_payments(2), "exactly one operation"),
    Attack(PUSH, "a fee bump", pushed_and_bumped, "must not be a fee bump"),
    Attack(PUSH, "not found", lambda p, c: p.signed_hash(c, NOWHERE), "not on the ledger"),
    Attack(PUSH, "failed", failed_push, "failed on the ledger"),
    Attack(PUSH, "somebody else's hash", stolen_hash, "not from the credential's source"),
    Attack(
        PUSH,
        "somebody else's hash in its payer's name",
        stolen_hash_in_its_payers_name,
        "not the source's signature",
    ),
    Attack(
        PUSH,
        "signed by another key",
        lambda p, c: p.signed_hash(c, NOWHERE, signer=THIEF),
        "not the source's signature",
    ),
    Attack(
        PUSH,
        "signed for another challenge",
        lambda p, c: replace(
            p.signed_hash(c, NOWHERE),
            payload=p.signed_hash(replace(c, id="another"), NOWHERE).payload,
        ),
        "not the source's signature",
    ),
    Attack(
        PUSH,
        "no source",
        lambda p, c: replace(honest_push(p, c), source=None),
        "names the payer's account as its source",
    ),
    Attack(
        PUSH,
        "a contract as source",
        lambda p, c: of_source(honest_push(p, c), did(XLM)),
        "names the payer's account as its source",
    ),
    *(
        Attack(
            PUSH,
            f"source is {name}",
            lambda p, c, source=source: of_source(honest_push(p, c), source),  # type: ignore[misc]
            "source must be",
        )
        for name, (source, says) in BAD_SOURCES.items()
        if says == "source must be"
    ),
    Attack(
        PUSH,
        "source with a wrong checksum",
        lambda p, c: of_source(honest_push(p, c), did("G" + "A" * 55)),
        "not the source's signature",
    ),
    Attack(
        PUSH,
        "a bare hash",
        lambda p, c: p.credential(c, type="hash", hash=p.push(p.transfer(c))),
        "A bare hash proves nothing",
    ),
    Attack(PUSH, "source is the sponsor", paid_by_server, "must not involve the server's"),
]

ATTACKS = [*common(SPONSORED), *ONLY_SPONSORED, *common(UNSPONSORED), *ONLY_UNSPONSORED, *ONLY_PUSH]


# --- payloads -------------------------------------------------------------------------------------


def payload(**fields: object) -> Forge:
    return lambda p, c: Credential(c, fields, p.source)


PAYLOADS = [
    Attack(mode, f"payload {name}", payload(**fields), says, "invalid-payload")
    for mode in (SPONSORED, UNSPONSORED)
    for name, fields, says in [
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
]


# --- the test -------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", [*ATTACKS, *PAYLOADS], ids=str)
async def test_attack_is_refused(shop: Shop, attack: Attack) -> None:
    payer = shop.payer()
    challenges = await shop.challenges()
    challenge = challenges[0 if attack.mode == SPONSORED else 1]
    credential = attack.forge(payer, challenge)
    sponsor, earned = shop.sponsor_funds(), shop.earned()

    refused = await shop.show(credential)

    assert refused.status_code == 402, refused.text
    problem = refused.json()
    assert problem["type"] == f"https://paymentauth.org/problems/{attack.slug}"
    assert attack.says in problem["detail"]
    assert refused.headers["cache-control"] == "no-store"
    assert "payment-receipt" not in refused.headers
    fresh = Challenge.all_from_headers(refused.headers.get_list("www-authenticate"))
    assert {each.id for each in fresh}.isdisjoint(each.id for each in challenges)
    assert await shop.store.get(challenge.id) is None
    shop.time.now += 3  # were something on its way, it would arrive
    assert (shop.sponsor_funds(), shop.earned()) == (sponsor, earned)
    assert shop.runs == []

    paid = await shop.show(payer.in_mode(attack.mode, challenges))
    assert paid.status_code == 200, paid.text
    assert shop.earned() == earned + PRICE
    assert shop.runs == ["/paid"]
