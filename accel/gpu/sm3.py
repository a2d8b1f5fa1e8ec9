"""SM3 and HMAC-SM3 of many messages on the GPU, with the arguments and results of `accel.sm3`'s operations.

Messages and keys may be secret: both are cleared from the device's memory, and time depends on the lengths.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from accel.byte_rows import U8, ByteRows
from accel.gpu import compile as gpu_compile
from accel.gpu import memory
from accel.gpu.launch import launch

SOURCE = "sm3.cuh"
_ADDRESSES = 48  # bytes of a start, a length and a digest


def digest_many(messages: ByteRows) -> U8:
    return _run(messages, None)


def hmac_many(keys: U8, messages: ByteRows) -> U8:
    """``keys``: blocks of 64 bytes, one for all messages or one for each."""
    return _run(messages, keys)


def _run(messages: ByteRows, keys: U8 | None) -> U8:
    count = len(messages)
    digests = np.empty((count, 32), np.uint8)
    kernel = gpu_compile.kernel(SOURCE, "sm3_digests" if keys is None else "sm3_hmacs")

    def start(first: int, last: int) -> memory.Finish:
        piece = ByteRows(messages.data, messages.starts[first:last], messages.lengths[first:last]).compact()
        with memory.secrets_in() as secret:
            # One byte more: even if all messages are empty there is an address to pass.
            data = secret(memory.upload(np.append(piece.data, np.uint8(0)), secret=True))
            places = memory.upload(_u64(piece.starts)), memory.upload(_u64(piece.lengths))
            got = secret(memory.empty((last - first, 32), np.uint8))
            arguments: tuple[Any, ...] = data, *places, got, np.uint64(last - first)
            if keys is not None:
                own = len(keys) > 1
                blocks = secret(memory.upload(keys[first:last] if own else keys, secret=True))
                arguments = blocks, np.uint64(64 if own else 0), *arguments
            launch(kernel, last - first, *arguments)
            return memory.download(got, digests[first:last], secret=True)

    average = int(messages.lengths.sum()) // max(count, 1)
    memory.in_pieces(count, _ADDRESSES + average + (0 if keys is None else 64), start)
    return digests


def _u64(places: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(places).astype(np.uint64)
