"""The formulas that need both coordinates of a point, as programs over field elements.

Montgomery (u, v) and Edwards (x, y) are one curve: x = c u / v, y = (u - 1) / (u + 1), and back,
u = (1 + y) / (1 - y), v = c u / x (RFC 7748 section 4.1). Edwards points are extended, (X : Y : Z : T) with
T = X Y / Z, or as the comb takes them, (Y + X, Y - X, 2 Z, T). Their sums are complete.

Sources: Hisil, Wong, Carter, Dawson, "Twisted Edwards Curves Revisited", ASIACRYPT 2008; Okeya, Sakurai,
"Efficient Elliptic Curve Cryptosystems from a Scalar Multiplication Algorithm with Recovery of the
y-Coordinate on a Montgomery-Form Elliptic Curve", CHES 2001, as in Costello, Smith, "Montgomery Curves and
Their Arithmetic", JCEN 2018, algorithm 5.
"""

from __future__ import annotations

from accel.cpu.curve25519_programs import MAP, SUM, double
from accel.cpu.field25519_programs import Program

# The comb works on the first four, the ladder on the first five.
MASK = ("p", "m", "z", "t", "x", "y", "a", "b", "f", "q", "i", "s")
BARE = ("p", "m", "z", "t", "u", "v", "s", "f", "e", "g", "w", "x", "y", "a", "b", "q", "i")
CLIMB = ("a", "b", "c", "d", "u", "v", "s", "f", "e", "g", "w", "x", "y", "z", "t", "q", "i")

# Where `sum_and_clear` leaves a point for the comb.
SUM_POINT = ("t0", "t1", "v0", "w0")
COMB_POINT = ("p", "m", "z", "t")


def decode(registers: tuple[str, ...]) -> Program:
    """For u and condition "s": v, odd where s holds; conditions "f", on the curve, and "e", of low order."""
    p = Program(registers)
    p.constant("t", "J")
    p.add("t", "t", "u")
    p.multiply("t", "t", "u")
    p.constant("w", "1")
    p.add("t", "t", "w")
    p.multiply("g", "t", "u")
    # A root of g, if it has one, or of -g.
    p.power("w", "g", "t", "e")
    p.multiply("v", "w", "g")
    p.square("t", "v")
    p.equal("f", "t", "g")
    p.constant("e", "0")
    p.subtract("e", "e", "g")
    p.equal("e", "t", "e")
    p.either("f", "f", "e")
    p.constant("t", "sqrt(-1)")
    p.multiply("t", "t", "v")
    p.move_if("v", "e", "t")
    p.odd("t", "v")
    p.differ("t", "t", "s")
    p.constant("w", "0")
    p.subtract("w", "w", "v")
    p.move_if("v", "t", "w")
    p.copy("x", "u")
    p.constant("z", "1")
    for _ in range(3):
        double(p, "x", "z", "a", "b", "t")
    p.constant("t", "0")
    p.equal("e", "z", "t")
    return p


def recover() -> Program:
    """After the ladder: (x : y : z), the scalar times (u, v); z = 0 if that has no two coordinates."""
    p = Program(CLIMB)
    p.add("x", "a", "b")
    p.subtract("z", "a", "b")
    # The same and the point once more.
    p.add("e", "c", "d")
    p.subtract("g", "c", "d")
    p.multiply("a", "u", "z")
    p.add("b", "x", "a")
    p.subtract("c", "x", "a")
    p.square("c", "c")
    p.multiply("c", "c", "e")
    p.constant("t", "2J")
    p.multiply("t", "t", "z")
    p.add("b", "b", "t")
    p.multiply("d", "u", "x")
    p.add("d", "d", "z")
    p.multiply("b", "b", "d")
    p.multiply("t", "t", "z")
    p.subtract("b", "b", "t")
    p.multiply("b", "b", "g")
    p.subtract("y", "b", "c")
    p.multiply("t", "v", "z")
    p.add("t", "t", "t")
    p.multiply("t", "t", "g")
    p.multiply("x", "x", "t")
    p.multiply("z", "z", "t")
    return p


