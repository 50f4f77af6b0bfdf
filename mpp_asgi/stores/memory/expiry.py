"""Which record may be purged when, so that a purge looks at nothing else."""

from __future__ import annotations

import heapq


class Expiry:
    """Keys by the second from which on they may go.

    One bucket a second: however often a record comes and goes, it leaves nothing behind.
    """

    def __init__(self) -> None:
        self._buckets: dict[int, dict[str, None]] = {}
        self._seconds: list[int] = []  # a heap of the buckets' keys

    def add(self, key: str, keep_until: int) -> None:
        """Have it go from then on (Unix seconds)."""
        bucket = self._buckets.get(keep_until)
        if bucket is None:
            bucket = self._buckets[keep_until] = {}
            heapq.heappush(self._seconds, keep_until)
        bucket[key] = None

    def discard(self, key: str, keep_until: int) -> None:
        """Forget what was added with these very words."""
        self._buckets[keep_until].pop(key, None)

    def take(self, *, now: int, limit: int) -> list[str]:
        """Remove and return at most ``limit`` keys whose time has come, the oldest first."""
        taken: list[str] = []
        while self._seconds and self._seconds[0] <= now and len(taken) < limit:
            bucket = self._buckets[self._seconds[0]]
            while bucket and len(taken) < limit:
                taken.append(bucket.popitem()[0])
            if not bucket:
                del self._buckets[heapq.heappop(self._seconds)]
        return taken
