"""Openings that no honest payer would send."""

from __future__ import annotations

from dataclasses import replace

from stellar_sdk import Network

from mpp_asgi.stellar.channel_calls import TopUp, close_start_call
from mpp_asgi.stellar.envelope import NULL_ACCOUNT
from mpp_asgi.stellar.invocation import leave_of_source
from mpp_asgi.stellar.network import LEDGER_SECONDS, TESTNET
from mpp_asgi.stellar.policy import DRIFT_LEDGERS, LEAST_LEDGERS
from mpp_asgi.stellar.transfer import Transfer, transfer_call
from tests.channels.deposit_case import MALFORMED, Attack, Case, Payload, lapsed
from tests.channels.market import CHALLENGE_SECONDS, DEPOSIT, FUNDER, LEAST, WAITING_PERIOD
from tests.charge import forgery
from tests.charge.forgery import THIEF
from tests.shop import RECIPIENT, SPONSOR


def of_another(case: Case) -> Payload:
    """An opening in the name of somebody who did not sign it."""
    return case.on_terms(funder=THIEF.public_key)


def latest_expiration(case: Case) -> int:
    return case.market.sandbox.sequence + -(-CHALLENGE_SECONDS // LEDGER_SECONDS) + DRIFT_LEDGERS


def unsigned(case: Case) -> Payload:
    payload = case.good()
    return {**payload, "transaction": forgery.without_signatures(payload["transaction"])}


def fee_bumped(case: Case) -> Payload:
    payload = case.good()
    return {**payload, "transaction": forgery.fee_bumped(payload["transaction"], FUNDER)}


OTHER_CODE = "22" * 32

PAYLOADS = [
    Attack("no channel", lambda c: c.good(channelId=None), "channelId", MALFORMED),
    Attack("an account", lambda c: c.good(channelId=FUNDER.public_key), "channelId", MALFORMED),
    Attack("a typo", lambda c: c.good(channelId=c.channel[:-1] + "A"), "channelId", MALFORMED),
    Attack("no type", lambda c: c.good(type=None), "type", MALFORMED),
    Attack(
        "a signed hash",
        lambda c: c.good(type="signedHash", hash="00" * 32, sourceSignature="00" * 64),
        "type",
        MALFORMED,
    ),
    Attack("no transaction", lambda c: c.good(transaction=None), "transaction", MALFORMED),
    Attack("a number", lambda c: c.good(transaction=7), "transaction", MALFORMED),
    Attack("a short hash", lambda c: c.good(type="hash", hash="00"), "hash", MALFORMED),
    Attack("garbage", lambda c: c.good(transaction="AAAA"), "not valid XDR"),
    Attack("no base64", lambda c: c.good(transaction="!"), "not base64"),
    Attack("a huge one", lambda c: c.good(transaction="A" * 10**5), "larger than"),
]

COMMON = [
    Attack("fee bump", fee_bumped, "must not be a fee bump"),
    Attack("two operations", lambda c: c.changed(forgery.operation_twice), "exactly one operation"),
    Attack("an upload", lambda c: c.changed(forgery.upload_of_code), "host function is"),
    Attack(
        "a transfer",
        lambda c: c.calling(
            transfer_call(
                Transfer(c.market.sandbox.usdc, FUNDER.public_key, RECIPIENT.public_key, 5)
            )
        ),
        "calls 'transfer'",
    ),
    Attack(
        "a top-up",
        lambda c: c.calling(
            TopUp(channel=c.channel, amount=DEPOSIT).call(
                token=c.market.sandbox.usdc, funder=FUNDER.public_key
            )
        ),
        "calls 'top_up'",
    ),
    Attack("a wish to close", lambda c: c.calling(close_start_call(c.channel)), "'close_start'"),
    Attack("by another factory", lambda c: c.calling(c.elsewhere()), "than the channel factory"),
    Attack(
        "of another code",
        lambda c: c.on_terms(factory=None, wasm_hash=OTHER_CODE),
        "code is not among",
    ),
    Attack(
        "to another", lambda c: c.on_terms(recipient=THIEF.public_key), "pays another recipient"
    ),
    Attack(
        "to the sponsor",
        lambda c: c.on_terms(recipient=SPONSOR.public_key),
        "pays another recipient",
    ),
    Attack("of another token", lambda c: c.on_terms(token=c.market.sandbox.xlm), "another token"),
    Attack("no waiting", lambda c: c.on_terms(waiting_period=0), "waiting period"),
    Attack(
        "one ledger less", lambda c: c.on_terms(waiting_period=WAITING_PERIOD - 1), "waiting period"
    ),
    Attack("a key of small order", lambda c: c.on_terms(key=bytes(32)), "none that can sign"),
    Attack(
        "another salt",
        lambda c: c.good(channelId=replace(c.opening, salt=b"\1" * 32).channel(TESTNET.passphrase)),
        "opens another channel",
    ),
    Attack(
        "another network's address",
        lambda c: c.good(channelId=c.opening.channel(Network.PUBLIC_NETWORK_PASSPHRASE)),
        "opens another channel",
    ),
    Attack(
        "nothing in it",
        lambda c: c.market.open_payload(replace(c.opening, amount=0), amount=0),
        "must be 1000",
    ),
    Attack(
        "too little",
        lambda c: c.market.open_payload(replace(c.opening, amount=LEAST - 1)),
        "must be 1000",
    ),
    Attack(
        "a voucher for more",
        lambda c: c.market.open_payload(c.opening, amount=DEPOSIT + 1),
        "more than is deposited",
        "session/amount-exceeds-deposit",
    ),
    Attack(
        "a voucher of another key",
        lambda c: c.good(
            signature=c.market.voucher(c.opening.channel(TESTNET.passphrase), 100, key=FUNDER)
        ),
        "not signed",
        "session/invalid-signature",
    ),
    Attack(
        "a voucher of another channel",
        lambda c: c.good(signature=c.market.voucher(c.channel, 100)),
        "not signed",
        "session/invalid-signature",
    ),
    Attack(
        "a voucher of another amount",
        lambda c: c.good(cumulativeAmount="101"),
        "not signed",
        "session/invalid-signature",
    ),
    Attack(
        "more than the funder has",
        lambda c: c.market.open_payload(replace(c.opening, amount=10**10)),
        "balance does not cover",
    ),
    Attack(
        "another source",
        lambda c: c.good(),
        "not funded by the credential's source",
        terms=lambda c: {"source": f"did:pkh:stellar:testnet:{THIEF.public_key}"},
    ),
    Attack("no source", lambda c: c.good(), "source must be", terms=lambda c: {"source": "me"}),
    Attack("too late", lambda c: c.good(), "has expired", "payment-expired", terms=lapsed),
    Attack(
        "leave for more",
        lambda c: c.allowed(c.leave(c.greedy())),
        "for the deposit and nothing else",
    ),
    Attack(
        "leave for less",
        lambda c: c.allowed(c.leave(c.modest())),
        "for the deposit and nothing else",
    ),
    Attack(
        "leave for another",
        lambda c: c.allowed(c.leave(c.market.opening().call(TESTNET.passphrase))),
        "for the deposit and nothing else",
    ),
    Attack(
        "leave for the transfer alone",
        lambda c: c.allowed(c.leave(c.call.sub_invocations[0].sub_invocations[0])),
        "for the deposit and nothing else",
    ),
    Attack(
        "leave of a source besides",
        lambda c: c.allowed(c.leave(), leave_of_source(c.greedy())),
        "for the deposit and nothing else",
    ),
]

SPONSORED = [
    Attack("of the sponsor", lambda c: c.on_terms(funder=SPONSOR.public_key), "from the server"),
    Attack(
        "of the recipient", lambda c: c.on_terms(funder=RECIPIENT.public_key), "from the server"
    ),
    Attack("of somebody who did not sign", of_another, "Only the sender's authorization"),
    Attack(
        "from the sponsor's account",
        lambda c: c.changed(forgery.source(SPONSOR.public_key)),
        "all-zeros account",
    ),
    Attack(
        "from the funder's account",
        lambda c: c.changed(forgery.source(FUNDER.public_key)),
        "all-zeros account",
    ),
    Attack(
        "an operation of the sponsor",
        lambda c: c.changed(forgery.operation_source(SPONSOR.public_key)),
        "must not have a source",
    ),
    Attack(
        "an operation of the recipient",
        lambda c: c.changed(forgery.operation_source(RECIPIENT.public_key)),
        "must not have a source",
    ),
    Attack("no leave", lambda c: c.allowed(), "must be authorized"),
    Attack(
        "leave of the source, which would be us",
        lambda c: c.allowed(leave_of_source(c.call)),
        "sorobanCredentialsAddress",
    ),
    Attack(
        "leave of the sponsor besides",
        lambda c: c.allowed(c.leave(), c.leave(address=SPONSOR.public_key)),
        "must not be asked to authorize",
    ),
    Attack(
        "leave of the recipient besides",
        lambda c: c.allowed(c.leave(), c.leave(address=RECIPIENT.public_key)),
        "must not be asked to authorize",
    ),
    Attack(
        "leave of anybody besides",
        lambda c: c.allowed(c.leave(), c.leave(address=THIEF.public_key, signer=THIEF)),
        "Only the sender's authorization",
    ),
    Attack(
        "leave twice", lambda c: c.allowed(c.leave(), c.leave(nonce=78)), "One authorization entry"
    ),
    Attack(
        "leave of version 2",
        lambda c: c.changed(forgery.entry(forgery.of_version_2)),
        "sorobanCredentialsAddress",
    ),
    Attack(
        "leave with delegates",
        lambda c: c.changed(forgery.entry(forgery.with_delegates)),
        "sorobanCredentialsAddress",
    ),
    Attack("not signed", lambda c: c.changed(forgery.entry(forgery.unsigned)), "is not signed"),
    Attack("signed by another", lambda c: c.sent(signer=THIEF), "not validly authorized"),
    Attack(
        "signed for another network",
        lambda c: c.sent(passphrase=Network.PUBLIC_NETWORK_PASSPHRASE),
        "not validly authorized",
    ),
    Attack(
        "expired",
        lambda c: c.sent(expiration_ledger=c.market.sandbox.sequence - 1),
        "not validly authorized",
    ),
    Attack(
        "about to expire",
        lambda c: c.sent(expiration_ledger=c.market.sandbox.sequence + LEAST_LEDGERS - 1),
        "expires too soon",
    ),
    Attack(
        "valid for too long",
        lambda c: c.sent(expiration_ledger=latest_expiration(c) + 1),
        "valid beyond the challenge",
    ),
    Attack(
        "of code that nobody listed",
        lambda c: c.on_terms(factory=None, wasm_hash="00" * 32),
        "code is not among",
    ),
]

UNSPONSORED = [
    Attack(
        "the fee left to us",
        lambda c: c.changed(forgery.source(NULL_ACCOUNT)),
        "needs a source of its own",
    ),
    Attack(
        "of the sponsor",
        lambda c: c.on_terms(funder=SPONSOR.public_key),
        "must not involve the server's",
    ),
    Attack(
        "from the sponsor's account",
        lambda c: c.changed(forgery.source(SPONSOR.public_key)),
        "must not involve the server's",
    ),
    Attack(
        "an operation of the recipient",
        lambda c: c.changed(forgery.operation_source(RECIPIENT.public_key)),
        "must not involve the server's",
    ),
    Attack(
        "leave of the recipient besides",
        lambda c: c.allowed(c.leave(), c.leave(address=RECIPIENT.public_key)),
        "must not involve the server's",
    ),
    Attack("not signed", unsigned, "must be signed"),
    Attack("no maxTime", lambda c: c.changed(forgery.no_time_bounds), "maxTime must be set"),
    Attack(
        "maxTime after the challenge",
        lambda c: c.changed(forgery.time_bounds(most=int(c.market.time()) + CHALLENGE_SECONDS + 1)),
        "not after the challenge's expiry",
    ),
    Attack(
        "maxTime is over",
        lambda c: c.changed(forgery.time_bounds(most=int(c.market.time()) - 1)),
        "maxTime has passed",
    ),
    Attack(
        "minTime is ahead",
        lambda c: c.changed(
            forgery.time_bounds(
                least=int(c.market.time()) + 60, most=int(c.market.time()) + CHALLENGE_SECONDS
            )
        ),
        "must be good now",
    ),
]
