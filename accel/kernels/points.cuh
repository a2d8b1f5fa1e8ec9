// The group law in Jacobian coordinates: (x, y, z) is (x / z^2, y / z^3), z = 0 the point at infinity.
//
// Doubling holds for every point of these curves (no point has order 2). Addition as such does not hold for
// equal points nor for infinity: `add_public` branches there and is for public points; the secret paths of
// `multiples.cuh` and `base_multiples.cuh` arrange that only the last addition can meet the case.
// The formulas with fewer additions are taken over those with fewer multiplications: on the GPU additions run
// beside the multiplications, in the pipe that the reduction modulo p already fills.
#pragma once
#include "curves.cuh"

struct Affine {
    U256 x, y;
};

struct Jacobian {
    U256 x, y, z;
};

struct Difference {  // zero in both: the points were equal; zero in h alone: opposite
    U256 h, r;
};

FUNCTION U256 twice(const U256 &a) { return Field::add(a, a); }

// 4 multiplications and 4 squarings (a = -3), or 3 and 4 (a = 0).
FIELD_FUNCTION Jacobian double_point(const Jacobian &p) {
    U256 yy = Field::sqr(p.y), alpha;
    if (Curve::A_IS_MINUS_3) {
        U256 zz = Field::sqr(p.z);
        alpha = Field::mul(Field::sub(p.x, zz), Field::add(p.x, zz));
    } else {
        alpha = Field::sqr(p.x);
    }
    alpha = Field::add(twice(alpha), alpha);
    U256 beta = twice(twice(Field::mul(p.x, yy)));
    Jacobian r;
    r.z = Field::mul(twice(p.y), p.z);
    r.x = Field::sub(Field::sqr(alpha), twice(beta));
    U256 yyyy = twice(Field::sqr(twice(yy)));  // 8 y^4
    r.y = Field::sub(Field::mul(alpha, Field::sub(beta, r.x)), yyyy);
    return r;
}

// From u1 = x1, s1 = y1 and the differences, over a common denominator; z is left to the caller.
FUNCTION void finish_add(Jacobian &sum, const U256 &u1, const U256 &s1, const Difference &d) {
    U256 hh = Field::sqr(d.h), hhh = Field::mul(hh, d.h), v = Field::mul(u1, hh);
    sum.x = Field::sub(Field::sub(Field::sqr(d.r), hhh), twice(v));
    sum.y = Field::sub(Field::mul(d.r, Field::sub(v, sum.x)), Field::mul(s1, hhh));
}

// 8 multiplications and 3 squarings.
FIELD_FUNCTION Jacobian add_affine(const Jacobian &p, const Affine &q, Difference &d) {
    U256 zz = Field::sqr(p.z);
    d.h = Field::sub(Field::mul(q.x, zz), p.x);
    d.r = Field::sub(Field::mul(q.y, Field::mul(zz, p.z)), p.y);
    Jacobian sum;
    sum.z = Field::mul(p.z, d.h);
    finish_add(sum, p.x, p.y, d);
    return sum;
}

// 12 multiplications and 4 squarings.
FIELD_FUNCTION Jacobian add_jacobian(const Jacobian &p, const Jacobian &q, Difference &d) {
    U256 pzz = Field::sqr(p.z), qzz = Field::sqr(q.z);
    U256 u1 = Field::mul(p.x, qzz), s1 = Field::mul(p.y, Field::mul(qzz, q.z));
    d.h = Field::sub(Field::mul(q.x, pzz), u1);
    d.r = Field::sub(Field::mul(q.y, Field::mul(pzz, p.z)), s1);
    Jacobian sum;
    sum.z = Field::mul(Field::mul(p.z, q.z), d.h);
    finish_add(sum, u1, s1, d);
    return sum;
}

FUNCTION Jacobian select_point(u32 mask, const Jacobian &a, const Jacobian &b) {
    Jacobian r = {select256(mask, a.x, b.x), select256(mask, a.y, b.y), select256(mask, a.z, b.z)};
    return r;
}

// Off the hot path: one copy of the code serves all callers in a kernel.
OUTLINED Jacobian double_aside(Jacobian p) { return double_point(p); }
OUTLINED Jacobian add_aside(Jacobian p, Jacobian q, Difference &d) { return add_jacobian(p, q, d); }

// All ones if the points that were added were equal, so that their double must stand in for the sum.
FUNCTION u32 same_point(const Difference &d) { return Field::is_zero(d.h) & Field::is_zero(d.r); }

FUNCTION Jacobian from_affine(const Affine &p) {
    Jacobian r = {p.x, p.y, Field::one()};
    return r;
}

// Any sum of public points, branches included.
FUNCTION Jacobian add_public(const Jacobian &p, const Affine &q) {
    if (Field::is_zero(p.z)) return from_affine(q);
    Difference d;
    Jacobian sum = add_affine(p, q, d);
    return same_point(d) ? double_aside(p) : sum;
}

FUNCTION U256 negate_if(u32 mask, const U256 &y) {
    return select256(mask, y, Field::sub(small256(0), y));
}

// y^2 = x^3 + a x + b: the right-hand side.
FUNCTION U256 curve_equation(const U256 &x) {
    U256 inner = Field::sqr(x);
    if (Curve::A_IS_MINUS_3) {
        U256 one = Field::one();
        inner = Field::sub(inner, Field::add(twice(one), one));
    }
    return Field::add(Field::mul(inner, x), Curve::b());
}

// Rows of x || y, 32 big-endian bytes each.
FUNCTION Affine load_point(const u8 *row) {
    Affine p = {Field::to_field(load_big(row)), Field::to_field(load_big(row + 32))};
    return p;
}
