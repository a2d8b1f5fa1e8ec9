"""The few words of LLVM that vector kernels are written in.

A numba ``@intrinsic`` may emit any instruction of the processor, so kernels need no compiler on the machine.
Vectors are loaded from and stored to contiguous numpy arrays at an index counted in whole vectors.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
U64X8 = ir.VectorType(I64, 8)
U64X4 = ir.VectorType(I64, 4)
U32X16 = ir.VectorType(I32, 16)
U32X8 = ir.VectorType(I32, 8)


def pointer(context: Any, builder: Any, array_type: Any, array: Any, element: Any) -> Any:
    """The data of a numba array as a pointer to ``element`` (a vector type)."""
    data = cgutils.create_struct_proxy(array_type)(context, builder, value=array).data
    return builder.bitcast(data, element.as_pointer())


def load(builder: Any, base: Any, index: Any) -> Any:
    """The vector at ``index`` (an int or an LLVM integer); numpy promises element alignment only."""
    value = builder.load(builder.gep(base, [_index(index)]))
    value.align = 8
    return value


def load_words(builder: Any, base: Any, index: Any, kind: Any) -> Any:
    """The vector of 64-bit words that begins at word ``index`` of ``base``, a pointer to words."""
    value = builder.load(builder.bitcast(builder.gep(base, [index]), kind.as_pointer()))
    value.align = 8
    return value


def store(builder: Any, base: Any, index: Any, value: Any) -> None:
    builder.store(value, builder.gep(base, [_index(index)])).align = 8


def splat(kind: Any, value: int) -> Any:
    """A constant vector with ``value`` in every lane."""
    return ir.Constant(kind, [value] * kind.count)


def broadcast(builder: Any, kind: Any, scalar: Any) -> Any:
    """A vector with the run-time ``scalar`` in every lane."""
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, I32(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(I32, kind.count), [0] * kind.count))


def call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """Call an LLVM intrinsic by name: ``call(b, "llvm.x86.avx512.vpmadd52l.uq.512", U64X8, z, x, y)``."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _index(index: Any) -> Any:
    return I32(index) if isinstance(index, int) else index
