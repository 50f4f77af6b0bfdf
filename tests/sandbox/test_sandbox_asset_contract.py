"""The Stellar Asset Contract: every function, its failures by code, its events."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from stellar_sdk import Address, Asset, AuthorizationFlag, Keypair, TrustLineFlags, scval
from stellar_sdk import xdr as sdk

if TYPE_CHECKING:
    from collections.abc import Callable

    from stellar_sdk import TransactionEnvelope

I64_MAX = 2**63 - 1


class Token:
    """An asset somebody on the stage issues, with its contract deployed."""

    def __init__(self, stage: Any, issuer: Keypair, code: str = "GOLD") -> None:
        self.stage = stage
        self.issuer = issuer
        self.asset = Asset(code, issuer.public_key)
        self.contract = self.asset.contract_id(stage.passphrase)

    def deploy(self) -> Token:
        builder = self.stage.builder(self.stage.sponsor)
        builder.append_create_stellar_asset_contract_from_asset_op(self.asset)
        self.stage.succeed(self.signed(builder.build(), self.stage.sponsor))
        return self

    def signed(self, envelope: TransactionEnvelope, source: Keypair) -> TransactionEnvelope:
        self.stage.prepare(envelope).sign(source)
        return envelope

    def envelope(self, source: Keypair, function: str, *args: Any) -> TransactionEnvelope:
        return self.stage.call(source, function, *map(to_scval, args), contract=self.contract)

    def call(self, source: Keypair, function: str, *args: Any) -> Any:
        """Call as ``source`` on the ledger; gives the returned value."""
        outcome = self.stage.succeed(self.signed(self.envelope(source, function, *args), source))
        meta = sdk.TransactionMeta.from_xdr(outcome["resultMetaXdr"]).v4
        assert meta is not None
        self.events = [
            (
                [scval.to_native(topic) for topic in event.body.v0.topics],
                scval.to_native(event.body.v0.data),
            )
            for event in meta.operations[0].events
        ]
        return scval.to_native(meta.soroban_meta.return_value)

    def read(self, function: str, *args: Any) -> Any:
        """What a function returns in simulation."""
        result = self.stage.simulate(self.envelope(self.stage.sponsor, function, *args))
        assert "error" not in result, result["error"]
        return scval.to_native(result["results"][0]["xdr"])

    def failure(self, source: Keypair, function: str, *args: Any) -> str:
        """The error a simulation ends with."""
        error = self.stage.simulate(self.envelope(source, function, *args))["error"]
        match = re.match(r"HostError: Error\(([^)]*)\)\n", error)
        assert match, error
        return match.group(1)

    def trust(self, who: Keypair, limit: str | None = None) -> None:
        builder = self.stage.builder(who)
        builder.append_change_trust_op(self.asset, limit)
        envelope = builder.build()
        envelope.sign(who)
        self.stage.succeed(envelope)

    def flags(self, *, set_flags: Any = None, clear_flags: Any = None) -> None:
        builder = self.stage.builder(self.issuer)
        builder.append_set_options_op(set_flags=set_flags, clear_flags=clear_flags)
        envelope = builder.build()
        envelope.sign(self.issuer)
        self.stage.succeed(envelope)

    def balance(self, who: Keypair | str) -> int:
        address = who if isinstance(who, str) else who.public_key
        return self.stage.sandbox.balance(address, self.contract)


def to_scval(value: Any) -> sdk.SCVal:
    match value:
        case sdk.SCVal():
            return value
        case Keypair():
            return scval.to_address(value.public_key)
        case str():
            return scval.to_address(value)
        case bool():
            return scval.to_bool(value)
        case int():
            return scval.to_int128(value)
        case _:
            raise TypeError(value)


@pytest.fixture
def issuer(stage: Any, person: Callable[[str], Keypair]) -> Keypair:
    stage.sandbox.fund(person("issuer").public_key)
    return person("issuer")


@pytest.fixture
def gold(stage: Any, issuer: Keypair) -> Token:
    """An asset that payer and seller trust; the payer holds 1000 base units."""
    token = Token(stage, issuer).deploy()
    token.trust(stage.payer)
    token.trust(stage.seller)
    token.call(issuer, "mint", stage.payer, 1_000)
    return token


@pytest.fixture
def holder() -> str:
    """The address of a contract."""
    return Address.from_raw_contract(b"\7" * 32).address


def name_of(gold: Token) -> str:
    return f"GOLD:{gold.issuer.public_key}"


def test_metadata(stage: Any, gold: Token) -> None:
    assert gold.read("name") == name_of(gold)
    assert gold.read("symbol") == "GOLD"
    assert gold.read("decimals") == 7
    assert gold.read("admin") == Address(gold.issuer.public_key)
    xlm = Token(stage, gold.issuer)
    xlm.contract = stage.sandbox.xlm
    assert xlm.read("name") == xlm.read("symbol") == "native"
    assert xlm.failure(stage.sponsor, "admin") == "Storage, MissingValue"


def test_long_codes(stage: Any, issuer: Keypair) -> None:
    token = Token(stage, issuer, "PALLADIUM").deploy()
    assert token.read("symbol") == "PALLADIUM"
    assert token.read("name") == f"PALLADIUM:{issuer.public_key}"


def test_a_contract_is_deployed_once(stage: Any, gold: Token) -> None:
    builder = stage.builder(stage.sponsor)
    builder.append_create_stellar_asset_contract_from_asset_op(gold.asset)
    assert "Error(Storage, ExistingValue)" in stage.simulate(builder.build())["error"]
    arg = scval.to_bytes(gold.asset.to_xdr_object().to_xdr_bytes())
    assert gold.failure(stage.sponsor, "init_asset", arg) == "Contract, #3"


def test_mint_is_the_administrators(stage: Any, gold: Token) -> None:
    assert gold.call(gold.issuer, "mint", stage.seller, 5) is None
    assert gold.balance(stage.seller) == 5
    assert gold.events == [(["mint", Address(stage.seller.public_key), name_of(gold)], 5)]
    envelope = gold.envelope(stage.payer, "mint", stage.seller, 5)
    recorded = stage.simulate(envelope)["results"][0]["auth"]
    entry = sdk.SorobanAuthorizationEntry.from_xdr(recorded[0])
    assert Address.from_xdr_sc_address(entry.credentials.address.address) == Address(
        gold.issuer.public_key
    )
    assert gold.failure(gold.issuer, "mint", gold.issuer, 5) == "Contract, #2"


def test_administration_can_be_handed_over(stage: Any, gold: Token) -> None:
    gold.call(gold.issuer, "set_admin", stage.sponsor)
    old, new = Address(gold.issuer.public_key), Address(stage.sponsor.public_key)
    assert gold.events == [(["set_admin", old, name_of(gold)], new)]
    assert gold.read("admin") == new
    gold.call(stage.sponsor, "mint", stage.seller, 5)
    assert gold.balance(stage.seller) == 5


def test_the_issuers_transfers_are_mints_and_burns(stage: Any, gold: Token) -> None:
    seller = Address(stage.seller.public_key)
    gold.call(gold.issuer, "transfer", gold.issuer, stage.seller, 5)
    assert gold.events == [(["mint", seller, name_of(gold)], 5)]
    gold.call(stage.seller, "transfer", stage.seller, gold.issuer, 2)
    assert gold.events == [(["burn", seller, name_of(gold)], 2)]
    assert gold.balance(stage.seller) == 3
    assert gold.read("balance", gold.issuer) == I64_MAX
    gold.call(gold.issuer, "transfer", gold.issuer, gold.issuer, 2)
    issuer = Address(gold.issuer.public_key)
    assert gold.events == [(["transfer", issuer, issuer, name_of(gold)], 2)]


def test_burn(stage: Any, gold: Token) -> None:
    gold.call(stage.payer, "burn", stage.payer, 100)
    payer = Address(stage.payer.public_key)
    assert gold.events == [(["burn", payer, name_of(gold)], 100)]
    assert gold.balance(stage.payer) == 900
    assert gold.failure(stage.payer, "burn", stage.payer, 901) == "Contract, #10"
    assert gold.failure(gold.issuer, "burn", gold.issuer, 1) == "Contract, #2"


def test_native_cannot_be_burned(stage: Any, gold: Token) -> None:
    gold.contract = stage.sandbox.xlm
    assert gold.failure(stage.payer, "burn", stage.payer, 1) == "Contract, #2"
    assert gold.failure(stage.payer, "trust", stage.payer) == "Contract, #2"
    assert gold.failure(stage.payer, "clawback", stage.payer, 1) == "Contract, #2"


@pytest.mark.parametrize("function", ["transfer", "burn", "mint", "approve", "transfer_from"])
def test_negative_amounts_come_first_of_all_failures(
    stage: Any, gold: Token, function: str
) -> None:
    nobody = Keypair.random()
    arguments = {
        "transfer": (nobody, nobody, -1),
        "burn": (gold.issuer, -1),
        "mint": (gold.issuer, -1),
        "approve": (nobody, nobody, -1, scval.to_uint32(0)),
        "transfer_from": (nobody, nobody, nobody, -1),
    }[function]
    assert gold.failure(stage.payer, function, *arguments) == "Contract, #8"


def test_what_can_go_wrong_with_a_transfer(
    stage: Any, gold: Token, person: Callable[[str], Keypair]
) -> None:
    def failure(owner: Keypair | str, to: Keypair | str, amount: int) -> str:
        return gold.failure(stage.payer, "transfer", owner, to, amount)

    stranger = person("stranger")
    assert failure(stage.payer, stage.seller, 1_001) == "Contract, #10"
    assert failure(stage.payer, stranger, 1) == "Contract, #13"
    assert failure(stranger, stage.seller, 1) == "Contract, #13"
    assert failure(stage.payer, stage.seller, I64_MAX + 1) == "Contract, #12"
    gold.contract = stage.sandbox.xlm
    assert failure(stranger, stage.seller, 1) == "Contract, #6"
    assert failure(stage.payer, stranger, 9_999_999) == "Contract, #14"
    everything = stage.xlm_of(stage.payer)
    assert failure(stage.payer, stage.seller, everything) == "Contract, #10"
    reserve = (2 + stage.account(stage.payer).num_sub_entries.uint32) * 5_000_000
    assert failure(stage.payer, stage.seller, everything - reserve + 1) == "Contract, #10"


def test_a_trustline_takes_no_more_than_its_limit(
    stage: Any, gold: Token, person: Callable[[str], Keypair]
) -> None:
    careful = person("careful")
    stage.sandbox.fund(careful.public_key)
    gold.trust(careful, "0.0000010")
    assert gold.failure(stage.payer, "transfer", stage.payer, careful, 11) == "Contract, #10"
    gold.call(stage.payer, "transfer", stage.payer, careful, 10)
    assert gold.failure(stage.payer, "transfer", stage.payer, careful, 1) == "Contract, #10"


def test_allowances(stage: Any, gold: Token) -> None:
    until = stage.sandbox.sequence + 10
    spender = stage.sponsor
    gold.call(stage.payer, "approve", stage.payer, spender, 100, scval.to_uint32(until))
    payer, sponsor = Address(stage.payer.public_key), Address(spender.public_key)
    assert gold.events == [(["approve", payer, sponsor, name_of(gold)], [100, until])]
    assert gold.read("allowance", stage.payer, spender) == 100

    gold.call(spender, "transfer_from", spender, stage.payer, stage.seller, 60)
    seller = Address(stage.seller.public_key)
    assert gold.events == [(["transfer", payer, seller, name_of(gold)], 60)]
    assert gold.balance(stage.seller) == 60
    assert gold.read("allowance", stage.payer, spender) == 40

    def spend(amount: int) -> str:
        arguments = (spender, stage.payer, stage.seller, amount)
        return gold.failure(spender, "transfer_from", *arguments)

    assert spend(41) == "Contract, #9"
    gold.call(spender, "burn_from", spender, stage.payer, 15)
    assert gold.balance(stage.payer) == 1_000 - 60 - 15
    assert gold.read("allowance", stage.payer, spender) == 25
    stage.sandbox.close_ledger(until - stage.sandbox.sequence)
    assert gold.read("allowance", stage.payer, spender) == 25
    stage.sandbox.close_ledger()
    assert gold.read("allowance", stage.payer, spender) == 0
    assert spend(1) == "Contract, #9"


def test_an_allowance_is_taken_back_by_allowing_nothing(stage: Any, gold: Token) -> None:
    until = stage.sandbox.sequence + 10
    arguments = (stage.payer, stage.sponsor)
    gold.call(stage.payer, "approve", *arguments, 100, scval.to_uint32(until))
    gold.call(stage.payer, "approve", *arguments, 0, scval.to_uint32(0))
    assert gold.read("allowance", *arguments) == 0


def test_allowances_must_end_in_time(stage: Any, gold: Token) -> None:
    arguments = (stage.payer, stage.sponsor, 1)

    def approve(until: int) -> str:
        return gold.failure(stage.payer, "approve", *arguments, scval.to_uint32(until))

    assert approve(stage.sandbox.sequence - 1) == "Contract, #9"
    assert approve(stage.sandbox.sequence + 3_110_400) == "Contract, #9"


def test_authorization_of_holders(stage: Any, gold: Token, holder: str) -> None:
    assert gold.read("authorized", stage.payer) is True
    assert gold.failure(gold.issuer, "set_authorized", stage.payer, False) == "Contract, #2"
    gold.flags(set_flags=AuthorizationFlag.AUTHORIZATION_REVOCABLE)
    gold.call(gold.issuer, "set_authorized", stage.payer, False)
    payer = Address(stage.payer.public_key)
    assert gold.events == [(["set_authorized", payer, name_of(gold)], False)]
    assert gold.read("authorized", stage.payer) is False
    assert gold.failure(stage.payer, "transfer", stage.payer, stage.seller, 1) == "Contract, #11"
    to_payer = (gold.issuer, "transfer", gold.issuer, stage.payer, 1)
    assert gold.failure(*to_payer) == "Contract, #11"
    gold.call(gold.issuer, "set_authorized", stage.payer, True)
    gold.call(stage.payer, "transfer", stage.payer, stage.seller, 1)

    gold.flags(set_flags=AuthorizationFlag.AUTHORIZATION_REQUIRED)
    assert gold.failure(stage.payer, "transfer", stage.payer, holder, 1) == "Contract, #11"
    gold.call(gold.issuer, "set_authorized", holder, True)
    gold.call(stage.payer, "transfer", stage.payer, holder, 1)
    assert gold.balance(holder) == 1


def test_clawback(stage: Any, gold: Token, holder: str) -> None:
    assert gold.failure(gold.issuer, "clawback", stage.payer, 1) == "Contract, #10"
    gold.flags(
        set_flags=AuthorizationFlag.AUTHORIZATION_REVOCABLE
        | AuthorizationFlag.AUTHORIZATION_CLAWBACK_ENABLED
    )
    gold.call(stage.payer, "transfer", stage.payer, holder, 10)
    gold.call(gold.issuer, "clawback", holder, 4)
    assert gold.balance(holder) == 6
    assert gold.events == [(["clawback", Address(holder), name_of(gold)], 4)]
    assert gold.failure(gold.issuer, "clawback", holder, 7) == "Contract, #10"
    never = Address.from_raw_contract(b"\x08" * 32).address
    assert gold.failure(gold.issuer, "clawback", never, 0) == "Contract, #10"


def test_contracts_hold_more_than_accounts_can(stage: Any, gold: Token, holder: str) -> None:
    gold.call(gold.issuer, "mint", holder, I64_MAX)
    gold.call(gold.issuer, "mint", holder, I64_MAX)
    assert gold.balance(holder) == 2 * I64_MAX == gold.read("balance", holder)
    assert gold.failure(gold.issuer, "mint", holder, 2**127 - 1) == "Contract, #12"


def test_trust_opens_a_trustline(stage: Any, gold: Token, person: Callable[[str], Keypair]) -> None:
    newcomer = person("newcomer")
    assert gold.failure(stage.sponsor, "trust", newcomer) == "Contract, #6"
    stage.sandbox.fund(newcomer.public_key)
    before = stage.account(newcomer).num_sub_entries.uint32
    gold.call(newcomer, "trust", newcomer)
    assert gold.events == []
    assert stage.account(newcomer).num_sub_entries.uint32 == before + 1
    gold.call(stage.payer, "transfer", stage.payer, newcomer, 3)
    assert gold.balance(newcomer) == 3
    gold.call(newcomer, "trust", newcomer)
    assert stage.account(newcomer).num_sub_entries.uint32 == before + 1
    assert gold.failure(stage.sponsor, "trust", gold.issuer) == "Contract, #2"


@pytest.mark.parametrize(
    ("function", "arguments", "error"),
    [
        ("transfer", (1,), "Context, UnexpectedSize"),
        ("nonsense", (), "Value, InvalidInput"),
        ("__constructor", (), "Context, InvalidAction"),
        ("decimals", (1,), "Context, UnexpectedSize"),
        ("balance", (5,), "Value, UnexpectedType"),
        ("balance", (scval.to_symbol("x"),), "Value, UnexpectedType"),
        ("bad name!", (), "Value, InvalidInput"),
    ],
)
def test_calls_that_make_no_sense(
    stage: Any, gold: Token, function: str, arguments: tuple[Any, ...], error: str
) -> None:
    result = stage.simulate(gold.envelope(stage.payer, function, *arguments))
    assert f"Error({error})" in result["error"]


def test_a_contract_that_is_not_there(stage: Any, gold: Token, holder: str) -> None:
    gold.contract = holder
    assert gold.failure(stage.payer, "decimals") == "Storage, MissingValue"


def test_classic_and_contract_see_the_same_trustline(stage: Any, gold: Token) -> None:
    builder = stage.builder(stage.payer)
    builder.append_payment_op(stage.seller.public_key, gold.asset, "0.0000007")
    envelope = builder.build()
    envelope.sign(stage.payer)
    stage.succeed(envelope)
    assert gold.read("balance", stage.seller) == 7
    gold.flags(set_flags=AuthorizationFlag.AUTHORIZATION_REVOCABLE)
    builder = stage.builder(gold.issuer)
    builder.append_set_trust_line_flags_op(
        stage.seller.public_key, gold.asset, clear_flags=TrustLineFlags.AUTHORIZED_FLAG
    )
    envelope = builder.build()
    envelope.sign(gold.issuer)
    stage.succeed(envelope)
    assert gold.read("authorized", stage.seller) is False
