"""The JavaScript SDK, as npm has it, pays on ``mpp-asgi sandbox``: account, simulate, prepare,
sign, send, poll, events."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.npm import installed
from tests.servers import Network, running_network

PACKAGE, VERSION = "@stellar/stellar-sdk", "15.1.0"
"""The last one that runs on Node 20."""
SCRIPT = Path(__file__).with_name("stellar_sdk.mjs")
SECONDS = 60


@pytest.fixture(scope="module")
def sdk() -> Path:
    return installed(PACKAGE, VERSION)


@pytest.fixture(scope="module")
def network(sdk: Path) -> Iterator[Network]:
    with running_network(close_interval=0.05) as network:
        yield network


@pytest.fixture(scope="module")
def seen(sdk: Path, network: Network) -> dict[str, Any]:
    """What the script saw."""
    done = subprocess.run(
        ["node", str(SCRIPT), str(sdk), network.url],
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_it_knows_the_network(seen: dict[str, Any], network: Network) -> None:
    assert seen["isTestnet"]
    assert seen["network"]["friendbotUrl"] == f"{network.url}/friendbot"
    assert seen["network"]["protocolVersion"] == seen["protocol"]
    assert seen["health"] == "healthy"
    assert seen["friendbot"].startswith("G")


def test_it_pays_and_has_payments_sponsored(seen: dict[str, Any], network: Network) -> None:
    assert seen["sent"] == ["PENDING", "PENDING"]
    assert seen["found"] == ["SUCCESS", "SUCCESS"]
    assert seen["returned"] == [None, None]
    assert (seen["metaVersion"], seen["contractEvents"]) == (4, 1)
    assert network.usdc(seen["seller"]) == 25 + 17


def test_it_reads_what_has_happened(seen: dict[str, Any]) -> None:
    assert seen["moved"] == ["25", "17"]
    assert seen["known"] == seen["hashes"]
    assert (seen["balance"], seen["entries"]) == ("42", 1)
    assert seen["ledgersOfFees"] > 0
    assert seen["unknown"] == "NOT_FOUND"


def test_it_understands_a_refusal(seen: dict[str, Any]) -> None:
    assert seen["refusal"].startswith("HostError: Error(Contract, #10)\n\nEvent log (newest first)")
