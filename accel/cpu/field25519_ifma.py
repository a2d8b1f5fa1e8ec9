"""Arithmetic modulo p = 2^255 - 19 in the eight lanes of 512-bit vectors, with 52-bit multiply-add.

An element is five limbs of 52 bits, little end first. The multiplier reads the low 52 bits of its operands
and ignores what is above, so no limb is ever masked before a product: **of limbs 0 to 3 the low 52 bits
count, whatever lies above them; limb 4 counts in full and stays below 2^47 + 2^8.** Additions mask first.

Sums stay unreduced as long as they fit. A product is ten columns of weight 2^(52 k); `fold` brings the upper
five down by 2^260 = 608 and leaves columns below 2^56; `carry` turns columns below 2^63 back into limbs:

* columns of a product: at most 9 terms below 2^52 each, so below 2^55.2; their bits above 52 are folded
  apart (``high``, below 2^4). Column 9 is the high half of limb 4 squared plus nothing, below 2^42.1, and
  608 times that is below 2^52: it has no high half.
* differences add a multiple of p with every column above 2^56.9, more than any subtrahend here.
* `carry` takes what is above bit 255 (below 2^16) times 19 to column 0 and then carries upwards once; limb 4
  ends below 2^47 + 2^11 for columns below 2^63 and below 2^47 + 2^7 for the sums of the ladder (2^59).

On the processors that have these instructions products and all other vector operations share two ports, so
what counts is the number of vector operations: 67 for an unreduced product, 54 for a square, 11 for a carry.
"""

from __future__ import annotations

from typing import Any

from accel.cpu import ir

P = 2**255 - 19
BITS = 52
MASK = (1 << BITS) - 1
TOP_BITS = 255 - 4 * BITS
FOLD = 19 << (5 * BITS - 255)

Limbs = list[Any]


def bias(bits: int) -> list[int]:
    """A multiple of p as five even columns, each in [2^bits - 2^53, 2^bits]."""
    half = [1 << (bits - 1)] * 5
    excess = sum(column << (BITS * k) for k, column in enumerate(half)) % P
    return [2 * (column - (excess >> (BITS * k) & MASK)) for k, column in enumerate(half)]


