"""Straight-line programs over field elements: formulas as data, run by the kernel of `field25519_vector`.

A program is a list of instructions over named registers; a register holds one field element for every point
of a batch. The formulas of a curve are thus written once, for every vector width, and cost no compilation.
What a program does never depends on data: choices are conditional moves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from accel.reference.curve25519_oprf import C, D

P = 2**255 - 19
SQRT_MINUS_ONE = pow(2, (P - 1) // 4, P)

MULTIPLY, SQUARE, ADD, SUBTRACT, CONSTANT, COPY, MOVE_IF, EQUAL, ODD, EITHER, DIFFER = range(11)
PREFIX_PRODUCTS, INVERSES = 11, 12

# What the instruction CONSTANT can load.
CONSTANTS = {
    "0": 0,
    "1": 1,
    "38": 38,
    "J": 486662,
    "2J": 2 * 486662,
    "-J": P - 486662,
    "-J^2": -(486662**2) % P,
    "a24": 121665,
    "c": C,
    "2d": 2 * D % P,
    "sqrt(-1)": SQRT_MINUS_ONE,
    "2^((p+3)/8)": pow(2, (P + 3) // 8, P),
}
_CONSTANT_NUMBERS = {name: number for number, name in enumerate(CONSTANTS)}


class Program:
    """Instructions under construction; registers are numbered in the order of ``registers``."""

    def __init__(self, registers: Sequence[str]) -> None:
        self._registers = {name: number for number, name in enumerate(registers)}
        self._code: list[tuple[int, int, int, int]] = []

    def multiply(self, to: str, a: str, b: str) -> None:
        self._emit(MULTIPLY, to, a, self._registers[b])

    def square(self, to: str, a: str, times: int = 1) -> None:
        """to = a^(2^times)."""
        self._emit(SQUARE, to, a, times)

    def add(self, to: str, a: str, b: str) -> None:
        self._emit(ADD, to, a, self._registers[b])

    def subtract(self, to: str, a: str, b: str) -> None:
        self._emit(SUBTRACT, to, a, self._registers[b])

    def constant(self, to: str, name: str) -> None:
        self._code.append((CONSTANT, self._registers[to], _CONSTANT_NUMBERS[name], 0))

    def copy(self, to: str, a: str) -> None:
        self._emit(COPY, to, a, 0)

    def move_if(self, to: str, condition: str, a: str) -> None:
        """to = a where the condition holds, else as it was."""
        self._emit(MOVE_IF, to, condition, self._registers[a])

    def equal(self, to: str, a: str, b: str) -> None:
        """Condition: a = b modulo p."""
        self._emit(EQUAL, to, a, self._registers[b])

    def odd(self, to: str, a: str) -> None:
        """Condition: the canonical a is odd (sgn0 of RFC 9380)."""
        self._emit(ODD, to, a, 0)

    def either(self, to: str, a: str, b: str) -> None:
        """Condition: a or b holds."""
        self._emit(EITHER, to, a, self._registers[b])

    def differ(self, to: str, a: str, b: str) -> None:
        """Condition: exactly one of a and b holds."""
        self._emit(DIFFER, to, a, self._registers[b])

    def prefix_products(self, to: str, a: str) -> None:
        """to[v] = a[0] … a[v] over the vectors of the batch, each lane for itself."""
        self._emit(PREFIX_PRODUCTS, to, a, 0)

    def inverses(self, to: str, a: str, prefix: str) -> None:
        """to[v] = 1 / a[v], given 1 / prefix[last] in to[0] (Montgomery's trick)."""
        self._emit(INVERSES, to, a, self._registers[prefix])

    def power(self, to: str, a: str, t: str, s: str) -> None:
        """to = a^((p - 5) / 8) = a^(2^252 - 3); t and s are overwritten, all four differ.

        252 squarings and 11 products. With it: a^(p-2) = to^8 a^3 and a^((p-1)/2) = to^4 a^2.
        """
        self.square(t, a)
        self.square(s, t, 2)
        self.multiply(s, s, a)  # 9
        self.multiply(t, t, s)  # 11
        self.square(t, t)
        self.multiply(t, t, s)  # 2^5 - 1
        self._double_run(t, s, 5)  # 2^10 - 1
        self.copy(to, t)
        self._double_run(to, s, 10)  # 2^20 - 1
        self._double_run(to, s, 20)  # 2^40 - 1
        self.square(to, to, 10)
        self.multiply(t, t, to)  # 2^50 - 1
        self.copy(to, t)
        self._double_run(to, s, 50)  # 2^100 - 1
        self._double_run(to, s, 100)  # 2^200 - 1
        self.square(to, to, 50)
        self.multiply(to, to, t)  # 2^250 - 1
        self.square(to, to, 2)
        self.multiply(to, to, a)

    def finish(self) -> npt.NDArray[np.int64]:
        """One row of four numbers per instruction: operation, destination, two operands."""
        return np.array(self._code, dtype=np.int64).reshape(-1, 4)

    def _double_run(self, x: str, s: str, ones: int) -> None:
        """x = a^(2^ones - 1) becomes a^(2^(2 ones) - 1)."""
        self.square(s, x, ones)
        self.multiply(x, x, s)

    def _emit(self, operation: int, to: str, a: str, b: int) -> None:
        self._code.append((operation, self._registers[to], self._registers[a], b))
