"""The formulas of curve25519 as programs over field elements (`field25519_programs`).

Points are projective u-coordinates (x : z). Sources: RFC 9380 section 6.7.1 and appendix G.2 for Elligator 2,
RFC 7748 section 5 for doubling, RFC 8032 section 5.1.3 for the roots modulo p = 5 mod 8.
"""

from __future__ import annotations

from accel.cpu.field25519_programs import Program

# The map works on both field elements of a message: registers twice as wide as those of the sum. In the
# narrow view register r is r0, the first halves, and r1, the second.
MAP = ("r", "s", "xn", "xd", "y", "g", "t", "u", "v", "w", "f")
SUM = tuple(name + half for name in MAP for half in "01")
SUM_X, SUM_Z = "v0", "u1"

LADDER = ("a", "b", "c", "d", "u", "x", "z", "t", "p", "i")
CHECK = ("u", "t", "s", "g", "w", "x", "z", "a", "b")
ALONE = ("a", "i", "t", "s")


def map_to_curve() -> Program:
    """Two numbers r + 2^256 s to a point: x = s / xd, y = r.

    With t = y1^2 xd^3 for the candidate root y1 and g the numerator of the curve equation at x1, t is one
    of g, -g, c g and -c g for a root c of -1: the first two say that x1 is on the curve, and the sign says
    whether the candidate (of x1 or, with factor r 2^((p+3)/8), of x2) lacks the factor c. g is never 0.
    """
    p = Program(MAP)
    p.constant("t", "38")  # 2^256 modulo p
    p.multiply("s", "s", "t")
    p.add("r", "r", "s")
    p.square("s", "r")
    p.add("s", "s", "s")  # 2 r^2
    p.constant("t", "1")
    p.add("xd", "s", "t")
    p.constant("xn", "-J")
    p.square("u", "xd")
    p.multiply("v", "u", "xd")  # xd^3
    p.constant("t", "-J^2")
    p.multiply("g", "s", "t")
    p.add("g", "g", "u")
    p.multiply("g", "g", "xn")
    # y1 = g xd^9 (g xd^21)^((p-5)/8)
    p.square("t", "v")
    p.square("u", "t")
    p.multiply("t", "t", "v")
    p.multiply("t", "t", "g")
    p.multiply("u", "u", "t")
    p.power("y", "u", "w", "f")
    p.multiply("y", "y", "t")
    p.square("t", "y")
    p.multiply("t", "t", "v")
    p.constant("w", "0")
    p.subtract("w", "w", "g")
    p.equal("f", "t", "g")
    p.equal("u", "t", "w")
    p.either("f", "f", "u")  # x1 is on the curve
    p.constant("v", "sqrt(-1)")
    p.multiply("t", "t", "v")
    p.equal("t", "t", "w")
    p.either("u", "u", "t")  # the root lacks the factor
    p.multiply("r", "r", "y")
    p.constant("t", "2^((p+3)/8)")
    p.multiply("r", "r", "t")
    p.multiply("s", "s", "xn")
    p.move_if("s", "f", "xn")
    p.move_if("r", "f", "y")
    p.multiply("t", "r", "v")
    p.move_if("r", "u", "t")
    # The root is odd exactly if x1 was taken.
    p.odd("t", "r")
    p.differ("t", "t", "f")
    p.constant("u", "0")
    p.subtract("u", "u", "r")
    p.move_if("r", "t", "u")
    return p


