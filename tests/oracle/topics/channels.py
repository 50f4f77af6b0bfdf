"""The one-way channel's whole life, and all that goes wrong in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from stellar_sdk import Keypair, scval, xdr

from tests.oracle import entries
from tests.oracle.authorization import ADDRESS_V2, Signing, by_source, calling
from tests.oracle.channels import COMMITMENT_KEY, Channel, creating, creation, wasm
from tests.oracle.entries import (
    ALICE,
    BOB,
    CAROL,
    INSTANCE_KEY,
    INT64_MAX,
    ISSUER,
    NATIVE,
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
from tests.oracle.story import FAR, START, Story, Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from random import Random

    from tests.oracle.scenario import Scenario

Tell = Callable[..., "ChannelStory"]
"""Begins a story about a channel."""
SAFE = contract_named("safe")
USUAL = Channel()
IN_XLM = Channel(token=token(NATIVE), amount=50 * XLM)
GETTERS = (
    *("token", "from", "to", "refund_waiting_period"),
    *("balance", "deposited", "withdrawn"),
)
_AMOUNTS = (-1, 0, 1, 100, 499, 500, 501, INT64_MAX, 2**127 - 1, -(2**127))


class ChannelStory(Story):
    """A scenario about one channel."""

    def __init__(self, name: str, codes: Mapping[str, bytes], channel: Channel, code: str) -> None:
        super().__init__(f"{code}s/{name}")
        self.code(code)
        self.channel = channel
        self.hash = codes[code]

    def opened(self, live_until: int = FAR, **stored: xdr.SCVal) -> Self:
        """The channel is there from the start, with its deposit."""
        channel = self.channel
        self.put(channel.instance(self.hash, **stored), live_until)
        if channel.amount > 0 and channel.token in {token(USD), token(NATIVE)}:
            asset = USD if channel.token == token(USD) else NATIVE
            self.put(entries.balance_of(channel.address, asset, channel.amount), live_until)
        return self

    def create(self, auth: list[str] | None = None, **options: Any) -> Self:
        channel = self.channel
        if auth is None:
            auth = self.creation_auth()
        function = creation(channel.deployer, channel.salt, self.hash, channel.terms)
        self.invoke(function, auth=auth, **options)
        return self

    def creation_auth(self) -> list[str]:
        channel = self.channel
        below = [channel.constructing()] if channel.amount > 0 else []
        if channel.deployer is channel.funder:
            tree = creating(channel.deployer, channel.salt, self.hash, channel.terms, below)
            return [self.signed(channel.funder, tree)]
        bare = creating(channel.deployer, channel.salt, self.hash, channel.terms)
        found = [self.signed(channel.deployer, bare)]
        return found + [self.signed(channel.funder, tree) for tree in below]

    def ask(self, function: str, *args: Value, **options: Any) -> Self:
        self.call(self.channel.address, function, *args, **options)
        return self

    def look(self) -> Self:
        for getter in GETTERS:
            self.ask(getter)
        return self

    def top_up(self, amount: int, **options: Any) -> Self:
        options.setdefault("by", self.channel.funder)
        return self.ask("top_up", amount, below=[self.channel.deposit(amount)], **options)

    def settle(self, amount: int, **options: Any) -> Self:
        return self.take("settle", amount, **options)

    def close(self, amount: int, **options: Any) -> Self:
        return self.take("close", amount, **options)

    def take(
        self, function: str, amount: int, signature: xdr.SCVal | None = None, **options: Any
    ) -> Self:
        options.setdefault("by", self.channel.recipient)
        return self.ask(function, amount, signature or self.channel.signature(amount), **options)

    def close_start(self, **options: Any) -> Self:
        options.setdefault("by", self.channel.funder)
        return self.ask("close_start", **options)

    def refund(self, **options: Any) -> Self:
        options.setdefault("by", self.channel.funder)
        return self.ask("refund", **options)


def scenarios(rng: Random, codes: Mapping[str, bytes]) -> Iterator[Scenario]:
    def story(name: str, channel: Channel = USUAL) -> ChannelStory:
        return ChannelStory(name, codes, channel, "channel")

    for part in (
        *(_creating, _topping_up, _taking, _bad_signatures, _closing, _starting, _refunding),
        *(_looking, _failed_refunds, _arguments, _odd_tokens, _lifetimes, _footprints),
        *(_odd_parties, _recording),
    ):
        yield from (told.told() for told in part(story))
    yield from (told.told() for told in _lives(story, rng, 60))


def published(rng: Random, codes: Mapping[str, bytes]) -> Iterator[Scenario]:
    """The build that was published, which differs in how it closes."""

    def story(name: str, channel: Channel = USUAL) -> ChannelStory:
        return ChannelStory(name, codes, channel, "published-channel")

    for part in (_taking, _closing, _failed_refunds):
        yield from (told.told() for told in part(story))
    yield from (told.told() for told in _lives(story, rng, 20))


def _creating(story: Tell) -> Iterator[ChannelStory]:
    for amount in _AMOUNTS:
        told = story(f"created-with-{amount}", replace(USUAL, amount=amount)).create()
        yield told.look()
    yield story("created-by-another", replace(USUAL, deployer=CAROL)).create().look()
    yield story("created-by-another-for-nothing", replace(USUAL, deployer=CAROL, amount=0)).create()
    yield story("created-in-xlm", IN_XLM).create().look()
    yield story("created-twice").create().create()
    told = story("created-with-the-creation-allowed-only")
    bare = creating(ALICE, bytes(32), told.hash, USUAL.terms)
    yield told.create([told.signed(ALICE, bare)])
    told = story("created-with-the-deposit-allowed-at-once")
    flat = creating(ALICE, bytes(32), told.hash, USUAL.terms, [USUAL.deposit(500)])
    yield told.create([told.signed(ALICE, flat)])
    told = story("created-with-two-entries")
    bare = creating(ALICE, bytes(32), told.hash, USUAL.terms)
    both = [told.signed(ALICE, bare), told.signed(ALICE, USUAL.constructing())]
    yield told.create(both)
    yield story("created-without-being-allowed").create([])
    told = story("created-for-a-stranger", replace(USUAL, funder=STRANGER, deployer=ALICE))
    yield told.create()
    told = story("created-as-the-source")
    tree = creating(ALICE, bytes(32), told.hash, USUAL.terms, [USUAL.constructing()])
    yield told.create([by_source(tree)], source=ALICE)
    told = story("created-with-upgraded-credentials")
    tree = creating(ALICE, bytes(32), told.hash, USUAL.terms, [USUAL.constructing()])
    yield told.create([told.signed(ALICE, tree, signing=Signing(kind=ADDRESS_V2))])
    told = story("created-from-an-unknown-code")
    told.hash = bytes(32)
    yield told.create()
    for count in (0, 5, 7):
        told = story(f"created-with-{count}-arguments")
        args = [*USUAL.terms, scval.to_void()][:count]
        tree = creating(ALICE, bytes(32), told.hash, args)
        function = creation(ALICE, bytes(32), told.hash, args)
        told.invoke(function, auth=[told.signed(ALICE, tree)])
        yield told


def _topping_up(story: Tell) -> Iterator[ChannelStory]:
    for amount in _AMOUNTS:
        yield story(f"topped-up-{amount}").opened().top_up(amount).look()
    told = story("topped-up-in-every-state").opened()
    told.top_up(1).close_start().top_up(2).jump(100)
    told.top_up(3).refund().top_up(4).close(0)
    yield told.top_up(5).look()
    told = story("topped-up-without-being-allowed").opened()
    told.top_up(5, by=None).top_up(0, by=None).top_up(5, by=CAROL)
    told.top_up(5, source=ALICE)
    yield told
    for name, below in (
        ("nothing-below", []),
        ("another-amount-below", [USUAL.deposit(6)]),
        ("twice-below", [USUAL.deposit(5)] * 2),
    ):
        told = story(f"topped-up-{name}").opened()
        tree = calling(USUAL.address, "top_up", [scval.to_int128(5)], below)
        yield told.ask("top_up", 5, auth=[told.signed(ALICE, tree)])
    told = story("topped-up-by-two-entries").opened()
    trees = [calling(USUAL.address, "top_up", [scval.to_int128(5)]), USUAL.deposit(5)]
    yield told.ask("top_up", 5, auth=[told.signed(ALICE, tree) for tree in trees])
    told = story("topped-up-by-a-transfer").opened()
    told.call(USD, "transfer", CAROL, USUAL.address, 77, by=CAROL)
    yield told.look().settle(560).look()


def _taking(story: Tell) -> Iterator[ChannelStory]:
    for function in ("settle", "close"):
        for amount in _AMOUNTS:
            yield story(f"{function}-{amount}").opened().take(function, amount).look()
        told = story(f"{function}-again-and-again").opened()
        for amount in (100, 100, 50, 140, 0, 500, 501):
            told.take(function, amount)
        yield told.look()
        told = story(f"{function}-in-every-state").opened()
        told.take(function, 10).close_start().take(function, 20).jump(99)
        told.take(function, 30).jump(1)
        told.take(function, 40).jump(1)
        told.take(function, 50).refund().take(function, 60).take(function, 55)
        yield told.look()
        told = story(f"{function}-without-being-allowed").opened()
        told.take(function, 10, by=None).take(function, 10, by=ALICE).take(function, -1, by=None)
        told.take(function, 10, source=BOB)
        yield told.take(function, 20, source=BOB)
        told = story(f"{function}-in-xlm", IN_XLM).opened()
        yield told.take(function, 20 * XLM).take(function, 60 * XLM).look()


def _bad_signatures(story: Tell) -> Iterator[ChannelStory]:
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


def _closing(story: Tell) -> Iterator[ChannelStory]:
    yield story("closed-twice").opened().close(100).look().close(100).close(120).look()
    yield story("closed-with-all").opened().close(500).look().refund()
    yield story("closed-when-empty", replace(USUAL, amount=0)).opened().close(0).look()
    yield story("closed-after-settling").opened().settle(100).close(100).look()
    yield story("closed-with-an-older-commitment").opened().settle(100).close(60).look()
    told = story("closed-while-closing").opened().close_start()
    told.jump(50)
    yield told.close(100).close_start().refund()
    told = story("closed-after-closing").opened().close_start()
    told.jump(100)
    yield told.close(100).top_up(7).close(102).look()
    yield story("closed-then-topped-up").opened().close(100).top_up(50).close(120).look().refund()


def _starting(story: Tell) -> Iterator[ChannelStory]:
    for period in (0, 1, 100, 2**32 - 1, 2**32 - START, 2**32 - START - 1):
        told = story(f"closing-takes-{period}", replace(USUAL, period=period)).opened()
        told.close_start().close_start().refund()
        told.jump(1)
        yield told.close_start().refund().settle(5)
    told = story("closing-is-put-off").opened().close_start()
    told.jump(99)
    told.close_start().jump(1)
    told.refund().close_start().jump(100)
    yield told.refund().close_start()
    told = story("closing-without-being-allowed").opened()
    told.close_start(by=None).close_start(by=BOB).close_start(source=ALICE)
    told.jump(100)
    yield told.close_start(by=None)


def _refunding(story: Tell) -> Iterator[ChannelStory]:
    yield story("refund-before-closing").opened().refund().refund(by=None)
    for waits in (1, 99, 100, 101):
        told = story(f"refund-after-{waits}").opened().close_start()
        told.jump(waits)
        yield told.refund().look().refund()
    told = story("refund-of-nothing", replace(USUAL, amount=0)).opened().close_start()
    told.jump(100)
    yield told.refund()
    told = story("refund-without-being-allowed").opened().close_start()
    told.jump(100)
    yield told.refund(by=None).refund(by=BOB).refund(source=ALICE)
    yield story("refund-after-close").opened().close(100).refund()
    told = story("refund-in-xlm", IN_XLM).opened().settle(XLM).close_start()
    told.jump(100)
    yield told.refund().look()


def _looking(story: Tell) -> Iterator[ChannelStory]:
    told = story("looked-at").opened()
    for amount in _AMOUNTS:
        told.ask("prepare_commitment", amount)
    yield told.look()
    told = story("looked-at-too-much", replace(USUAL, amount=2**127 - 1))
    yield told.opened(WithdrawnAmount=scval.to_int128(1)).look()
    told = story("looked-at-where-there-is-none")
    yield told.look().settle(5).close_start().refund()
    yield story("called-by-reserved-names").ask("__constructor").ask("__check_auth").ask("nothing")
    told = story("without-its-terms")
    empty = entries.instance(wasm(told.hash), {})
    told.put(entries.contract_data(USUAL.address, INSTANCE_KEY, empty), FAR)
    told.look().settle(5, by=None).close(5, by=None).close_start(by=None).refund(by=None)
    yield told.top_up(5, by=None).ask("prepare_commitment", 5)


def _failed_refunds(story: Tell) -> Iterator[ChannelStory]:
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


def _arguments(story: Tell) -> Iterator[ChannelStory]:
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


def _odd_tokens(story: Tell) -> Iterator[ChannelStory]:
    for odd in (ALICE.public_key, contract_named("no token"), USUAL.address):
        for amount in (0, 5):
            channel = replace(USUAL, token=odd, amount=amount)
            yield story(f"token-{odd}-created-with-{amount}", channel).create().look()
        told = story(f"token-{odd}", replace(USUAL, token=odd)).opened().look()
        yield told.top_up(5).settle(0).settle(5).close(0).close(5)


def _odd_parties(story: Tell) -> Iterator[ChannelStory]:
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


def _lifetimes(story: Tell) -> Iterator[ChannelStory]:
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


def _footprints(story: Tell) -> Iterator[ChannelStory]:
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


def _recording(story: Tell) -> Iterator[ChannelStory]:
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


def _lives(story: Tell, rng: Random, lives: int) -> Iterator[ChannelStory]:
    for number in range(lives):
        channel = rng.choice((USUAL, IN_XLM, replace(USUAL, amount=0)))
        unit = XLM // 10 if channel.token == token(NATIVE) else 1
        told = story(f"life-{number}", channel)
        if rng.random() < 0.5:
            told.create()
        else:
            told.opened()
        for _ in range(14):
            amount = rng.choice((0, 10, 100, 200, 400, 500, 700, rng.randrange(1_000))) * unit
            match rng.randrange(9):
                case 0 | 1:
                    told.top_up(amount // 4)
                case 2 | 3:
                    told.settle(amount)
                case 4:
                    told.close(amount)
                case 5:
                    told.close_start()
                case 6:
                    told.refund()
                case 7:
                    told.ask(rng.choice(GETTERS))
                case _:
                    told.jump(rng.choice((1, 50, 99, 100, 130_000)))
        yield told
