"""The file that a sandbox's state outlives its process in."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from mpp_asgi.sandbox.snapshot import Snapshot, SnapshotError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from mpp_asgi.sandbox.sandbox import Sandbox

SECONDS: Final = 2.0
"""Between two looks at whether there is something to save."""
IDLE_SECONDS: Final = 60.0
"""After which the state is saved even if only empty ledgers have closed."""
_SHARE: Final = 10
"""Saving may take one part in so many of the time."""


class StateFileError(Exception):
    """A state file cannot be read or written; the message is one sentence that names it."""


@dataclass(frozen=True, slots=True)
class StateFile:
    path: Path

    def load(self) -> Snapshot | None:
        """What was saved; ``None`` where there is no file yet. Raises :class:`StateFileError`."""
        try:
            return Snapshot.from_bytes(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateFileError(
                f"The state file {self.path} cannot be read: {error.strerror}."
            ) from None
        except SnapshotError as error:
            raise self.refused(error) from None

    def refused(self, reason: SnapshotError) -> StateFileError:
        """Why a sandbox does not go on from what the file holds."""
        text = str(reason)
        return StateFileError(
            f"The state file {self.path} is not for this sandbox: {text[:1].lower()}{text[1:]}"
        )

    def save(self, snapshot: Snapshot) -> None:
        """Replace the file's content as a whole: a crash leaves the old or the new one.

        Raises :class:`StateFileError`.
        """
        new = self.path.with_name(f"{self.path.name}.new")
        try:
            with new.open("wb") as file:
                file.write(snapshot.to_bytes())
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            raise StateFileError(
                f"The state file {self.path} cannot be written: {error.strerror}."
            ) from None


def _sync_folder(folder: Path) -> None:
    """Make a new name in the folder outlast a loss of power; not everywhere is that possible."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Keeper:
    """Keeps a sandbox's state file up to date from a thread of its own, as a context manager.

    At the end it is saved once more; that may raise :class:`StateFileError`. What fails before is
    told to ``complain`` and tried again.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        complain: Callable[[str], None],
        *,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sandbox = sandbox
        self._complain = complain
        self._seconds = seconds
        self._clock = clock
        self._end = Event()
        self._thread = Thread(target=self._run, name="sandbox state", daemon=True)
        self._saved: tuple[int, float] | None = None
        self._pause = seconds

    def __enter__(self) -> Keeper:
        self.save()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()
        self.save()

    def save(self) -> None:
        revision, begun = self._sandbox.revision, self._clock()
        self._sandbox.save()
        ended = self._clock()
        self._saved = revision, ended
        self._pause = max(self._seconds, _SHARE * (ended - begun))

    def look(self) -> None:
        """Save if there is a reason to."""
        if self._saved is not None:
            revision, when = self._saved
            if revision == self._sandbox.revision and self._clock() - when < IDLE_SECONDS:
                return
        try:
            self.save()
        except StateFileError as error:
            self._complain(str(error))

    def _run(self) -> None:
        while not self._end.wait(self._pause):
            self.look()
