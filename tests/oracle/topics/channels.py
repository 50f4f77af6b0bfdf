"""The one-way channel's whole life, and all that goes wrong in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stellar_sdk import scval

from tests.oracle import entries
from tests.oracle.authorization import ADDRESS_V2, Signing, by_source, calling
from tests.oracle.channel_story import AMOUNTS, GETTERS, IN_XLM, USUAL, ChannelStory, Tell
from tests.oracle.channels import Channel, creating, creation, wasm
from tests.oracle.entries import ALICE, BOB, CAROL, INSTANCE_KEY, NATIVE, STRANGER, USD, XLM, token
from tests.oracle.story import FAR, START
from tests.oracle.topics import channel_oddities as odd

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from random import Random

    from tests.oracle.scenario import Scenario


def scenarios(rng: Random, codes: Mapping[str, bytes]) -> Iterator[Scenario]:
    def story(name: str, channel: Channel = USUAL) -> ChannelStory:
        return ChannelStory(name, codes, channel, "channel")

    for part in (
        *(_creating, _topping_up, _taking, odd.bad_signatures, _closing, _starting, _refunding),
        *(_looking, odd.failed_refunds, odd.arguments, odd.tokens, odd.lifetimes, odd.footprints),
        *(odd.parties, odd.recording),
    ):
        yield from (told.told() for told in part(story))
    yield from (told.told() for told in _lives(story, rng, 60))


def published(rng: Random, codes: Mapping[str, bytes]) -> Iterator[Scenario]:
    """The build that was published, which differs in how it closes."""

    def story(name: str, channel: Channel = USUAL) -> ChannelStory:
        return ChannelStory(name, codes, channel, "published-channel")

    for part in (_taking, _closing, odd.failed_refunds):
        yield from (told.told() for told in part(story))
    yield from (told.told() for told in _lives(story, rng, 20))


def _creating(story: Tell) -> Iterator[ChannelStory]:
    for amount in AMOUNTS:
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
    for amount in AMOUNTS:
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
        for amount in AMOUNTS:
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
    for amount in AMOUNTS:
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
