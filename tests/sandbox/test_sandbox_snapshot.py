"""A snapshot holds all that a sandbox answers with, in memory as in a file."""

from __future__ import annotations

import random
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stellar_sdk import Asset, AuthorizationFlag, Keypair, Signer, scval

from mpp_asgi.sandbox import Keeper, Sandbox, Snapshot, SnapshotError, StateFileError
from mpp_asgi.sandbox.contracts.registry import CONTRACTS
from tests.sandbox.channels import Channels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Stage

QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    ("getHealth", {}),
    ("getLatestLedger", {}),
    ("getFeeStats", {}),
    ("getTransactions", {"startLedger": 1_000, "pagination": {"limit": 200}}),
    ("getEvents", {"startLedger": 1_000, "pagination": {"limit": 1_000}}),
]


def answers(sandbox: Sandbox) -> list[dict[str, Any]]:
    """What the sandbox says of all that it knows."""
    found = [
        sandbox.rpc({"jsonrpc": "2.0", "id": 1, "method": m, "params": p}) for m, p in QUESTIONS
    ]
    hashes = [item["txHash"] for item in found[3]["result"]["transactions"]]
    calls = [("getTransaction", {"hash": name}) for name in hashes]
    return found + [
        sandbox.rpc({"jsonrpc": "2.0", "id": 1, "method": m, "params": p}) for m, p in calls
    ]


def entries(sandbox: Sandbox) -> dict[bytes, tuple[bytes, int]]:
    stored = sandbox._ledger.state.copy()
    return {key: (entry.data, modified) for key, (entry, modified) in stored.items()}


def live_a_little(stage: Stage, channels: Channels) -> None:
    """Leave an entry of every kind, transactions good and bad, events, and a passage of time."""
    payer = stage.payer
    strict = AuthorizationFlag.AUTHORIZATION_REVOCABLE
    strict |= AuthorizationFlag.AUTHORIZATION_CLAWBACK_ENABLED
    envelope = stage.builder(stage.seller).append_set_options_op(set_flags=strict).build()
    envelope.sign(stage.seller)
    stage.succeed(envelope)
    options = stage.builder(payer).append_set_options_op(
        home_domain="example.org",
        low_threshold=1,
        set_flags=AuthorizationFlag.AUTHORIZATION_REVOCABLE,
        inflation_dest=stage.seller.public_key,
        signer=Signer.ed25519_public_key(stage.seller.public_key, 3),
    )
    options.append_manage_data_op("name", b"value")
    options.append_change_trust_op(Asset("BEADSBEADS", stage.seller.public_key), "5")
    envelope = options.build()
    envelope.sign(payer)
    stage.succeed(envelope)
    stage.send(stage.ready_transfer(source=stage.seller))
    stage.succeed(stage.ready_transfer())  # two in one ledger
    stage.clock.now += 7
    channels.open()
    failing = stage.builder(stage.seller).append_payment_op(
        stage.payer.public_key, Asset.native(), "9999999"
    )
    envelope = failing.build()
    envelope.sign(stage.seller)
    assert stage.apply(envelope)["status"] == "FAILED"
    stage.sandbox.close_ledger(3)


@pytest.mark.parametrize("by_way_of_bytes", [False, True])
def test_everything_comes_back(
    stage: Stage, channels: Channels, new_stage: Callable[..., Stage], by_way_of_bytes: bool
) -> None:
    live_a_little(stage, channels)
    snapshot = stage.sandbox.snapshot()
    told, held = answers(stage.sandbox), entries(stage.sandbox)
    if by_way_of_bytes:
        snapshot = Snapshot.from_bytes(snapshot.to_bytes())
    other = new_stage()
    other.clock.now = stage.clock.now
    other.sandbox.restore(snapshot)
    assert answers(other.sandbox) == told
    assert entries(other.sandbox) == held

    # And both go on alike: the same nonces, fees, hashes.
    for each in (stage, other):
        each.clock.now += 1
        each.succeed(each.ready_transfer(11))
    assert answers(other.sandbox) == answers(stage.sandbox) != told


def test_the_same_calls_make_the_same_ledger(new_stage: Callable[..., Stage]) -> None:
    """To the last byte: nothing is drawn from elsewhere than the seed."""

    def lived(seed: int) -> bytes:
        stage = new_stage(seed=seed)
        live_a_little(stage, Channels(stage))
        return stage.sandbox.snapshot().to_bytes()

    assert lived(1) == lived(1) != lived(2)


