// Points of curve25519 with both coordinates, on the Edwards curve -x^2 + y^2 = 1 + d x^2 y^2.
//
// x = c u / v and y = (u - 1) / (u + 1); back, u = (1 + y) / (1 - y) and v = c u / x, with the c of
// `accel.reference.curve25519_oprf` (RFC 7748 section 4.1). Extended coordinates, x = X / Z, y = Y / Z,
// T = X Y / Z, and complete formulas (Hisil, Wong, Carter, Dawson, ASIACRYPT 2008): no point is an exception.
#pragma once
#include "elligator.cuh"
#include "field25519.cuh"

struct Extended {
    U256 x, y, z, t;
};

struct Niels {  // y + x, y - x, 2 d x y of an affine point
    U256 plus, minus, product;
};

FUNCTION U256 map_factor() {  // c
    U256 r = {{0xff457e06, 0xcc6e04aa, 0x4b7d1a82, 0xc5a1d3d1,
               0x03fc4f7e, 0xd27b08dc, 0x60a006bb, 0x0f26edf4}};
    return r;
}

FUNCTION U256 twice_d() {
    U256 r = {{0x26b2f159, 0xebd69b94, 0x8283b156, 0x00e0149a,
               0xeef3d130, 0x198e80f2, 0x56dffce7, 0x2406d9dc}};
    return r;
}

FUNCTION Extended neutral() {
    Extended r = {small256(0), small256(1), small256(1), small256(0)};
    return r;
}

// Sums end so: x = e / g, y = h / f.
FUNCTION Extended finish_sum(const U256 &e, const U256 &f, const U256 &g, const U256 &h) {
    typedef Field25519 F;
    Extended r = {F::mul(e, f), F::mul(g, h), F::mul(f, g), F::mul(e, h)};
    return r;
}

// The point u = n / d and v.
FUNCTION Extended enter_edwards(const U256 &n, const U256 &d, const U256 &v) {
    typedef Field25519 F;
    U256 above = F::add(n, d), below = F::sub(n, d), cn = F::mul_aside(map_factor(), n);
    U256 dv = F::mul_aside(d, v);
    Extended r = {F::mul_aside(cn, above), F::mul_aside(below, dv), F::mul_aside(dv, above),
                  F::mul_aside(cn, below)};
    return r;
}

FUNCTION Extended add_extended(const Extended &p, const Extended &q) {
    typedef Field25519 F;
    U256 a = F::mul(F::sub(p.y, p.x), F::sub(q.y, q.x)), b = F::mul(F::add(p.y, p.x), F::add(q.y, q.x));
    U256 c = F::mul(F::mul(p.t, twice_d()), q.t), d = F::mul(p.z, q.z);
    d = F::add(d, d);
    return finish_sum(F::sub(b, a), F::sub(d, c), F::add(d, c), F::add(b, a));
}

FUNCTION Extended double_extended(const Extended &p) {
    typedef Field25519 F;
    U256 a = F::sqr(p.x), b = F::sqr(p.y), c = F::sqr(p.z), h = F::add(a, b);
    U256 e = F::sub(h, F::sqr(F::add(p.x, p.y))), g = F::sub(a, b);
    return finish_sum(e, F::add(F::add(c, c), g), g, h);
}

// p + q, or p - q where `negative` is all ones.
FUNCTION Extended add_niels(const Extended &p, Niels q, u32 negative) {
    typedef Field25519 F;
    swap256(negative, q.plus, q.minus);
    U256 a = F::mul(F::sub(p.y, p.x), q.minus), b = F::mul(F::add(p.y, p.x), q.plus);
    U256 c = F::mul(p.t, q.product), d = F::add(p.z, p.z);
    U256 f = F::sub(d, c), g = F::add(d, c);
    swap256(negative, f, g);
    return finish_sum(F::sub(b, a), f, g, F::add(b, a));
}

// 8 (P + Q) for the two points of a message. (0, 0), of order 2, counts as the neutral element: clearing the
// cofactor makes both the same.
FUNCTION Extended clear_sum(const MappedPoint *mapped) {
    Extended p[2];
    ROLLED for (int i = 0; i < 2; i++) {
        p[i] = enter_edwards(mapped[i].xn, mapped[i].xd, mapped[i].y);
        u32 none = Field25519::is_zero(mapped[i].y);
        Extended o = neutral();
        p[i].x = select256(none, p[i].x, o.x);
        p[i].y = select256(none, p[i].y, o.y);
        p[i].z = select256(none, p[i].z, o.z);
        p[i].t = select256(none, p[i].t, o.t);
    }
    Extended sum = add_extended(p[0], p[1]);
    ROLLED for (int i = 0; i < 3; i++) sum = double_extended(sum);
    return sum;
}
