"""Entries of regular noise, gathered for eight outputs at a time: one output a lane."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from accel.cpu.ir import I1, I32, I64, U64X8, broadcast, call, splat, store

LANES = 8
POSITIONS = 7  # of 8 words an output


def _gathering(width: int) -> Any:
    """An intrinsic ``(words, to, (points, noise, before), trees, size)``: addresses and numbers below 2^32.

    ``to`` takes `LANES` entries of so many words. See `accel.cpu.expand_accumulate.compress_noise_with`.
    """

    @intrinsic
    def gather(typing_context, words, to, tables, trees, size):  # type: ignore[no-untyped-def]
        def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            words, to, tables, trees, size = arguments
            points, noise, before = (builder.extract_value(tables, i) for i in range(3))
            trees, size = (broadcast(builder, U64X8, number) for number in (trees, size))
            half = splat(U64X8, 32)
            low = splat(U64X8, 0xFFFFFFFF)
            # Known to be below 2^32, numbers take one multiplication.
            trees, size = builder.and_(trees, low), builder.and_(size, low)
            outputs = ir.Constant(U64X8, [32 * lane for lane in range(LANES)])

            def entries(base: Any, offsets: Any, element: Any) -> Any:
                places = builder.add(broadcast(builder, U64X8, base), offsets)
                kind = ir.VectorType(element, LANES)
                pointers = builder.inttoptr(places, ir.VectorType(element.as_pointer(), LANES))
                name = f"llvm.masked.gather.v{LANES}i{element.width}.v{LANES}p0i{element.width}"
                every = ir.Constant(ir.VectorType(I1, LANES), [1] * LANES)
                return call(builder, name, kind, pointers, I32(4), every, ir.Constant(kind, None))

            totals = [splat(U64X8, 0)] * width
            for position in range(POSITIONS):
                word = entries(words, builder.add(outputs, splat(U64X8, 4 * position)), I32)
                word = builder.zext(word, U64X8)
                # The block of a position is position // block: of nested floors, the inner can be left out.
                at, tree = (builder.lshr(builder.mul(word, number), half) for number in (size, trees))
                point = entries(points, builder.shl(tree, splat(U64X8, 3)), I64)
                # Both values of a block are read and one is masked: no address depends on the points.
                mask = builder.sext(builder.icmp_unsigned(">=", at, point), U64X8)
                row = builder.shl(tree, splat(U64X8, 2 + width))
                for k in range(width):
                    offset = builder.add(row, splat(U64X8, 8 * k))
                    value = builder.and_(mask, entries(noise, offset, I64))
                    value = builder.xor(value, entries(before, offset, I64))
                    totals[k] = builder.xor(totals[k], value)
            out = builder.inttoptr(to, U64X8.as_pointer())
            if width == 2:
                for part in (0, 1):
                    lanes = [lane // 2 + lane % 2 * LANES for lane in range(LANES * part, LANES * (part + 1))]
                    pattern = ir.Constant(ir.VectorType(I32, LANES), lanes)
                    store(builder, out, part, builder.shuffle_vector(*totals, pattern))
            else:
                store(builder, out, 0, totals[0])
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, tables, types.int64, types.int64), emit

    return gather


noise_1, noise_2 = _gathering(1), _gathering(2)
