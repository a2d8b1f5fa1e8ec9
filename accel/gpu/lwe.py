"""Products modulo 2^32 on a GPU (see ``kernels/lwe.cuh``), and databases that stay in its memory.

Over PCIe a database arrives more slowly than a processor multiplies it by one vector: keep it resident. A
vector or matrix of the other side travels with every call, and results come back; both are cleared from the
GPU's memory afterwards, since the factor of a product may be a secret.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.errors import BadParameter
from accel.gpu import compile as gpu_compile
from accel.gpu import device, launch, memory

U32 = npt.NDArray[np.uint32]
Database = npt.NDArray[Any]

FILE = "lwe.cuh"
BLOCK = 128  # LWE_BLOCK of the kernels
PITCH = 64  # rows begin at multiples of it
VECTOR_ROWS = 32  # of a block
MATRIX_ROWS = 128
FEW_COLUMNS = 16  # up to here the memory is the limit, beyond it the tensor cores
_BLOCKS_EACH = 16  # blocks per multiprocessor that even out its last round
_STAGE_BYTES = 1 << 28  # of a database that goes up at a time: pinned memory is scarce


@dataclass(frozen=True, eq=False, repr=False)
class DeviceDatabase:
    """A database in the memory of a GPU: ``data`` is a CuPy matrix of bytes, rows by ``pitch``.

    Made by `resident`. The memory is given back to CuPy's pool with the last reference.
    """

    data: Any
    rows: int
    columns: int
    itemsize: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows, self.columns

    @property
    def pitch(self) -> int:
        return int(self.data.shape[1])


def resident(database: Any) -> DeviceDatabase:
    """Copy a 2-D numpy or CuPy array of u8, u16 or u32 into the GPU's memory, rows aligned.

    A C-contiguous CuPy array whose rows are a multiple of 64 bytes is taken as it is, without a copy: it must
    not be changed afterwards. Raises BadParameter for another dtype or shape, DeviceOutOfMemory.
    """
    device.require()
    if database.ndim != 2 or database.dtype not in (np.uint8, np.uint16, np.uint32):
        raise BadParameter("the database must be a 2-D array of uint8, uint16 or uint32")
    rows, columns = database.shape
    itemsize = database.dtype.itemsize
    width = columns * itemsize
    pitch = -(-width // PITCH) * PITCH
    with memory.translated():
        on_device = not isinstance(database, np.ndarray)
        aligned = on_device and width == pitch and database.data.ptr % PITCH == 0
        if aligned and database.flags.c_contiguous:
            return DeviceDatabase(database.view(np.uint8), rows, columns, itemsize)
        data = memory.empty((rows, pitch), np.uint8)
        step = max(_STAGE_BYTES // max(width, 1), 1)
        for start in range(0, rows if width else 0, step):
            piece = database[start : start + step]
            piece = piece.copy() if on_device else memory.upload(np.ascontiguousarray(piece))
            # What lies behind the end of a row meets digits that are zero.
            data[start : start + step, :width] = piece.view(np.uint8)
        return DeviceDatabase(data, rows, columns, itemsize)


def matvec(database: Database | DeviceDatabase, vector: U32, offset: int) -> U32:
    return _product(database, vector[:, None], offset, VectorDigits)[:, 0]


def matmul(database: Database | DeviceDatabase, matrix: U32, offset: int) -> U32:
    return _product(database, matrix, offset, VectorDigits if matrix.shape[1] == 1 else MatrixDigits)


class VectorDigits:
    """Digits of a vector on the GPU, and the product with them."""

    def __init__(self, vector: Any, expansion: int, pitch: int) -> None:
        groups = -(-pitch // 512)
        self.digits = memory.empty((groups * 512,), np.uint32)
        kernel = gpu_compile.kernel(FILE, "lwe_pack_vector")
        length = np.uint64(vector.shape[0])
        launch.launch(
            kernel, self.digits.size, vector, length, np.uint32(expansion), np.uint64(groups), self.digits
        )
        self._groups = groups

    def add(self, data: Any, output: Any) -> None:
        row_blocks = -(-data.shape[0] // VECTOR_ROWS)
        slices = _slices(row_blocks, self._groups)
        launch.launch(
            gpu_compile.kernel(FILE, "lwe_matvec"),
            data.shape[0],
            data,
            np.uint64(data.shape[0]),
            np.uint64(data.shape[1]),
            self.digits,
            np.uint32(slices),
            output,
            block=BLOCK,
            grid=row_blocks * slices,
        )


class MatrixDigits:
    """Digits of a matrix on the GPU, in panels of 16 or 32 columns, and the product with them."""

    def __init__(self, matrix: Any, expansion: int, pitch: int) -> None:
        rows, self._columns = matrix.shape
        self._sides = 2 if self._columns <= FEW_COLUMNS else 4
        self._panels, self._chunks = -(-self._columns // (8 * self._sides)), pitch // 64
        words = self._panels * self._chunks * self._sides * 512
        self.digits = memory.empty((words,), np.uint32)
        launch.launch(
            gpu_compile.kernel(FILE, "lwe_pack_matrix", LWE_SIDES=self._sides),
            self.digits.size,
            matrix,
            np.uint64(rows),
            np.uint64(self._columns),
            np.uint32(expansion),
            np.uint64(self._chunks),
            np.uint64(self._panels),
            self.digits,
        )

    def add(self, data: Any, output: Any) -> None:
        row_blocks = -(-data.shape[0] // MATRIX_ROWS)
        slices = _slices(row_blocks * self._panels, self._chunks)
        launch.launch(
            gpu_compile.kernel(FILE, "lwe_matmul", LWE_SIDES=self._sides),
            data.shape[0],
            data,
            np.uint64(data.shape[0]),
            np.uint64(data.shape[1]),
            self.digits,
            np.uint64(self._columns),
            np.uint32(slices),
            output,
            block=BLOCK,
            grid=row_blocks * slices * self._panels,
        )


def _slices(blocks: int, pieces: int) -> int:
    """In how many parts to cut the depth so that a short database fills the GPU too."""
    wanted = device.multiprocessors() * _BLOCKS_EACH
    return max(1, min(-(-wanted // max(blocks, 1)), pieces))


def _product(
    database: Database | DeviceDatabase,
    matrix: U32,
    offset: int,
    kind: Callable[..., VectorDigits | MatrixDigits],
) -> U32:
    device.require()
    rows, width = database.shape[0], matrix.shape[1]
    result = np.zeros((rows, width), dtype=np.uint32)
    if not rows or not width or not matrix.shape[0]:
        return result
    itemsize = database.itemsize
    pitch = -(-database.shape[1] * itemsize // PITCH) * PITCH
    with memory.translated(), memory.secrets_in() as secret:
        factor = secret(memory.upload(np.ascontiguousarray(matrix), secret=True))
        correction = secret(factor.sum(axis=0, dtype=np.uint32))
        correction *= np.uint32(offset)
        digits = kind(factor, itemsize, pitch)
        secret(digits.digits)

        def piece(first: int, last: int) -> memory.Finish:
            if isinstance(database, DeviceDatabase):
                data = database.data[first:last]
            else:
                data = resident(database[first:last]).data
            with memory.secrets_in() as secret:
                output = secret(memory.empty((last - first, width), np.uint32))
                memory.clear(output)  # every warp adds what it has
                digits.add(data, output)
                output -= correction
                return memory.download(output, result[first:last], secret=True)

        held = 0 if isinstance(database, DeviceDatabase) else pitch
        memory.in_pieces(rows, held + 4 * width, piece)
    return result
