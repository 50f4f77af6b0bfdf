"""Who and what is on a scenario's ledger, written with the SDK's own XDR."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from stellar_sdk import Address, Asset, Keypair, StrKey, scval, xdr

if TYPE_CHECKING:
    from collections.abc import Sequence

PASSPHRASE = "Test SDF Network ; September 2015"
NETWORK_ID = sha256(PASSPHRASE.encode()).digest()
XLM = 10**7
INT64_MAX = 2**63 - 1


def person(name: str) -> Keypair:
    """Somebody, always with the same key."""
    return Keypair.from_raw_ed25519_seed(sha256(f"oracle {name}".encode()).digest())


ALICE, BOB, CAROL, SPONSOR, ISSUER, STRANGER = (
    person(name) for name in ("alice", "bob", "carol", "sponsor", "issuer", "stranger")
)
USD = Asset("USD", ISSUER.public_key)
EURO = Asset("EUROTOKEN", ISSUER.public_key)
NATIVE = Asset.native()


def contract_named(name: str) -> str:
    """The address of a contract that need not exist."""
    return StrKey.encode_contract(sha256(f"oracle contract {name}".encode()).digest())


def token(asset: Asset) -> str:
    """The address of the asset's contract."""
    return asset.contract_id(PASSPHRASE)


def address_of(who: Keypair | str) -> str:
    return who if isinstance(who, str) else who.public_key


def account(
    who: Keypair,
    balance: int = 1_000 * XLM,
    *,
    flags: int = 0,
    subentries: int = 0,
    thresholds: bytes = b"\1\0\0\0",
    signers: Sequence[tuple[Keypair, int]] = (),
    other_signers: Sequence[xdr.Signer] = (),
    sequence_ledger: int | None = None,
) -> str:
    """``balance`` in stroops; ``thresholds`` are master weight, low, medium and high.

    An account that was the source of a transaction knows in which ledger that was.
    """
    keys = sorted(signers, key=lambda signer: signer[0].raw_public_key())
    everyone = [*(_signer(key, weight) for key, weight in keys), *other_signers]
    entry = xdr.AccountEntry(
        account_id=who.xdr_account_id(),
        balance=xdr.Int64(balance),
        seq_num=xdr.SequenceNumber(xdr.Int64(7)),
        num_sub_entries=xdr.Uint32(subentries + len(everyone)),
        inflation_dest=None,
        flags=xdr.Uint32(flags),
        home_domain=xdr.String32(b""),
        thresholds=xdr.Thresholds(thresholds),
        signers=everyone,
        ext=_extension(sequence_ledger, len(everyone)),
    )
    return xdr.LedgerEntryData(xdr.LedgerEntryType.ACCOUNT, account=entry).to_xdr()


def _extension(sequence_ledger: int | None, signers: int) -> xdr.AccountEntryExt:
    if sequence_ledger is None:
        return xdr.AccountEntryExt(0)
    sequence = xdr.AccountEntryExtensionV3(
        xdr.ExtensionPoint(0),
        xdr.Uint32(sequence_ledger),
        xdr.TimePoint(xdr.Uint64(1_700_000_000)),
    )
    sponsors = xdr.AccountEntryExtensionV2(
        num_sponsored=xdr.Uint32(0),
        num_sponsoring=xdr.Uint32(0),
        signer_sponsoring_i_ds=[xdr.SponsorshipDescriptor(None)] * signers,
        ext=xdr.AccountEntryExtensionV2Ext(3, v3=sequence),
    )
    liabilities = xdr.Liabilities(xdr.Int64(0), xdr.Int64(0))
    first = xdr.AccountEntryExtensionV1(liabilities, xdr.AccountEntryExtensionV1Ext(2, v2=sponsors))
    return xdr.AccountEntryExt(1, v1=first)


def _signer(key: Keypair, weight: int) -> xdr.Signer:
    kind = xdr.SignerKeyType.SIGNER_KEY_TYPE_ED25519
    return xdr.Signer(
        xdr.SignerKey(kind, ed25519=xdr.Uint256(key.raw_public_key())), xdr.Uint32(weight)
    )


def trustline(
    who: Keypair, asset: Asset, balance: int = 0, *, limit: int = INT64_MAX, flags: int = 1
) -> str:
    """``balance`` and ``limit`` in base units; ``flags`` as ``TrustLineFlags``."""
    entry = xdr.TrustLineEntry(
        account_id=who.xdr_account_id(),
        asset=asset.to_trust_line_asset_xdr_object(),
        balance=xdr.Int64(balance),
        limit=xdr.Int64(limit),
        flags=xdr.Uint32(flags),
        ext=xdr.TrustLineEntryExt(0),
    )
    return xdr.LedgerEntryData(xdr.LedgerEntryType.TRUSTLINE, trust_line=entry).to_xdr()


def contract_data(
    contract: str, key: xdr.SCVal, value: xdr.SCVal, *, temporary: bool = False
) -> str:
    entry = xdr.ContractDataEntry(
        ext=xdr.ExtensionPoint(0),
        contract=Address(contract).to_xdr_sc_address(),
        key=key,
        durability=_durability(temporary=temporary),
        val=value,
    )
    kind = xdr.LedgerEntryType.CONTRACT_DATA
    return xdr.LedgerEntryData(kind, contract_data=entry).to_xdr()


