"""`make demo`, whole: the exit status is 0 only if every balance was right."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from stellar_sdk import Asset, Keypair

from example_app.demo.books import Books, MismatchError
from example_app.demo.processes import ROOT
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.rpc_drivers import InProcessSyncRpc
from tests.servers import clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

DEMO = [sys.executable, "-m", "example_app.demo"]
PARTS = (
    "1. One payment, step by step",
    "2. Everything there is, in three ways",
    "3. What is refused, and what is free",
    "4. Two hundred calls and a stream, paid from one deposit",
    "5. Who has what",
)


def test_it_plays_to_the_end_and_every_coin_is_where_it_should_be() -> None:
    # In a shell with settings of the user's own, which have no part in it.
    settings = {"MPP_NETWORK": "stellar:pubnet", "MPP_RECIPIENT": "nobody"}
    demo = subprocess.run(
        DEMO,
        cwd=ROOT,
        env=clean_environment() | settings,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert (demo.returncode, demo.stderr) == (0, "")
    assert [line for line in demo.stdout.splitlines() if line in PARTS] == list(PARTS)
    assert len(set(re.findall(r"^      tx  ([0-9a-f]{64})$", demo.stdout, re.MULTILINE))) == 21
    session = re.findall(r"^    tx  ([0-9a-f]{64})$", demo.stdout, re.MULTILINE)
    assert len(set(session)) == 3  # an opening, a top-up, a close
    for slug in ("invalid-challenge", "verification-failed"):
        assert f"HTTP 402 {slug}" in demo.stdout
    assert "Every balance is exactly what it should be." in demo.stdout.splitlines()[-1]
    assert "\x1b" not in demo.stdout
    assert max(map(len, demo.stdout.splitlines())) < 80


@pytest.fixture
def ctrl_c_is_heard() -> Iterator[None]:
    """Also by what tests start that run in a shell's background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are another matter there")
def test_ctrl_c_leaves_nothing_running(ctrl_c_is_heard: None) -> None:
    demo = subprocess.Popen(
        DEMO,
        cwd=ROOT,
        env={**clean_environment(), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert demo.stdout is not None
    said = ""
    for line in demo.stdout:
        said += line
        if "main:app, at" in line:
            break
    demo.send_signal(signal.SIGINT)
    _, err = demo.communicate(timeout=120)
    assert demo.returncode == 130
    assert "Nothing is left running." in err
    for port in re.findall(r"http://127\.0\.0\.1:(\d+)", said):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(port)), timeout=5)


@pytest.mark.parametrize("token", ["usdc", "xlm"])
def test_it_would_notice_one_base_unit(token: str) -> None:
    sandbox, agent = Sandbox(close_interval=None), Keypair.random()
    sandbox.fund(agent.public_key, usdc=1)
    rpc = InProcessSyncRpc(sandbox.rpc)
    usdc = Asset("USDC", sandbox.usdc_issuer.public_key)
    books = Books(rpc, usdc, {"agent": agent.public_key})
    books.open()
    books.balance("At first")
    setattr(books.due["agent"], token, getattr(books.due["agent"], token) + 1)
    with pytest.raises(MismatchError, match=f"the agent has .* {token.upper()} and should have"):
        books.balance("Now")
