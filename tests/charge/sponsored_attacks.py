"""Attacks on a sponsor: each would be paid by the server, or drain it."""

from collections.abc import Callable
from dataclasses import replace

from stellar_sdk import (
    Keypair,
    Network,
    xdr,
)

from mpp_asgi.protocol import Challenge, Credential
from mpp_asgi.stellar.network import LEDGER_SECONDS
from mpp_asgi.stellar.policy import DRIFT_LEDGERS, LEAST_LEDGERS
from mpp_asgi.stellar.transfer import Transfer
from tests.charge import forgery
from tests.charge.attack import (
    SPONSORED,
    Attack,
    Forge,
    with_transaction,
)
from tests.charge.forgery import (
    THIEF,
    authorization,
    authorized_by,
    entry,
    forged,
)
from tests.shop import RECIPIENT, SPONSOR, Payer


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
