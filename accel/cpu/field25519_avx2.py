"""Arithmetic modulo p = 2^255 - 19 in the four lanes of 256-bit vectors, with 32-bit products.

An element is ten limbs at bits ceil(25.5 k): 26 bits where k is even, 25 where it is odd. A **carried** limb
is below its size plus 2^18. Sums and differences of two carried elements (below 2^27.6 where k is even,
2^26.6 where odd) may enter a product as they are:

* 19 times such a limb is below 2^32, which the multiplier needs;
* a column of the product is below 2^55.2 (1 + 4 * 19) + 2^53.2 * 5 * 38, so below 2^62.3;
* `carry` takes columns below 2^63 and goes twice round half of the limbs, as in Bernstein's ref10.

The code is plain LLVM: any processor with 64-bit vector products of 32-bit operands runs it.
"""

from __future__ import annotations

from typing import Any

from accel.cpu import ir

P = 2**255 - 19
POSITIONS = [(51 * k + 1) // 2 for k in range(10)]
SIZES = [26 - k % 2 for k in range(10)]

Limbs = list[Any]


class EmitAvx2:
    """Emits field operations at the builder's position. Values are lists of ten 4-lane vectors."""

    limbs = 10
    lanes = 4
    kind = ir.U64X4

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    @staticmethod
    def encode(value: int) -> list[int]:
        """The limbs of a number below 2^255."""
        return [value >> bit & ((1 << size) - 1) for bit, size in zip(POSITIONS, SIZES, strict=True)]

    # Elements.

    def multiply(self, f: Limbs, g: Limbs) -> Limbs:
        b = self.builder
        doubled = [b.add(limb, limb) if k % 2 else limb for k, limb in enumerate(f)]
        folded = [self._times(limb, 19) for limb in g]
        columns: Limbs = [None] * 10
        for i in range(10):
            for j in range(10):
                # Two odd positions round up twice: their product stands one bit too low.
                left = doubled[i] if i % 2 and j % 2 else f[i]
                self._accumulate(columns, (i + j) % 10, left, g[j] if i + j < 10 else folded[j])
        return self.carry(columns)

    def square(self, f: Limbs) -> Limbs:
        b = self.builder
        twice = [b.add(limb, limb) for limb in f]
        folded = [self._times(limb, 19) for limb in f]
        columns: Limbs = [None] * 10
        for i in range(10):
            for j in range(i, 10):
                right = f[j] if i + j < 10 else folded[j]
                left = f[i] if i == j else twice[i]
                if i % 2 and j % 2:
                    left = twice[i] if i == j else b.add(twice[i], twice[i])
                self._accumulate(columns, (i + j) % 10, left, right)
        return self.carry(columns)

    def add(self, f: Limbs, g: Limbs) -> Limbs:
        return self.carry(self._sum(f, g))

    def sub(self, f: Limbs, g: Limbs) -> Limbs:
        return self.carry(self._difference(f, g, 4))

    def carry(self, columns: Limbs) -> Limbs:
        """A carried element from columns below 2^63."""
        z = list(columns)
        for k in (0, 4, 1, 5, 2, 6, 3, 7, 4, 8, 9, 0):
            self._carry_from(z, k)
        return z

    def canonical(self, f: Limbs) -> Limbs:
        """The limbs of the number in [0, p)."""
        b, z = self.builder, list(f)
        for _ in range(2):
            for k in range(10):
                self._carry_from(z, k)
        for k in range(9):
            self._carry_from(z, k)
        # Below 2^255 + 19 here: q = 1 exactly if adding 19 reaches 2^255, that is for p and above.
        reach = b.lshr(b.add(z[0], self._splat(19)), self._splat(SIZES[0]))
        for k in range(1, 10):
            reach = b.lshr(b.add(z[k], reach), self._splat(SIZES[k]))
        z[0] = b.add(z[0], self._times(reach, 19))
        for k in range(9):
            self._carry_from(z, k)
        z[9] = self._low(z[9], SIZES[9])
        return z

    def unpack(self, words: list[Any]) -> Limbs:
        """An element from the four 64-bit words, little end first, of any number below 2^256."""
        b, z = self.builder, []
        for bit, size in zip(POSITIONS, SIZES, strict=True):
            word, shift = divmod(bit, 64)
            value = b.lshr(words[word], self._splat(shift))
            if shift + size > 64:
                value = b.or_(value, b.shl(words[word + 1], self._splat(64 - shift)))
            # The last limb keeps bit 255.
            z.append(self._low(value, size if bit < POSITIONS[9] else size + 1))
        return self.carry(z)

    def pack(self, canonical: Limbs) -> list[Any]:
        """Four 64-bit words of a canonical element."""
        b = self.builder
        words = [self._splat(0)] * 4
        for limb, bit, size in zip(canonical, POSITIONS, SIZES, strict=True):
            word, shift = divmod(bit, 64)
            words[word] = b.or_(words[word], b.shl(limb, self._splat(shift)))
            if shift + size > 64:
                words[word + 1] = b.or_(words[word + 1], b.lshr(limb, self._splat(64 - shift)))
        return words

    # The Montgomery ladder. A point is held as (x + z, x - z), not carried: both only enter products.

    def ladder_step(self, p: list[Limbs], q: list[Limbs], u: Limbs, chosen: Any) -> list[Limbs]:
        """(2 r, p + q) where r is q in the lanes ``chosen``, else p, and u is the u-coordinate of p - q."""
        (a, b), (c, d) = p, q
        da, cb = self.multiply(d, a), self.multiply(c, b)
        doubled = self.double([self._select(chosen, q[i], p[i]) for i in range(2)])
        x = self.square(self._sum(da, cb))
        z = self.multiply(self.square(self._difference(da, cb, 2)), u)
        return [*doubled, self._sum(x, z), self._difference(x, z, 2)]

    def double(self, p: list[Limbs]) -> list[Limbs]:
        """2 p."""
        aa, bb = self.square(p[0]), self.square(p[1])
        e = self._difference(aa, bb, 2)
        x = self.multiply(aa, bb)
        z = self.multiply(e, self.carry(self._sum(aa, [self._times(limb, 121665) for limb in e])))
        return [self._sum(x, z), self._difference(x, z, 2)]

    # The comb. A point of the Edwards curve is held as (y + x, y - x, 2 z, t) with t = x y / z.

    def add_niels(self, point: list[Limbs], other: list[Limbs], negative: Any) -> list[Limbs]:
        """The sum with (y + x, y - x, 2 d x y) of another, in the lanes ``negative`` with its negative."""
        (plus, minus, z, t), (other_plus, other_minus, other_t) = point, other
        b = self.multiply(plus, self._select(negative, other_minus, other_plus))
        a = self.multiply(minus, self._select(negative, other_plus, other_minus))
        c = self.multiply(t, other_t)
        more, less = self.add(z, c), self.sub(z, c)
        e, h = self._difference(b, a, 2), self._sum(b, a)
        f, g = self._select(negative, more, less), self._select(negative, less, more)
        x, y, z = self.multiply(e, f), self.multiply(g, h), self.multiply(f, g)
        return [self._sum(y, x), self._difference(y, x, 2), self.add(z, z), self.multiply(e, h)]

    def pick(self, table: Any, entry: Any, number: Any) -> Any:
        """In every lane one of the sixteen words from word ``entry`` of a table on: all are read."""
        b, found = self.builder, self._splat(0)
        for k in range(16):
            word = b.load(b.gep(table, [b.add(entry, ir.I64(k))]))
            same = b.icmp_unsigned("==", number, self._splat(k))
            found = b.select(same, ir.broadcast(b, self.kind, word), found)
        return found

    # Words.

    def _sum(self, f: Limbs, g: Limbs) -> Limbs:
        return [self.builder.add(x, y) for x, y in zip(f, g, strict=True)]

    def _difference(self, f: Limbs, g: Limbs, multiple: int) -> Limbs:
        """f - g plus an even multiple of p that keeps every limb positive."""
        b, constant = self.builder, [multiple * limb for limb in self.encode(P)]
        return [b.sub(b.add(x, self._splat(value)), y) for x, value, y in zip(f, constant, g, strict=True)]

    def _carry_from(self, z: Limbs, k: int) -> None:
        b = self.builder
        over = b.lshr(z[k], self._splat(SIZES[k]))
        z[k] = self._low(z[k], SIZES[k])
        if k == 9:
            # May exceed 32 bits: no product.
            over = b.add(b.add(b.shl(over, self._splat(4)), b.shl(over, self._splat(1))), over)
        z[(k + 1) % 10] = b.add(z[(k + 1) % 10], over)

    def _accumulate(self, columns: Limbs, k: int, x: Any, y: Any) -> None:
        product = self._product(x, y)
        columns[k] = product if columns[k] is None else self.builder.add(columns[k], product)

    def _product(self, x: Any, y: Any) -> Any:
        # With both operands cut to 32 bits LLVM takes the 32-bit multiplier and drops the cuts.
        return self.builder.mul(self._low(x, 32), self._low(y, 32))

    def _times(self, x: Any, factor: int) -> Any:
        return self._product(x, self._splat(factor))

    def _low(self, x: Any, bits: int) -> Any:
        return self.builder.and_(x, self._splat((1 << bits) - 1))

    def _select(self, chosen: Any, yes: Limbs, no: Limbs) -> Limbs:
        return [self.builder.select(chosen, y, n) for y, n in zip(yes, no, strict=True)]

    def _splat(self, value: int) -> Any:
        return ir.splat(self.kind, value)
