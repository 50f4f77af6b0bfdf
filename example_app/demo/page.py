"""How the demo looks: 79 columns, headings, wrapped sentences."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpp_asgi.cli.terminal import Terminal

WIDTH = 79


@dataclass(frozen=True, slots=True)
class Page:
    """What is written to, line by line."""

    terminal: Terminal

    def heading(self, text: str) -> None:
        """The beginning of a part."""
        self.line()
        self.line(text, style="bold")
        self.line("─" * WIDTH, style="dim")

    def line(self, text: str = "", *, style: str = "") -> None:
        """One line as it is."""
        self.terminal.say(text, style=style)

    def item(self, left: str, right: str) -> None:
        """A title with something at the right margin."""
        self.line()
        self.line(f"  {left}{right:>{WIDTH - 2 - len(left)}}", style="bold")

    def text(self, text: str, *, indent: int = 2, style: str = "") -> None:
        """A sentence or more, wrapped."""
        margin = " " * indent
        for line in textwrap.wrap(text, WIDTH - indent):
            self.line(margin + line, style=style)

    def entry(self, label: str, text: str, *, indent: int = 2, width: int = 9) -> None:
        """A label and what belongs to it, wrapped into its own column."""
        first, *rest = textwrap.wrap(text, WIDTH - indent - width)
        self.line(f"{'':{indent}}{label:{width}}{first}")
        for line in rest:
            self.line(" " * (indent + width) + line)
