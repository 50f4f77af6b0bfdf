"""What goes wrong with a channel, or is odd about it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stellar_sdk import Keypair, scval, xdr

from tests.oracle import entries
from tests.oracle.channel_story import IN_XLM, USUAL, ChannelStory, Tell
from tests.oracle.channels import COMMITMENT_KEY, creating, creation
from tests.oracle.entries import (
    ALICE,
    BOB,
    CAROL,
    INSTANCE_KEY,
    INT64_MAX,
    ISSUER,
    SPONSOR,
    STRANGER,
    USD,
    XLM,
    account_key,
    balance_key,
    contract_named,
    data_key,
    token,
    trustline_key,
)
from tests.oracle.scenario import Record
from tests.oracle.story import FAR, START

if TYPE_CHECKING:
    from collections.abc import Iterator

SAFE = contract_named("safe")


def bad_signatures(story: Tell) -> Iterator[ChannelStory]:
    other = replace(USUAL, salt=bytes(31) + b"\1")

    def signed(text: bytes, key: Keypair = COMMITMENT_KEY) -> xdr.SCVal:
        return scval.to_bytes(key.sign(text))

    bad = {
        "amount": USUAL.signature(101),
        "channel": other.signature(100),
        "key": signed(USUAL.commitment(100), ALICE),
        "network": signed(USUAL.commitment(100, network_id=bytes(32))),
        "domain": signed(USUAL.commitment(100, domain="chancommit")),
        "zero": scval.to_bytes(bytes(64)),
        "short": scval.to_bytes(bytes(63)),
        "long": scval.to_bytes(bytes(65)),
        "void": scval.to_void(),
    }
    for name, signature in bad.items():
        told = story(f"signature-{name}").opened()
        yield told.take("settle", 100, signature).take("close", 100, signature)
    told = story("signature-of-a-key-that-is-none")
    told.put(USUAL.instance(told.hash, CommitmentKey=scval.to_bytes(b"\x02" + bytes(31))), FAR)
    yield told.settle(100)


def failed_refunds(story: Tell) -> Iterator[ChannelStory]:
    """Closing gives back what is left, unless it cannot: then it closes all the same."""
    lines = {
        "unauthorized": entries.trustline(ALICE, USD, 5, flags=2),
        "full": entries.trustline(ALICE, USD, INT64_MAX - 100),
        "limited": entries.trustline(ALICE, USD, 5, limit=100),
    }
    for name, line in lines.items():
        told = story(f"refund-fails-funder-{name}").opened().put(line)
        told.close(100).look().close_start().refund().close(500)
        yield told.look()
    for funder in (STRANGER, ISSUER, SAFE):
        name = funder if isinstance(funder, str) else funder.public_key
        told = story(f"refund-to-{name}", replace(USUAL, funder=funder)).opened()
        yield told.close(100).look()
        channel = replace(IN_XLM, funder=funder, amount=XLM + 5)
        told = story(f"refund-in-xlm-to-{name}", channel).opened()
        yield told.close(5).look()
        channel = replace(IN_XLM, funder=funder, amount=XLM)
        told = story(f"refund-in-too-little-xlm-to-{name}", channel).opened()
        yield told.close(5).look()
    told = story("refund-fails-token-not-authorized")
    told.put(USUAL.instance(told.hash), FAR)
    told.put(entries.balance_of(USUAL.address, USD, 500, authorized=False), FAR)
    yield told.close(0).settle(5).look()
    told = story("payout-fails-recipient-unauthorized").opened()
    told.put(entries.trustline(BOB, USD, 5, flags=0))
    yield told.close(5).settle(5).look()


def arguments(story: Tell) -> Iterator[ChannelStory]:
    good: dict[str, list[xdr.SCVal]] = {
        "top_up": [scval.to_int128(0)],
        "settle": [scval.to_int128(5), USUAL.signature(5)],
        "close": [scval.to_int128(5), USUAL.signature(5)],
        "prepare_commitment": [scval.to_int128(5)],
        "close_start": [],
        "refund": [],
        "balance": [],
    }
    strange = (
        *(scval.to_void(), scval.to_uint32(5), scval.to_int64(5), scval.to_uint128(5)),
        *(scval.to_string("5"), scval.to_symbol("five"), scval.to_bytes(b"5"), scval.to_vec([])),
        *(
            scval.to_bool(True),
            scval.to_address(ALICE.public_key),
            xdr.SCVal(xdr.SCValType.SCV_MAP),
        ),
    )
    for function, args in good.items():
        told = story(f"arguments-{function}").opened()
        told.ask(function, *args, scval.to_void()).ask(function, *args[:-1])
        told.ask(function, *[scval.to_void()] * 33)
        for place in range(len(args)):
            for odd in strange:
                told.ask(function, *args[:place], odd, *args[place + 1 :], by=BOB)
        yield told
    told = story("arguments-of-the-constructor")
    for place in range(6):
        for odd in strange:
            terms = [*USUAL.terms]
            terms[place] = odd
            tree = creating(ALICE, bytes(32), told.hash, terms)
            making = creation(ALICE, bytes(32), told.hash, terms)
            told.invoke(making, auth=[told.signed(ALICE, tree)], record=None)
    yield told


def tokens(story: Tell) -> Iterator[ChannelStory]:
    for odd in (ALICE.public_key, contract_named("no token"), USUAL.address):
        for amount in (0, 5):
            channel = replace(USUAL, token=odd, amount=amount)
            yield story(f"token-{odd}-created-with-{amount}", channel).create().look()
        told = story(f"token-{odd}", replace(USUAL, token=odd)).opened().look()
        yield told.top_up(5).settle(0).settle(5).close(0).close(5)


def parties(story: Tell) -> Iterator[ChannelStory]:
    told = story("recipient-is-the-funder", replace(USUAL, recipient=ALICE)).opened()
    yield told.settle(5).close(100).look()
    told = story("recipient-is-the-issuer", replace(USUAL, recipient=ISSUER)).opened()
    yield told.settle(5).close(100).look()
    told = story("recipient-is-the-channel", replace(USUAL, recipient=USUAL.address)).opened()
    yield told.settle(5, by=None).close(100, by=None).look()
    told = story("recipient-is-a-contract", replace(USUAL, recipient=SAFE)).opened()
    yield told.settle(5, by=None).close(100)
    told = story("recipient-is-missing", replace(IN_XLM, recipient=STRANGER)).opened()
    told.settle(XLM, source=STRANGER).settle(XLM - 1, source=STRANGER)
    yield told.settle(2 * XLM).look()
    told = story("recipient-has-no-trustline", replace(USUAL, recipient=SPONSOR)).opened()
    yield told.settle(5).close(0).close(5)
    told = story("funder-is-the-channel", replace(USUAL, funder=USUAL.address)).opened()
    yield told.top_up(5, by=None).close_start(by=None).refund(by=None).close(5)


def lifetimes(story: Tell) -> Iterator[ChannelStory]:
    for lives in (50, 120_960):
        told = story(f"archived-after-{lives}").opened(START + lives)
        told.settle(5).jump(lives + 1)
        told.settle(10).look()
        yield told.close(20)
        told = story(f"left-archived-after-{lives}").opened(START + lives)
        told.jump(lives + 1)
        yield told.settle(10, unrestored=True).ask("to", unrestored=True)
    told = story("created-and-left-alone").create()
    told.jump(120_958)
    told.look().jump(1)
    told.top_up(5).jump(1)
    told.top_up(5).jump(600_000)
    yield told.close(30).look()


def footprints(story: Tell) -> Iterator[ChannelStory]:
    keys = {
        "instance": data_key(USUAL.address, INSTANCE_KEY),
        "token": data_key(token(USD), INSTANCE_KEY),
        "balance": data_key(token(USD), balance_key(USUAL.address)),
        "recipient": trustline_key(BOB, USD),
        "funder": trustline_key(ALICE, USD),
        "recipients-account": account_key(BOB),
    }
    for name, key in keys.items():
        for restriction in ("without", "read_only"):
            told = story(f"footprint-{restriction}-{name}".replace("_", "-")).opened()
            options: dict[str, Any] = {restriction: [key], "record": None}
            told.settle(5, **options).top_up(5, **options).close_start(**options)
            told.close(50, **options).ask("balance", **options)
            yield told.refund(**options)
    for name in ("settle", "top_up"):
        told = story(f"footprint-without-code-{name}".replace("_", "-")).opened()
        code = xdr.LedgerKey(
            xdr.LedgerEntryType.CONTRACT_CODE,
            contract_code=xdr.LedgerKeyContractCode(xdr.Hash(told.hash)),
        ).to_xdr()
        take = told.settle if name == "settle" else told.top_up
        yield take(5, without=[code], record=None)


def recording(story: Tell) -> Iterator[ChannelStory]:
    for upgraded in (False, True):
        for non_root in (False, True):
            mark = f"{'v2' if upgraded else 'v1'}-{'any' if non_root else 'root'}"
            record = Record(non_root=non_root, upgraded=upgraded)
            told = story(f"recorded-{mark}").opened()
            for source in (ALICE, BOB, SPONSOR):
                options: dict[str, Any] = {"auth": None, "record": record, "source": source}
                told.top_up(5, **options).settle(5, **options).close(5, **options)
                told.close_start(**options).refund(**options)
            yield told
            told = story(f"recorded-creation-{mark}")
            for source in (ALICE, CAROL):
                function = creation(ALICE, USUAL.salt, told.hash, USUAL.terms)
                told.invoke(function, source, None, record=record)
            function = creation(CAROL, USUAL.salt, told.hash, USUAL.terms)
            told.invoke(function, CAROL, None, record=record)
            yield told
