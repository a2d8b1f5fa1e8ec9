"""Products of powers for matrix products under encryption: many vectors, the same public weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from accel import limbs, modular
from accel.limbs import LimbArray
from accel.modular import Modulus

_LANES = 8  # from so many vectors on, they fill the lanes of a processor's vectors
_WINDOW_BITS = 4
_TABLE_BYTES = 1 << 28


def products(elements: LimbArray, rows: int, columns: Sequence[Sequence[int]], m: Modulus) -> LimbArray:
    """Row r, column c: the product over j of elements[r, j]^columns[c][j].

    ``elements`` are ``rows`` vectors one after the other, in Montgomery form; weights are public and may be
    negative. Few vectors go to `modular.multi_power`; many are raised side by side, squarings shared.
    """
    length = len(columns[0]) if columns else 0
    if not rows or not columns:
        return LimbArray(np.zeros((m.limbs, 0), dtype=np.uint64))
    if not length:
        return m.array([m.one]).take([0] * (rows * len(columns)))
    if rows < _LANES:
        each = [
            modular.multi_power(elements[at : at + length], columns, m)
            for at in range(0, rows * length, length)
        ]
        return limbs.concatenate(each)
    share = max(_LANES, _TABLE_BYTES // (length * 8 * m.limbs << _WINDOW_BITS))
    parts = [
        _side_by_side(elements[at * length : min(at + share, rows) * length], length, columns, m)
        for at in range(0, rows, share)
    ]
    return limbs.concatenate(parts)


def _side_by_side(
    elements: LimbArray, length: int, columns: Sequence[Sequence[int]], m: Modulus
) -> LimbArray:
    matrix = elements.limbs.reshape(m.limbs, -1, length)
    tables = [_Powers(LimbArray(np.ascontiguousarray(matrix[:, :, j])), m) for j in range(length)]
    output = np.empty((m.limbs, matrix.shape[1], len(columns)), dtype=np.uint64)
    for index, column in enumerate(columns):
        product = _product(tables, [max(weight, 0) for weight in column], m)
        if any(weight < 0 for weight in column):
            below = _product(tables, [max(-weight, 0) for weight in column], m)
            product = modular.multiply(product, modular.inverse(below, m), m)
        output[:, :, index] = product.limbs
    return LimbArray(output.reshape(m.limbs, -1))


class _Powers:
    """Small powers of one array, made when first asked for."""

    def __init__(self, base: LimbArray, m: Modulus) -> None:
        self._known = {1: base}
        self._m = m

    def __len__(self) -> int:
        return len(self._known[1])

    def __getitem__(self, exponent: int) -> LimbArray:
        if exponent not in self._known:
            half = self[exponent // 2]
            square = modular.square(half, self._m)
            self._known[exponent] = (
                modular.multiply(square, self._known[1], self._m) if exponent % 2 else square
            )
        return self._known[exponent]


def _product(tables: Sequence[_Powers], weights: Sequence[int], m: Modulus) -> LimbArray:
    """Straus: the digits of all weights from the top, one run of squarings for all of them."""
    result: LimbArray | None = None
    digits = -(-max(weight.bit_length() for weight in weights) // _WINDOW_BITS)
    for place in reversed(range(digits)):
        if result is not None:
            result = modular.power(result, 1 << _WINDOW_BITS, m)
        for table, weight in zip(tables, weights, strict=True):
            digit = weight >> _WINDOW_BITS * place & (1 << _WINDOW_BITS) - 1
            if digit:
                result = table[digit] if result is None else modular.multiply(result, table[digit], m)
    if result is None:
        return m.array([m.one]).take([0] * len(tables[0]))
    return result
