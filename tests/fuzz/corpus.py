"""Inputs that fuzzing begins with, and those that it found something with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

FOLDER = Path(__file__).parent / "corpus"
LONGEST = 4_096
PIECES = (b"", b"\0", b"\xff", b'"', b"\\", b"{}", b"[", b",", b"=", b"-1", b"1e999", b"\xc3\xa9")


def inputs(target: str) -> list[bytes]:
    """Of one target, the same order every time."""
    return [file.read_bytes() for file in sorted((FOLDER / target).iterdir())]


def mutations(seeds: list[bytes], count: int, random: Random) -> Iterator[bytes]:
    """Seeds cut, joined, stretched and with bytes changed."""
    for _ in range(count):
        data = bytearray(random.choice(seeds))
        for _ in range(random.randint(1, 4)):
            at, to = sorted(random.randint(0, len(data)) for _ in range(2))
            match random.randrange(5):
                case 0 if data:
                    data[min(at, len(data) - 1)] ^= 1 << random.randrange(8)
                case 1:
                    data[at:to] = random.choice(PIECES)
                case 2:
                    data[at:at] = data[at:to]
                case 3:
                    other = random.choice(seeds)
                    data[at:] = other[random.randint(0, len(other)) :]
                case _:
                    data[at:at] = random.randbytes(random.randint(1, 8))
        yield bytes(data[:LONGEST])
