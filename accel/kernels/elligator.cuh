// Hash to curve25519, suite curve25519_XMD:SHA-512_ELL2_RO_ (RFC 9380 sections 6.7.1, 8.5, appendix G.2.1).
#pragma once
#include "expand_message.cuh"
#include "field25519.cuh"

struct MontgomeryPoint {  // u-coordinate x / z
    U256 x, z;
};

struct MappedPoint {  // (xn / xd, y) on v^2 = u^3 + J u^2 + u
    U256 xn, xd, y;
};

FUNCTION U256 root_of_minus_one() {
    U256 r = {{0x4a0ea0b0, 0xc4ee1b27, 0xad2fe478, 0x2f431806,
               0x3dfbd7a7, 0x2b4d0099, 0x4fc1df0b, 0x2b832480}};
    return r;
}

// 2^((p + 3) / 8).
FUNCTION U256 power_of_two_root() {
    U256 r = root_of_minus_one();  // (1 + i)^2 = 2 i, and 2^((p - 1) / 4) = i
    r.v[0] += 1;
    return r;
}

FUNCTION U256 square(const U256 &a) { return Field25519::sqr_times(a, 1); }

// One exponentiation for square root and quotient together, after appendix G.2.1; no branch on u.
FUNCTION MappedPoint map_to_curve(const U256 &u) {
    typedef Field25519 F;
    const u32 J = 486662;
    U256 one = small256(1);
    U256 t1 = square(u);
    t1 = F::add(t1, t1);                            // 2 u^2
    U256 xd = F::add(t1, one);                      // never 0: -1/2 is no square
    U256 x1n = F::sub(small256(0), small256(J));    // x1 = x1n / xd = -J / (1 + 2 u^2)
    U256 xd2 = square(xd);
    U256 gxd = F::mul_aside(xd2, xd);
    U256 gx1 = F::mul_small(t1, J);                 // numerator of g(x1) = x1n (x1n^2 + J x1n xd + xd^2)
    gx1 = F::mul_aside(F::add(F::mul_aside(gx1, x1n), xd2), x1n);
    U256 gxd2 = square(gxd);
    U256 gxd3gx1 = F::mul_aside(F::mul_aside(gxd2, gxd), gx1);
    U256 root = F::mul_aside(F::power_root(F::mul_aside(gxd3gx1, square(gxd2))), gxd3gx1);
    U256 other = F::mul_aside(root, root_of_minus_one());
    U256 y1 = select256(F::equal(F::mul_aside(square(root), gxd), gx1), other, root);
    U256 x2n = F::mul_aside(x1n, t1);                     // x2 = 2 u^2 x1
    U256 gx2 = F::mul_aside(gx1, t1);
    root = F::mul_aside(F::mul_aside(root, u), power_of_two_root());
    other = F::mul_aside(root, root_of_minus_one());
    U256 y2 = select256(F::equal(F::mul_aside(square(root), gxd), gx2), other, root);
    u32 first = F::equal(F::mul_aside(square(y1), gxd), gx1);
    MappedPoint p;
    p.xn = select256(first, x2n, x1n);
    p.xd = xd;
    U256 y = F::reduce(select256(first, y2, y1));
    u32 odd = 0u - (y.v[0] & 1);
    p.y = select256(first ^ odd, y, F::sub(small256(0), y));  // odd for x1, even for x2
    return p;
}

// u-coordinate of the sum, from the affine law with every quotient gathered in one denominator. Two points of
// equal u (chance below 2^-250 for hashed ones) give z = 0.
FUNCTION MontgomeryPoint add_mapped(const MappedPoint &p, const MappedPoint &q) {
    typedef Field25519 F;
    U256 pq = F::mul_aside(p.xn, q.xd), qp = F::mul_aside(q.xn, p.xd), d = F::mul_aside(p.xd, q.xd);
    U256 dx = F::sub(qp, pq), dy = F::sub(q.y, p.y);
    U256 dx2 = square(dx);
    U256 sum = F::add(F::add(F::mul_small(d, 486662), pq), qp);  // (J + u1 + u2) d
    MontgomeryPoint r;
    r.x = F::sub(F::mul_aside(F::mul_aside(square(dy), square(d)), d), F::mul_aside(sum, dx2));
    r.z = F::mul_aside(dx2, d);
    return r;
}

FUNCTION MontgomeryPoint double_x(const MontgomeryPoint &p) {
    typedef Field25519 F;
    U256 a = F::sqr(F::add(p.x, p.z)), b = F::sqr(F::sub(p.x, p.z)), e = F::sub(a, b);
    MontgomeryPoint r = {F::mul(a, b), F::mul(e, F::add(b, F::mul_small(e, 121666)))};
    return r;
}

// 48 big-endian bytes, the six words of 64 bits in `words`, modulo p (loosely).
FUNCTION U256 field_element(const u64 *words) {
    u32 t[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    UNROLL for (int i = 0; i < 6; i++) {
        t[2 * i] = (u32)words[5 - i];
        t[2 * i + 1] = (u32)(words[5 - i] >> 32);
    }
    return Field25519::fold(t);
}

// The two points whose sum, cleared of the cofactor, is the hash.
FUNCTION void hash_to_mapped(const u8 *message, u64 bytes, const u8 *tag, u32 tag_bytes, MappedPoint *mapped) {
    u64 uniform[16];
    expand_message(message, bytes, tag, tag_bytes, uniform);
    ROLLED for (int i = 0; i < 2; i++) mapped[i] = map_to_curve(field_element(uniform + 6 * i));
}

// The u-coordinate, canonical and cleared of the cofactor; 0 if the message hashes to infinity.
FUNCTION U256 hash_to_u(const u8 *message, u64 bytes, const u8 *tag, u32 tag_bytes) {
    typedef Field25519 F;
    MappedPoint mapped[2];
    hash_to_mapped(message, bytes, tag, tag_bytes, mapped);
    MontgomeryPoint p = add_mapped(mapped[0], mapped[1]);
    ROLLED for (int i = 0; i < 3; i++) p = double_x(p);
    return F::reduce(F::mul(p.x, F::invert(p.z)));
}
