"""Powers as straight-line programs of `modular_kernel`.

Sources: Handbook of Applied Cryptography, algorithms 14.82 (fixed windows) and 14.85 (sliding windows).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accel.cpu.modular_kernel import LOAD_A, MULTIPLY, SELECT, SQUARE, STORE

Instruction = tuple[int, int, int, int]
Program = list[Instruction]

ONE = -1  # the constant slot of every program here


def public_power(exponent: int) -> tuple[Program, int]:
    """base^exponent by sliding windows, and how many slots that takes. The program shows the exponent."""
    if exponent == 0:
        return [(STORE, 0, ONE, 0)], 1
    width = _sliding_width(exponent.bit_length())
    # Slot 0 is the accumulator, slot 1 the base squared, slot 2 + i the base to the 2 i + 1.
    program: Program = [(LOAD_A, 2, 0, 0)]
    odd_powers = 1 << (width - 1)
    if odd_powers > 1:
        program.append((SQUARE, 1, 2, 0))
        program += [(MULTIPLY, 2 + i, 1 + i, 1) for i in range(1, odd_powers)]
    accumulator = -1  # until the first window there is nothing to square
    at = exponent.bit_length() - 1
    while at >= 0:
        low = at
        if exponent >> at & 1:
            low = max(at - width + 1, 0)
            while not exponent >> low & 1:
                low += 1
        if accumulator >= 0:
            program += [(SQUARE, 0, accumulator, 0)] + [(SQUARE, 0, 0, 0)] * (at - low)
            accumulator = 0
        if exponent >> at & 1:
            power = 2 + ((exponent >> low & (1 << (at - low + 1)) - 1) >> 1)
            if accumulator >= 0:
                program.append((MULTIPLY, 0, 0, power))
            else:
                accumulator = power
        at = low - 1
    return [*program, (STORE, 0, accumulator, 0)], 2 + odd_powers


def windowed_power(digits: int, width: int) -> tuple[Program, int]:
    """base^e from ``digits`` windows of ``width`` bits, row 0 the highest; the same for every exponent."""
    # Slots: the table from 0 on, then the accumulator and what was read.
    size = 1 << width
    accumulator, found = size, size + 1
    program: Program = [(MULTIPLY, 0, ONE, ONE), (LOAD_A, 1, 0, 0)]
    for i in range(2, size):
        program.append((MULTIPLY, i, i - 1, 1) if i % 2 else (SQUARE, i, i // 2, 0))
    program.append((SELECT, accumulator, 0, 0))
    for row in range(1, digits):
        program += [(SQUARE, accumulator, accumulator, 0)] * width
        program += [(SELECT, found, 0, row), (MULTIPLY, accumulator, accumulator, found)]
    return [*program, (STORE, 0, accumulator, 0)], size + 2


def window_width(exponent_bits: int) -> int:
    """The width of fixed windows that needs the fewest products, tables included."""
    return min(range(1, 6), key=lambda width: (1 << width) + -(-exponent_bits // width))


def exponent_digits(exponents: list[int], bits: int, width: int, lanes: int) -> npt.NDArray[np.uint8]:
    """Windows of the exponents, highest first: uint8 of shape (windows, ``lanes``), zero beyond the list."""
    windows = -(-bits // width)
    rows = np.frombuffer(
        b"".join(e.to_bytes(-(-bits // 8), "little") for e in exponents), dtype=np.uint8
    ).reshape(len(exponents), -1)
    digits = np.zeros((windows, lanes), dtype=np.uint8)
    digits[:, : len(exponents)] = little_digits(rows, bits, width)[::-1]
    return digits


def little_digits(
    rows: npt.NDArray[np.uint8], bits: int, width: int
) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Windows of up to 15 bits of little-endian byte rows, lowest first: (windows, rows)."""
    windows = -(-bits // width)
    if width == 8:
        return rows.T[:windows]
    padded = np.zeros((rows.shape[1] + 3, len(rows)), dtype=np.uint8)
    padded[: rows.shape[1]] = rows.T
    digits = np.empty((windows, len(rows)), dtype=np.uint8 if width < 8 else np.uint16)
    for window in range(windows):
        # A window lies within three bytes from the byte where it begins.
        byte, shift = divmod(window * width, 8)
        low, middle, high = (padded[byte + k].astype(np.uint32) << (8 * k) for k in range(3))
        digits[window] = (low | middle | high) >> shift & (1 << min(width, bits - window * width)) - 1
    return digits


def _sliding_width(bits: int) -> int:
    """The k for which 2^(k - 1) odd powers and bits / (k + 1) products are fewest (Handbook, note 14.86)."""
    return next(k for k in range(1, 8) if k == 7 or bits <= (k + 1) * (k + 2) * (1 << (k - 1)))
