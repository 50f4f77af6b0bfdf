"""``mpp-asgi version``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi import __version__

if TYPE_CHECKING:
    from argparse import Namespace

    from mpp_asgi.cli.terminal import Terminal


def run(_: Namespace, terminal: Terminal) -> int:
    """Print the version."""
    terminal.say(f"mpp-asgi {__version__}")
    return 0
