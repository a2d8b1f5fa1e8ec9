"""Tags under both secrets go back to whose keys they are, sorted: it counts what both have, and not which.

    who is asked   `return_tags`: the peer's own tags in the order of their bytes, bin after bin
    who asks       `compare_tags`: these beside the peer's tags, which it made itself (`masking.exchange`)

One bin is held at a time. Where both roles ask, they take turns block by block (`swap_tags`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from compute.errors import DataError, ProtocolAbort
from compute.protocols.protocol import Effect, Part, Progress, Receive, Reply, Send
from compute.protocols.psi.bins import Rows
from compute.protocols.psi.buckets import bound
from compute.protocols.psi.ecdh.masking import TAG_BYTES, Masking
from compute.protocols.psi.matching import in_order, match, require_ascending
from compute.protocols.stream import receive_blocks, send_array, tag_bytes


def return_tags(side: Masking) -> Part[None]:
    """Return the peer's own tags in the order of their bytes. `exchange` is over."""
    ascending = _Ascending(side)
    width = returned_bytes(side.mine, side.theirs)
    yield from send_array(side.peer, side.theirs, width, ascending.take, "psi.match")


def compare_tags(side: Masking, found: Callable[[Rows], None] = lambda records: None) -> Part[int]:
    """How many of our own tags, as the peer returns them, are among its own. `exchange` is over.

    ``found`` is given the peer's tags that are ours too, some at a time. Raises ProtocolAbort unless what
    comes ascends strictly and is spread as tags are.
    """
    comparison = _Comparison(side, found)
    width = returned_bytes(side.mine, side.theirs)
    yield from receive_blocks(side.peer, side.mine, width, "psi.match", comparison.take)
    comparison.finish()
    return comparison.count


def swap_tags(side: Masking) -> Part[int]:
    """`return_tags` and `compare_tags`, a block of each in turn: blocks do not pile up on either line."""
    parts: tuple[Part[Any], ...] = return_tags(side), compare_tags(side)
    turns: tuple[type[Effect], ...] = Send, Receive
    longer = int(side.mine >= side.theirs)
    replies: list[Reply] = [None, None]
    results: dict[int, int] = {}
    while len(results) < len(parts):
        for index in {0, 1} - results.keys():
            effect: Effect | None = None
            while not isinstance(effect, turns[index]):
                try:
                    effect = parts[index].send(replies[index])
                except StopIteration as stop:
                    results[index] = stop.value
                    break
                # Of two parts side by side the longer tells how far both are.
                if not isinstance(effect, Progress) or index == longer:
                    replies[index] = yield effect
    return results[1]


def returned_bytes(one: int, other: int) -> int:
    """Width of a tag that comes back: those of one side meet as rarely among themselves as with others."""
    larger = max(one, other)
    return min(TAG_BYTES, tag_bytes(larger, larger))


@dataclass(repr=False)
class _Ascending:
    """The peer's tags in the order of their bytes, bin after bin."""

    side: Masking
    bin: int = 0
    held: Rows = field(default_factory=lambda: np.empty((0, TAG_BYTES), np.uint8))

    def take(self, first: int, last: int) -> bytes:
        """Tags ``first`` to ``last``: the next ones."""
        width = returned_bytes(self.side.mine, self.side.theirs)
        pieces, missing = [], last - first
        while missing:
            if not len(self.held):
                if self.bin == self.side.tags.count:
                    raise DataError("the tags in the job's workspace are not those of its points")
                self.held = in_order(self.side.tags.read(self.bin)[:, :TAG_BYTES])
                self.bin += 1
            piece, self.held = self.held[:missing], self.held[missing:]
            pieces.append(piece[:, :width].tobytes())
            missing -= len(piece)
        return b"".join(pieces)


@dataclass(repr=False)
class _Comparison:
    """Our own tags as they come back, ascending, beside the peer's: what falls into one bin is held."""

    side: Masking
    found: Callable[[Rows], None]
    count: int = 0
    bin: int = 0
    last: Rows | None = None
    held: list[Rows] = field(default_factory=list)

    def take(self, data: bytes) -> None:
        """The tags of a block."""
        tags = np.frombuffer(data, np.uint8).reshape(-1, returned_bytes(self.side.mine, self.side.theirs))
        require_ascending(tags if self.last is None else np.concatenate([self.last, tags]), self.side.peer)
        self.last = tags[-1:]
        bins = self.side.bin_of(tags)
        for part in np.split(np.arange(len(tags)), np.flatnonzero(np.diff(bins)) + 1):
            if bins[part[0]] != self.bin:
                self.finish()
                self.bin = int(bins[part[0]])
            self.held.append(tags[part])
            if sum(map(len, self.held)) > bound(self.side.mine, self.side.tags.count):
                raise ProtocolAbort(f"{self.side.peer} returned tags that are not spread as tags are")

    def finish(self) -> None:
        """Compare what is held with its bin."""
        if not self.held:
            return
        mine, theirs = np.concatenate(self.held), self.side.tags.read(self.bin)
        self.held = []
        _, places = match(mine, theirs[:, : mine.shape[1]])
        self.count += len(places)
        self.found(theirs[places])
