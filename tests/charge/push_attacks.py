"""Attacks by hashes of what is on the ledger, or is not."""

from collections.abc import Callable
from dataclasses import replace

from stellar_sdk import (
    Account,
    Address,
    Asset,
    InvokeHostFunction,
    Operation,
    Payment,
    TransactionBuilder,
    scval,
    xdr,
)

from mpp_asgi.protocol import Challenge, Credential
from mpp_asgi.stellar.network import TESTNET
from tests.charge import forgery
from tests.charge.attack import (
    BAD_SOURCES,
    OTHER_TRANSFERS,
    PUSH,
    XLM,
    Attack,
    Forge,
    did,
    of_source,
    paying,
)
from tests.charge.forgery import (
    THIEF,
    authorized_by,
    changed,
    fee_bumped,
    hash_of,
)
from tests.shop import PRICE, RECIPIENT, SPONSOR, Payer


def pushed(payer: Payer, transaction: str) -> str:
    """Submit what the payer signed and see it onto the ledger; its hash."""
    sent = payer.shop.ask("sendTransaction", transaction=transaction)
    assert sent["status"] == "PENDING", sent
    payer.shop.time.now += 2
    return hash_of(transaction)


def other_transaction(payer: Payer, *operations: Operation) -> str:
    """A transaction of other operations, simulated and signed."""
    account = Account(payer.address, payer.sequence(payer.keypair))
    builder = TransactionBuilder(account, TESTNET.passphrase, base_fee=1_000)
    builder.add_time_bounds(0, int(payer.shop.time()) + 10_000)
    for operation in operations:
        builder.append_operation(operation)
    made = builder.build()
    if len(operations) == 1:
        simulated = payer.shop.ask("simulateTransaction", transaction=made.to_xdr())
        if "transactionData" in simulated:
            made.transaction.soroban_data = xdr.SorobanTransactionData.from_xdr(
                simulated["transactionData"]
            )
            made.transaction.fee += int(simulated["minResourceFee"])
    made.sign(payer.keypair)
    return made.to_xdr()


def calling(name: str, *args: Callable[[Payer], xdr.SCVal]) -> Forge:
    """Push of another function of the token."""

    def forge(payer: Payer, challenge: Challenge) -> Credential:
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
        pay = Payment(RECIPIENT.public_key, Asset.native(), "0.01")
        return payer.signed_hash(challenge, pushed(payer, other_transaction(payer, *[pay] * count)))

    return forge


def failed_push(payer: Payer, challenge: Challenge) -> Credential:
    """On the ledger, but failed: signed for more than there was by then."""
    transfer = payer.transfer(challenge)
    transaction, _ = payer.own_transaction(transfer, max_time=int(payer.shop.time()) + 10_000)
    broken = changed(
        transaction,
        authorized_by(forgery.source_account_entry(replace(transfer, amount=1))),
        signer=payer.keypair,
    )
    hash_ = pushed(payer, broken)
    assert payer.shop.ask("getTransaction", hash=hash_)["status"] == "FAILED"
    return payer.signed_hash(challenge, hash_)


def pushed_and_bumped(payer: Payer, challenge: Challenge) -> Credential:
    transaction, _ = payer.own_transaction(
        payer.transfer(challenge), max_time=int(payer.shop.time()) + 10_000
    )
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
        payer.transfer(challenge), max_time=int(payer.shop.time()) + 10_000, source=SPONSOR
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
