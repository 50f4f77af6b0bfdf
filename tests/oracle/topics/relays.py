"""Contracts that call others: trees of authorization, contracts that sign, what is undone."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any, Self

from stellar_sdk import Keypair, scval, xdr

from tests.oracle import entries
from tests.oracle.authorization import (
    ADDRESS,
    ADDRESS_V2,
    DELEGATES,
    Invocation,
    Signing,
    by_source,
    calling,
)
from tests.oracle.channels import creating, creation, wasm
from tests.oracle.entries import (
    ALICE,
    BOB,
    CAROL,
    INSTANCE_KEY,
    NATIVE,
    SPONSOR,
    USD,
    XLM,
    balance_key,
    contract_named,
    data_key,
    token,
    trustline_key,
)
from tests.oracle.scenario import Record
from tests.oracle.story import FAR, START, Story, Value, Who, value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from random import Random

    from tests.oracle.scenario import Scenario

FIRST, SECOND, THIRD = (contract_named(f"relay {number}") for number in (1, 2, 3))
RELAYS = (FIRST, SECOND, THIRD)
_KINDS = (ADDRESS, ADDRESS_V2)


class RelayStory(Story):
    """A scenario with three relays that each hold something."""

    def __init__(self, name: str, codes: Mapping[str, bytes]) -> None:
        super().__init__(f"relays/{name}")
        self.code("relay")
        self.hash = codes["relay"]
        for relay in RELAYS:
            value_of = entries.instance(wasm(self.hash), {})
            self.put(entries.contract_data(relay, INSTANCE_KEY, value_of), FAR)
            self.put(entries.balance_of(relay, USD, 50), FAR)

    def ask(self, relay: str, function: str, *args: Value, **options: Any) -> Self:
        self.call(relay, function, *args, **options)
        return self

    def by_contract(
        self, relay: str, tree: Invocation, calls: int, kind: xdr.SorobanCredentialsType = ADDRESS
    ) -> str:
        """An entry of a relay, whose signature is how many calls it allows."""
        signing = Signing(kind=kind, signature=scval.to_uint32(calls))
        return self.signed(relay, tree, signing=signing)

    def allowed(self, who: Who, tree: Invocation, rng: Random) -> str:
        kind = rng.choice(_KINDS)
        if isinstance(who, Keypair):
            return self.signed(who, tree, signing=Signing(kind=kind))
        calls = 1 + len(tree.sub_invocations)
        return self.by_contract(who, tree, calls if rng.random() < 0.9 else 0, kind)


def payment(owner: Who = ALICE, amount: int = 5, to: Who = BOB) -> list[Value]:
    return [owner, token(USD), to, amount]


def moving(owner: Who = ALICE, amount: int = 5, to: Who = BOB) -> Invocation:
    return calling(token(USD), "transfer", [value(arg) for arg in (owner, to, amount)])


def asking(
    relay: str, function: str, args: Sequence[Value], below: Sequence[Invocation] = ()
) -> Invocation:
    return calling(relay, function, [value(arg) for arg in args], below)


def scenarios(rng: Random, codes: Mapping[str, bytes]) -> Iterator[Scenario]:
    for part in (_paying, _paying_twice, _passing_on, _own, _failing, _reentering, _signing):
        yield from (story.told() for story in part(codes))
    yield from (story.told() for story in _creating(codes))
    yield from (story.told() for story in _series(codes, rng))


def _paying(codes: Mapping[str, bytes]) -> Iterator[RelayStory]:
    whole = asking(FIRST, "pay_for", payment(), [moving()])
    bare = asking(FIRST, "pay_for", payment())
    trees = {
        "whole": [whole],
        "bare": [bare],
        "transfer-only": [moving()],
        "in-two": [bare, moving()],
        "in-two-turned": [moving(), bare],
        "whole-and-transfer": [whole, moving()],
        "bare-and-whole": [bare, whole],
        "whole-twice": [whole, whole],
        "more-below": [asking(FIRST, "pay_for", payment(), [moving(), moving(amount=6)])],
        "other-first": [asking(FIRST, "pay_for", payment(), [moving(amount=6), moving()])],
        "deeper": [asking(FIRST, "pay_for", payment(), [bare])],
        "other-relay": [asking(SECOND, "pay_for", payment(), [moving()])],
        "other-amount": [asking(FIRST, "pay_for", payment(), [moving(amount=4)])],
    }
    for name, given in trees.items():
        for kind in _KINDS:
            mark = "v1" if kind is ADDRESS else "v2"
            story = RelayStory(f"paying-{name}-{mark}", codes)
            auth = [story.signed(ALICE, tree, signing=Signing(kind=kind)) for tree in given]
            yield story.ask(FIRST, "pay_for", *payment(), auth=auth)
        story = RelayStory(f"paying-{name}-source", codes)
        auth = [by_source(tree) for tree in given]
        yield story.ask(FIRST, "pay_for", *payment(), auth=auth, source=ALICE)
    for first, second in combinations_with_replacement(list(trees), 2):
        story = RelayStory(f"paying-{first}-by-source-{second}-signed", codes)
        auth = [by_source(tree) for tree in trees[first]]
        auth += [story.signed(ALICE, tree) for tree in trees[second]]
        yield story.ask(FIRST, "pay_for", *payment(), auth=auth, source=ALICE, record=None)


def _paying_twice(codes: Mapping[str, bytes]) -> Iterator[RelayStory]:
    def tree(transfers: int) -> Invocation:
        return asking(FIRST, "pay_twice", payment(), [moving()] * transfers)

    cases = {
        **{f"with-{count}-below": [tree(count)] for count in range(4)},
        "in-two": [tree(1), tree(1)],
        "beside": [tree(0), moving(), moving()],
        "one-beside": [tree(1), moving()],
        "one-beside-first": [moving(), tree(1)],
        "two-beside": [tree(2), moving(), moving()],
    }
    for name, given in cases.items():
        story = RelayStory(f"paying-twice-{name}", codes)
        auth = [story.signed(ALICE, part) for part in given]
        yield story.ask(FIRST, "pay_twice", *payment(), auth=auth)
    story = RelayStory("paying-twice-more-than-there-is", codes)
    rich = payment(amount=60 * XLM)
    below = [moving(amount=60 * XLM)] * 2
    story.ask(FIRST, "pay_twice", *rich, by=ALICE, below=below)
    yield story.ask(FIRST, "count")


def _passing_on(codes: Mapping[str, bytes]) -> Iterator[RelayStory]:
    below = asking(SECOND, "pay_for", payment(), [moving()])
    args = [SECOND, *payment()]
    trees = {
        "root-below": [below],
        "root-here": [asking(FIRST, "pass_on", args, [below])],
        "both": [asking(FIRST, "pass_on", args), below],
        "transfer-only": [moving()],
        "in-two": [asking(SECOND, "pay_for", payment()), moving()],
        "none": [],
    }
    for name, given in trees.items():
        for non_root in (False, True):
            story = RelayStory(f"passed-on-{name}-{non_root}", codes)
            auth = [story.signed(ALICE, tree) for tree in given]
            record = Record(non_root=non_root)
            yield story.ask(FIRST, "pass_on", *args, auth=auth, record=record)
    for source in (ALICE, SPONSOR):
        for upgraded in (False, True):
            mark = "owner" if source is ALICE else "sponsor"
            story = RelayStory(f"passed-on-recorded-{mark}-{upgraded}", codes)
            record = Record(non_root=True, upgraded=upgraded)
            options: dict[str, Any] = {"source": source, "record": record, "auth": None}
            story.ask(FIRST, "pass_on", *args, **options)
            story.ask(FIRST, "pay_twice", *payment(), **options)
            story.ask(FIRST, "pay_for", *payment(SECOND), **options)
            yield story.ask(FIRST, "pay_for", *payment(FIRST), **options)


def _own(codes: Mapping[str, bytes]) -> Iterator[RelayStory]:
    story = RelayStory("paid-out", codes)
    for amount in (-1, 0, 5, 45, 1):
        story.ask(FIRST, "pay_out", token(USD), BOB, amount)
    yield story.ask(FIRST, "pay_out", token(NATIVE), BOB, 1)
    for allowed in (True, False):
        for other in (SECOND, FIRST, contract_named("nobody"), ALICE.public_key, token(USD)):
            story = RelayStory(f"had-paid-by-{other}-{allowed}", codes)
            args: list[Value] = [other, token(USD), BOB, 5, allowed]
            for non_root in (False, True):
                record = Record(non_root=non_root)
                story.ask(FIRST, "have_it_paid", *args, record=record)
            yield story.ask(FIRST, "have_it_paid", other, token(USD), BOB, 51, allowed)
    story = RelayStory("had-paid-with-an-entry", codes)
    tree = moving(FIRST)
    auth = [story.by_contract(FIRST, tree, 1)]
    yield story.ask(FIRST, "have_it_paid", SECOND, token(USD), BOB, 5, False, auth=auth)


def _failing(codes: Mapping[str, bytes]) -> Iterator[RelayStory]:
    story = RelayStory("failing-after-all", codes)
    story.ask(FIRST, "fail", *payment(), by=ALICE, below=[moving()])
    yield story.ask(FIRST, "count").call(USD, "balance", ALICE)
    names = ("fail", "pay_for", "pay_twice", "count", "nothing", "__check_auth", "pass_on")
    for name in names:
        for other in (SECOND, contract_named("nobody"), token(USD)):
            story = RelayStory(f"attempted-{name}-of-{other}", codes)
            below = asking(other, name, payment(), [moving()])
            args = [other, scval.to_symbol(name), *payment()]
            auth = [story.signed(ALICE, below)]
            story.ask(FIRST, "attempt", *args, auth=auth, record=Record(non_root=True))
            story.ask(FIRST, "attempt", *args)
            yield story.ask(FIRST, "count")
    for amount in (5, 60 * XLM, -1):
        failing = asking(SECOND, "fail", payment(amount=amount), [moving(amount=amount)])
        paying = asking(SECOND, "pay_for", payment(amount=amount), [moving(amount=amount)])
        cases = {
            "both": [failing, paying],
            "paying-only": [paying],
            "failing-only": [failing],
            "paying-first": [paying, failing],
            "paying-twice": [paying, paying],
        }
        for name, given in cases.items():
            story = RelayStory(f"tried-then-paid-{amount}-{name}", codes)
            auth = [story.signed(ALICE, tree) for tree in given]
            args = [SECOND, *payment(amount=amount)]
            record = Record(non_root=True)
            story.ask(FIRST, "try_then_pay", *args, auth=auth, record=record)
            yield story.ask(FIRST, "try_then_pay", *args, auth=auth, record=None)
    keys = {
        "instance": data_key(SECOND, INSTANCE_KEY),
        "line": trustline_key(BOB, USD),
        "token": data_key(token(USD), INSTANCE_KEY),
    }
    for name, key in keys.items():
        for restriction in ("without", "read_only"):
            story = RelayStory(f"attempted-footprint-{restriction}-{name}", codes)
            below = asking(SECOND, "pay_for", payment(), [moving()])
            args = [SECOND, scval.to_symbol("pay_for"), *payment()]
            auth = [story.signed(ALICE, below)]
            options: dict[str, Any] = {restriction: [key], "record": None}
            yield story.ask(FIRST, "attempt", *args, auth=auth, **options)
    story = RelayStory("attempted-after-it-was-archived", codes)
    value_of = entries.instance(wasm(story.hash), {})
    story.put(entries.contract_data(SECOND, INSTANCE_KEY, value_of), START - 1)
    args = [SECOND, scval.to_symbol("count"), *payment()]
    yield story.ask(FIRST, "attempt", *args).ask(FIRST, "attempt", *args, unrestored=True)


def _reentering(codes: Mapping[str, bytes]) -> Iterator[RelayStory]:
    story = RelayStory("called-back", codes)
    story.ask(FIRST, "call_back", SECOND).ask(FIRST, "call_back", FIRST)
    story.ask(FIRST, "calls", SECOND).ask(FIRST, "calls", FIRST)
    args = [FIRST, scval.to_symbol("count"), *payment()]
    yield story.ask(FIRST, "attempt", *args).ask(FIRST, "calls", token(USD))


def _signing(codes: Mapping[str, bytes]) -> Iterator[RelayStory]:
    """Contracts that allow something, by their own rules."""
    for kind in (ADDRESS, ADDRESS_V2, DELEGATES):
        for calls in (0, 1, 2):
            story = RelayStory(f"signed-by-a-contract-{kind}-{calls}", codes)
            entry = story.by_contract(FIRST, moving(FIRST), calls, kind)
            story.call(USD, "transfer", FIRST, BOB, 5, auth=[entry])
            yield story.call(USD, "transfer", FIRST, BOB, 5, auth=[entry])
    for relay in (FIRST, SECOND):
        for calls in (1, 2):
            story = RelayStory(f"signed-for-a-call-of-{relay}-{calls}", codes)
            tree = asking(relay, "pay_for", payment(FIRST), [moving(FIRST)])
            auth = [story.by_contract(FIRST, tree, calls)]
            yield story.ask(relay, "pay_for", *payment(FIRST), auth=auth)
    for name, signature in {
        "void": scval.to_void(),
        "i128": scval.to_int128(1),
        "vec": scval.to_vec([]),
        "big": scval.to_uint32(2**32 - 1),
    }.items():
        story = RelayStory(f"signed-with-{name}", codes)
        entry = story.signed(FIRST, moving(FIRST), signing=Signing(signature=signature))
        yield story.call(USD, "transfer", FIRST, BOB, 5, auth=[entry])
    for expiration in (START - 1, START, START + 3_110_399, START + 3_110_400):
        story = RelayStory(f"signed-until-{expiration}", codes)
        signing = Signing(signature=scval.to_uint32(1))
        entry = story.signed(FIRST, moving(FIRST), expiration=expiration, signing=signing)
        yield story.call(USD, "transfer", FIRST, BOB, 5, auth=[entry])
    story = RelayStory("signed-by-a-contract-without-its-code", codes)
    code = xdr.LedgerKey(
        xdr.LedgerEntryType.CONTRACT_CODE,
        contract_code=xdr.LedgerKeyContractCode(xdr.Hash(story.hash)),
    ).to_xdr()
    entry = story.by_contract(FIRST, moving(FIRST), 1)
    for missing in (code, data_key(FIRST, INSTANCE_KEY), data_key(token(USD), balance_key(FIRST))):
        options: dict[str, Any] = {"auth": [entry], "without": [missing], "record": None}
        story.call(USD, "transfer", FIRST, BOB, 5, **options)
    yield story
    story = RelayStory("signed-while-it-runs-further-up", codes)
    tree = asking(SECOND, "pay_for", payment(FIRST), [moving(FIRST)])
    auth = [story.by_contract(FIRST, tree, 2)]
    args = [SECOND, *payment(FIRST)]
    story.ask(FIRST, "pass_on", *args, auth=auth, record=Record(non_root=True))
    auth = [story.by_contract(THIRD, asking(SECOND, "pay_for", payment(THIRD), [moving(THIRD)]), 2)]
    args = [SECOND, *payment(THIRD)]
    yield story.ask(FIRST, "pass_on", *args, auth=auth, record=Record(non_root=True))


def _creating(codes: Mapping[str, bytes]) -> Iterator[RelayStory]:
    salt = bytes(32)
    for deployer in (ALICE, FIRST):
        mark = "account" if deployer is ALICE else "contract"
        for args in ([], [scval.to_void()]):
            story = RelayStory(f"created-by-{mark}-{len(args)}", codes)
            tree = creating(deployer, salt, story.hash, args)
            entry = (
                story.by_contract(deployer, tree, 1)
                if isinstance(deployer, str)
                else story.signed(deployer, tree)
            )
            story.invoke(creation(deployer, salt, story.hash, args), auth=[entry])
            story.invoke(creation(deployer, salt, story.hash, args), auth=[entry])
            yield story


def _series(codes: Mapping[str, bytes], rng: Random) -> Iterator[RelayStory]:
    """Calls with every tree that could be meant, some spoilt."""
    for number in range(40):
        story = RelayStory(f"series-{number}", codes)
        for _ in range(6):
            owner = rng.choice((ALICE, ALICE, CAROL, FIRST, THIRD))
            amount = rng.choice((0, 1, 5, 30))
            relay, other = rng.sample(RELAYS, 2)
            args = payment(owner, amount, rng.choice((BOB, SECOND)))
            to = args[2]
            assert isinstance(to, Keypair | str)
            move = moving(owner, amount, to)
            function = rng.choice(("pay_for", "pay_twice", "pass_on", "try_then_pay", "fail"))
            trees = {
                "pay_for": [asking(relay, "pay_for", args, [move])],
                "pay_twice": [asking(relay, "pay_twice", args, [move, move])],
                "pass_on": [asking(other, "pay_for", args, [move])],
                "try_then_pay": [
                    asking(other, "fail", args, [move]),
                    asking(other, "pay_for", args, [move]),
                ],
                "fail": [asking(relay, "fail", args, [move])],
            }[function]
            if rng.random() < 0.2:
                trees = [rng.choice((*trees, move)) for _ in range(rng.randrange(3))]
            auth = [story.allowed(owner, tree, rng) for tree in trees]
            given = [other, *args] if function in {"pass_on", "try_then_pay"} else args
            record = Record(non_root=rng.random() < 0.5, upgraded=rng.random() < 0.5)
            story.ask(relay, function, *given, auth=auth, record=record)
            if rng.random() < 0.2:
                story.jump(rng.choice((1, 700, 800)))
        yield story
