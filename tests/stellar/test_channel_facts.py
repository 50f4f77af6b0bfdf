"""What is read of channels off the ledger, and what is made of answers that make no sense."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stellar_sdk import Address, Keypair, StrKey, scval, xdr

from mpp_asgi.intents import FaultError, RefusalError
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.channel import (
    ChannelFacts,
    NotAChannelError,
    read_channel,
    read_channels,
    require_acceptable,
)
from mpp_asgi.stellar.channel_facts import channels_a_call, get_channels
from mpp_asgi.stellar.ledger import Ledger
from mpp_asgi.stellar.rpc_call import RpcUnavailableError
from mpp_asgi.stellar.rpc_drivers import InProcessRpc

CHANNEL = StrKey.encode_contract(bytes(range(32)))
TOKEN = StrKey.encode_contract(bytes(range(1, 33)))
OTHER_TOKEN = StrKey.encode_contract(bytes(range(2, 34)))
FUNDER = Keypair.from_raw_ed25519_seed(bytes(31) + b"f").public_key
RECIPIENT = Keypair.from_raw_ed25519_seed(bytes(31) + b"r").public_key
KEY = Keypair.from_raw_ed25519_seed(bytes(31) + b"k").raw_public_key()
WASM_HASH = bytes(range(3, 35))
LEDGER = 1_000

TERMS = {
    "CommitmentKey": scval.to_bytes(KEY),
    "From": scval.to_address(FUNDER),
    "RefundWaitingPeriod": scval.to_uint32(17_280),
    "To": scval.to_address(RECIPIENT),
    "Token": scval.to_address(TOKEN),
}
WASM = xdr.ContractExecutable(
    xdr.ContractExecutableType.CONTRACT_EXECUTABLE_WASM, wasm_hash=xdr.Hash(WASM_HASH)
)
ASSET = xdr.ContractExecutable(xdr.ContractExecutableType.CONTRACT_EXECUTABLE_STELLAR_ASSET)
INSTANCE = xdr.SCVal(xdr.SCValType.SCV_LEDGER_KEY_CONTRACT_INSTANCE)
FACTS = ChannelFacts(
    id=CHANNEL,
    wasm_hash=WASM_HASH.hex(),
    token=TOKEN,
    funder=FUNDER,
    recipient=RECIPIENT,
    key=KEY.hex(),
    waiting_period=17_280,
    balance=400,
    withdrawn=100,
    closes_at=None,
    ledger=LEDGER,
)


def stored(
    contract: str,
    key: xdr.SCVal,
    value: xdr.SCVal,
    durability: xdr.ContractDataDurability = xdr.ContractDataDurability.PERSISTENT,
) -> str:
    data = xdr.ContractDataEntry(
        xdr.ExtensionPoint(0), Address(contract).to_xdr_sc_address(), key, durability, value
    )
    return xdr.LedgerEntryData(xdr.LedgerEntryType.CONTRACT_DATA, contract_data=data).to_xdr()


def instance(
    terms: dict[str, xdr.SCVal],
    *,
    executable: xdr.ContractExecutable = WASM,
    more: tuple[xdr.SCMapEntry, ...] = (),
) -> str:
    entries = [
        xdr.SCMapEntry(scval.to_vec([scval.to_symbol(name)]), value)
        for name, value in terms.items()
    ]
    kept = xdr.SCContractInstance(executable, xdr.SCMap([*more, *entries]))
    return stored(CHANNEL, INSTANCE, xdr.SCVal(xdr.SCValType.SCV_CONTRACT_INSTANCE, instance=kept))


def balance(amount: int, *, authorized: bool = True, token: str = TOKEN) -> str:
    fields = {
        "amount": scval.to_int128(amount),
        "authorized": scval.to_bool(authorized),
        "clawback": scval.to_bool(False),
    }
    return stored(token, balance_key(), symbol_map(fields))


def symbol_map(fields: dict[str, xdr.SCVal]) -> xdr.SCVal:
    return scval.to_map({scval.to_symbol(name): value for name, value in fields.items()})


def balance_key() -> xdr.SCVal:
    return scval.to_vec([scval.to_symbol("Balance"), scval.to_address(CHANNEL)])


def ledger_key(contract: str, key: xdr.SCVal) -> str:
    data = xdr.LedgerKeyContractData(
        Address(contract).to_xdr_sc_address(), key, xdr.ContractDataDurability.PERSISTENT
    )
    return xdr.LedgerKey(xdr.LedgerEntryType.CONTRACT_DATA, contract_data=data).to_xdr()


class Node:
    """Answers with these entries, whatever it is asked."""

    def __init__(self, *entries: str) -> None:
        self.entries = entries
        self.asked: list[list[str]] = []

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(request["params"]["keys"])
        entries = [{"key": "", "xdr": entry, "lastModifiedLedgerSeq": 1} for entry in self.entries]
        return {"id": request["id"], "result": {"entries": entries, "latestLedger": LEDGER}}


def ledger(node: Any) -> Ledger:
    async def sleep(seconds: float) -> None:
        raise AssertionError("nothing to wait for")

    return Ledger(
        InProcessRpc(node), clock=lambda: 0.0, sleep=sleep, poll_seconds=1, patience_seconds=1
    )


async def read(*entries: str, tokens: tuple[str, ...] = (TOKEN,)) -> ChannelFacts:
    return await read_channel(ledger(Node(*entries)), CHANNEL, tokens)


async def test_a_channel_in_one_call() -> None:
    terms = {**TERMS, "WithdrawnAmount": scval.to_int128(100)}
    node = Node(balance(400), instance(terms))
    assert await read_channel(ledger(node), CHANNEL, [TOKEN]) == FACTS
    assert FACTS.deposited == 500
    assert node.asked == [[ledger_key(CHANNEL, INSTANCE), ledger_key(TOKEN, balance_key())]]


async def test_a_channel_that_was_never_paid_from_nor_into() -> None:
    facts = await read(instance(TERMS))
    assert (facts.balance, facts.withdrawn, facts.deposited) == (0, 0, 0)


@pytest.mark.parametrize(("entries", "shown"), [((), False), ((0,), True), ((1,), True)])
async def test_no_balance_is_another_thing_than_one_of_nothing(
    entries: tuple[int, ...], *, shown: bool
) -> None:
    facts = await read(*map(balance, entries), instance(TERMS))
    assert facts.shows_balance == shown
    assert facts.balance == sum(entries)


async def test_the_balance_is_that_of_its_own_token() -> None:
    entries = balance(7, token=OTHER_TOKEN), balance(400), instance(TERMS)
    assert (await read(*entries, tokens=(OTHER_TOKEN, TOKEN))).balance == 400
    assert (
        await read(balance(7, token=OTHER_TOKEN), instance(TERMS), tokens=(OTHER_TOKEN,))
    ).balance == 0


async def test_a_frozen_balance_is_good_for_nothing() -> None:
    facts = await read(balance(400, authorized=False), instance(TERMS))
    assert (facts.balance, facts.frozen, facts.shows_balance) == (0, 400, True)
    assert (await read(balance(400), instance(TERMS))).frozen == 0


@pytest.mark.parametrize(
    ("closes_at", "closed"), [(None, False), (LEDGER + 1, False), (LEDGER, True), (0, True)]
)
async def test_closing(closes_at: int | None, *, closed: bool) -> None:
    terms = dict(TERMS)
    if closes_at is not None:
        terms["CloseEffectiveAtLedger"] = scval.to_uint32(closes_at)
    facts = await read(instance(terms))
    assert facts.closes_at == closes_at
    assert facts.is_closed == closed


async def test_what_else_a_channel_keeps_does_not_matter() -> None:
    more = (
        xdr.SCMapEntry(scval.to_symbol("Token"), scval.to_void()),
        xdr.SCMapEntry(scval.to_vec([scval.to_symbol("Token"), scval.to_void()]), scval.to_void()),
        xdr.SCMapEntry(scval.to_uint32(7), scval.to_void()),
    )
    assert (await read(instance(TERMS, more=more))).token == TOKEN


# What is none


WRONG: list[tuple[str, xdr.SCVal]] = [
    ("CommitmentKey", scval.to_bytes(KEY[:31])),
    ("CommitmentKey", scval.to_symbol("key")),
    ("From", scval.to_symbol(FUNDER[:32])),
    ("RefundWaitingPeriod", scval.to_uint64(17_280)),
    ("To", scval.to_void()),
    ("Token", scval.to_bytes(bytes(32))),
    ("WithdrawnAmount", scval.to_uint128(5)),
    ("WithdrawnAmount", scval.to_int128(-1)),
    ("CloseEffectiveAtLedger", scval.to_uint64(5)),
    ("CloseEffectiveAtLedger", scval.to_void()),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=lambda each: str(each)[:20])
async def test_terms_of_another_kind(name: str, value: xdr.SCVal) -> None:
    with pytest.raises(NotAChannelError, match="not a payment channel"):
        await read(instance({**TERMS, name: value}))


@pytest.mark.parametrize("name", TERMS)
async def test_terms_that_are_missing(name: str) -> None:
    with pytest.raises(NotAChannelError, match="not a payment channel"):
        await read(instance({key: value for key, value in TERMS.items() if key != name}))


async def test_tokens_are_no_channels() -> None:
    with pytest.raises(NotAChannelError, match="token"):
        await read(instance(TERMS, executable=ASSET))


async def test_nothing_there() -> None:
    with pytest.raises(NotAChannelError, match="no such channel"):
        await read()


@pytest.mark.parametrize(
    "channel", ["", "C", FUNDER, CHANNEL.lower(), CHANNEL[:-1] + "A", CHANNEL + "A", "\0", "é" * 56]
)
async def test_what_is_no_address_is_not_asked_for(channel: str) -> None:
    node = Node()
    with pytest.raises(NotAChannelError, match="address"):
        await read_channel(ledger(node), channel, [TOKEN])
    assert node.asked == []


# Answers that make no sense


SENSELESS = {
    "garbage": base64.b64encode(bytes(40)).decode(),
    "no base64": "!",
    "not asked for": stored(TOKEN, INSTANCE, scval.to_void()),
    "of another durability": stored(
        CHANNEL, INSTANCE, scval.to_void(), xdr.ContractDataDurability.TEMPORARY
    ),
    "no instance": stored(CHANNEL, INSTANCE, scval.to_void()),
    "no balance": stored(TOKEN, balance_key(), scval.to_void()),
    "a balance without amount": stored(
        TOKEN, balance_key(), symbol_map({"authorized": scval.to_bool(True)})
    ),
    "a balance that says nothing of leave": stored(
        TOKEN, balance_key(), symbol_map({"amount": scval.to_int128(5)})
    ),
    "a balance of another width": stored(
        TOKEN,
        balance_key(),
        symbol_map({"amount": scval.to_int64(5), "authorized": scval.to_bool(True)}),
    ),
}


@pytest.mark.parametrize("entry", SENSELESS.values(), ids=SENSELESS)
async def test_senseless_answers_are_no_answers(entry: str) -> None:
    with pytest.raises(FaultError):
        await read(instance(TERMS), entry)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_entries_do_no_harm(data: st.DataObject) -> None:
    """A bit or a byte is wrong somewhere: the answer is senseless, or none, or about a channel."""
    raw = bytearray(base64.b64decode(data.draw(st.sampled_from([instance(TERMS), balance(400)]))))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] = data.draw(st.integers(0, 255))
    node = Node(
        base64.b64encode(raw[: data.draw(st.integers(0, len(raw)))]).decode(), instance(TERMS)
    )
    call = get_channels([CHANNEL], [TOKEN])
    try:
        found = call.result(node(call.request(1)), 1)[CHANNEL]
    except RpcUnavailableError:
        return
    assert isinstance(found, ChannelFacts | NotAChannelError)


# Many


async def test_many_channels_take_few_calls() -> None:
    channels = [StrKey.encode_contract(number.to_bytes(32, "big")) for number in range(250)]
    node = Node()
    facts = await read_channels(ledger(node), channels, [TOKEN])
    assert facts == dict.fromkeys(channels)
    assert [len(keys) for keys in node.asked] == [200, 200, 100]
    node = Node()
    await read_channels(ledger(node), channels, [TOKEN, OTHER_TOKEN])
    assert max(len(keys) for keys in node.asked) <= 200
    assert len(node.asked) == 4
    assert await read_channels(ledger(node), [], [TOKEN]) == {}


async def test_each_channel_has_its_own_facts() -> None:
    other = StrKey.encode_contract(bytes(32))
    node = Node(balance(400), instance({**TERMS, "WithdrawnAmount": scval.to_int128(100)}))
    assert await read_channels(ledger(node), [other, CHANNEL], [TOKEN]) == {
        other: None,
        CHANNEL: FACTS,
    }


def test_more_than_a_node_takes() -> None:
    channels = [StrKey.encode_contract(number.to_bytes(32, "big")) for number in range(101)]
    assert channels_a_call([TOKEN]) == 100
    with pytest.raises(ValueError, match="200 keys"):
        get_channels(channels, [TOKEN])
    with pytest.raises(ValueError, match="not the address"):
        get_channels([FUNDER], [TOKEN])
    with pytest.raises(ValueError, match="not the address"):
        get_channels([CHANNEL], ["USDC"])


async def test_the_sandbox_has_no_such_channel() -> None:
    sandbox = Sandbox(clock=lambda: 1e9, close_interval=None)
    with pytest.raises(NotAChannelError, match="no such channel"):
        await read_channel(ledger(sandbox.rpc), CHANNEL, [sandbox.usdc])
    for contract in (sandbox.usdc, sandbox.channel_factory):
        with pytest.raises(NotAChannelError):
            await read_channel(ledger(sandbox.rpc), contract, [sandbox.usdc])


# Judging


def judge(facts: ChannelFacts) -> None:
    require_acceptable(
        facts,
        token=TOKEN,
        recipient=RECIPIENT,
        wasm_hashes=[WASM_HASH.hex()],
        min_waiting_period=17_280,
    )


def test_a_good_channel() -> None:
    judge(FACTS)


@pytest.mark.parametrize(
    ("change", "slug", "detail"),
    [
        ({"wasm_hash": "11" * 32}, "verification-failed", "code"),
        ({"recipient": FUNDER}, "verification-failed", "recipient"),
        ({"token": OTHER_TOKEN}, "verification-failed", "token"),
        ({"waiting_period": 17_279}, "verification-failed", "17280 ledgers"),
        ({"key": "01" + "00" * 31}, "verification-failed", "key"),
        ({"closes_at": LEDGER + 9}, "session/channel-finalized", "closed"),
        ({"closes_at": 0}, "session/channel-finalized", "closed"),
    ],
    ids=["code", "recipient", "token", "waiting period", "key", "closing", "closed"],
)
def test_channels_that_will_not_do(change: dict[str, Any], slug: str, detail: str) -> None:
    values = {name: getattr(FACTS, name) for name in FACTS.__slots__}
    with pytest.raises(RefusalError) as refused:
        judge(ChannelFacts(**{**values, **change}))
    assert refused.value.problem.slug == slug
    assert detail in refused.value.problem.detail
