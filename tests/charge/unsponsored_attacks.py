"""Attacks by transactions of the payer's own."""

from dataclasses import replace

from stellar_sdk import (
    xdr,
)

from mpp_asgi.protocol import Challenge, Credential
from tests.charge import forgery
from tests.charge.attack import (
    UNSPONSORED,
    Attack,
)
from tests.charge.forgery import (
    THIEF,
    authorization,
    authorized_by,
    entry,
    forged_own,
    showing,
    transaction_in,
    without_signatures,
)
from tests.charge.sponsored_attacks import of_payer, of_server
from tests.shop import RECIPIENT, SPONSOR, Payer


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
