"""What all commands have in common: help, exit statuses, being cut off."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mpp_asgi import __version__
from mpp_asgi.cli import version
from mpp_asgi.cli.terminal import Terminal, printable

if TYPE_CHECKING:
    from argparse import Namespace

    from tests.cli.conftest import Command

COMMANDS = ("sandbox", "pay", "inspect", "doctor", "keys", "fund", "trust", "version")


def test_it_says_its_version(command: Command) -> None:
    for words in ("version", "--version"):
        assert command(words).out == f"mpp-asgi {__version__}\n"


def test_alone_it_explains_itself(command: Command) -> None:
    told, helped = command(), command("--help")
    assert (told.status, told.err) == (0, "")
    assert told.out == helped.out


@pytest.mark.parametrize("module", ["mpp_asgi", "mpp_asgi.cli"])
def test_it_runs_as_a_module(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == f"mpp-asgi {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(command: Command, name: str) -> None:
    told = command(name, "--help")
    assert told.status == 0
    assert f"usage: mpp-asgi {name}" in told.out


def test_help_lists_every_command(command: Command) -> None:
    told = command("--help")
    assert all(f"    {name} " in told.out for name in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        ("buy",),
        ("pay",),
        ("keys", "old"),
        ("sandbox", "--port", "http"),
        ("sandbox", "--port", "70000"),
        ("sandbox", "--close-interval", "0"),
        ("sandbox", "--close-interval", "soon"),
        ("pay", "http://127.0.0.1:9", "--mode", "shove"),
    ],
)
def test_arguments_that_make_no_sense_are_a_usage_error(
    command: Command, arguments: tuple[str, ...]
) -> None:
    told = command(*arguments)
    assert told.status == 2
    assert "usage: mpp-asgi" in told.err
    assert "_port" not in told.err
    assert "_interval" not in told.err


def test_ctrl_c_is_no_traceback(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Namespace, __: Terminal) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(version, "run", interrupted)
    told = command("version")
    assert (told.status, told.out, told.err.strip()) == (130, "", "")


def test_a_reader_that_has_seen_enough_is_no_traceback() -> None:
    mpp_asgi = subprocess.Popen(
        [sys.executable, "-m", "mpp_asgi.cli", "version"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert mpp_asgi.stdout is not None
    mpp_asgi.stdout.close()
    _, err = mpp_asgi.communicate(timeout=120)
    assert (mpp_asgi.returncode, err) == (0, b"")


def test_what_strangers_write_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[31mb\r\nc\u202e") == "a\\x1b[31mb\\x0d\\x0ac\\x202e"
