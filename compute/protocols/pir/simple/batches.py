"""Words modulo 2^32 on the wire: little end first, row by row, in blocks of `compute.protocols.stream`."""

from __future__ import annotations

import numpy as np

from compute.protocols.pir.simple.linear import U32
from compute.protocols.protocol import Part
from compute.protocols.stream import receive_array, send_array


def send_words(role: str, words: U32, phase: str) -> Part[None]:
    """Send a matrix whose shape the other side knows."""
    data = np.ascontiguousarray(words.astype("<u4", copy=False)).data.cast("B")
    yield from send_array(role, words.size, 4, lambda a, b: bytes(data[4 * a : 4 * b]), phase)


def receive_words(role: str, shape: tuple[int, int], phase: str) -> Part[U32]:
    """Receive a matrix of this shape; raises ProtocolAbort for any other."""
    data = yield from receive_array(role, shape[0] * shape[1], 4, phase)
    return np.frombuffer(data, "<u4").astype(np.uint32, copy=False).reshape(shape)
