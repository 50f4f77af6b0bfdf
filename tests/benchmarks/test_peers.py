"""The attacks on other middleware, without any of it: how they count, and what is quoted."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results
from benchmarks.peers import report
from benchmarks.peers.bout import Bout
from benchmarks.peers.sellers.seller import Purse
from benchmarks.peers.variant import NAMES, all_variants
from tests.attacks.ground import Premises
from tests.attacks.report import TITLES
from tests.attacks.wire import Answer

ROOT = Path(__file__).parents[2]
GOODS = b"goods/paid/100/1-1"
PAID = (("x-receipt", "yes"), ("cache-control", "private"))


class Paper:
    """A seller that exists on paper only: nobody asks it, what it answered is made up."""

    name, version, cent = "paper", "0", 100
    carrier, prefix, receipt, challenge, secret = "x-proof", "", "x-receipt", "x-challenge", ""
    is_told_on_errors = False

    def __init__(self, folder: Path) -> None:
        self.premises = Premises(folder, {}, "")
        self.balances: dict[str, int] = {}

    def left(self, purse: Purse) -> int:
        return self.balances[purse.address]

    def has_succeeded(self, answer: Answer) -> bool:
        return answer.value(self.receipt) is not None

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"nobody may ask for {name}")


class Case:
    """One payer of 100, and what came of it."""

    def __init__(self, folder: Path) -> None:
        self.seller = Paper(folder)
        self.bout = Bout(self.seller, "A0 a case", times=1, seed=1)
        self.purse = Purse("somebody", None, had=100, agreed=100)
        self.bout.purses.append(self.purse)
        self.bout.has_paid = True

    def answered(self, body: bytes = GOODS, *, status: int = 200, whole: bool = True,
                 fields: tuple[tuple[str, str], ...] = PAID, **how: Any) -> None:  # fmt: skip
        how.setdefault("payer", self.purse)
        self.bout.judge(Answer(status, fields, body, is_whole=whole), "GET /paid", **how)

    def counted(self, *, left: int) -> dict[str, int]:
        """What is not 0, when so much is left."""
        self.seller.balances = {"somebody": left}
        asyncio.run(self.bout.close_books())
        count = self.bout.count
        return {name: found for name in report.COUNTERS if (found := getattr(count, name))}


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_who_pays_once_and_is_served_once_is_no_finding(case: Case) -> None:
    case.answered()
    assert case.counted(left=0) == {}
    assert case.bout.count.served == 1


def test_served_twice_for_one_payment_is_a_leak(case: Case) -> None:
    case.answered()
    case.answered()
    assert case.counted(left=0) == {"leaked": 1}


def test_served_for_no_payment_is_a_leak(case: Case) -> None:
    case.answered()
    assert case.counted(left=100) == {"leaked": 1}


def test_goods_for_a_request_that_shows_no_payment_are_a_leak(case: Case) -> None:
    case.answered(payer=None)
    assert case.counted(left=100) == {"leaked": 1}


def test_a_part_for_no_payment_is_a_leak_and_a_part_that_is_paid_is_not_enough(case: Case) -> None:
    case.answered(whole=False)
    assert case.counted(left=100) == {"leaked": 1}
    case.bout.count.leaked = 0
    assert case.counted(left=0) == {"denied": 1}


def test_paid_and_not_served_is_denied(case: Case) -> None:
    case.answered(b"", status=402, fields=(("x-challenge", "pay"), ("cache-control", "no-store")))
    assert case.counted(left=0) == {"denied": 1}


def test_other_goods_for_a_payment_are_swapped_and_not_leaked(case: Case) -> None:
    case.answered(is_meant=False)
    assert case.counted(left=0) == {"swapped": 1}


def test_more_taken_than_agreed_is_an_overcharge(case: Case) -> None:
    case.purse.had = 300
    case.answered()
    assert case.counted(left=100) == {"denied": 1, "overcharged": 1}


def test_what_was_made_for_nobody_is_a_run_without_a_payment(case: Case) -> None:
    case.bout.has_paid = False
    tag = case.bout.rendered("GET", "/").split(b"x-tag: ")[1].split(b"\r\n")[0].decode()
    case.seller.premises.file.write_text(f"{tag} {GOODS.decode()}\n")
    assert case.counted(left=100) == {"unpaid": 1}


def test_a_server_error_counts_where_nothing_was_broken_on_purpose(case: Case) -> None:
    case.answered(b"", status=500, fields=())
    case.bout.is_troubled = True
    case.answered(b"", status=500, fields=())
    assert case.counted(left=100) == {"errors": 1}


@pytest.mark.parametrize(
    ("status", "body", "fields"),
    [
        (200, GOODS, (("cache-control", "private"),)),
        (200, GOODS, (("x-receipt", "yes"),)),
        (402, b"", (("x-challenge", "pay"),)),
        (402, b"", (("cache-control", "no-store"),)),
        (403, b"", (("x-receipt", "yes"),)),
    ],
)
def test_a_field_that_is_missing_or_wrong_is_untidy(
    case: Case, status: int, body: bytes, fields: tuple[tuple[str, str], ...]
) -> None:
    case.answered(body, status=status, fields=fields)
    assert case.counted(left=0 if body else 100) == {"untidy": 1}


def test_every_attack_is_of_a_known_kind_and_leaves_out_known_sellers() -> None:
    for variant in all_variants():
        assert variant.row in TITLES
        assert set(variant.not_for) <= set(NAMES)


def test_the_table_is_that_of_the_figures() -> None:
    table = (results.FOLDER / "peers.md").read_text(encoding="utf-8")
    assert table == results.table(results.read("peers"))


@pytest.mark.parametrize(
    ("document", "quote"), [("README.md", report.in_short), ("docs/peers.md", report.by_kind)]
)
def test_what_is_quoted_is_what_was_counted(document: str, quote: Any) -> None:
    assert quote(results.read("peers")) in (ROOT / document).read_text(encoding="utf-8")


def test_the_versions_quoted_are_those_that_are_installed() -> None:
    pinned = (ROOT / "requirements" / "peers.txt").read_text(encoding="utf-8")
    figures = {row.case: row.value for row in results.read("peers")}
    for name in ("x402", "pympp"):
        assert f"=={figures[f'{name}: version']}\n" in pinned
