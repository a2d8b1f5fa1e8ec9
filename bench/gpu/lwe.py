"""Products modulo 2^32 for private information retrieval: one query, batches of queries, the hint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from accel.gpu import device
from accel.gpu import lwe as on_gpu
from bench.gpu.entry import Ceilings, Clock, Entry, equal, row
from bench.measure import Row

SHAPES = ((1, 1, 2), (33, 100, 17), (1000, 1025, 9), (5000, 257, 40))
"""Rows, columns and width of the products that are checked."""
COLUMNS = 1 << 16
BATCHES = (8, 16, 64)
HINT_COLUMNS = 1024
EDGES = (0, 1, 0x7F, 0x80, 0x7FFF, 0x8000, 0x7F7F7F7F, 0x80808080, 2**31 - 1, 2**31, 2**32 - 1)
SINGLE_TARGET = 4e12
BATCH_TARGET = 50e12


def check(shapes: Sequence[tuple[int, int, int]] = SHAPES) -> None:
    """Every entry width, odd shapes, edges of the digits, resident and not, against numpy modulo 2^64."""
    source = np.random.default_rng(1)
    for dtype in (np.uint8, np.uint16, np.uint32):
        for rows, columns, width in shapes:
            database = source.integers(0, np.iinfo(dtype).max, (rows, columns), dtype=dtype, endpoint=True)
            database[0] = np.iinfo(dtype).max
            matrix = source.integers(0, 2**32, (columns, width), dtype=np.uint32)
            matrix.reshape(-1)[::3] = source.choice(np.array(EDGES, np.uint32), -(-matrix.size // 3))
            centred = database.astype(np.uint64) - np.uint64(128)
            expected = (centred @ matrix.astype(np.uint64)).astype(np.uint32)
            name = f"{rows} x {columns} of {dtype.__name__}"
            for given in (database, on_gpu.resident(database)):
                equal(f"{name} times a matrix", on_gpu.matmul(given, matrix, 128), expected)
                equal(f"{name} times a vector", on_gpu.matvec(given, matrix[:, 0], 128), expected[:, 0])


def time(clock: Clock, ceilings: Ceilings, quick: bool) -> Iterator[Row]:
    """Bytes of a resident database that a query meets in a second; for a batch, times its queries."""
    rows = 1 << (14 if quick else 17)
    data = _filled(rows * COLUMNS).reshape(rows, COLUMNS)
    yield _row("pir product", data, 1, clock, ceilings, SINGLE_TARGET)
    for width in BATCHES:
        target = BATCH_TARGET if width == max(BATCHES) else None
        yield _row(f"pir batch of {width}", data, width, clock, ceilings, target)
    yield _row("pir hint", data[: 1 << 14], HINT_COLUMNS, clock, ceilings, None)
    kept = on_gpu.DeviceDatabase(data, rows, COLUMNS, 1)
    query = np.arange(COLUMNS, dtype=np.uint32) * np.uint32(2654435761)
    seconds = clock(lambda: on_gpu.matvec(kept, query, 128))
    yield row(
        "pir query, host to host",
        data.size,
        seconds,
        "B/s",
        "database resident, query up, answer down, offset",
        ceiling="copy bandwidth",
        allowed=ceilings.copy_bytes_per_s,
    )


def _row(name: str, data: Any, width: int, clock: Clock, ceilings: Ceilings, target: float | None) -> Row:
    cupy = device.require()
    matrix = _filled(4 * COLUMNS * width).view(cupy.uint32).reshape(COLUMNS, width)
    digits = (on_gpu.VectorDigits if width == 1 else on_gpu.MatrixDigits)(matrix, 1, COLUMNS)
    output = cupy.zeros((data.shape[0], width), dtype=cupy.uint32)
    seconds = clock(lambda: digits.add(data, output))
    passes = -(-width // (16 if width <= on_gpu.FEW_COLUMNS else 32))
    return row(
        name,
        data.size * width,
        seconds,
        "B/s",
        f"on the device, {data.size >> 20} MiB, bytes times {width} queries, digits packed before",
        ceiling=f"copy bandwidth, {passes} passes",
        allowed=ceilings.copy_bytes_per_s * width / passes,
        target=target,
    )


def _filled(size: int) -> Any:
    """Bytes that look random; what they are does not matter to the kernels."""
    cupy = device.require()
    words = cupy.arange(size // 4, dtype=cupy.uint32)
    words *= cupy.uint32(2654435761)
    words ^= words >> cupy.uint32(15)
    return words.view(cupy.uint8)


ENTRIES = (Entry("lwe", check, time),)