def sum_and_clear() -> Program:
    """8 times the sum of the two mapped points of each message, in (v0 : u1); z = 0 at infinity."""
    p = Program(SUM)
    p.multiply("s0", "s0", "xd1")
    p.multiply("s1", "s1", "xd0")
    p.multiply("xd0", "xd0", "xd1")
    p.subtract("t0", "s1", "s0")
    p.subtract("t1", "r1", "r0")
    p.square("u0", "t0")
    p.multiply("u1", "u0", "xd0")
    p.square("v0", "t1")
    for _ in range(3):
        p.multiply("v0", "v0", "xd0")
    p.constant("w0", "J")
    p.multiply("w0", "w0", "xd0")
    p.add("w0", "w0", "s0")
    p.add("w0", "w0", "s1")
    p.multiply("w0", "w0", "u0")
    p.subtract("v0", "v0", "w0")
    # Equal x: opposite points have no sum but infinity, (1 : 0), and a point and itself have the double.
    p.copy("y0", "s0")
    p.copy("y1", "xd0")
    double(p, "y0", "y1", "g0", "g1", "w1")
    p.add("f1", "r0", "r1")
    p.constant("w0", "0")
    p.equal("f1", "f1", "w0")
    p.move_if("y1", "f1", "w0")
    p.constant("w0", "1")
    p.move_if("y0", "f1", "w0")
    p.equal("f0", "s0", "s1")
    p.move_if("v0", "f0", "y0")
    p.move_if("u1", "f0", "y1")
    for _ in range(3):
        double(p, "v0", "u1", "g0", "g1", "w1")
    return p


def ladder_start(registers: tuple[str, ...]) -> Program:
    """The ladder's first points, both P, as (x + z, x - z)."""
    p = Program(registers)
    p.constant("t", "1")
    p.add("a", "u", "t")
    p.subtract("b", "u", "t")
    p.copy("c", "a")
    p.copy("d", "b")
    return p


def ladder_end() -> Program:
    """Twice x and twice z of the ladder's result."""
    p = Program(LADDER)
    p.add("x", "a", "b")
    p.subtract("z", "a", "b")
    return p


def check_order() -> Program:
    """For u: condition "z", 8 u is infinity, and "g", u^3 + J u^2 + u."""
    p = Program(CHECK)
    p.copy("x", "u")
    p.constant("z", "1")
    for _ in range(3):
        double(p, "x", "z", "a", "b", "t")
    p.constant("t", "0")
    p.equal("z", "z", "t")
    p.constant("t", "J")
    p.add("t", "t", "u")
    p.multiply("t", "t", "u")
    p.constant("s", "1")
    p.add("t", "t", "s")
    p.multiply("g", "t", "u")
    return p


def check_square() -> Program:
    """Condition "w": g is a non-zero square."""
    p = Program(CHECK)
    p.power("w", "g", "t", "s")
    p.square("w", "w", 2)
    p.square("t", "g")
    p.multiply("w", "w", "t")
    p.constant("s", "1")
    p.equal("w", "w", "s")
    return p


def products(registers: tuple[str, ...], z: str, zero: str, prefix: str, t: str) -> Program:
    """Before an inversion: "zero", where z is 0; z there becomes 1; prefix[v] = z[0] … z[v]."""
    p = Program(registers)
    p.constant(t, "0")
    p.equal(zero, z, t)
    p.constant(t, "1")
    p.move_if(z, zero, t)
    p.prefix_products(prefix, z)
    return p


def quotients(registers: tuple[str, ...], x: str, z: str, prefix: str, inverse: str) -> Program:
    """After it, given 1 / prefix[last] in element 0 of "inverse": x = x / z."""
    p = Program(registers)
    p.inverses(inverse, z, prefix)
    p.multiply(x, x, inverse)
    return p


def invert() -> Program:
    """i = 1 / a."""
    p = Program(ALONE)
    p.power("i", "a", "t", "s")
    p.square("i", "i", 3)
    p.square("t", "a")
    p.multiply("t", "t", "a")
    p.multiply("i", "i", "t")
    return p


def double(p: Program, x: str, z: str, a: str, b: str, t: str) -> None:
    """(x : z) becomes twice the point; a, b and t are overwritten."""
    p.add(a, x, z)
    p.square(a, a)
    p.subtract(b, x, z)
    p.square(b, b)
    p.multiply(x, a, b)
    p.subtract(b, a, b)
    p.constant(t, "a24")
    p.multiply(t, t, b)
    p.add(t, t, a)
    p.multiply(z, b, t)
