"""Authorization of a transfer, good and bad in every way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    one_signature,
    payload,
)
from tests.oracle.entries import (
    ALICE,
    BOB,
    CAROL,
    ISSUER,
    NATIVE,
    SPONSOR,
    STRANGER,
    USD,
    XLM,
    contract_named,
    person,
    symbol_map,
    token,
)
from tests.oracle.scenario import Record
from tests.oracle.story import FAR, START, Story

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

    from tests.oracle.scenario import Scenario

KINDS = {"v1": ADDRESS, "v2": ADDRESS_V2, "delegates": DELEGATES}
_MAX_TTL = 3_110_400
_SAFE = contract_named("safe")


def scenarios(rng: Random) -> Iterator[Scenario]:
    yield from _credentials()
    yield from _wrong_payloads()
    yield from _expirations()
    yield from _nonces()
    yield from _shapes()
    yield from _signers()
    yield from _other_signers()
    yield from _thresholds(rng)
    yield from _trees()
    yield from _several_entries()
    yield from _source()
    yield from _who_signs()
    yield from _delegates()
    yield from _recording()


def _transfer(amount: int = 5, to: Keypair = BOB, owner: Keypair = ALICE) -> Invocation:
    return calling(token(USD), "transfer", _args(amount, to, owner))


def _args(amount: int = 5, to: Keypair = BOB, owner: Keypair = ALICE) -> list[xdr.SCVal]:
    people = [scval.to_address(who.public_key) for who in (owner, to)]
    return [*people, scval.to_int128(amount)]


def _try(story: Story, *auth: str, source: Keypair = SPONSOR, amount: int = 5) -> Story:
    """Alice's transfer to Bob, with this authorization."""
    return story.call(USD, "transfer", ALICE, BOB, amount, auth=auth, source=source)


def _credentials() -> Iterator[Scenario]:
    for name, kind in KINDS.items():
        story = Story(f"authorizations/credentials-{name}")
        for amount in (5, 6):
            signing = Signing(kind=kind)
            _try(story, story.signed(ALICE, _transfer(amount), signing=signing), amount=amount)
        yield story.told()
        for other, signed in KINDS.items():
            story = Story(f"authorizations/credentials-{name}-signed-as-{other}")
            signing = Signing(kind=kind, signed_kind=signed)
            yield _try(story, story.signed(ALICE, _transfer(), signing=signing)).told()


def _wrong_payloads() -> Iterator[Scenario]:
    wrong: dict[str, dict[str, Any]] = {
        "network": {"network_id": bytes(32)},
        "arguments": {"signed": _transfer(6)},
        "receiver": {"signed": _transfer(to=CAROL)},
        "owner": {"signed": _transfer(owner=CAROL)},
        "function": {"signed": calling(token(USD), "burn", _args())},
        "contract": {"signed": calling(token(NATIVE), "transfer", _args())},
        "below": {"signed": calling(token(USD), "transfer", _args(), [_transfer()])},
        "nonce": {"signed_nonce": 77},
        "expiration": {"signed_expiration": START + 21},
    }
    for name, options in wrong.items():
        for kind_name in ("v1", "v2"):
            story = Story(f"authorizations/wrong-{name}-{kind_name}")
            signing = Signing(kind=KINDS[kind_name], **options)
            yield _try(story, story.signed(ALICE, _transfer(), signing=signing)).told()


def _expirations() -> Iterator[Scenario]:
    last = START + _MAX_TTL - 1
    for expiration in (
        *(0, START - 1, START, START + 1, START + 718, START + 719, START + 720),
        *(START + 50_000, last - 1, last, last + 1, 2**32 - 1),
    ):
        for kind_name in ("v1", "v2"):
            story = Story(f"authorizations/expires-{expiration}-{kind_name}")
            signing = Signing(kind=KINDS[kind_name])
            entry = story.signed(ALICE, _transfer(), expiration=expiration, signing=signing)
            yield _try(story, entry).told()
    for waits in (19, 20, 21, 800):
        story = Story(f"authorizations/used-after-{waits}")
        entry = story.signed(ALICE, _transfer())
        yield _try(story.jump(waits), entry).told()


