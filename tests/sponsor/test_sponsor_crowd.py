"""What `python -m benchmarks sponsor` promises of a thousand payers, for fewer of them."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.crowd import MOST_CALLS_A_LEDGER
from benchmarks.crowd_plot import plot
from benchmarks.sponsor import settle


@pytest.mark.parametrize(("payers", "accounts"), [(12, 1), (45, 10), (70, 50), (9, 0)])
async def test_a_crowd_at_once(payers: int, accounts: int) -> None:
    crowd = await settle(payers, accounts)
    assert crowd.earned == payers
    assert crowd.ledgers <= crowd.bound
    assert crowd.calls_a_charge <= 2
    assert crowd.calls_a_ledger <= MOST_CALLS_A_LEDGER


async def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "plot.svg"
    plot([await settle(4, accounts) for accounts in (1, 2)], path)
    assert ET.parse(path).getroot().tag.endswith("svg")
