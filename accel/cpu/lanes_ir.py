"""What surrounds products of numbers in vectors: loading lanes, storing them reduced, reading tables.

Numbers lie in limb matrices of 52-bit limbs outside, and inside in vectors of the machine's own limbs:
8 x 52 bits (`Ifma`) or 4 x 26 bits, two for each outer limb (`Avx2`). Table reads touch every entry.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from accel.cpu.ir import I8, I64, broadcast, call, splat
from accel.cpu.montgomery_ir import Emitter, Ifma

Value = Any


def load_lanes(module: Any, name: str, machine: Any) -> Any:
    """Define ``name(r, matrix, stride, limbs)``: lanes from a limb matrix, rows ``stride`` words apart."""
    number, word = machine.vector.as_pointer(), I64.as_pointer()
    e = _Lanes(module, name, machine, [number, word, I64, I64])
    r, matrix, stride, limbs = e.function.args

    def row(j: Value, state: list[Value]) -> list[Value]:
        b = e.builder
        source = b.bitcast(b.gep(matrix, [b.mul(j, stride)]), number)
        e.split(r, j, e.load(source, I64(0)))
        return []

    e.loop(I64(0), limbs, 1, [], row)
    e.builder.ret_void()
    return e.function


def store_lanes(module: Any, name: str, machine: Any) -> Any:
    """Define ``name(a, n, q, matrix, stride, limbs)``: a, below 2 n, less n unless it is below; as a matrix.

    ``limbs`` counts outer limbs, n has the machine's own, q is scratch for a number.
    """
    number, word = machine.vector.as_pointer(), I64.as_pointer()
    e = _Lanes(module, name, machine, [number, word, number, word, I64, I64])
    b = e.builder
    a, n, q, matrix, stride, limbs = e.function.args
    sign = splat(e.kind, 63)

    def subtract(j: Value, state: list[Value]) -> list[Value]:
        difference = b.sub(b.sub(e.load(a, j), e.load(n, j)), state[0])
        e.store(b.and_(difference, e.mask), q, j)
        return [b.lshr(difference, sign)]

    inner = limbs if machine is Ifma else b.add(limbs, limbs)
    _, (borrow,) = e.loop(I64(0), inner, 1, [e.zero], subtract)
    below = b.icmp_unsigned("!=", borrow, e.zero)

    def row(j: Value, state: list[Value]) -> list[Value]:
        target = b.bitcast(b.gep(matrix, [b.mul(j, stride)]), number)
        e.store(b.select(below, e.joined(a, j), e.joined(q, j)), target, I64(0))
        return []

    e.loop(I64(0), limbs, 1, [], row)
    b.ret_void()
    return e.function


def select(module: Any, name: str, machine: Any) -> Any:
    """Define ``name(r, entries, step, count, digits, limbs)``: in each lane the entry its digit names.

    Entry e is the number at ``entries + e step`` (in vectors); digits are bytes, one for each lane; limbs are
    the machine's own, an even number. Every entry is read.
    """
    number, byte = machine.vector.as_pointer(), I8.as_pointer()
    e = _Lanes(module, name, machine, [number, number, I64, I64, byte, I64])
    r, entries, step, count, digits, limbs = e.function.args
    index = e.digits(digits)

    def columns(width: int) -> Any:
        def body(j: Value, _: list[Value]) -> list[Value]:
            def entry(at: Value, found: list[Value]) -> list[Value]:
                b = e.builder
                chosen = e.equal(index, at)
                base = b.gep(entries, [b.mul(at, step)])
                return [b.or_(x, b.and_(chosen, e.load(base, j, w))) for w, x in enumerate(found)]

            _, found = e.loop(I64(0), count, 1, [e.zero] * width, entry)
            for w, value in enumerate(found):
                e.store(value, r, j, w)
            return []

        return body

    j, _ = e.loop(I64(0), limbs, 8, [], columns(8))
    e.loop(j, limbs, 2, [], columns(2))
    e.builder.ret_void()
    return e.function


def lookup(module: Any, name: str, machine: Any) -> Any:
    """Define ``name(r, table, digits, limbs)``: from a table that all lanes share, entries named by digits.

    The table has 2^w words for each outer limb, w being `window_bits`. Every word is read.
    """
    number, byte, word = machine.vector.as_pointer(), I8.as_pointer(), I64.as_pointer()
    e = _Lanes(module, name, machine, [number, word, byte, I64])
    b = e.builder
    r, table, digits, limbs = e.function.args
    index = e.digits(digits)
    size = 1 << window_bits(e.kind.count)
    if machine is not Ifma:

        def scan(j: Value, _: list[Value]) -> list[Value]:
            def entry(at: Value, found: list[Value]) -> list[Value]:
                chosen = e.equal(index, at)
                return [
                    b.or_(x, b.and_(chosen, e.load(table, b.add(b.mul(j, I64(size)), at), w * size)))
                    for w, x in enumerate(found)
                ]

            _, found = e.loop(I64(0), I64(size), 1, [e.zero] * 2, entry)
            for w, value in enumerate(found):
                e.split(r, b.add(j, I64(w)), value)
            return []

        e.loop(I64(0), limbs, 2, [], scan)
        b.ret_void()
        return e.function

    # vpermi2q reads 16 words by the low four bits of the digit; the higher ones choose among the results.
    chosen = [
        b.icmp_unsigned("!=", b.and_(index, splat(e.kind, 1 << bit)), e.zero)
        for bit in range(4, window_bits(e.kind.count))
    ]

    def limb(j: Value, _: list[Value]) -> list[Value]:
        words = b.bitcast(b.gep(table, [b.mul(j, I64(size))]), number)
        found = [
            call(
                b,
                "llvm.x86.avx512.vpermi2var.q.512",
                e.kind,
                e.load(words, I64(2 * k)),
                index,
                e.load(words, I64(2 * k + 1)),
            )
            for k in range(size // 16)
        ]
        for high in chosen:
            found = [b.select(high, y, x) for x, y in zip(found[::2], found[1::2], strict=True)]
        e.store(found[0], r, j)
        return []

    e.loop(I64(0), limbs, 1, [], limb)
    b.ret_void()
    return e.function


def window_bits(lanes: int) -> int:
    """The width of fixed-base digits: one vpermi2q reads 16 entries, the plain scan of AVX2 one."""
    return 8 if lanes == 8 else 6


class _Lanes(Emitter):
    def split(self, base: Value, j: Value, value: Value) -> None:
        """Store outer limb j of a number as limbs of the machine."""
        b = self.builder
        if self.machine is Ifma:
            self.store(value, base, j)
            return
        twice = b.add(j, j)
        self.store(b.and_(value, self.mask), base, twice)
        self.store(b.lshr(value, self.shift), base, twice, 1)

    def joined(self, base: Value, j: Value) -> Value:
        """Outer limb j of a number."""
        if self.machine is Ifma:
            return self.load(base, j)
        b = self.builder
        twice = b.add(j, j)
        return b.or_(self.load(base, twice), b.shl(self.load(base, twice, 1), self.shift))

    def digits(self, base: Value) -> Value:
        """One byte for each lane."""
        b = self.builder
        kind = ir.VectorType(I8, self.kind.count)
        loaded = b.load(b.bitcast(base, kind.as_pointer()))
        loaded.align = 1
        return b.zext(loaded, self.kind)

    def equal(self, index: Value, at: Value) -> Value:
        """All bits set in the lanes whose digit is ``at``."""
        b = self.builder
        return b.sext(b.icmp_unsigned("==", index, broadcast(b, self.kind, at)), self.kind)
