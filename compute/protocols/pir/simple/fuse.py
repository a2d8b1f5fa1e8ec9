"""A key-value map in which every key reads three slots: a binary fuse filter that holds values.

The value of a key is the byte-wise sum modulo 256 of its three slots, so one PIR query that selects three
columns retrieves it. A key that is not in the map reads bytes that look random. Slots that no key decides
are random. Source: Graf, Lemire, "Binary Fuse Filters", ACM JEA 2022, section 4; as a map for PIR:
Celi, Davidson, "Call Me By My Name: Simple, Practical Private Information Retrieval for Keyword Queries",
CCS 2024.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compute.errors import ProtocolAbort
from compute.protocols.protocol import Rng

U8 = npt.NDArray[np.uint8]
ARITY = 3
SEED_BYTES = 16
MAX_SEGMENT = 1 << 18
_ATTEMPTS = 200


@dataclass(frozen=True)
class Layout:
    """How many slots there are and how keys spread over them; a function of the number of keys."""

    segment_length: int
    segment_count: int

    @property
    def slots(self) -> int:
        """Length of the slot array."""
        return (self.segment_count + ARITY - 1) * self.segment_length

    def positions(self, key: bytes, seed: bytes) -> tuple[int, int, int]:
        """The three slots of a key, in three consecutive segments."""
        word = hashlib.sha256(b"liutong/pir/slot/v1\0" + seed + key).digest()
        first = (int.from_bytes(word[:8], "big") * self.segment_count * self.segment_length) >> 64
        mask = self.segment_length - 1
        second = (first + self.segment_length) ^ (int.from_bytes(word[8:12], "big") & mask)
        third = (first + 2 * self.segment_length) ^ (int.from_bytes(word[12:16], "big") & mask)
        return first, second, third


def layout(count: int) -> Layout:
    """The layout for ``count`` keys: about 1.13 slots per key for many, more for few."""
    length = 4
    if count > 1:
        length = min(MAX_SEGMENT, 1 << math.floor(math.log(count) / math.log(3.33) + 2.25))
    capacity = 0
    if count > 1:
        capacity = round(count * max(1.125, 0.875 + 0.25 * math.log(1_000_000) / math.log(count)))
    return Layout(length, max(1, -(-capacity // length) - (ARITY - 1)))


def build(keys: Sequence[bytes], values: U8, rng: Rng) -> tuple[bytes, U8]:
    """A seed and the slots, shape (slots, width), that map key i to ``values[i]``.

    Keys must be distinct. Raises ProtocolAbort if no seed works, which has no practical probability.
    """
    shape = layout(len(keys))
    for _ in range(_ATTEMPTS):
        seed = rng(SEED_BYTES)
        order = _peel([shape.positions(key, seed) for key in keys], shape.slots)
        if order is not None:
            break
    else:
        raise ProtocolAbort("no seed gives a keyword map: are the keys distinct?")
    width = values.shape[1]
    slots = np.frombuffer(rng(shape.slots * width), dtype=np.uint8).reshape(shape.slots, width).copy()
    # Backwards through the peeling: the slot a key was peeled by is read by no key that is still to come.
    for key, own, others in reversed(order):
        slots[own] = values[key] - slots[others[0]] - slots[others[1]]
    return seed, slots


def _peel(places: list[tuple[int, int, int]], slots: int) -> list[tuple[int, int, list[int]]] | None:
    """An order in which every key has a slot that no later key reads; None if there is none."""
    count = [0] * slots
    readers = [0] * slots  # XOR of the keys that read a slot: the key itself once only one is left
    for key, positions in enumerate(places):
        for position in positions:
            count[position] += 1
            readers[position] ^= key
    alone = [slot for slot in range(slots) if count[slot] == 1]
    order = []
    while alone:
        slot = alone.pop()
        if count[slot] != 1:
            continue
        key = readers[slot]
        order.append((key, slot, [position for position in places[key] if position != slot]))
        for position in places[key]:
            count[position] -= 1
            readers[position] ^= key
            if count[position] == 1:
                alone.append(position)
    return order if len(order) == len(places) else None
