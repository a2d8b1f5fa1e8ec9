"""A new bytes object that is filled in place, so that large results are not copied on their way out.

CPython allows while an object is new what it forbids later: after ``PyBytes_FromStringAndSize(NULL, size)``
"the contents of the bytes object are uninitialized", for its maker to write (Python/C API, bytes objects).
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable
from functools import cache

import numpy as np

from accel.byte_rows import U8

_WORTH_IT = 1 << 14
_HUGE = 1 << 22  # numpy asks for huge pages from here on: without them page faults take longer than a cipher

_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_char_p, ctypes.c_ssize_t)(
    ("PyBytes_FromStringAndSize", ctypes.pythonapi)
)
_address = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(("PyBytes_AsString", ctypes.pythonapi))


def filled(size: int, fill: Callable[[U8], None]) -> bytes:
    """The ``size`` bytes that ``fill`` writes into the array it is given; it must not keep the array.

    If ``fill`` raises, the bytes are dropped unseen.
    """
    if size < _WORTH_IT:
        small = np.empty(size, np.uint8)
        fill(small)
        return small.tobytes()
    result: bytes = _new(None, size)
    address = _address(result)
    if size >= _HUGE:
        _ask_for_huge_pages(address, size)
    fill(np.ctypeslib.as_array((ctypes.c_ubyte * size).from_address(address)))
    return result


def _ask_for_huge_pages(address: int, size: int) -> None:
    """A hint: whether the system takes it changes nothing but speed."""
    madvise = _madvise()
    if madvise is not None:
        start = -(-address // mmap.PAGESIZE) * mmap.PAGESIZE
        length = (address + size - start) // mmap.PAGESIZE * mmap.PAGESIZE
        madvise(start, length, mmap.MADV_HUGEPAGE)


@cache
def _madvise() -> Callable[[int, int, int], int] | None:
    if not sys.platform.startswith("linux") or not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    function = ctypes.CDLL(None).madvise
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    found: Callable[[int, int, int], int] = function
    return found
