"""The channel factory: deployed, asked for channels, given another code."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from stellar_sdk import scval

from tests.oracle import entries
from tests.oracle.authorization import Invocation, by_source, calling
from tests.oracle.channels import Channel, contract_address, creating, creation, wasm
from tests.oracle.entries import ALICE, BOB, CAROL, INSTANCE_KEY, NATIVE, STRANGER, XLM, token
from tests.oracle.scenario import Record
from tests.oracle.story import FAR, START, Story

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from random import Random

    from tests.oracle.scenario import Scenario

ADMIN = CAROL
FACTORY = contract_address(ADMIN, bytes(32))
CHANNEL = Channel(deployer=FACTORY)


class FactoryStory(Story):
    """A scenario about one factory and the channels it opens."""

    def __init__(self, name: str, codes: Mapping[str, bytes]) -> None:
        super().__init__(f"factories/{name}")
        self.code("channel").code("factory")
        self.codes = codes

    def deployed(self, live_until: int = FAR, code: bytes | None = None) -> Self:
        stored = {
            "Admin": scval.to_address(ADMIN.public_key),
            "WasmHash": scval.to_bytes(self.codes["channel"] if code is None else code),
        }
        value = entries.instance(wasm(self.codes["factory"]), stored)
        self.put(entries.contract_data(FACTORY, INSTANCE_KEY, value), live_until)
        return self

    def ask(self, function: str, *args: Any, **options: Any) -> Self:
        self.call(FACTORY, function, *args, **options)
        return self

    def open(
        self,
        channel: Channel = CHANNEL,
        below: Sequence[Invocation] | None = None,
        **options: Any,
    ) -> FactoryStory:
        if below is None:
            below = [channel.constructing()]
        if channel.amount > 0:
            options.setdefault("by", channel.funder)
        args = [scval.to_bytes(channel.salt), *channel.terms]
        return self.ask("open", *args, below=below, **options)


def scenarios(rng: Random, codes: Mapping[str, bytes]) -> Iterator[Scenario]:
    for part in (_deploying, _telling, _opening, _allowing, _setting, _lives, _recording):
        yield from (story.told() for story in part(codes))
    yield from (story.told() for story in _series(codes, rng))


def _deploying(codes: Mapping[str, bytes]) -> Iterator[FactoryStory]:
    args = [scval.to_address(ADMIN.public_key), scval.to_bytes(codes["channel"])]
    cases = {
        "as-it-should-be": args,
        "without-arguments": [],
        "with-one": args[:1],
        "with-three": [*args, scval.to_void()],
        "short-hash": [args[0], scval.to_bytes(bytes(31))],
        "no-address": [scval.to_uint32(1), args[1]],
        "unknown-hash": [args[0], scval.to_bytes(bytes(32))],
    }
    for name, given in cases.items():
        story = FactoryStory(f"deployed-{name}", codes)
        tree = creating(ADMIN, bytes(32), codes["factory"], given)
        function = creation(ADMIN, bytes(32), codes["factory"], given)
        story.invoke(function, auth=[story.signed(ADMIN, tree)])
        yield story.ask("admin").ask("wasm_hash").open()


def _telling(codes: Mapping[str, bytes]) -> Iterator[FactoryStory]:
    story = FactoryStory("told", codes).deployed()
    story.ask("admin").ask("wasm_hash").ask("admin", scval.to_void()).ask("nothing")
    yield story.ask("__constructor")
    yield FactoryStory("missing", codes).ask("admin").open()


def _opening(codes: Mapping[str, bytes]) -> Iterator[FactoryStory]:
    for amount in (-1, 0, 1, 500, 10**15, 2**127 - 1):
        channel = replace(CHANNEL, amount=amount)
        story = FactoryStory(f"opened-with-{amount}", codes).deployed().open(channel)
        for getter in ("balance", "deposited", "withdrawn", "from", "to", "token"):
            story.call(channel.address, getter)
        yield story
    story = FactoryStory("opened-twice", codes).deployed().open().open()
    yield story.open(replace(CHANNEL, salt=b"\1" * 32))
    story = FactoryStory("opened-for-nothing-before-the-funder", codes).deployed()
    yield story.open(replace(CHANNEL, amount=0)).open()
    in_xlm = replace(CHANNEL, token=token(NATIVE), amount=3 * XLM)
    yield FactoryStory("opened-in-xlm", codes).deployed().open(in_xlm)
    yield FactoryStory("opened-with-an-unknown-code", codes).deployed(code=bytes(32)).open()
    factory = codes["factory"]
    yield FactoryStory("opened-with-the-factorys-code", codes).deployed(code=factory).open()
    story = FactoryStory("opened-with-odd-salts", codes).deployed()
    for odd in (scval.to_bytes(bytes(31)), scval.to_void(), scval.to_string("x" * 32)):
        story.ask("open", odd, *CHANNEL.terms, by=ALICE)
    story.ask("open", *CHANNEL.terms, by=ALICE)
    yield story
    story = FactoryStory("opened-with-odd-terms", codes).deployed()
    for place in range(6):
        for odd in (scval.to_void(), scval.to_uint32(1), scval.to_bytes(b"x")):
            terms = [*CHANNEL.terms]
            terms[place] = odd
            story.ask("open", scval.to_bytes(bytes(32)), *terms, by=ALICE)
    yield story


def _allowing(codes: Mapping[str, bytes]) -> Iterator[FactoryStory]:
    story = FactoryStory("opened-without-being-allowed", codes).deployed()
    yield story.open(by=None).open(by=BOB).open(source=ALICE)
    story = FactoryStory("opened-for-a-stranger", codes).deployed()
    yield story.open(replace(CHANNEL, funder=STRANGER))
    for name, below in {
        "nothing-below": [],
        "the-deposit-only": [CHANNEL.deposit(500)],
        "another-deposit": [replace(CHANNEL, amount=501).constructing()],
        "constructed-only": [calling(CHANNEL.address, "__constructor", CHANNEL.terms)],
    }.items():
        yield FactoryStory(f"opened-allowing-{name}", codes).deployed().open(below=below)
    story = FactoryStory("opened-allowing-in-two-entries", codes).deployed()
    args = [scval.to_bytes(CHANNEL.salt), *CHANNEL.terms]
    trees = [calling(FACTORY, "open", args), CHANNEL.constructing()]
    yield story.ask("open", *args, auth=[story.signed(ALICE, tree) for tree in trees])
    story = FactoryStory("opened-allowing-the-creation-too", codes).deployed()
    below = [creating(FACTORY, bytes(32), codes["channel"], CHANNEL.terms)]
    yield story.open(below=[*below, CHANNEL.constructing()])
    story = FactoryStory("created-in-the-factorys-name", codes).deployed()
    tree = creating(FACTORY, bytes(32), codes["channel"], CHANNEL.terms)
    function = creation(FACTORY, bytes(32), codes["channel"], CHANNEL.terms)
    story.invoke(function, auth=[by_source(tree)])
    story.invoke(function, auth=[story.signed(FACTORY, tree)])
    yield story


def _setting(codes: Mapping[str, bytes]) -> Iterator[FactoryStory]:
    def setting(story: FactoryStory, code: bytes, **options: Any) -> FactoryStory:
        return story.ask("set_wasm", scval.to_bytes(code), **options)

    story = FactoryStory("set-by-its-administrator", codes).deployed(code=bytes(32)).open()
    setting(story, codes["channel"], by=ADMIN).open().ask("wasm_hash")
    yield setting(story, codes["channel"], by=ADMIN)
    story = FactoryStory("set-by-others", codes).deployed()
    setting(story, bytes(32), by=ALICE)
    setting(story, bytes(32))
    setting(story, bytes(31), by=ADMIN)
    yield setting(story, bytes(32), by=ADMIN, source=ADMIN).ask("wasm_hash")


def _lives(codes: Mapping[str, bytes]) -> Iterator[FactoryStory]:
    story = FactoryStory("archived", codes).deployed(START + 10)
    story.open().jump(11)
    story.ask("admin").open(replace(CHANNEL, salt=b"\2" * 32))
    yield story
    story = FactoryStory("left-archived", codes).deployed(START - 1)
    yield story.ask("admin", unrestored=True)


def _recording(codes: Mapping[str, bytes]) -> Iterator[FactoryStory]:
    for upgraded in (False, True):
        for non_root in (False, True):
            mark = f"{'v2' if upgraded else 'v1'}-{'any' if non_root else 'root'}"
            story = FactoryStory(f"recorded-{mark}", codes).deployed()
            for source in (ALICE, BOB):
                record = Record(non_root=non_root, upgraded=upgraded)
                options: dict[str, Any] = {"auth": None, "record": record, "source": source}
                story.open(**options).open(replace(CHANNEL, amount=0), **options)
                story.ask("set_wasm", scval.to_bytes(bytes(32)), **options)
            yield story


def _series(codes: Mapping[str, bytes], rng: Random) -> Iterator[FactoryStory]:
    """Channels opened one after the other, each used a little."""
    for number in range(20):
        story = FactoryStory(f"series-{number}", codes).deployed()
        opened: list[Channel] = []
        for index in range(3):
            channel = replace(
                CHANNEL,
                salt=bytes(31) + bytes([rng.choice((index, 0))]),
                amount=rng.choice((0, 10, 5_000)),
                period=rng.choice((0, 5, 50)),
                funder=rng.choice((ALICE, CAROL)),
            )
            story.open(channel)
            opened.append(channel)
            used = rng.choice(opened)
            amount = rng.choice((0, 5, 4_000))
            taken = [scval.to_int128(amount), used.signature(amount)]
            story.call(used.address, rng.choice(("settle", "close")), *taken, by=BOB)
            story.call(used.address, "close_start", by=used.funder)
            story.jump(rng.choice((1, 5, 60)))
            story.call(used.address, "refund", by=used.funder)
        yield story
