"""Whatever the node does, at whichever call: what is done with a channel is done once."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from mpp_asgi.intents import FaultError
from tests.channels.errands import ERRANDS
from tests.channels.market import Market
from tests.charge import bad_line
from tests.charge.bad_line import Fault, Plan

if TYPE_CHECKING:
    from collections.abc import Iterator

METHODS = ("getLedgerEntries", "simulateTransaction", "sendTransaction", "getTransaction")
FOR_EVER = 10**6


@dataclass(frozen=True)
class Case:
    errand: str
    sponsored: bool
    method: str
    name: str
    fault: Fault

    def __str__(self) -> str:
        return f"{self.errand}{', sponsored' * self.sponsored}: {self.method} {self.name}"


def faults_of(method: str) -> dict[str, Fault]:
    faults = dict(bad_line.ANY_METHOD)
    if method == "sendTransaction":
        faults |= bad_line.SUBMITTING
    if method == "getTransaction":
        faults |= bad_line.LOOKING_UP
    return faults


def cases() -> Iterator[Case]:
    for errand in ERRANDS:
        for sponsored in (True, False):
            for method in METHODS:
                for name, fault in faults_of(method).items():
                    yield Case(errand, sponsored, method, name, fault)


@pytest.mark.parametrize("case", list(cases()), ids=str)
@pytest.mark.parametrize("first", [0, 1, 2])
async def test_one_call_goes_wrong(case: Case, first: int) -> None:
    market = Market(sponsored=case.sponsored)
    errand = ERRANDS[case.errand](market)
    async with market.process() as process:
        await errand.prepare(process)
        errand.begin()
        market.line.follow(Plan(case.method, first, case.fault))
        with suppress(FaultError):
            await errand.do(process)
        market.line.follow()
        market.sandbox.thaw()
        await errand.do_until_done(process)
        await errand.assert_done(process)
        errand.assert_one_transaction()
        again = await errand.do(process)
        assert again is None or market.ask("getTransaction", hash=again)["status"] == "SUCCESS"
        errand.assert_one_transaction()


@pytest.mark.parametrize("case", [c for c in cases() if c.sponsored], ids=str)
async def test_a_method_goes_wrong_for_minutes(case: Case) -> None:
    """Or for a quarter of an hour, with one try every half a minute; then the line is mended."""
    market = Market(sponsored=case.sponsored)
    errand = ERRANDS[case.errand](market)
    async with market.process() as process:
        await errand.prepare(process)
        errand.begin()
        market.line.follow(Plan(case.method, 0, case.fault, more=FOR_EVER))
        for _ in range(8):
            with suppress(FaultError):
                await errand.do(process)
            market.time.now += 30
        market.line.follow()
        market.sandbox.thaw()
        market.time.now += 1
        await errand.do_until_done(process)
        await errand.assert_done(process)
        errand.assert_one_transaction()