def _nonces() -> Iterator[Scenario]:
    for nonce in (0, 1, -1, 2**63 - 1, -(2**63)):
        story = Story(f"authorizations/nonce-{nonce}")
        entry = story.signed(ALICE, _transfer(), nonce=nonce)
        _try(story, entry)
        yield _try(story, entry).told()
    story = Story("authorizations/nonce-again-for-another-call")
    _try(story, story.signed(ALICE, _transfer(), nonce=4))
    _try(story, story.signed(ALICE, _transfer(6), nonce=4), amount=6)
    yield _try(story, story.signed(ALICE, _transfer(6), nonce=5), amount=6).told()
    story = Story("authorizations/nonce-of-another-address")
    _try(story, story.signed(ALICE, _transfer(), nonce=4))
    allowed = _transfer(owner=CAROL)
    story.call(USD, "transfer", CAROL, BOB, 5, auth=[story.signed(CAROL, allowed, nonce=4)])
    yield story.told()
    for lasts in (20, 719, 900):
        for waits in sorted({lasts, lasts + 1, 720}):
            story = Story(f"authorizations/nonce-lasts-{lasts}-again-after-{waits}")
            entry = story.signed(ALICE, _transfer(), nonce=4, expiration=START + lasts)
            _try(story, entry).jump(waits)
            _try(story, entry)
            yield _try(story, story.signed(ALICE, _transfer(), nonce=4)).told()
    story = Story("authorizations/nonce-of-a-call-that-fails")
    entry = story.signed(ALICE, _transfer(10**15), nonce=4)
    _try(story, entry, amount=10**15)
    yield _try(story, story.signed(ALICE, _transfer(), nonce=4)).told()


def _shapes() -> Iterator[Scenario]:
    """Signatures that are not what an account's signature looks like."""
    text = payload(ALICE, _transfer(), 1, START + 20)
    good = one_signature(ALICE, text)
    key = scval.to_bytes(ALICE.raw_public_key())
    proof = scval.to_bytes(ALICE.sign(text))
    shapes = {
        "void": scval.to_void(),
        "number": scval.to_uint32(1),
        "bytes": proof,
        "map": good,
        "empty": scval.to_vec([]),
        "of-numbers": scval.to_vec([scval.to_uint32(1)]),
        "of-vecs": scval.to_vec([scval.to_vec([key, proof])]),
        "short-key": _pair(scval.to_bytes(bytes(31)), proof),
        "long-key": _pair(scval.to_bytes(bytes(33)), proof),
        "short-signature": _pair(key, scval.to_bytes(bytes(63))),
        "long-signature": _pair(key, scval.to_bytes(bytes(65))),
        "no-signature": scval.to_vec([symbol_map(public_key=key)]),
        "no-key": scval.to_vec([symbol_map(signature=proof)]),
        "more-fields": scval.to_vec(
            [symbol_map(public_key=key, signature=proof, why=scval.to_void())]
        ),
        "other-names": scval.to_vec([symbol_map(publickey=key, signature=proof)]),
        "string-key": _pair(scval.to_string(ALICE.raw_public_key()), proof),
        "zero-signature": _pair(key, scval.to_bytes(bytes(64))),
        "zero-key": _pair(scval.to_bytes(bytes(32)), proof),
        "key-not-on-the-curve": _pair(scval.to_bytes(b"\x02" + bytes(31)), proof),
        "twice": scval.to_vec([good, good]),
        "good-then-junk": scval.to_vec([good, scval.to_void()]),
        "twenty-one": scval.to_vec([good] * 21),
        "twenty": scval.to_vec([good] * 20),
        "high-s": _pair(key, scval.to_bytes(_with_high_s(ALICE.sign(text)))),
        "good": scval.to_vec([good]),
    }
    for name, signature in shapes.items():
        story = Story(f"authorizations/signature-{name}")
        entry = story.signed(ALICE, _transfer(), nonce=1, signing=Signing(signature=signature))
        yield _try(story, entry).told()


def _pair(key: xdr.SCVal, signature: xdr.SCVal) -> xdr.SCVal:
    return scval.to_vec([symbol_map(public_key=key, signature=signature)])


def _with_high_s(signature: bytes) -> bytes:
    """The same signature written another way, which is not allowed."""
    order = 2**252 + 27742317777372353535851937790883648493
    scalar = int.from_bytes(signature[32:], "little") + order
    return signature[:32] + scalar.to_bytes(32, "little")


def _signers() -> Iterator[Scenario]:
    helper, other = person("helper"), person("other")
    cases: dict[str, Sequence[Keypair]] = {
        "none": [],
        "stranger": [STRANGER],
        "stranger-too": [ALICE, STRANGER],
        "helper": [helper],
        "helper-too": [ALICE, helper],
        "both-helpers": [helper, other],
        "all": [ALICE, helper, other],
    }
    for name, keys in cases.items():
        for arranged in (True, False):
            story = Story(f"authorizations/signers-{name}-{'sorted' if arranged else 'unsorted'}")
            story.put(entries.account(ALICE, signers=[(helper, 1), (other, 2)]))
            given = sorted(keys, key=lambda key: key.raw_public_key(), reverse=True)
            signing = Signing(sorted_keys=arranged)
            yield _try(story, story.signed(ALICE, _transfer(), given, signing=signing)).told()