class EmitIfma:
    """Emits field operations at the builder's position. Values are lists of five 8-lane vectors."""

    limbs = 5
    lanes = 8
    kind = ir.U64X8

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    @staticmethod
    def encode(value: int) -> list[int]:
        """The limbs of a number below 2^255."""
        return [value >> (BITS * k) & MASK for k in range(5)]

    # Columns: unreduced results.

    def product_columns(self, f: Limbs, g: Limbs, start: list[int] | None = None) -> Limbs:
        """Five columns of f g, plus ``start``."""
        z = self._start(start)
        for i in range(5):
            for j in range(5):
                z[i + j] = self._low(z[i + j], f[i], g[j])
                z[i + j + 1] = self._high(z[i + j + 1], f[i], g[j])
        return self._fold(z)

    def square_columns(self, f: Limbs, start: list[int] | None = None) -> Limbs:
        """Five columns of f squared, plus ``start``."""
        z = self._start(None if start is None else [start[0], *(value // 2 for value in start[1:])])
        for i in range(3):
            for j in range(i + 1, 4):
                z[i + j] = self._low(z[i + j], f[i], f[j])
                z[i + j + 1] = self._high(z[i + j + 1], f[i], f[j])
        for k in range(1, 7):
            z[k] = self.builder.add(z[k], z[k])
        twice = self.builder.add(f[4], f[4])  # the only limb with room for it
        for i in range(4):
            z[i + 4] = self._low(z[i + 4], f[i], twice)
            z[i + 5] = self._high(z[i + 5], f[i], twice)
        for i in range(5):
            z[2 * i] = self._low(z[2 * i], f[i], f[i])
            z[2 * i + 1] = self._high(z[2 * i + 1], f[i], f[i])
        return self._fold(z)

    def add_columns(self, f: Limbs, g: Limbs) -> Limbs:
        return [self.builder.add(x, y) for x, y in zip(f, g, strict=True)]

    def sub_columns(self, f: Limbs, g: Limbs) -> Limbs:
        return [self.builder.sub(x, y) for x, y in zip(f, g, strict=True)]

    def add_small_multiple(self, z: Limbs, f: Limbs, factor: int) -> Limbs:
        """Columns z + factor f, for a factor below 2^18."""
        k = self._splat(factor)
        z = [self._low(column, limb, k) for column, limb in zip(z, f, strict=True)]
        for j in range(4):
            z[j + 1] = self._high(z[j + 1], f[j], k)
        above = self._high(self._splat(0), f[4], k)
        z[0] = self._low(z[0], above, self._splat(FOLD))
        return z

    def carry(self, columns: Limbs) -> Limbs:
        """An element from columns."""
        b, z = self.builder, list(columns)
        above = b.lshr(z[4], self._splat(TOP_BITS))
        z[4] = b.and_(z[4], self._splat((1 << TOP_BITS) - 1))
        z[0] = self._low(z[0], above, self._splat(19))
        for k in range(4):
            z[k + 1] = b.add(z[k + 1], b.lshr(z[k], self._splat(BITS)))
        return z

    # Elements.

    def multiply(self, f: Limbs, g: Limbs) -> Limbs:
        return self.carry(self.product_columns(f, g))

    def square(self, f: Limbs) -> Limbs:
        return self.carry(self.square_columns(f))

    def add(self, f: Limbs, g: Limbs) -> Limbs:
        return self.carry(self.add_columns(self._masked(f), self._masked(g)))

    def sub(self, f: Limbs, g: Limbs) -> Limbs:
        constant = [self._splat(value) for value in bias(54)]
        return self.carry(self.sub_columns(self.add_columns(self._masked(f), constant), self._masked(g)))

    def canonical(self, f: Limbs) -> Limbs:
        """The limbs, all masked, of the number in [0, p)."""
        b, z = self.builder, self._masked(f)
        top, mask = self._splat(TOP_BITS), self._splat(MASK)
        # First below 2^255 + 19; then q = 1 exactly if adding 19 reaches 2^255, that is for p and above.
        z = self._masked(self.carry(z))
        reach = b.add(z[0], self._splat(19))
        for k in range(1, 5):
            reach = b.add(z[k], b.lshr(reach, self._splat(BITS)))
        q = b.lshr(reach, top)
        z[0] = self._low(z[0], q, self._splat(19))
        for k in range(4):
            z[k + 1] = b.add(z[k + 1], b.lshr(z[k], self._splat(BITS)))
            z[k] = b.and_(z[k], mask)
        z[4] = b.and_(z[4], self._splat((1 << TOP_BITS) - 1))
        return z

    def unpack(self, words: list[Any]) -> Limbs:
        """An element from the four 64-bit words, little end first, of any number below 2^256."""
        return self.carry([self._bits(words, BITS * k) for k in range(5)])

    def pack(self, canonical: Limbs) -> list[Any]:
        """Four 64-bit words of a canonical element."""
        b, z, words = self.builder, canonical, []
        for word in range(4):
            limb, shift = divmod(64 * word, BITS)
            low = b.lshr(z[limb], self._splat(shift))
            words.append(b.or_(low, b.shl(z[limb + 1], self._splat(BITS - shift))))
        return words

    # The Montgomery ladder. A point is held as (x + z, x - z): x and z are used in no other way, so their
    # columns are added and subtracted before they are carried.

    def ladder_step(self, p: list[Limbs], q: list[Limbs], u: Limbs, chosen: Any) -> list[Limbs]:
        """(2 r, p + q) where r is q in the lanes ``chosen``, else p, and u is the u-coordinate of p - q."""
        (a, b), (c, d) = p, q
        wide = bias(57)
        cb = self.product_columns(c, b)
        da = self.product_columns(d, a, wide)
        total, difference = self.carry(self.add_columns(da, cb)), self.carry(self.sub_columns(da, cb))
        r = [self._select(chosen, q[i], p[i]) for i in range(2)]
        doubled = self.double(r)
        x = self.square_columns(total, wide)
        z = self.product_columns(self.square(difference), u)
        return [*doubled, self.carry(self.add_columns(x, z)), self.carry(self.sub_columns(x, z))]

    def double(self, p: list[Limbs]) -> list[Limbs]:
        """2 p."""
        wide = bias(57)
        aa, bb = self.square_columns(p[0], wide), self.square_columns(p[1])
        e = self.carry(self.sub_columns(aa, bb))
        x = self.product_columns(self.carry(aa), self.carry(bb), wide)
        z = self.product_columns(e, self.carry(self.add_small_multiple(aa, e, 121665)))
        return [self.carry(self.add_columns(x, z)), self.carry(self.sub_columns(x, z))]

    # The comb. A point of the Edwards curve is held as (y + x, y - x, 2 z, t) with t = x y / z.

    def add_niels(self, point: list[Limbs], other: list[Limbs], negative: Any) -> list[Limbs]:
        """The sum with (y + x, y - x, 2 d x y) of another, in the lanes ``negative`` with its negative."""
        (plus, minus, z, t), (other_plus, other_minus, other_t) = point, other
        wide = bias(57)
        b = self.product_columns(plus, self._select(negative, other_minus, other_plus), wide)
        a = self.product_columns(minus, self._select(negative, other_plus, other_minus))
        c = self.product_columns(t, other_t)
        z = self._masked(z)
        more = self.carry(self.add_columns(z, c))
        less = self.carry(self.sub_columns(self.add_columns(z, [self._splat(value) for value in wide]), c))
        e, h = self.carry(self.sub_columns(b, a)), self.carry(self.add_columns(b, a))
        f, g = self._select(negative, more, less), self._select(negative, less, more)
        x, y = self.product_columns(e, f), self.product_columns(g, h, wide)
        z = self.product_columns(f, g)
        return [
            self.carry(self.add_columns(y, x)),
            self.carry(self.sub_columns(y, x)),
            self.carry(self.add_columns(z, z)),
            self.multiply(e, h),
        ]

    def pick(self, table: Any, entry: Any, number: Any) -> Any:
        """In every lane one of the sixteen words from word ``entry`` of a table on, whatever the number."""
        low = ir.load_words(self.builder, table, entry, self.kind)
        high = ir.load_words(self.builder, table, self.builder.add(entry, ir.I64(8)), self.kind)
        return ir.call(self.builder, "llvm.x86.avx512.vpermi2var.q.512", self.kind, low, number, high)

    # Words.

    def _start(self, start: list[int] | None) -> Limbs:
        return [self._splat(value) for value in start or [0] * 5] + [self._splat(0)] * 5

    def _fold(self, z: Limbs) -> Limbs:
        fold, above = self._splat(FOLD), [self.builder.lshr(z[k], self._splat(BITS)) for k in range(5, 9)]
        low = [self._low(z[k], z[k + 5], fold) for k in range(5)]
        for k in range(4):
            low[k + 1] = self._high(low[k + 1], z[k + 5], fold)
            low[k + 1] = self._low(low[k + 1], above[k], fold)
        return low

    def _masked(self, f: Limbs) -> Limbs:
        return [self.builder.and_(limb, self._splat(MASK)) for limb in f[:4]] + [f[4]]

    def _bits(self, words: list[Any], first: int) -> Any:
        """52 bits from bit ``first`` of the words, fewer at their end."""
        word, shift = divmod(first, 64)
        value = self.builder.lshr(words[word], self._splat(shift))
        if shift > 64 - BITS and word < 3:
            value = self.builder.or_(value, self.builder.shl(words[word + 1], self._splat(64 - shift)))
        return self.builder.and_(value, self._splat(MASK))

    def _select(self, chosen: Any, yes: Limbs, no: Limbs) -> Limbs:
        return [self.builder.select(chosen, y, n) for y, n in zip(yes, no, strict=True)]

    def _low(self, z: Any, x: Any, y: Any) -> Any:
        return ir.call(self.builder, "llvm.x86.avx512.vpmadd52l.uq.512", self.kind, z, x, y)

    def _high(self, z: Any, x: Any, y: Any) -> Any:
        return ir.call(self.builder, "llvm.x86.avx512.vpmadd52h.uq.512", self.kind, z, x, y)

    def _splat(self, value: int) -> Any:
        return ir.splat(self.kind, value)
