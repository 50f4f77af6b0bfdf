"""Calls at random, one after the other, on ledgers put together at random."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stellar_sdk import Asset, Keypair, MuxedAccount, scval, xdr

from tests.oracle import entries
from tests.oracle.authorization import (
    ADDRESS,
    ADDRESS_V2,
    Invocation,
    Signing,
    by_source,
    calling,
)
from tests.oracle.channels import Channel, contract_address, wasm
from tests.oracle.entries import (
    ALICE,
    BOB,
    CAROL,
    EURO,
    INSTANCE_KEY,
    INT64_MAX,
    ISSUER,
    NATIVE,
    SPONSOR,
    STRANGER,
    USD,
    XLM,
    address_of,
    contract_named,
    person,
    token,
)
from tests.oracle.scenario import Record
from tests.oracle.story import FAR, START, Story, Value, Who, invocation, value
from tests.oracle.topics import relays

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from random import Random

    from tests.oracle.scenario import Scenario

CALLS = 100
"""How many calls a wandering has."""
HELPER = person("helper")
SAFE, VAULT = contract_named("safe"), contract_named("vault")
FACTORY = contract_address(CAROL, bytes(32))
PEOPLE: tuple[Keypair, ...] = (ALICE, BOB, CAROL, SPONSOR, ISSUER, STRANGER)
ASSETS: tuple[Asset, ...] = (USD, USD, NATIVE, NATIVE, EURO)
JUMPS = (1, 1, 2, 5, 20, 25, 100, 720, 17_281, 130_000, 600_000)


def scenarios(rng: Random, codes: Mapping[str, bytes], wanderings: int = 10) -> Iterator[Scenario]:
    for number in range(wanderings):
        yield Wandering(f"wanderings/{number}", rng, codes).walk().told()


class Wandering(Story):
    """A hundred calls; each with what may go right or wrong picked at random."""

    def __init__(self, name: str, rng: Random, codes: Mapping[str, bytes]) -> None:
        super().__init__(name)
        self.rng = rng
        self.codes = codes
        self.channels: list[Channel] = []
        self.helped: set[Keypair] = set()
        """Whose account has another signer."""
        self._people()
        self._tokens()
        if codes:
            self._contracts()

    # The ledger

    def _people(self) -> None:
        pick = self.rng.choice
        for who in PEOPLE[:-1]:
            flags = pick((0, 0, 0, 1, 2, 3, 10, 11)) if who is ISSUER else 0
            levels = pick((b"\1\0\0\0", b"\1\0\0\0", b"\1\1\2\3", b"\2\1\2\3"))
            signers = [(HELPER, pick((1, 2, 255)))] if self.rng.random() < 0.3 else []
            if signers:
                self.helped.add(who)
            balance = pick((XLM, XLM * 3 // 2, 20 * XLM, 1_000 * XLM, INT64_MAX - XLM))
            account = entries.account(
                who,
                balance,
                flags=flags,
                thresholds=levels,
                signers=signers,
                subentries=pick((0, 1, 3)),
                sequence_ledger=pick((None, START - 5)),
            )
            self.put(account)
            for asset in (USD, EURO):
                if who is not ISSUER and self.rng.random() < 0.75:
                    held = pick((0, 7, 100 * XLM, INT64_MAX // 2))
                    limit = pick((INT64_MAX, INT64_MAX, held + 50))
                    flag = pick((1, 1, 1, 1, 0, 2, 5, 6))
                    self.put(entries.trustline(who, asset, held, limit=limit, flags=flag))

    def _tokens(self) -> None:
        pick = self.rng.choice
        for asset in (USD, NATIVE, EURO):
            admin = pick((None, None, None, ALICE.public_key))
            until = START + pick((10, 10_000, 10**6, 10**6))
            self.put(entries.token_instance(asset, admin), until)
            for contract in (SAFE, VAULT):
                if self.rng.random() < 0.6:
                    amount = pick((0, 9, 50 * XLM, 2**127 - 20))
                    held = entries.balance_of(
                        contract,
                        asset,
                        amount,
                        authorized=pick((True, True, True, False)),
                        clawback=pick((True, False)),
                    )
                    self.put(held, START + pick((5, 100_000, 500_000)))

    def _contracts(self) -> None:
        self.code("channel").code("factory").code("relay")
        for relay in relays.RELAYS:
            nothing = entries.instance(wasm(self.codes["relay"]), {})
            self.put(entries.contract_data(relay, INSTANCE_KEY, nothing), START + 500_000)
            held = entries.balance_of(relay, USD, self.rng.choice((5, XLM)))
            self.put(held, START + 200_000)
        stored = {
            "Admin": scval.to_address(CAROL.public_key),
            "WasmHash": scval.to_bytes(self.codes["channel"]),
        }
        value_of = entries.instance(wasm(self.codes["factory"]), stored)
        self.put(entries.contract_data(FACTORY, INSTANCE_KEY, value_of), FAR)
        for number in range(2):
            channel = replace(
                self._channel(number), deployer=ALICE, amount=self.rng.choice((0, 5_000, XLM))
            )
            self.channels.append(channel)
            self.put(channel.instance(self.codes["channel"]), START + 200_000)
            asset = NATIVE if channel.token == token(NATIVE) else USD
            held = entries.balance_of(channel.address, asset, channel.amount)
            self.put(held, START + 200_000)

    def _channel(self, number: int) -> Channel:
        pick = self.rng.choice
        return Channel(
            funder=pick((ALICE, CAROL)),
            recipient=pick((BOB, BOB, STRANGER, SAFE)),
            token=pick((token(USD), token(NATIVE))),
            period=pick((0, 10, 100)),
            amount=pick((0, 100, XLM)),
            salt=bytes(31) + bytes([number]),
            deployer=FACTORY,
        )

    # The calls

    def walk(self) -> Wandering:
        kinds = [self._move, self._move, self._allow, self._spend, self._govern, self._look]
        if self.codes:
            kinds += [self._use_channel, self._use_channel, self._open_channel, self._relay]
        for _ in range(CALLS):
            if self.rng.random() < 0.25:
                self.jump(self.rng.choice(JUMPS))
            self.rng.choice(kinds)()
        return self

    def _amount(self) -> int:
        pick = self.rng.choice
        small = self.rng.randrange(200)
        return pick((0, 1, small, small, 10**7, XLM * 3, 10**10, pick((-1, INT64_MAX, 2**127 - 1))))

    def _anyone(self) -> Who:
        anyone: list[Who] = [*PEOPLE, *PEOPLE[:3], SAFE, VAULT, *self._addresses()]
        return self.rng.choice(anyone)

    def _somebody(self) -> Who:
        """Somebody who acts; seldom one who cannot."""
        somebody: list[Who] = [*PEOPLE[:4] * 4, ISSUER, STRANGER, SAFE]
        return self.rng.choice(somebody)

    def _addresses(self) -> list[str]:
        return [channel.address for channel in self.channels]

    def _move(self) -> None:
        asset, owner, receiver = self.rng.choice(ASSETS), self._somebody(), self._anyone()
        if isinstance(receiver, Keypair) and self.rng.random() < 0.1:
            number = self.rng.randrange(2**64)
            receiver = MuxedAccount(receiver.public_key, number).account_muxed or receiver
        self._by(owner, asset, "transfer", owner, receiver, self._amount())

    def _allow(self) -> None:
        asset, owner = self.rng.choice(ASSETS), self._somebody()
        until = self.sequence + self.rng.choice((-1, 0, 10, 800, 50_000, 3_110_399, 3_110_400))
        live_until = scval.to_uint32(until)
        self._by(owner, asset, "approve", owner, self._anyone(), self._amount(), live_until)

    def _spend(self) -> None:
        asset, spender, owner = self.rng.choice(ASSETS), self._somebody(), self._somebody()
        if self.rng.random() < 0.3:
            self._by(spender, asset, "burn_from", spender, owner, self._amount())
        else:
            receiver = self._anyone()
            self._by(spender, asset, "transfer_from", spender, owner, receiver, self._amount())

    def _govern(self) -> None:
        asset = self.rng.choice(ASSETS)
        admin = self.rng.choice((ISSUER, ISSUER, ISSUER, ALICE))
        who = self._anyone()
        match self.rng.randrange(7):
            case 0 | 1:
                self._by(admin, asset, "mint", who, self._amount())
            case 2:
                owner = self._somebody()
                self._by(owner, asset, "burn", owner, self._amount())
            case 3:
                self._by(admin, asset, "clawback", who, self._amount())
            case 4:
                self._by(admin, asset, "set_authorized", who, self.rng.random() < 0.7)
            case 5:
                owner = self._somebody()
                self._by(owner, asset, "trust", owner)
            case _:
                heir = self.rng.choice((ISSUER, ISSUER, ALICE))
                self._by(admin, asset, "set_admin", heir)

    def _look(self) -> None:
        asset, who = self.rng.choice(ASSETS), self._anyone()
        match self.rng.randrange(4):
            case 0:
                self.call(asset, "balance", who)
            case 1:
                self.call(asset, "authorized", who)
            case 2:
                self.call(asset, "allowance", who, self._anyone())
            case _:
                self.call(asset, self.rng.choice(("name", "symbol", "decimals", "admin")))

    def _use_channel(self) -> None:
        channel = self.rng.choice(self.channels)
        amount = self.rng.choice((0, 1, 50, 5_000, self.rng.randrange(XLM), XLM, self._amount()))
        match self.rng.randrange(6):
            case 0:
                below = [channel.deposit(amount)]
                self._by(channel.funder, channel.address, "top_up", amount, below=below)
            case 1 | 2:
                function = self.rng.choice(("settle", "settle", "close"))
                promised = amount if self.rng.random() < 0.9 else 1
                signature = channel.signature(promised)
                self._by(channel.recipient, channel.address, function, amount, signature)
            case 3:
                self._by(channel.funder, channel.address, "close_start")
            case 4:
                self._by(channel.funder, channel.address, "refund")
            case _:
                getter = self.rng.choice(("balance", "deposited", "withdrawn", "to"))
                self.call(channel.address, getter)

    def _open_channel(self) -> None:
        if self.rng.random() < 0.2:
            code = self.rng.choice((self.codes["channel"], self.codes["channel"], bytes(32)))
            self._by(CAROL, FACTORY, "set_wasm", scval.to_bytes(code))
            return
        channel = self._channel(self.rng.randrange(20))
        args = [scval.to_bytes(channel.salt), *channel.terms]
        below = [channel.constructing()]
        if channel.amount > 0:
            self._by(channel.funder, FACTORY, "open", *args, below=below)
        else:
            self.call(FACTORY, "open", *args)
        self.channels.append(channel)

    def _relay(self) -> None:
        """A relay pays for somebody, who may be a relay too."""
        relay, other = self.rng.sample(relays.RELAYS, 2)
        owner = self.rng.choice((ALICE, BOB, CAROL, relay, other))
        to = self.rng.choice((BOB, CAROL, relay))
        args, moved = relays.payment(owner, 5, to), relays.moving(owner, 5, to)
        function, given, trees = self.rng.choice(
            (
                ("pay_for", args, [relays.asking(relay, "pay_for", args, [moved])]),
                ("pay_twice", args, [relays.asking(relay, "pay_twice", args, [moved, moved])]),
                ("pass_on", [other, *args], [relays.asking(other, "pay_for", args, [moved])]),
                (
                    "try_then_pay",
                    [other, *args],
                    [relays.asking(other, name, args, [moved]) for name in ("fail", "pay_for")],
                ),
            )
        )
        if self._once_in(5):
            trees = [*trees, moved][self.rng.randrange(3) :]
        auth = [self._allowed(owner, tree) for tree in trees]
        record = Record(non_root=self._once_in(2)) if self._once_in(3) else None
        self.call(relay, function, *given, auth=auth, record=record)

    def _allowed(self, owner: Who, tree: Invocation) -> str:
        if isinstance(owner, Keypair):
            return self.signed(owner, tree, self._signers(owner))
        calls = scval.to_uint32(1 + len(tree.sub_invocations))
        return self.signed(owner, tree, signing=Signing(signature=calls))

    # Who allows them

    def _by(
        self,
        who: Who,
        contract: str | Asset,
        function: str,
        *args: Value,
        below: Sequence[Invocation] = (),
    ) -> None:
        address = token(contract) if isinstance(contract, Asset) else contract
        values = [value(arg) for arg in args]
        tree = calling(address, function, values, below)
        source = self.rng.choice((SPONSOR, SPONSOR, SPONSOR, ALICE, STRANGER))
        if isinstance(who, Keypair) and self.rng.random() < 0.2:
            source = who
        record = None
        if self.rng.random() < 0.3:
            record = Record(non_root=self._once_in(3), upgraded=self._once_in(3))
        auth = self._authorization(who, tree, source, (address, function, values))
        self.invoke(invocation(address, function, values), source, auth, record=record)

    def _once_in(self, times: int) -> bool:
        return self.rng.randrange(times) == 0

    def _authorization(
        self,
        who: Who,
        tree: Invocation,
        source: Keypair,
        call: tuple[str, str, list[xdr.SCVal]],
    ) -> list[str]:
        if address_of(who) == source.public_key and not self._once_in(8):
            return [by_source(tree)]
        kind = self.rng.choice((ADDRESS, ADDRESS, ADDRESS_V2))
        signing = Signing(kind=kind)
        if self.rng.random() < 0.85:
            return [self.signed(who, tree, self._signers(who), signing=signing)]
        match self.rng.randrange(8):
            case 0:
                return []
            case 1:
                return [self.signed(who, tree, [STRANGER], signing=signing)]
            case 2:
                nonce = self.rng.randrange(1, 20)
                return [self.signed(who, tree, nonce=nonce, signing=signing)]
            case 3:
                until = self.sequence + self.rng.choice((-1, 0, 719, 5_000, 3_110_399, 3_110_400))
                return [self.signed(who, tree, expiration=until, signing=signing)]
            case 4:
                return [self.signed(who, calling(*call), signing=signing)]
            case 5:
                less = calling(call[0], call[1], call[2][:-1])
                return [self.signed(who, tree, signing=Signing(kind=kind, signed=less))]
            case 6:
                other = self.rng.choice(PEOPLE)
                return [self.signed(other, tree), self.signed(who, tree, signing=signing)]
            case _:
                return [by_source(tree), self.signed(who, tree, signing=signing)]

    def _signers(self, who: Who) -> list[Keypair] | None:
        if isinstance(who, Keypair):
            return [who, HELPER] if who in self.helped and not self._once_in(6) else [who]
        return None
