"""Vectors of wide-number limbs: what a level of SIMD instructions offers to the code emitters of `field256`.

A number of 260 bits lies in `limbs` vectors of `bits` bits each, one number a lane. A *word* is one limb of
all lanes: a list of `ways` LLVM vectors that are worked on side by side, which hides the latency of long
dependent chains.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accel.cpu.ir import I64, U64X4, U64X8, broadcast, call, load, splat

Word = list[Any]
Columns = list[Word | None]
TOTAL_BITS = 260


class Level:
    """Instructions on words. Shifts are arithmetic, so that limbs may be negative before a carry."""

    name: str
    kind: Any
    bits: int
    by_call = False  # are products function calls?

    def __init__(self, builder: Any, ways: int = 1, *, by_call: bool | None = None) -> None:
        self.builder, self.ways = builder, ways
        if by_call is not None:
            self.by_call = by_call

    @property
    def lanes(self) -> int:
        return int(self.kind.count)

    @property
    def limbs(self) -> int:
        return TOTAL_BITS // self.bits

    def constant(self, value: int) -> Word:
        return [splat(self.kind, value)] * self.ways

    def add(self, a: Word, b: Word) -> Word:
        return self._each(self.builder.add, a, b)

    def sub(self, a: Word, b: Word) -> Word:
        return self._each(self.builder.sub, a, b)

    def bit_and(self, a: Word, b: Word) -> Word:
        return self._each(self.builder.and_, a, b)

    def bit_or(self, a: Word, b: Word) -> Word:
        return self._each(self.builder.or_, a, b)

    def bit_xor(self, a: Word, b: Word) -> Word:
        return self._each(self.builder.xor, a, b)

    def left(self, a: Word, by: int) -> Word:
        return a if by == 0 else [self.builder.shl(x, splat(self.kind, by)) for x in a]

    def right(self, a: Word, by: int) -> Word:
        return [self.builder.ashr(x, splat(self.kind, by)) for x in a]

    def low(self, a: Word, bits: int | None = None) -> Word:
        mask = (1 << (self.bits if bits is None else bits)) - 1
        return [self.builder.and_(x, splat(self.kind, mask)) for x in a]

    def compare(self, how: str, a: Word, b: Word) -> Word:
        """Conditions, one a lane, from a signed comparison."""
        return [self.builder.icmp_signed(how, x, y) for x, y in zip(a, b, strict=True)]

    def select(self, condition: Word, a: Word, b: Word) -> Word:
        return self._each(self.builder.select, condition, a, b)

    def multiple(self, a: Word, factor: int) -> Word:
        """a times a small constant, by shifts of its signed binary digits."""
        total: Word | None = None
        for shift, sign in signed_digits(abs(factor)):
            term = self.left(a, shift)
            if total is None:
                total = term if sign > 0 else self.sub(self.constant(0), term)
            else:
                total = self.add(total, term) if sign > 0 else self.sub(total, term)
        if total is None:
            return self.constant(0)
        return total if factor > 0 else self.sub(self.constant(0), total)

    def scan(
        self, count: int, start: list[Word], step: Callable[[Any, list[Word]], list[Word]]
    ) -> list[Word]:
        """``step(i, words)`` for i from 0 to count - 1, in a loop that keeps the words in registers."""
        builder = self.builder
        entry, loop, end = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        index = builder.phi(I64)
        state = [[builder.phi(self.kind) for _ in word] for word in start]
        result = step(index, state)
        following = builder.add(index, I64(1))
        latch = builder.block
        builder.cbranch(builder.icmp_unsigned("<", following, I64(count)), loop, end)
        builder.position_at_end(end)
        index.add_incoming(I64(0), entry)
        index.add_incoming(following, latch)
        for phis, firsts, thens in zip(state, start, result, strict=True):
            for phi, first, then in zip(phis, firsts, thens, strict=True):
                phi.add_incoming(first, entry)
                phi.add_incoming(then, latch)
        return result

    # What differs between the levels.

    def accumulate(self, columns: Columns, at: int, a: Word, b: Word) -> None:
        """Add a b at limb ``at``; both are carried limbs."""
        raise NotImplementedError

    def accumulate_constant(
        self, columns: Columns, negative: Columns, at: int, a: Word, factor: int, *, wide: bool = False
    ) -> None:
        """Add a times a constant at limb ``at``; ``negative`` collects what is to be subtracted.

        ``a`` counts modulo 2^bits, or as a whole if it is ``wide``, of at most 42 bits.
        """
        raise NotImplementedError

    def digit(self, a: Word) -> Word:
        """What to multiply by for the low ``bits`` of a word."""
        raise NotImplementedError

    def add_small_multiple(self, total: Word, a: Word, factor: int) -> Word:
        """total + a times a constant, for 0 <= a < 2^10 and products below 2^bits."""
        return self.add(total, self.multiple(a, factor))

    def square_columns(self, a: list[Word]) -> Columns:
        raise NotImplementedError

    def pick(self, table: Any, index: Word, entries: int, words: int) -> list[Word]:
        """Column ``index`` of a table that all lanes share, read in full.

        ``table`` points to rows of ``entries`` 64-bit numbers, ``words`` of them.
        """
        raise NotImplementedError

    def from_limbs52(self, limbs: list[Word]) -> list[Word]:
        """Five limbs of 52 bits as limbs of this level."""
        raise NotImplementedError

    def _each(self, operation: Callable[..., Any], *words: Word) -> Word:
        return [operation(*parts) for parts in zip(*words, strict=True)]


class Ifma(Level):
    """Eight lanes, five limbs of 52 bits: the multiply-add reads 52 bits of each factor."""

    name, kind, bits = "ifma", U64X8, 52

    def accumulate(self, columns: Columns, at: int, a: Word, b: Word) -> None:
        columns[at] = self._multiply_add("l", columns[at], a, b)
        columns[at + 1] = self._multiply_add("h", columns[at + 1], a, b)

    def accumulate_constant(
        self, columns: Columns, negative: Columns, at: int, a: Word, factor: int, *, wide: bool = False
    ) -> None:
        target = columns if factor > 0 else negative
        self.accumulate(target, at, a, self.constant(abs(factor)))

    def digit(self, a: Word) -> Word:
        return a  # the instruction ignores the upper bits

    def add_small_multiple(self, total: Word, a: Word, factor: int) -> Word:
        if factor < 0:
            return self.sub(total, self.multiple(a, -factor))
        return self.add(total, a) if factor == 1 else self._multiply_add("l", total, a, self.constant(factor))

    def square_columns(self, a: list[Word]) -> Columns:
        columns: Columns = [None] * (2 * self.limbs)
        for i in range(self.limbs):
            for j in range(i + 1, self.limbs):
                self.accumulate(columns, i + j, a[i], a[j])
        columns = [None if c is None else self.add(c, c) for c in columns]
        for i in range(self.limbs):
            self.accumulate(columns, 2 * i, a[i], a[i])
        return columns

    def pick(self, table: Any, index: Word, entries: int, words: int) -> list[Word]:
        base = self.builder.bitcast(table, self.kind.as_pointer())
        count = entries >> 3
        bits = range(4, entries.bit_length() - 1)
        upper = [
            self.compare("!=", self.bit_and(index, self.constant(1 << bit)), self.constant(0)) for bit in bits
        ]
        return [
            self._permuted([load(self.builder, base, word * count + i) for i in range(count)], index, upper)
            for word in range(words)
        ]

    def _permuted(self, row: list[Any], index: Word, upper: list[Word]) -> Word:
        """Bits 0 to 3 of the index choose among 16 entries in one permutation, the others by halving."""
        name = "llvm.x86.avx512.vpermi2var.q.512"
        choices = [
            [call(self.builder, name, self.kind, low, x, high) for x in index]
            for low, high in zip(row[::2], row[1::2], strict=True)
        ]
        for condition in upper:
            pairs = zip(choices[::2], choices[1::2], strict=True)
            choices = [self.select(condition, y, x) for x, y in pairs]
        return choices[0]

    def from_limbs52(self, limbs: list[Word]) -> list[Word]:
        return limbs

    def _multiply_add(self, half: str, total: Word | None, a: Word, b: Word) -> Word:
        name = f"llvm.x86.avx512.vpmadd52{half}.uq.512"
        total = self.constant(0) if total is None else total
        return self._each(lambda t, x, y: call(self.builder, name, self.kind, t, x, y), total, a, b)


class Avx2(Level):
    """Four lanes, ten limbs of 26 bits: products of 52 bits leave room to add up columns."""

    name, kind, bits, by_call = "avx2", U64X4, 26, True

    def accumulate(self, columns: Columns, at: int, a: Word, b: Word) -> None:
        self._put(columns, at, self._product(a, b))

    def accumulate_constant(
        self, columns: Columns, negative: Columns, at: int, a: Word, factor: int, *, wide: bool = False
    ) -> None:
        if wide or factor < 0 or factor & (factor - 1) == 0:
            self._put(columns, at, self.multiple(a, factor))
        else:
            self._put(columns, at, self._product(a, self.constant(factor)))

    def digit(self, a: Word) -> Word:
        return self.low(a)

    def square_columns(self, a: list[Word]) -> Columns:
        columns: Columns = [None] * (2 * self.limbs)
        for i in range(self.limbs):
            self.accumulate(columns, 2 * i, a[i], a[i])
            twice = self.add(a[i], a[i])
            for j in range(i + 1, self.limbs):
                self.accumulate(columns, i + j, twice, a[j])
        return columns

    def pick(self, table: Any, index: Word, entries: int, words: int) -> list[Word]:
        b = self.builder

        def entry(at: Any, chosen: list[Word]) -> list[Word]:
            here = self.compare("==", index, [broadcast(b, self.kind, at)] * self.ways)
            found = []
            for word, before in enumerate(chosen):
                scalar = b.load(b.gep(table, [b.add(at, I64(word * entries))]))
                found.append(self.select(here, [broadcast(b, self.kind, scalar)] * self.ways, before))
            return found

        return self.scan(entries, [self.constant(0)] * words, entry)

    def from_limbs52(self, limbs: list[Word]) -> list[Word]:
        return [half for word in limbs for half in (self.low(word), self.right(word, 26))]

    def _product(self, a: Word, b: Word) -> Word:
        # LLVM turns a product of 32-bit values in 64-bit lanes into one vpmuludq.
        half = splat(self.kind, 0xFFFFFFFF)
        both = self.builder.and_
        return [self.builder.mul(both(x, half), both(y, half)) for x, y in zip(a, b, strict=True)]

    def _put(self, columns: Columns, at: int, term: Word) -> None:
        before = columns[at]
        columns[at] = term if before is None else self.add(before, term)


LEVELS: dict[str, type[Level]] = {"ifma": Ifma, "avx2": Avx2}


def signed_digits(value: int) -> list[tuple[int, int]]:
    """(shift, ±1) of the non-adjacent form, highest first."""
    found = []
    shift = 0
    while value:
        if value & 1:
            sign = 2 - (value & 3)
            found.append((shift, sign))
            value -= sign
        value >>= 1
        shift += 1
    return found[::-1]