def _durability(*, temporary: bool) -> xdr.ContractDataDurability:
    kinds = xdr.ContractDataDurability
    return kinds.TEMPORARY if temporary else kinds.PERSISTENT


def symbol_map(**values: xdr.SCVal) -> xdr.SCVal:
    return scval.to_map({scval.to_symbol(name): values[name] for name in sorted(values)})


def instance(executable: xdr.ContractExecutable, storage: dict[str, xdr.SCVal]) -> xdr.SCVal:
    """An instance whose storage has keys of the form ``Vec[Symbol]``."""
    pairs = [
        xdr.SCMapEntry(scval.to_vec([scval.to_symbol(name)]), storage[name])
        for name in sorted(storage)
    ]
    return _instance(executable, pairs)


def _instance(executable: xdr.ContractExecutable, pairs: list[xdr.SCMapEntry]) -> xdr.SCVal:
    body = xdr.SCContractInstance(executable, xdr.SCMap(pairs))
    return xdr.SCVal(xdr.SCValType.SCV_CONTRACT_INSTANCE, instance=body)


def token_instance(asset: Asset, administrator: str | None = None) -> str:
    """The contract of an asset, administered by the issuer unless by another."""
    if asset.is_native():
        info = scval.to_vec([scval.to_symbol("Native")])
        name, symbol, admin = b"native", b"native", None
    else:
        assert asset.issuer is not None
        issuer = Keypair.from_public_key(asset.issuer).raw_public_key()
        size = 4 if len(asset.code) <= 4 else 12
        code = asset.code.encode().ljust(size, b"\0")
        parts = symbol_map(asset_code=scval.to_string(code), issuer=scval.to_bytes(issuer))
        info = scval.to_vec([scval.to_symbol(f"AlphaNum{size}"), parts])
        name, symbol = f"{asset.code}:{asset.issuer}".encode(), asset.code.encode()
        admin = administrator or asset.issuer
    metadata = symbol_map(
        decimal=scval.to_uint32(7), name=scval.to_string(name), symbol=scval.to_string(symbol)
    )
    pairs = [xdr.SCMapEntry(scval.to_symbol("METADATA"), metadata)]
    if admin is not None:
        pairs.append(_enum_entry("Admin", scval.to_address(admin)))
    pairs.append(_enum_entry("AssetInfo", info))
    kind = xdr.ContractExecutableType.CONTRACT_EXECUTABLE_STELLAR_ASSET
    return contract_data(token(asset), INSTANCE_KEY, _instance(xdr.ContractExecutable(kind), pairs))


def _enum_entry(name: str, value: xdr.SCVal) -> xdr.SCMapEntry:
    return xdr.SCMapEntry(scval.to_vec([scval.to_symbol(name)]), value)


INSTANCE_KEY = xdr.SCVal(xdr.SCValType.SCV_LEDGER_KEY_CONTRACT_INSTANCE)


def balance_of(
    contract: str,
    asset: Asset,
    amount: int,
    *,
    authorized: bool = True,
    clawback: bool = False,
) -> str:
    """What a contract holds of an asset, in base units."""
    value = symbol_map(
        amount=scval.to_int128(amount),
        authorized=scval.to_bool(authorized),
        clawback=scval.to_bool(clawback),
    )
    return contract_data(token(asset), balance_key(contract), value)


def balance_key(contract: str) -> xdr.SCVal:
    return scval.to_vec([scval.to_symbol("Balance"), scval.to_address(contract)])


def allowance_key(owner: str, spender: str) -> xdr.SCVal:
    pair = symbol_map(**{"from": scval.to_address(owner), "spender": scval.to_address(spender)})
    return scval.to_vec([scval.to_symbol("Allowance"), pair])


def nonce_key(nonce: int) -> xdr.SCVal:
    body = xdr.SCNonceKey(xdr.Int64(nonce))
    return xdr.SCVal(xdr.SCValType.SCV_LEDGER_KEY_NONCE, nonce_key=body)


# Ledger keys


def account_key(who: Keypair) -> str:
    key = xdr.LedgerKeyAccount(who.xdr_account_id())
    return xdr.LedgerKey(xdr.LedgerEntryType.ACCOUNT, account=key).to_xdr()


def trustline_key(who: Keypair, asset: Asset) -> str:
    key = xdr.LedgerKeyTrustLine(who.xdr_account_id(), asset.to_trust_line_asset_xdr_object())
    return xdr.LedgerKey(xdr.LedgerEntryType.TRUSTLINE, trust_line=key).to_xdr()


def data_key(contract: str, key: xdr.SCVal, *, temporary: bool = False) -> str:
    body = xdr.LedgerKeyContractData(
        Address(contract).to_xdr_sc_address(), key, _durability(temporary=temporary)
    )
    return xdr.LedgerKey(xdr.LedgerEntryType.CONTRACT_DATA, contract_data=body).to_xdr()