def test_going_back_undoes_what_came_after(stage: Stage) -> None:
    sandbox = stage.sandbox
    before = sandbox.snapshot()
    told, held = answers(sandbox), entries(sandbox)
    lost = stage.ready_transfer()
    stage.succeed(lost)
    waiting = stage.ready_transfer(source=stage.seller)  # as good before as after
    assert stage.send(waiting)["status"] == "PENDING"
    for _ in range(2):  # a snapshot is good for any number of times
        sandbox.restore(before)
        assert (answers(sandbox), entries(sandbox)) == (told, held)
        sandbox.close_ledger()
        assert stage.outcome(lost)["status"] == "NOT_FOUND"
        assert stage.outcome(waiting)["status"] == "NOT_FOUND"
    # What was undone never was: the same transaction is good again, with its nonce and sequence.
    stage.succeed(lost)


def test_no_nonce_is_drawn_twice_after_a_restart(
    stage: Stage, new_stage: Callable[..., Stage]
) -> None:
    stage.succeed(stage.ready_transfer())
    other = new_stage()
    other.sandbox.restore(Snapshot.from_bytes(stage.sandbox.snapshot().to_bytes()))
    other.succeed(other.ready_transfer())


def test_used_nonces_still_go_away(new_stage: Callable[..., Stage]) -> None:
    stage = new_stage(close_interval=1)
    stage.succeed(stage.ready_transfer())
    stage.sandbox.restore(Snapshot.from_bytes(stage.sandbox.snapshot().to_bytes()))
    before = len(stage.sandbox._ledger.state)
    stage.clock.now += 720
    assert stage.sandbox.sequence
    assert len(stage.sandbox._ledger.state) == before - 2


def test_pace_and_faults_are_not_part_of_it(new_stage: Callable[..., Stage]) -> None:
    stage = new_stage(close_interval=5)
    snapshot = stage.sandbox.snapshot()
    stage.sandbox.set_close_interval(2)
    stage.sandbox.freeze()
    stage.sandbox.refuse_next_submit("TRY_AGAIN_LATER")
    stage.clock.now += 1_000
    stage.sandbox.restore(snapshot)
    assert (stage.sandbox.close_interval, stage.sandbox.is_frozen) == (2, True)
    stage.sandbox.thaw()
    assert stage.sandbox.sequence == snapshot.sequence
    stage.clock.now += 2
    assert stage.sandbox.sequence == snapshot.sequence + 1
    assert stage.send(stage.ready_transfer())["status"] == "TRY_AGAIN_LATER"


def test_it_is_of_its_own_kind_of_sandbox() -> None:
    snapshot = Sandbox().snapshot()
    for other, reason in (
        (Sandbox(passphrase="Another Network"), "network 'Test SDF"),
        (Sandbox(seed=1), "seed 0, and this one has seed 1"),
        (Sandbox(contracts=CONTRACTS.with_wasm(bytes(32), CONTRACTS.asset)), "other contracts"),
    ):
        with pytest.raises(SnapshotError, match=reason):
            other.restore(snapshot)


@pytest.fixture(scope="module")
def saved() -> bytes:
    sandbox = Sandbox()
    sandbox.friendbot(Keypair.from_raw_ed25519_seed(bytes(32)).public_key)
    return sandbox.snapshot().to_bytes()


@given(where=st.integers(0), what=st.integers(1, 255))
def test_damage_is_noticed(saved: bytes, where: int, what: int) -> None:
    damaged = bytearray(saved)
    damaged[where % len(saved)] ^= what
    with pytest.raises(SnapshotError):
        Snapshot.from_bytes(bytes(damaged))


@given(length=st.integers(0, 20_000))
def test_less_than_all_of_it_is_noticed(saved: bytes, length: int) -> None:
    with pytest.raises(SnapshotError):
        Snapshot.from_bytes(saved[: min(length, len(saved) - 1)])


@given(body=st.binary(max_size=200), cut=st.integers(0), what=st.integers(0, 255))
def test_a_checksum_proves_no_sense(saved: bytes, body: bytes, cut: int, what: int) -> None:
    """Whoever makes a file that only looks like one gets an error of the same kind."""
    head, whole = saved[:28], saved[60:]
    changed = bytearray(whole)
    changed[cut % len(whole)] = what
    for content in (body, whole[: cut % len(whole)], bytes(changed)):
        try:
            Snapshot.from_bytes(head + sha256(content).digest() + content)
        except SnapshotError:
            continue
        assert content == bytes(changed)  # one that still makes sense, and says something else


def test_a_newer_version_is_refused(saved: bytes) -> None:
    newer = saved[:27] + b"\2" + saved[28:]
    with pytest.raises(SnapshotError, match="version 2 of the format, and this mpp-asgi reads 1"):
        Snapshot.from_bytes(newer)


# In a file


