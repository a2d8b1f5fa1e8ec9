"""Entries of one or two words summed from anywhere in memory: sparse linear maps over GF(2)."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from accel.cpu.ir import I8, I32, I64


def _addition(words: int) -> Any:
    """An intrinsic ``(to, sources)`` on addresses of entries: store the xor of as many as the tuple has."""
    entry = ir.VectorType(I64, 2) if words == 2 else I64

    @intrinsic
    def add(typing_context, to, sources):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            to, sources = arguments
            total = None
            for i in range(signature.args[1].count):
                address = builder.extract_value(sources, i)
                value = builder.load(builder.inttoptr(address, entry.as_pointer()))
                value.align = 8
                total = value if total is None else builder.xor(total, value)
            builder.store(total, builder.inttoptr(to, entry.as_pointer())).align = 8
            return context.get_dummy_value()

        return types.void(types.int64, sources), emit

    return add


add_1, add_2 = _addition(1), _addition(2)


def _prefetching() -> Any:
    """An intrinsic: ask for the cache line at an address, which will be read soon."""

    @intrinsic
    def prefetch(typing_context, address):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            pointer = builder.inttoptr(arguments[0], I8.as_pointer())
            kind = ir.FunctionType(ir.VoidType(), [pointer.type, I32, I32, I32])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
            builder.call(function, [pointer, I32(0), I32(3), I32(1)])  # to read, in all caches, data
            return context.get_dummy_value()

        return types.void(types.int64), emit

    return prefetch


prefetch = _prefetching()


def _word(*, swapped: bool) -> Any:
    """An intrinsic: the eight bytes at an address as a number, little-endian unless ``swapped``."""

    @intrinsic
    def word(typing_context, address):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            value = builder.load(builder.inttoptr(arguments[0], I64.as_pointer()))
            value.align = 1
            return builder.bswap(value) if swapped else value

        return types.uint64(types.int64), emit

    return word


word_at, swapped_word = _word(swapped=False), _word(swapped=True)


def _putting() -> Any:
    """An intrinsic ``(address, value)``: store eight bytes, little-endian."""

    @intrinsic
    def put_word(typing_context, address, value):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            builder.store(arguments[1], builder.inttoptr(arguments[0], I64.as_pointer())).align = 1
            return context.get_dummy_value()

        return types.void(types.int64, types.uint64), emit

    return put_word


put_word = _putting()
