"""Products modulo 2^32 by vector instructions: bytes of the database times balanced digits of the factor.

    D x = sum over digits d of 2^(bits d) (D x_d)

D is read in place, as bytes, once for up to 16 columns (8 on AVX2); the factor is packed first (`lwe_pack`).
Neither the instructions nor the addresses depend on what the arrays hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.cpu.lwe import subtract_offset, worth_a_thread
from accel.cpu.lwe_pack import pack
from accel.cpu.lwe_tiles import BYTE_TILES, HALF_TILES, Plan, Tile
from accel.cpu.threads import each_range

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
Database = npt.NDArray[Any]

_PANEL_BYTES = 1 << 18  # of the packed factor at a time: stays in the second-level cache
_BLOCK_TILES = 64  # rows of a block, in tiles

VNNI = BYTE_TILES
AVX2 = HALF_TILES


def matvec(tiles: Sequence[Tile], database: Database, vector: U32, offset: int) -> U32:
    return matmul(tiles, database, vector[:, None], offset)[:, 0]


def matmul(tiles: Sequence[Tile], database: Database, matrix: U32, offset: int) -> U32:
    """``database`` C-contiguous; the result is C-contiguous."""
    rows, columns = database.shape[0], matrix.shape[1]
    if not database.size or not columns:
        return np.zeros((rows, columns), dtype=np.uint32)
    tile = next((tile for tile in tiles if tile.columns >= columns), tiles[-1])
    return subtract_offset(_product(tile, database, matrix), matrix, offset)


def _product(tile: Tile, database: Database, matrix: U32) -> U32:
    rows, columns = database.shape[0], matrix.shape[1]
    data = database.view(np.uint8)
    width = data.shape[1]
    packed, steps, step_bytes = _packed(tile, matrix, database.itemsize)
    panels, step_words = packed.shape[0] if tile.columns > 1 else 1, packed.shape[-1]
    plan = Plan(
        tile.rows,
        tile.columns,
        panels,
        steps,
        step_bytes,
        step_words,
        stride=width,
        block_rows=_BLOCK_TILES * tile.rows,
        block_steps=_PANEL_BYTES // (4 * step_words),
    )
    # Steps read beyond the end of a row and multiply what they find by zero. Where that would be beyond the
    # end of the database, and where rows do not fill a tile, a copy with room is multiplied instead.
    overhang = steps * step_bytes - width
    body = max(rows - -(-overhang // width), 0) // tile.rows * tile.rows
    rest = -(-(rows - body) // tile.rows) * tile.rows
    output = np.zeros((body + rest, panels * tile.columns), dtype=np.uint32)

    def multiply(data: U8, output: U32, plan: Plan) -> None:
        flat, sums, factor = data.reshape(-1), output.reshape(-1), packed.reshape(-1)
        each_range(
            output.shape[0],
            worth_a_thread(tile.rows, width * panels * tile.columns),
            lambda start, stop: tile.sweep(flat, factor, sums, plan, start, stop),
        )

    if body:
        multiply(data, output[:body], plan)
    if rest:
        padded = np.zeros((rest, steps * step_bytes), dtype=np.uint8)
        padded[: rows - body, :width] = data[body:]
        multiply(padded, output[body:], plan._replace(stride=padded.shape[1]))
    return np.ascontiguousarray(output[:rows, :columns])


def _packed(tile: Tile, matrix: U32, expansion: int) -> tuple[U32, int, int]:
    """The factor in digits, how many steps it takes, and how many bytes of a row a step takes."""
    lanes, digits = tile.digits.lanes, tile.digits
    depth = matrix.shape[0] * expansion
    step_bytes = 4 if tile.columns > 1 else 4 * lanes
    steps = -(-depth // step_bytes)
    columns, panels, packed_steps = tile.columns, -(-matrix.shape[1] // tile.columns), steps
    if tile.columns == 1:
        # Lane k of a step holds rows 4 k to 4 k + 3: what another product calls a column of four rows.
        shifts = np.arange(0, 8 * expansion, 8, dtype=np.uint32)
        expanded = np.zeros(steps * step_bytes, dtype=np.uint32)
        expanded[:depth] = (matrix << shifts).reshape(-1)
        matrix, expansion = np.ascontiguousarray(expanded.reshape(-1, 4).T), 1
        columns, panels, packed_steps = lanes, steps, 1
    packed = np.zeros((panels, packed_steps, tile.vectors * digits.parts * lanes), dtype=np.uint32)
    matrix = np.ascontiguousarray(matrix)
    each_range(
        packed_steps,
        worth_a_thread(1, 16 * packed[:, 0].size),  # a word is packed in the time of some 16 products
        lambda start, stop: pack(matrix, expansion, digits.bits, columns, lanes, packed, start, stop),
    )
    return packed, steps, step_bytes