def test_a_sandbox_goes_on_from_its_file(tmp_path: Path, new_stage: Callable[..., Stage]) -> None:
    path = tmp_path / "state"
    first = new_stage(state=path)
    first.succeed(first.ready_transfer())
    first.sandbox.save()
    told = answers(first.sandbox)
    unsaved = first.ready_transfer()
    first.succeed(unsaved)

    second = Sandbox(close_interval=None, clock=first.clock, state=path)
    assert answers(second) == told
    # A client that knows its sequence number from then goes on as well.
    first.sandbox = second
    first.succeed(unsaved)
    assert [each.name for each in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is not a state that a sandbox has saved"),
        (b"SQLite format 3\0", "it is not a state that a sandbox has saved"),
        (b"mpp-asgi sandbox state\n\0", "it is damaged: unexpected end of data"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "state"
    path.write_bytes(content)
    with pytest.raises(StateFileError, match=f"The state file {path} is not .*: {reason}"):
        Sandbox(state=path)
    assert path.read_bytes() == content


def test_the_file_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    Sandbox(state=path).save()
    with pytest.raises(StateFileError, match="it is of a sandbox with seed 0"):
        Sandbox(state=path, seed=3)


def test_a_place_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    with pytest.raises(StateFileError, match="cannot be read: Is a directory"):
        Sandbox(state=tmp_path)
    sandbox = Sandbox(state=tmp_path / "missing" / "state")
    with pytest.raises(StateFileError, match="cannot be written: No such file or directory"):
        sandbox.save()
    with pytest.raises(ValueError, match="no state file"):
        Sandbox().save()


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "state"
    sandbox = Sandbox(state=path)
    sandbox.save()
    before = path.read_bytes()
    (tmp_path / "state.new").mkdir()  # in the way of the next one
    with pytest.raises(StateFileError):
        sandbox.save()
    assert path.read_bytes() == before


class Watch:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_keeper_saves_what_has_changed(
    tmp_path: Path, new_stage: Callable[..., Stage], person: Callable[[str], Keypair]
) -> None:
    path, watch, said = tmp_path / "state", Watch(), list[str]()
    sandbox = new_stage(state=path, close_interval=1).sandbox
    keeper = Keeper(sandbox, said.append, seconds=3_600, clock=watch)

    def seen() -> tuple[int, bool]:
        kept = Sandbox(state=path, close_interval=None, clock=sandbox._clock)
        return kept.sequence, kept.has_account(person("late").public_key)

    with keeper:
        first = sandbox.sequence
        assert seen() == (first, False)
        sandbox.close_ledger()  # with nothing in it: not worth a file at once
        keeper.look()
        assert seen() == (first, False)
        watch.now += 60
        keeper.look()
        assert seen() == (first + 1, False)
        sandbox.fund(person("late").public_key)
        keeper.look()
        assert seen() == (first + 1, True)
        (tmp_path / "state.new").mkdir()
        sandbox.fund(person("later").public_key)
        keeper.look()
        assert len(said) == 1
        assert "cannot be written" in said[0]
        (tmp_path / "state.new").rmdir()
        sandbox.close_ledger()
    assert seen() == (first + 2, True)


@given(seed=st.integers(0, 2**32))
def test_any_number_of_draws_comes_back(seed: int) -> None:
    """The state of randomness, wherever it stands in its cycle."""
    sandbox = Sandbox(close_interval=None, clock=lambda: 0)
    draws = random.Random(seed).randrange(700)
    for _ in range(draws):
        sandbox._random.getrandbits(32)
    snapshot = Snapshot.from_bytes(sandbox.snapshot().to_bytes())
    expected = sandbox._random.getrandbits(64)
    sandbox.restore(snapshot)
    assert sandbox._random.getrandbits(64) == expected


def test_old_allowances_and_balances_of_contracts_survive(stage: Stage) -> None:
    """Temporary entries that live and persistent ones: their lifetimes, too."""
    until = stage.sandbox.sequence + 50
    approve = stage.call(
        stage.payer,
        "approve",
        scval.to_address(stage.payer.public_key),
        scval.to_address(stage.seller.public_key),
        scval.to_int128(5),
        scval.to_uint32(until),
    )
    stage.prepare(approve).sign(stage.payer)
    stage.succeed(approve)
    stage.sandbox.restore(Snapshot.from_bytes(stage.sandbox.snapshot().to_bytes()))

    def allowed() -> int:
        ask = stage.call(
            stage.payer,
            "allowance",
            scval.to_address(stage.payer.public_key),
            scval.to_address(stage.seller.public_key),
        )
        return scval.from_int128(stage.simulate(ask)["results"][0]["xdr"])

    assert allowed() == 5
    stage.sandbox.close_ledger(50)
    assert allowed() == 0
