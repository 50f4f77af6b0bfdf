"""Who allowed what: the authorization of one invocation.

Each authorization entry is a tree of calls that one address allows. A call that requires an
address's authorization is looked up, in order: the calling contract allows what it calls itself;
calls a contract allowed on its own behalf for deeper frames; the entries' trees, each node good
for one call. An entry's signature is verified when its root is matched, then its nonce is used up.

When recording, the trees are written down instead of looked up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mpp_asgi.sandbox.host.errors import ErrorCode, ErrorType, HostError
from mpp_asgi.sandbox.wire.authorization import (
    AuthorizationEntry,
    AuthorizedFunction,
    Credentials,
    Invocation,
)
from mpp_asgi.sandbox.wire.values import VOID, Address, Val, address_val, u32_val

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ROOT = -1
"""Marks the frame that the root of a tree was matched in; other numbers are child positions."""


class Authenticator(Protocol):
    """What authorization needs from the host."""

    sequence: int

    @property
    def max_live_until(self) -> int: ...

    def authenticate(self, entry: AuthorizationEntry, address: Address) -> None: ...

    def consume_nonce(self, address: Address, nonce: int, live_until: int) -> None: ...

    def new_nonce(self) -> int: ...

    def error(
        self, error_type: ErrorType, code: int, text: str, args: Sequence[Val] = ()
    ) -> HostError: ...


@dataclass(slots=True)
class Node:
    """One call of a tree and whether it was used."""

    function: AuthorizedFunction
    children: list[Node] = field(default_factory=list)
    used: bool = False

    @classmethod
    def of(cls, invocation: Invocation) -> Node:
        return cls(invocation.function, [cls.of(child) for child in invocation.children])

    def invocation(self) -> Invocation:
        return Invocation.of(self.function, [child.invocation() for child in self.children])

    def uses(self) -> list[bool]:
        """Which nodes are used, in depth-first order."""
        found = [self.used]
        for child in self.children:
            found += child.uses()
        return found

    def restore(self, uses: list[bool]) -> None:
        """Set back to :meth:`uses`, consuming it; nodes added since are dropped."""
        self.used = uses.pop(0)
        kept = []
        for child in self.children:
            if uses:
                child.restore(uses)
                kept.append(child)
        self.children = kept


class Tree:
    """A tree of allowed calls, and how the current call stack runs along it."""

    __slots__ = ("_root_frame", "done", "matches", "root")

    def __init__(self, root: Node, matches: Iterable[int | None] = ()) -> None:
        self.root = root
        self.matches: list[int | None] = list(matches)
        """Per frame of the stack: the child matched there, ``_ROOT``, or ``None``."""
        self._root_frame: int | None = None
        self.done = False

    @classmethod
    def recorded(cls, function: AuthorizedFunction, depth: int) -> Tree:
        tree = cls(Node(function, used=True), [None] * (depth - 1) + [_ROOT])
        tree._root_frame = depth - 1
        return tree

    def push(self) -> None:
        self.matches.append(None)

    def pop(self) -> None:
        if self.matches:
            self.matches.pop()
        if self._root_frame is not None and self._root_frame >= len(self.matches):
            self.done = True

    @property
    def is_active(self) -> bool:
        return self.root.used and not self.done

    @property
    def is_matched_here(self) -> bool:
        return bool(self.matches) and self.matches[-1] is not None

    @property
    def is_matched_anywhere(self) -> bool:
        return any(match is not None for match in self.matches)

    def current(self) -> Node | None:
        """The deepest node the stack has matched."""
        node: Node | None = None
        for match in self.matches:
            if match == _ROOT:
                node = self.root
            elif match is not None and node is not None:
                node = node.children[match]
        return node

    def match(self, function: AuthorizedFunction, *, allow_root: bool) -> bool:
        """Match a call in the current frame, below what is matched already."""
        if self.is_matched_here:
            return False
        node = self.current()
        if node is not None:
            for index, child in enumerate(node.children):
                if not child.used and child.function == function:
                    child.used = True
                    self.matches[-1] = index
                    return True
            return False
        if allow_root and not self.root.used and self.root.function == function:
            self.root.used = True
            self.matches[-1] = _ROOT
            self._root_frame = len(self.matches) - 1
            return True
        return False

    def record(self, function: AuthorizedFunction) -> None:
        """Add a call below what is matched already."""
        node = self.current() or self.root
        node.children.append(Node(function, used=True))
        self.matches[-1] = len(node.children) - 1

    def snapshot(self) -> list[bool]:
        return self.root.uses()

    def rollback(self, snapshot: list[bool]) -> None:
        self.root.restore(snapshot.copy())
        if not self.root.used:
            self._root_frame = None
            self.done = False


@dataclass(slots=True)
class Tracker:
    """An address, the tree it allows, and whether that is proven."""

    address: Address
    tree: Tree
    entry: AuthorizationEntry | None = None
    nonce: int | None = None
    verified: bool = False
    busy: bool = False
    """Its signature is being checked right now, so it cannot serve."""


Snapshot = tuple[list[tuple[list[bool], bool]], list[list[bool]]]


class Authorization:
    """The authorization of one invocation."""

    def __init__(
        self,
        host: Authenticator,
        source: Address,
        entries: Iterable[AuthorizationEntry] | None,
        *,
        allow_non_root: bool = False,
        upgraded: bool = False,
    ) -> None:
        """``entries`` are enforced; ``None`` records them."""
        self._host = host
        self._source = source
        self._stack: list[Address | None] = []
        self._own: list[tuple[Address, Tree]] = []
        self._allow_non_root = allow_non_root
        self._upgraded = upgraded
        self.recording = entries is None
        self._trackers = [
            Tracker(
                source if entry.address is None else entry.address,
                Tree(Node.of(entry.root)),
                entry,
                verified=False,
            )
            for entry in entries or ()
        ]

    def push(self, contract: Address | None) -> None:
        """Enter a frame; ``None`` stands for a host function that needs one."""
        self._stack.append(contract)
        for tracker in self._trackers:
            if not tracker.busy:
                tracker.tree.push()
        for _, tree in self._own:
            tree.push()

    def pop(self) -> None:
        self._stack.pop()
        for tracker in self._trackers:
            if not tracker.busy:
                tracker.tree.pop()
        for _, tree in self._own:
            tree.pop()
        while self._own and not self._own[-1][1].matches:
            self._own.pop()

    def snapshot(self) -> Snapshot:
        trackers = [(tracker.tree.snapshot(), tracker.verified) for tracker in self._trackers]
        return trackers, [tree.snapshot() for _, tree in self._own]

    def rollback(self, snapshot: Snapshot) -> None:
        trackers, own = snapshot
        if self.recording:
            del self._trackers[len(trackers) :]
        for tracker, (uses, verified) in zip(self._trackers, trackers, strict=True):
            tracker.tree.rollback(uses)
            tracker.verified = verified
        for (_, tree), uses in zip(self._own, own, strict=False):
            tree.rollback(uses)

    def allow_own(self, contract: Address, invocations: Iterable[Invocation]) -> None:
        """Let calls deeper than the next one act for the contract that runs now."""
        self._own += [(contract, Tree(Node.of(invocation))) for invocation in invocations]

    def require(self, address: Address, function: AuthorizedFunction) -> None:
        """The current frame needs ``address`` to allow ``function``; raises unless it does."""
        if self._allowed_by_contract(address, function):
            return
        if self.recording:
            self._record(address, function)
        else:
            self._enforce(address, function)

    def _allowed_by_contract(self, address: Address, function: AuthorizedFunction) -> bool:
        if len(self._stack) < 2:
            return False
        if self._stack[-2] == address:
            return True
        return any(
            owner == address and owner != self._stack[-1] and tree.match(function, allow_root=True)
            for owner, tree in self._own
        )

    def _enforce(self, address: Address, function: AuthorizedFunction) -> None:
        mine = [t for t in self._trackers if t.address == address and not t.busy]
        # A tree that is being walked must go on to be walked: roots of other trees do not count,
        # so that disjoint entries cannot be put together to one tree of calls.
        walking = any(t.tree.is_active and not t.tree.is_matched_here for t in mine)
        for tracker in mine:
            if tracker.tree.match(function, allow_root=not walking):
                self._verify(tracker)
                return
        raise self._host.error(
            ErrorType.AUTH,
            ErrorCode.INVALID_ACTION,
            "Unauthorized function call for address",
            [address_val(address)],
        )

    def _verify(self, tracker: Tracker) -> None:
        entry = tracker.entry
        if tracker.verified or entry is None or entry.address is None:
            tracker.verified = True
            return
        tracker.busy = True
        try:
            self._host.authenticate(entry, entry.address)
        except HostError as problem:
            if not problem.is_recoverable:
                raise
            raise self._host.error(
                ErrorType.AUTH,
                ErrorCode.INVALID_ACTION,
                "failed account authentication with error",
                [address_val(tracker.address), problem.value],
            ) from None
        finally:
            tracker.busy = False
        self._consume_nonce(entry, entry.address)
        tracker.verified = True

    def _consume_nonce(self, entry: AuthorizationEntry, address: Address) -> None:
        host = self._host
        if host.sequence > entry.expiration:
            raise host.error(
                ErrorType.AUTH,
                ErrorCode.INVALID_INPUT,
                "signature has expired",
                [address_val(address), u32_val(host.sequence), u32_val(entry.expiration)],
            )
        if entry.expiration > host.max_live_until:
            raise host.error(
                ErrorType.AUTH,
                ErrorCode.INVALID_INPUT,
                "signature expiration is too late",
                [address_val(address), u32_val(host.max_live_until), u32_val(entry.expiration)],
            )
        host.consume_nonce(address, entry.nonce, entry.expiration)

    def _record(self, address: Address, function: AuthorizedFunction) -> None:
        for tracker in self._trackers:
            tree = tracker.tree
            if tracker.address != address or not tree.is_matched_anywhere:
                continue
            if not tree.is_matched_here:
                tree.record(function)
                return
        if not self._allow_non_root and len(self._stack) != 1:
            raise self._refuse_non_root(address)
        nonce = None
        if address != self._source:
            nonce = self._host.new_nonce()
            self._host.consume_nonce(address, nonce, self._host.max_live_until)
        tree = Tree.recorded(function, len(self._stack))
        self._trackers.append(Tracker(address, tree, nonce=nonce, verified=True))

    def _refuse_non_root(self, address: Address) -> HostError:
        if address in self._stack[:-1]:
            text = (
                "[recording authorization only] encountered unauthorized call for a contract "
                "earlier in the call stack, make sure that you have called "
                "`authorize_as_current_contract()` with the appropriate arguments for it."
            )
        else:
            text = (
                "[recording authorization only] encountered authorization not tied to the root "
                "contract invocation for an address. Use `require_auth()` in the top invocation "
                "or enable non-root authorization."
            )
        return self._host.error(
            ErrorType.AUTH, ErrorCode.INVALID_ACTION, text, [address_val(address)]
        )

    def recorded(self) -> list[AuthorizationEntry]:
        """What was recorded, unsigned, in the order it was needed."""
        credentials = Credentials.ADDRESS_V2 if self._upgraded else Credentials.ADDRESS
        entries = []
        for tracker in self._trackers:
            root = tracker.tree.root.invocation()
            if tracker.nonce is None:
                entries.append(AuthorizationEntry(Credentials.SOURCE_ACCOUNT, root))
            else:
                entries.append(
                    AuthorizationEntry(credentials, root, tracker.address, tracker.nonce, 0, VOID)
                )
        return entries
