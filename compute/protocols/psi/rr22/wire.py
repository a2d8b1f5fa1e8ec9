"""Byte strings of known length over the stream of blocks, and arrays cut out of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compute.protocols.protocol import Part
from compute.protocols.stream import receive_array, send_array

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]

# Phases of `Progress`: the correlations, and the table.
CORRELATE = "psi.correlate"
TABLE = "psi.table"


def send_bytes(peer: str, parts: tuple[npt.NDArray[np.generic] | bytes, ...], phase: str) -> Part[None]:
    """Send parts one after the other as one byte string, which is nowhere whole."""
    flat = [
        np.frombuffer(part, np.uint8)
        if isinstance(part, bytes)
        else np.ascontiguousarray(part).reshape(-1).view(np.uint8)
        for part in parts
    ]
    ends = np.cumsum([len(part) for part in flat]).tolist()

    def between(start: int, stop: int) -> bytes:
        pieces: list[memoryview] = []
        for part, end in zip(flat, ends, strict=True):
            begin = end - len(part)
            pieces.append(part[max(start - begin, 0) : max(stop - begin, 0)].data)
        return b"".join(pieces)

    yield from send_array(peer, ends[-1], 1, between, phase)


def receive_bytes(peer: str, count: int, phase: str) -> Part[Reader]:
    """Receive exactly ``count`` bytes; raises ProtocolAbort for more, fewer or reordered ones."""
    return Reader((yield from receive_array(peer, count, 1, phase)))


class Reader:
    """Takes arrays from the front of a byte string whose length is known to fit them."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def octets(self, *shape: int) -> U8:
        """The next bytes, in this shape."""
        count = int(np.prod(shape))
        taken = np.frombuffer(self._data, np.uint8, count, self._at).reshape(shape)
        self._at += count
        return taken

    def words(self, *shape: int) -> U64:
        """The next little-endian words of 64 bits, in this shape."""
        return self.octets(8 * int(np.prod(shape))).view("<u8").reshape(shape)

    def raw(self, count: int) -> bytes:
        """The next bytes, as such."""
        return self.octets(count).tobytes()

    def rest(self) -> bytes:
        """All bytes that are left."""
        return bytes(self._data[self._at :])
