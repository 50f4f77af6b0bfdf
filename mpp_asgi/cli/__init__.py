"""The command ``mpp-asgi``. Each command is a module; `parser` says what can be typed."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from mpp_asgi.cli.parser import build_parser
from mpp_asgi.cli.terminal import CommandError, Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: what was typed after ``mpp-asgi``; default: this process's.

    Returns:
        The exit status: 0 for success, 1 for a sentence on standard error (or a failed check), 2
        for arguments that make no sense, 130 after Ctrl-C.
    """
    terminal = Terminal.standard()
    parsed = build_parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed, terminal))
    except CommandError as error:
        terminal.note(f"mpp-asgi: {error}")
        return 1
    except BrokenPipeError:  # what reads our output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as interrupt:
        terminal.note()
        if interrupt.args:  # a command had something to say to it
            terminal.note(f"mpp-asgi: {interrupt}")
        return 130
