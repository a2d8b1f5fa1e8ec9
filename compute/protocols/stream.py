"""Long arrays cross in blocks: bounded messages, progress on both sides, every length checked.

An array is ``count`` items of ``width`` bytes; both sides know both numbers before the first block. The
receiver never allocates for more than what it was told to expect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from compute.errors import ProtocolAbort
from compute.protocols.protocol import Message, Part, Progress, Rng, Send, receive

BLOCK_BYTES = 1 << 17
# n rows of bytes: shape (n, width).
Rows = npt.NDArray[np.uint8]
Uint32 = Annotated[int, Meta(ge=0, le=(1 << 32) - 1)]


class Block(Message, frozen=True, tag="block"):
    """Block ``index`` of an array, counted from 0."""

    index: Uint32
    data: Annotated[bytes, Meta(max_length=BLOCK_BYTES)]


def block_items(width: int) -> int:
    """Items per block. An item is at most a block."""
    return BLOCK_BYTES // width


def send_array(
    role: str, count: int, width: int, produce: Callable[[int, int], bytes], phase: str
) -> Part[None]:
    """Send ``count`` items; ``produce(start, stop)`` makes the bytes of a block just before it goes out."""
    step = block_items(width)
    for index, start in enumerate(range(0, count, step)):
        stop = min(start + step, count)
        yield Progress(phase, start, count)
        yield Send(role, Block(index, produce(start, stop)))
    yield Progress(phase, count, count)


def send_rows(role: str, rows: Rows, phase: str) -> Part[None]:
    """`send_array` of the rows of a matrix."""
    yield from send_array(
        role, len(rows), rows.shape[1], lambda first, last: rows[first:last].tobytes(), phase
    )


def receive_rows(role: str, count: int, width: int, phase: str) -> Part[Rows]:
    """`receive_array` of ``count`` rows: (count, width). Nothing crosses for rows without width."""
    if not width:
        return np.empty((count, 0), np.uint8)
    data = yield from receive_array(role, count, width, phase)
    return np.frombuffer(data, np.uint8).reshape(count, width)


def receive_array(role: str, count: int, width: int, phase: str) -> Part[bytes]:
    """Receive exactly ``count`` items; raises ProtocolAbort for blocks out of order or of a wrong length."""
    data = bytearray()
    yield from receive_blocks(role, count, width, phase, data.extend)
    return bytes(data)


def receive_blocks(
    role: str, count: int, width: int, phase: str, take: Callable[[bytes], object]
) -> Part[None]:
    """`receive_array` for what is too long to be held: ``take`` gets the bytes block by block."""
    step = block_items(width)
    for index, start in enumerate(range(0, count, step)):
        yield Progress(phase, start, count)
        block = yield from receive(role, Block)
        expected = (min(start + step, count) - start) * width
        if block.index != index or len(block.data) != expected:
            raise ProtocolAbort(
                f"{role} sent a block that was not due: block {index} of {expected} bytes was"
            )
        take(block.data)
    yield Progress(phase, count, count)


def split(data: bytes, width: int) -> list[bytes]:
    """The items of an array."""
    return [data[start : start + width] for start in range(0, len(data), width)]


def uniform_order(count: int, rng: Rng) -> npt.NDArray[np.int64]:
    """A uniform order of ``range(count)``: sorted by fresh 64-bit keys, drawn again if two are equal."""
    while True:
        keys = np.frombuffer(rng(8 * count), np.uint64)
        order, distinct = sorted_order(keys)
        # Of equal keys the order would not be uniform.
        if distinct:
            return order


def sorted_order(keys: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], bool]:
    """An order that sorts random keys by their leading bits at least, and whether these all differ."""
    bits = np.uint64(max(1, (len(keys) - 1).bit_length()))
    if 3 * int(bits) <= 62:
        # Place and leading bits in one number: sorting numbers is several times as fast as sorting places.
        # That leading bits meet by chance has a probability of at most 1 in 16.
        packed = np.sort((keys >> bits << bits) | np.arange(len(keys), dtype=np.uint64))
        order = (packed & ((np.uint64(1) << bits) - np.uint64(1))).view(np.int64)
        packed >>= bits
        if (packed[1:] != packed[:-1]).all():
            return order, True
    order = np.argsort(keys)
    drawn = keys[order]
    return order, bool((drawn[1:] != drawn[:-1]).all())


def tag_bytes(left: int, right: int) -> int:
    """Width at which two different elements meet with probability at most 2^-40 over all pairs."""
    return min(32, (40 + (max(1, left) * max(1, right)).bit_length() + 7) // 8)