def _other_signers() -> Iterator[Scenario]:
    """Signers that are no keys do not sign inside the host, whatever they weigh."""
    helper = person("helper")
    raw = xdr.Uint256(helper.raw_public_key())
    kinds = xdr.SignerKeyType
    payload_signer = xdr.SignerKeyEd25519SignedPayload(raw, b"1234")
    keys = {
        "hash-x": xdr.SignerKey(kinds.SIGNER_KEY_TYPE_HASH_X, hash_x=raw),
        "pre-auth": xdr.SignerKey(kinds.SIGNER_KEY_TYPE_PRE_AUTH_TX, pre_auth_tx=raw),
        "payload": xdr.SignerKey(
            kinds.SIGNER_KEY_TYPE_ED25519_SIGNED_PAYLOAD, ed25519_signed_payload=payload_signer
        ),
    }
    for name, key in keys.items():
        story = Story(f"authorizations/signer-{name}")
        signer = xdr.Signer(key, xdr.Uint32(9))
        story.put(entries.account(ALICE, thresholds=b"\1\1\1\1", other_signers=[signer]))
        _try(story, story.signed(ALICE, _transfer(), [helper]))
        yield _try(story, story.signed(ALICE, _transfer())).told()


def _thresholds(rng: Random) -> Iterator[Scenario]:
    helper, other = person("helper"), person("other")
    for number in range(40):
        weights = [rng.choice((0, 1, 2, 5, 10, 255)) for _ in range(3)]
        low, medium, high = (rng.choice((0, 1, 3, 7, 12, 255)) for _ in range(3))
        story = Story(f"authorizations/thresholds-{number}")
        signers = [(helper, max(1, weights[1])), (other, max(1, weights[2]))]
        levels = bytes([weights[0], low, medium, high])
        story.put(entries.account(ALICE, thresholds=levels, signers=signers))
        for keys in ([ALICE], [helper], [ALICE, helper], [ALICE, helper, other]):
            _try(story, story.signed(ALICE, _transfer(), keys))
        yield story.told()
    story = Story("authorizations/thresholds-weight-beyond-a-byte")
    story.put(entries.account(ALICE, thresholds=b"\0\1\xff\xff", signers=[(helper, 300)]))
    yield _try(story, story.signed(ALICE, _transfer(), [helper])).told()
    story = Story("authorizations/thresholds-weights-beyond-a-byte-together")
    signers = [(helper, 200), (other, 100)]
    story.put(entries.account(ALICE, thresholds=b"\0\1\xff\xff", signers=signers))
    yield _try(story, story.signed(ALICE, _transfer(), [helper, other])).told()


def _trees() -> Iterator[Scenario]:
    wrong = {
        "amount": _transfer(6),
        "receiver": _transfer(to=CAROL),
        "owner": _transfer(owner=CAROL),
        "function": calling(token(USD), "transfers", _args()),
        "other-function": calling(token(USD), "burn", _args()),
        "contract": calling(token(NATIVE), "transfer", _args()),
        "account-as-contract": calling(ALICE.public_key, "transfer", _args()),
        "fewer-arguments": calling(token(USD), "transfer", _args()[:-1]),
        "more-arguments": calling(token(USD), "transfer", [*_args(), scval.to_void()]),
        "unused-call-below": calling(token(USD), "transfer", _args(), [_transfer(6)]),
        "itself-below": calling(token(USD), "transfer", _args(), [_transfer()]),
        "only-below": calling(token(NATIVE), "transfer", _args(), [_transfer()]),
        "twice-below": calling(token(USD), "transfer", _args(), [_transfer()] * 2),
    }
    for name, tree in wrong.items():
        for kind_name in ("v1", "v2"):
            story = Story(f"authorizations/tree-{name}-{kind_name}")
            signing = Signing(kind=KINDS[kind_name])
            yield _try(story, story.signed(ALICE, tree, signing=signing)).told()
        story = Story(f"authorizations/tree-{name}-source")
        yield _try(story, by_source(tree), source=ALICE).told()


