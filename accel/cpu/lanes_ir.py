"""What surrounds products of numbers in vectors: loading lanes, storing them reduced, reading tables.

Numbers lie in limb matrices of 52-bit limbs outside, and inside in vectors of the machine's own limbs:
8 x 52 bits (`Ifma`) or 4 x 26 bits, two for each outer limb (`Avx2`). Table reads touch every entry.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from accel.cpu.ir import I8, I32, I64, broadcast, call, splat
from accel.cpu.montgomery_ir import Emitter, Ifma

Value = Any


def load_lanes(module: Any, name: str, machine: Any) -> Any:
    """Define ``name(r, matrix, stride, limbs, vectors)``: consecutive lanes of a limb matrix.

    Its rows are ``stride`` words apart. Row by row, because the processor fetches ahead along a row.
    """
    number, word = machine.vector.as_pointer(), I64.as_pointer()
    e = _Lanes(module, name, machine, [number, word, I64, I64, I64])
    r, matrix, stride, limbs, vectors = e.function.args
    b = e.builder
    step = e.own_limbs(limbs)

    def row(j: Value, _: list[Value]) -> list[Value]:
        source = b.bitcast(b.gep(matrix, [b.mul(j, stride)]), number)

        def vector(v: Value, _: list[Value]) -> list[Value]:
            e.split(b.gep(r, [b.mul(v, step)]), j, e.load(source, v))
            return []

        e.loop(I64(0), vectors, 1, [], vector)
        return []

    e.loop(I64(0), limbs, 1, [], row)
    b.ret_void()
    return e.function


def store_lanes(module: Any, name: str, machine: Any) -> Any:
    """Define ``name(a, matrix, stride, limbs, vectors)``, the converse of `load_lanes`."""
    number, word = machine.vector.as_pointer(), I64.as_pointer()
    e = _Lanes(module, name, machine, [number, word, I64, I64, I64])
    a, matrix, stride, limbs, vectors = e.function.args
    b = e.builder
    step = e.own_limbs(limbs)

    def row(j: Value, _: list[Value]) -> list[Value]:
        target = b.bitcast(b.gep(matrix, [b.mul(j, stride)]), number)

        def vector(v: Value, _: list[Value]) -> list[Value]:
            e.store(e.joined(b.gep(a, [b.mul(v, step)]), j), target, v)
            return []

        e.loop(I64(0), vectors, 1, [], vector)
        return []

    e.loop(I64(0), limbs, 1, [], row)
    b.ret_void()
    return e.function


def reduce(module: Any, name: str, machine: Any) -> Any:
    """Define ``name(r, a, n, q, limbs)``: r is a, below 2 n, less n unless it is below; r may be a.

    Limbs are the machine's, q is scratch for a number.
    """
    number, word = machine.vector.as_pointer(), I64.as_pointer()
    e = _Lanes(module, name, machine, [number, number, word, number, I64])
    r, a, n, q, limbs = e.function.args
    b = e.builder
    sign = splat(e.kind, 63)

    def subtract(j: Value, state: list[Value]) -> list[Value]:
        difference = b.sub(b.sub(e.load(a, j), e.load(n, j)), state[0])
        e.store(b.and_(difference, e.mask), q, j)
        return [b.lshr(difference, sign)]

    _, (borrow,) = e.loop(I64(0), limbs, 1, [e.zero], subtract)
    below = b.icmp_unsigned("!=", borrow, e.zero)

    def keep(j: Value, _: list[Value]) -> list[Value]:
        e.store(b.select(below, e.load(a, j), e.load(q, j)), r, j)
        return []

    e.loop(I64(0), limbs, 1, [], keep)
    b.ret_void()
    return e.function


def gather(module: Any, name: str, machine: Any) -> Any:
    """Define ``name(r, rows, index, words, limbs)``: lane k gets the number at ``rows + index[k] words``.

    ``words`` is a multiple of the lanes and at least ``limbs``: a number is read in whole vectors.
    """
    number, word = machine.vector.as_pointer(), I64.as_pointer()
    e = _Lanes(module, name, machine, [number, word, word, I64, I64])
    r, rows, index, words, limbs = e.function.args
    b, lanes = e.builder, e.kind.count
    sources = [b.gep(rows, [b.mul(b.load(b.gep(index, [I64(k)])), words)]) for k in range(lanes)]

    def tile(j: Value, _: list[Value]) -> list[Value]:
        loaded = [e.load(b.bitcast(b.gep(source, [j]), number), I64(0)) for source in sources]
        for w, value in enumerate(e.transposed(loaded)):
            e.split(r, b.add(j, I64(w)), value)
        return []

    whole, _ = e.loop(I64(0), limbs, lanes, [], tile)
    with b.if_then(b.icmp_signed("<", whole, limbs)):
        loaded = [e.load(b.bitcast(b.gep(source, [whole]), number), I64(0)) for source in sources]
        for w, value in enumerate(e.transposed(loaded)):
            with b.if_then(b.icmp_signed("<", b.add(whole, I64(w)), limbs)):
                e.split(r, b.add(whole, I64(w)), value)
    b.ret_void()
    return e.function


def scatter(module: Any, name: str, machine: Any) -> Any:
    """Define ``name(a, rows, words)``: lane k becomes the number at ``rows + k words``."""
    number, word = machine.vector.as_pointer(), I64.as_pointer()
    e = _Lanes(module, name, machine, [number, word, I64])
    a, rows, words = e.function.args
    b, lanes = e.builder, e.kind.count

    def tile(j: Value, _: list[Value]) -> list[Value]:
        # Beyond the number lies other memory of the kernel: what is read there fills the row and is not used.
        loaded = [e.joined(a, b.add(j, I64(w))) for w in range(lanes)]
        for k, value in enumerate(e.transposed(loaded)):
            target = b.gep(rows, [b.add(b.mul(I64(k), words), j)])
            e.store(value, b.bitcast(target, number), I64(0))
        return []

    e.loop(I64(0), words, lanes, [], tile)
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


def lookup(module: Any, name: str, machine: Any, window: int | None = None) -> Any:
    """Define ``name(r, table, digits, limbs, vectors)``: entries named by digits, of a table that all share.

    The table has 2^w words for each outer limb, w being ``window`` or `window_bits`; every word is read. All
    vectors look up two limbs before the next two are begun: a whole table would not stay in the first-level
    cache.
    """
    number, byte, word = machine.vector.as_pointer(), I8.as_pointer(), I64.as_pointer()
    e = _Lanes(module, name, machine, [number, word, byte, I64, I64])
    b, lanes = e.builder, e.kind.count
    r, table, digits, limbs, vectors = e.function.args
    step = e.own_limbs(limbs)
    bits = window or window_bits(lanes)
    size = 1 << bits

    def scanned(words: Value, index: Value) -> list[Value]:
        def entry(at: Value, found: list[Value]) -> list[Value]:
            chosen = e.equal(index, at)
            return [b.or_(x, b.and_(chosen, e.load(words, at, w * size))) for w, x in enumerate(found)]

        return e.loop(I64(0), I64(size), 1, [e.zero] * 2, entry)[1]

    def permuted(words: Value, index: Value) -> list[Value]:
        # vpermi2q reads 16 words by the low four bits of the digit; the higher ones choose among the results.
        chosen = [
            b.icmp_unsigned("!=", b.and_(index, splat(e.kind, 1 << bit)), e.zero) for bit in range(4, bits)
        ]
        words = b.bitcast(words, number)
        found = []
        for w in range(2):
            level = []
            for k in range(w * size // 8, (w + 1) * size // 8, 2):
                pair = [e.load(words, I64(k)), index, e.load(words, I64(k + 1))]
                level.append(call(b, "llvm.x86.avx512.vpermi2var.q.512", e.kind, *pair))
            for high in chosen:
                level = [b.select(high, y, x) for x, y in zip(level[::2], level[1::2], strict=True)]
            found += level
        return found

    def limb(j: Value, _: list[Value]) -> list[Value]:
        words = b.gep(table, [b.mul(j, I64(size))])

        def vector(v: Value, _: list[Value]) -> list[Value]:
            index = e.digits(b.gep(digits, [b.mul(v, I64(lanes))]))
            found = permuted(words, index) if machine is Ifma else scanned(words, index)
            target = b.gep(r, [b.mul(v, step)])
            for w, value in enumerate(found):
                e.split(target, b.add(j, I64(w)), value)
            return []

        e.loop(I64(0), vectors, 1, [], vector)
        return []

    e.loop(I64(0), limbs, 2, [], limb)
    b.ret_void()
    return e.function


def window_bits(lanes: int) -> int:
    """The width of fixed-base digits: one vpermi2q reads 16 entries, the plain scan of AVX2 one."""
    return 8 if lanes == 8 else 6


class _Lanes(Emitter):
    def own_limbs(self, limbs: Value) -> Value:
        """Limbs of the machine for so many outer limbs."""
        return limbs if self.machine is Ifma else self.builder.add(limbs, limbs)

    def transposed(self, rows: list[Value]) -> list[Value]:
        """As many vectors as there are lanes: lane k of vector w becomes lane w of vector k."""
        lanes = self.kind.count
        distance = 1
        while distance < lanes:
            following = list(rows)
            for w in range(lanes):
                if not w & distance:
                    low, high = rows[w], rows[w + distance]
                    first = [k if not k & distance else lanes + k - distance for k in range(lanes)]
                    second = [k + distance if not k & distance else lanes + k for k in range(lanes)]
                    for at, order in ((w, first), (w + distance, second)):
                        mask = ir.Constant(ir.VectorType(I32, lanes), order)
                        following[at] = self.builder.shuffle_vector(low, high, mask)
            rows = following
            distance *= 2
        return rows

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