def parity(registers: tuple[str, ...]) -> Program:
    """Condition "s": y times "i" is odd."""
    p = Program(registers)
    p.multiply("y", "y", "i")
    p.odd("s", "y")
    return p


def enter_mapped() -> Program:
    """The point u = s / xd, v = r of the map as an Edwards point (g : u : v : w).

    (0, 0), of order 2, becomes the neutral element: clearing the cofactor makes both the same.
    """
    p = Program(MAP)
    p.add("t", "s", "xd")
    p.subtract("y", "s", "xd")
    p.constant("f", "c")
    p.multiply("f", "f", "s")
    p.multiply("g", "f", "t")
    p.multiply("w", "f", "y")
    p.multiply("u", "y", "xd")
    p.multiply("u", "u", "r")
    p.multiply("v", "xd", "r")
    p.multiply("v", "v", "t")
    p.constant("t", "0")
    p.equal("f", "r", "t")
    p.move_if("g", "f", "t")
    p.move_if("w", "f", "t")
    p.constant("t", "1")
    p.move_if("u", "f", "t")
    p.move_if("v", "f", "t")
    return p


def sum_and_clear() -> Program:
    """8 times the sum of the two points of each message, for the comb in `SUM_POINT`."""
    p = Program(SUM)
    p.subtract("t0", "u0", "g0")
    p.subtract("t1", "u1", "g1")
    p.multiply("r0", "t0", "t1")
    p.add("t0", "u0", "g0")
    p.add("t1", "u1", "g1")
    p.multiply("r1", "t0", "t1")
    p.constant("t0", "2d")
    p.multiply("s0", "w0", "t0")
    p.multiply("s0", "s0", "w1")
    p.multiply("s1", "v0", "v1")
    p.add("s1", "s1", "s1")
    p.subtract("t0", "r1", "r0")
    p.subtract("t1", "s1", "s0")
    p.add("f0", "s1", "s0")
    p.add("f1", "r1", "r0")
    _finish_sum(p)
    for _ in range(3):
        p.square("r0", "g0")
        p.square("r1", "u0")
        p.square("s0", "v0")
        p.add("s0", "s0", "s0")
        p.add("f1", "r0", "r1")
        p.add("t0", "g0", "u0")
        p.square("t0", "t0")
        p.subtract("t0", "f1", "t0")
        p.subtract("f0", "r0", "r1")
        p.add("t1", "s0", "f0")
        _finish_sum(p)
    p.multiply("w0", "t0", "f1")
    p.add("t0", "u0", "g0")
    p.subtract("t1", "u0", "g0")
    p.add("v0", "v0", "v0")
    return p


def _finish_sum(p: Program) -> None:
    p.multiply("g0", "t0", "t1")
    p.multiply("u0", "f0", "f1")
    p.multiply("v0", "t1", "f0")


def enter() -> Program:
    """(u, v) for the comb."""
    p = Program(BARE)
    p.constant("w", "1")
    p.add("a", "u", "w")
    p.subtract("b", "u", "w")
    p.constant("w", "c")
    p.multiply("w", "w", "u")
    p.multiply("x", "w", "a")
    p.multiply("y", "b", "v")
    p.multiply("z", "a", "v")
    p.multiply("t", "w", "b")
    p.add("p", "y", "x")
    p.subtract("m", "y", "x")
    p.add("z", "z", "z")
    return p


def leave() -> Program:
    """After the comb: u = a / b and v = y / b; b = 0 if there are no such."""
    p = Program(MASK)
    p.subtract("x", "p", "m")
    p.add("y", "p", "m")
    p.add("a", "z", "y")
    p.subtract("b", "z", "y")
    p.multiply("y", "a", "z")
    p.constant("t", "c")
    p.multiply("y", "y", "t")
    p.multiply("a", "a", "x")
    p.multiply("b", "b", "x")
    return p


def leave_u() -> Program:
    """After the comb: u = a / b; b = 0 at infinity."""
    p = Program(BARE)
    p.add("y", "p", "m")
    p.add("a", "z", "y")
    p.subtract("b", "z", "y")
    return p