def _several_entries() -> Iterator[Scenario]:
    def entry(story: Story, name: str) -> str:
        match name:
            case "good":
                return story.signed(ALICE, _transfer())
            case "expired":
                return story.signed(ALICE, _transfer(), expiration=START - 1)
            case "unsigned":
                empty = Signing(signature=scval.to_void())
                return story.signed(ALICE, _transfer(), signing=empty)
            case "other-amount":
                return story.signed(ALICE, _transfer(6))
            case "other-owner":
                return story.signed(CAROL, _transfer(owner=CAROL))
            case "by-bob":
                return story.signed(BOB, _transfer())
            case _:
                return by_source(_transfer())

    names = ("good", "expired", "unsigned", "other-amount", "other-owner", "by-bob", "source")
    for first in names:
        for second in names:
            story = Story(f"authorizations/two-{first}-{second}")
            yield _try(story, entry(story, first), entry(story, second)).told()
    story = Story("authorizations/two-the-same")
    same = story.signed(ALICE, _transfer())
    yield _try(story, same, same).told()


def _source() -> Iterator[Scenario]:
    story = Story("authorizations/source-allows")
    _try(story, by_source(_transfer()), source=ALICE)
    _try(story, by_source(_transfer()), by_source(_transfer()), source=ALICE)
    _try(story, by_source(_transfer()), source=BOB)
    _try(story, source=ALICE)
    yield _try(story, story.signed(ALICE, _transfer()), source=ALICE).told()
    story = Story("authorizations/source-is-missing")
    story.call(USD, "transfer", STRANGER, BOB, 0, by=STRANGER, source=STRANGER)
    story.call(USD, "balance", ALICE, source=STRANGER)
    yield _try(story, story.signed(ALICE, _transfer()), source=STRANGER).told()


def _who_signs() -> Iterator[Scenario]:
    story = Story("authorizations/by-an-account-that-is-missing")
    story.call(USD, "transfer", STRANGER, BOB, 0, by=STRANGER)
    yield story.call(NATIVE, "transfer", STRANGER, BOB, XLM, by=STRANGER).told()
    story = Story("authorizations/by-a-contract-that-is-missing")
    story.put(entries.balance_of(_SAFE, USD, 9), FAR)
    story.call(USD, "transfer", _SAFE, BOB, 1, by=_SAFE)
    yield story.told()
    story = Story("authorizations/by-a-contract-that-checks-nothing")
    story.put(entries.balance_of(token(NATIVE), USD, 9), FAR)
    story.call(USD, "transfer", token(NATIVE), BOB, 1, by=token(NATIVE))
    story.call(USD, "transfer", token(USD), BOB, 0, by=token(USD))
    yield story.told()
    story = Story("authorizations/by-the-issuer")
    yield story.call(USD, "transfer", ISSUER, BOB, 5, by=ISSUER).told()


def _delegates() -> Iterator[Scenario]:
    def delegate(
        who: Keypair | str, nested: Sequence[xdr.SorobanDelegateSignature] = ()
    ) -> xdr.SorobanDelegateSignature:
        address = who if isinstance(who, str) else who.public_key
        of = scval.to_address(address).address
        assert of is not None
        return xdr.SorobanDelegateSignature(of, scval.to_void(), list(nested))

    first, second = sorted((BOB, CAROL), key=lambda key: key.raw_public_key())
    cases = {
        "one": [delegate(BOB)],
        "sorted": [delegate(first), delegate(second)],
        "unsorted": [delegate(second), delegate(first)],
        "doubled": [delegate(first), delegate(first)],
        "itself": [delegate(ALICE)],
        "nested": [delegate(first, [delegate(second)])],
        "nested-unsorted": [delegate(ALICE, [delegate(second), delegate(first)])],
        "contract": [delegate(_SAFE)],
    }
    for name, delegates in cases.items():
        story = Story(f"authorizations/delegates-{name}")
        signing = Signing(kind=DELEGATES, delegates=delegates)
        yield _try(story, story.signed(ALICE, _transfer(), signing=signing)).told()


def _recording() -> Iterator[Scenario]:
    for upgraded in (False, True):
        for non_root in (False, True):
            for source in (ALICE, SPONSOR, STRANGER):
                who = {ALICE: "owner", SPONSOR: "sponsor", STRANGER: "stranger"}[source]
                mark = f"{'v2' if upgraded else 'v1'}-{'any' if non_root else 'root'}"
                story = Story(f"authorizations/recorded-{mark}-{who}")
                record = Record(non_root=non_root, upgraded=upgraded)
                options: dict[str, Any] = {"source": source, "auth": (), "record": record}
                story.call(USD, "transfer", ALICE, BOB, 5, **options)
                story.call(USD, "transfer", STRANGER, BOB, 0, **options)
                story.call(NATIVE, "transfer", ALICE, _SAFE, 5, **options)
                story.call(USD, "mint", BOB, 5, **options)
                story.call(USD, "transfer", _SAFE, BOB, 0, **options)
                yield story.call(USD, "balance", BOB, **options).told()
