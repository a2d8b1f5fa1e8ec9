"""Entry points of the compiled kernels. Importing this module imports numba.

A kernel takes a *variant* first: a tuple whose length says which curve and which instructions to compile for.
Only the length matters. It is part of numba's type, so every variant is compiled, and kept in the cache on
disk, on its own when it is first called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import intrinsic

from accel.cpu import weierstrass_programs as programs
from accel.cpu.field256_primes import order_field, prime_field
from accel.cpu.ir import I64, pointer
from accel.cpu.jit import compiled
from accel.cpu.vector_words import LEVELS
from accel.reference.weierstrass import SECP256K1, SM2, Curve

_CHOICES = [(curve, level) for level in ("ifma", "avx2") for curve in (SM2, SECP256K1)]


def variant(curve: Curve, level: str) -> tuple[int, ...]:
    return (0,) * (1 + _CHOICES.index((curve, level)))


def _program(emit: Callable[..., None], make_field: Callable[..., Any]) -> Any:
    """An intrinsic ``f(variant, arrays, start, stop)`` that runs the emitted function."""

    @intrinsic
    def run(_context: Any, tag: Any, arrays: Any, start: Any, stop: Any) -> Any:
        curve, level = _CHOICES[len(tag) - 1]

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            f = make_field(LEVELS[level](builder), curve)
            _, packed, first, last = arguments
            pointers = [
                pointer(
                    context,
                    builder,
                    kind,
                    builder.extract_value(packed, at),
                    context.get_data_type(kind.dtype),
                )
                for at, kind in enumerate(signature.args[1])
            ]
            types_ = [*(p.type for p in pointers), I64, I64]
            made = f.function(emit.__name__, types_, emit)
            builder.call(made, [*pointers, first, last])
            return context.get_dummy_value()

        return types.void(tag, arrays, types.int64, types.int64), generate

    return run


_multiply_base = _program(programs.multiply_base, prime_field)
_multiply = _program(programs.multiply, prime_field)
_add = _program(programs.add, prime_field)
_to_affine = _program(programs.to_affine, prime_field)
_on_curve = _program(programs.on_curve, prime_field)
_decompress = _program(programs.decompress, prime_field)
_map_to_curve = _program(programs.map_to_curve, prime_field)
_add_modulo_order = _program(programs.add_modulo_order, order_field)
_sign = _program(programs.sign, order_field)


@compiled
def multiply_base(tag: Any, arrays: Any, start: int, stop: int) -> None:
    _multiply_base(tag, arrays, start, stop)


@compiled
def multiply(tag: Any, arrays: Any, start: int, stop: int) -> None:
    _multiply(tag, arrays, start, stop)


@compiled
def add(tag: Any, arrays: Any, start: int, stop: int) -> None:
    _add(tag, arrays, start, stop)


@compiled
def to_affine(tag: Any, arrays: Any, start: int, stop: int) -> None:
    _to_affine(tag, arrays, start, stop)


@compiled
def on_curve(tag: Any, arrays: Any, start: int, stop: int) -> None:
    _on_curve(tag, arrays, start, stop)


@compiled
def decompress(tag: Any, arrays: Any, start: int, stop: int) -> None:
    _decompress(tag, arrays, start, stop)


@compiled
def map_to_curve(tag: Any, arrays: Any, start: int, stop: int) -> None:
    _map_to_curve(tag, arrays, start, stop)


@compiled
def add_modulo_order(tag: Any, arrays: Any, start: int, stop: int) -> None:
    _add_modulo_order(tag, arrays, start, stop)


@compiled
def sign(tag: Any, arrays: Any, start: int, stop: int) -> None:
    _sign(tag, arrays, start, stop)
