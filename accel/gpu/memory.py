"""Moving batches through a GPU whose memory may be smaller than they are, and leaving no secret in it.

Memory comes from CuPy's default pool, so that everything in the process that uses the GPU shares it. A freed
block is not cleared by anyone: whoever put a secret into a buffer clears it with `secrets_in`. What a kernel
spills to local memory is out of reach: it stays until another kernel overwrites it.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.errors import DeviceOutOfMemory
from accel.gpu import device

PIECES_IN_FLIGHT = 2  # one computes while the next is copied in and the last is copied out
HEADROOM = 0.8  # of what is free: the pool rounds up, and other users of the GPU move too
LARGE = 1 << 30  # a job that took more than this gives its blocks back to the device

_log = logging.getLogger(__name__)

Finish = Callable[[], None]


class _Own(threading.local):
    """Of one thread: streams by the number of their device."""

    def __init__(self) -> None:
        self.streams: dict[int, list[Any]] = {}


_own = _Own()


def piece_size(count: int, bytes_each: int, free: int, *, multiple: int = 32) -> int:
    """How many of ``count`` elements to take at a time, so that the pieces in flight fit the free memory.

    A multiple of ``multiple`` unless all fit at once, and at least that: whether so few fit is then found out
    by trying.
    """
    fit = int(free * HEADROOM) // max(bytes_each, 1)
    if count <= fit:
        return max(count, 1)
    return max(fit // PIECES_IN_FLIGHT // multiple * multiple, multiple)


def halving(
    count: int,
    size: int,
    start: Callable[[int, int], Finish],
    exhausted: type[BaseException] | tuple[type[BaseException], ...],
    *,
    multiple: int = 32,
    recover: Callable[[], None] = lambda: None,
) -> None:
    """Call ``start(first, last)`` for consecutive pieces that cover ``0 … count``, and each result later.

    ``start`` enqueues a piece and returns what finishes it; a few are in flight. Where it raises
    ``exhausted``, everything in flight is finished, ``recover`` called and the piece tried again at half the
    size. Raises DeviceOutOfMemory when ``multiple`` elements do not fit either.
    """
    waiting: list[Finish] = []
    at = 0
    while at < count:
        last = min(at + size, count)
        try:
            waiting.append(start(at, last))
        except exhausted as error:
            while waiting:
                waiting.pop(0)()
            recover()
            if size <= multiple:
                raise DeviceOutOfMemory(
                    f"{last - at} elements do not fit the memory of the GPU", elements=last - at
                ) from error
            size = max(size // 2 // multiple * multiple, multiple)
            _log.info("out of memory on the GPU: pieces of %d elements from here on", size)
            continue
        at = last
        if len(waiting) >= PIECES_IN_FLIGHT:
            waiting.pop(0)()
    while waiting:
        waiting.pop(0)()


def in_pieces(
    count: int, bytes_each: int, start: Callable[[int, int], Finish], *, fixed: int = 0, multiple: int = 32
) -> None:
    """Run a batch through the device: ``start(first, last)`` enqueues a piece on the current stream.

    ``bytes_each`` is device memory per element, scratch included; ``fixed`` what is needed however few there
    are. Each piece in flight has a stream of its own. Raises DeviceOutOfMemory if even ``multiple`` elements
    do not fit; one from ``start`` is a piece that did not fit, like CuPy's own.
    """
    cupy = device.require()
    pool = cupy.get_default_memory_pool()
    size = piece_size(count, bytes_each, device.free_bytes() - fixed, multiple=multiple)
    streams = _streams()
    turn = 0
    # What earlier work left on the caller's stream (tables, operands) must be there first.
    cupy.cuda.get_current_stream().synchronize()

    def on_its_stream(first: int, last: int) -> Finish:
        nonlocal turn
        stream = streams[turn % PIECES_IN_FLIGHT]
        turn += 1
        with stream:
            finish = start(first, last)

        def finished() -> None:
            with stream:
                finish()
                stream.synchronize()

        return finished

    try:
        halving(
            count,
            size,
            on_its_stream,
            (cupy.cuda.memory.OutOfMemoryError, DeviceOutOfMemory),
            multiple=multiple,
            recover=pool.free_all_blocks,
        )
    finally:
        for stream in streams:
            stream.synchronize()
        if size * bytes_each > LARGE:
            pool.free_all_blocks()


def _streams() -> list[Any]:
    """This thread's streams on the current device.

    They are kept because CuPy's pool keeps what was freed on a stream for that stream: new ones would find
    nothing and allocate again, which waits for the whole device.
    """
    cupy = device.require()
    number = cupy.cuda.Device().id
    if number not in _own.streams:
        made = [cupy.cuda.Stream(non_blocking=True) for _ in range(PIECES_IN_FLIGHT)]
        _own.streams[number] = made
    return _own.streams[number]


@contextmanager
def translated() -> Iterator[None]:
    """CuPy's out-of-memory becomes DeviceOutOfMemory, which ``auto`` answers with the processor."""
    cupy = device.require()
    try:
        yield
    except cupy.cuda.memory.OutOfMemoryError as error:
        cupy.get_default_memory_pool().free_all_blocks()
        raise DeviceOutOfMemory(f"the memory of the GPU is exhausted: {error}") from error


@contextmanager
def secrets_in() -> Iterator[Callable[[Any], Any]]:
    """``with secrets_in() as secret: x = secret(upload(…))``: clears the buffers when the block ends.

    The clearing is enqueued on the current stream, behind the kernels that use the buffers, also when the
    block ends with an exception.
    """
    kept: list[Any] = []

    def keep(array: Any) -> Any:
        kept.append(array)
        return array

    try:
        yield keep
    finally:
        for array in kept:
            clear(array)


def clear(array: Any) -> None:
    """Zero a device array on the current stream, or a host array at once."""
    if isinstance(array, np.ndarray):
        array.fill(0)
    else:
        array.data.memset_async(0, array.nbytes)


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Any:
    """Device memory of unknown content, from the pool of the current stream."""
    return device.require().empty(shape, dtype)


def upload(array: npt.NDArray[Any], *, secret: bool = False) -> Any:
    """A copy on the device, by way of pinned memory, in the order of the current stream.

    A secret's pinned copy is cleared before this returns; the device array is the caller's to clear.
    """
    cupy = device.require()
    staged = _pinned(array.shape, array.dtype)
    staged[...] = array
    copied = cupy.empty(array.shape, array.dtype)
    copied.set(staged)
    # Pinned memory goes back to a pool when `staged` is released: only after the copy has read it.
    cupy.cuda.get_current_stream().synchronize()
    if secret:
        staged.fill(0)
    return copied


def download(array: Any, into: npt.NDArray[Any], *, secret: bool = False) -> Finish:
    """Enqueue the copy of a device array to the host; the result of this call waits and delivers it."""
    staged = _pinned(array.shape, array.dtype)
    stream = device.require().cuda.get_current_stream()
    array.get(stream=stream, out=staged, blocking=False)

    def deliver() -> None:
        stream.synchronize()
        into[...] = staged
        if secret:
            staged.fill(0)

    return deliver


def _pinned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Page-locked host memory of unknown content.

    CuPy's pool hands a block out again for its very size only. So sizes are powers of two: otherwise every
    new batch size would lock more memory for good.
    """
    import cupyx

    size = math.prod(shape) * np.dtype(dtype).itemsize
    block: npt.NDArray[np.uint8] = cupyx.empty_pinned(1 << max(size - 1, 0).bit_length(), np.uint8)
    return block[:size].view(dtype).reshape(shape)
