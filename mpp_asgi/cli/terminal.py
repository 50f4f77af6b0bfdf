"""What people see: lines on standard output and error, coloured on a terminal, plain elsewhere."""

from __future__ import annotations

import getpass
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping

_STYLES = {"bold": "1", "dim": "2", "good": "32", "bad": "31"}


class CommandError(Exception):
    """A command cannot do its work; the message is one sentence that says what to do."""


def printable(text: str) -> str:
    """Text from a stranger, without what would steer a terminal."""
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where a command speaks and asks. Results go to ``out``, everything else to ``err``."""

    out: TextIO
    err: TextIO
    out_is_coloured: bool = False
    err_is_coloured: bool = False
    asks: bool = False
    """Somebody is there to answer."""

    @classmethod
    def standard(cls, environment: Mapping[str, str] = os.environ) -> Terminal:
        """The terminal of this process. NO_COLOR and TERM=dumb are respected."""
        colours = "NO_COLOR" not in environment and environment.get("TERM") != "dumb"
        return cls(
            sys.stdout,
            sys.stderr,
            out_is_coloured=colours and sys.stdout.isatty(),
            err_is_coloured=colours and sys.stderr.isatty(),
            asks=sys.stdin.isatty() and sys.stderr.isatty(),
        )

    def say(self, text: str = "", *, style: str = "") -> None:
        """A line of the result."""
        self.out.write(f"{styled(text, style, on=self.out_is_coloured)}\n")
        self.out.flush()

    def painted(self, text: str, style: str) -> str:
        """A part of a line of the result."""
        return styled(text, style, on=self.out_is_coloured)

    def note(self, text: str = "", *, style: str = "") -> None:
        """A line about the result."""
        self.err.write(f"{styled(text, style, on=self.err_is_coloured)}\n")
        self.err.flush()

    @property
    def bytes_out(self) -> BinaryIO:
        """Standard output for what is no text of ours."""
        self.out.flush()
        return self.out.buffer

    def confirm(self, question: str) -> bool:
        """Ask for a yes."""
        self.err.write(f"{question} [y/N] ")
        self.err.flush()
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    def secret(self, question: str) -> str:
        """Ask for a text that is not shown."""
        return getpass.getpass(f"{question} ", self.err).strip()


def styled(text: str, style: str, *, on: bool) -> str:
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if on and style and text else text
