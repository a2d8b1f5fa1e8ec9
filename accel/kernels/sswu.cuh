// Hash to SM2 and secp256k1: the simplified SWU map (RFC 9380 section 6.6.2, appendix F.2) without a branch.
//
// SM2 takes its own a and b and Z = -9; secp256k1 has a = 0, so the map reaches the 3-isogenous curve with Z
// = -11 (section 8.7), and the isogeny of appendix E.1 leads back. A point stays a quotient until its
// Jacobian form.
#pragma once
#include "points.cuh"

struct SwuSm2 {
    FUNCTION U256 z() {
        U256 r = {{0xfffffff6, 0xffffffff, 0x00000009, 0xfffffff6,
                   0xffffffff, 0xffffffff, 0xffffffff, 0xfffffff5}};
        return r;
    }
    FUNCTION U256 a() {
        U256 r = {{0xfffffffc, 0xffffffff, 0x00000003, 0xfffffffc,
                   0xffffffff, 0xffffffff, 0xffffffff, 0xfffffffb}};
        return r;
    }
    FUNCTION U256 b() { return CurveSm2::b(); }
    FUNCTION U256 root_of_minus_z() {
        U256 r = {{0x00000003, 0x00000000, 0xfffffffd, 0x00000002,
                   0x00000000, 0x00000000, 0x00000000, 0x00000003}};
        return r;
    }
    // (xn / xd, y) in Jacobian form with z = xd.
    FUNCTION Jacobian to_curve(const U256 &xn, const U256 &xd, const U256 &y) {
        U256 cube = Field::mul_aside(Field::sqr_times(xd, 1), xd);
        Jacobian p = {Field::mul_aside(xn, xd), Field::mul_aside(y, cube), xd};
        return p;
    }
};

// Coefficients of the isogeny: x_num, x_den, y_num, y_den, lowest degree first; the last of a denominator is
// 1.
CONSTANT U256 ISOGENY[] = {
    {{0xaaaaa8c7, 0x8e38e38d, 0xe38e38e3, 0x38e38e38, 0x8e38e38e, 0xe38e38e3, 0x38e38e38, 0x8e38e38e}},
    {{0xf17c6581, 0xdfff1044, 0x0bf63b92, 0xd595d2fc, 0xa7fd44c5, 0xb9f315ce, 0x0bc321d5, 0x07d3d4c8}},
    {{0x3d9dd262, 0x4ecbd0b5, 0x037c4031, 0xe4506144, 0xca25caec, 0xe2a413de, 0x23f234e6, 0x534c328d}},
    {{0xaaaaa88c, 0x8e38e38d, 0xe38e38e3, 0x38e38e38, 0x8e38e38e, 0xe38e38e3, 0x38e38e38, 0x8e38e38e}},
    {{0x781eb49b, 0x9fe6b745, 0x42f8487d, 0x86cd4095, 0xb7b640dd, 0x9ca34ccb, 0x3d94918a, 0xd3577119}},
    {{0x2a8c6d14, 0xc52a5661, 0x1f5e41bb, 0x06d36b64, 0x1b542254, 0xf7c4b2d5, 0x4383dc1d, 0xedadc6f6}},
    {{0x00000001, 0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x00000000}},
    {{0x8e38e23c, 0xa12f684b, 0x12f684bd, 0x2f684bda, 0xf684bda1, 0x684bda12, 0x84bda12f, 0x4bda12f6}},
    {{0x201d71a3, 0xdffc90fc, 0xd686da6f, 0x647ab046, 0x12a0a6d5, 0xa9d0a54b, 0xd5cb7c0f, 0xc75e0c32}},
    {{0x9ecee931, 0xa765e85a, 0x01be2018, 0x722830a2, 0x6512e576, 0x715209ef, 0x91f91a73, 0x29a61946}},
    {{0x38e38d84, 0x84bda12f, 0x4bda12f6, 0xbda12f68, 0xda12f684, 0xa12f684b, 0x12f684bd, 0x2f684bda}},
    {{0xfffff93b, 0xfffffffe, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}},
    {{0x685c2573, 0xdfb425d2, 0xc8e8d978, 0x9467c1bf, 0x2722c298, 0xd5e9e663, 0xb8bdb49f, 0x7a06534b}},
    {{0xbfd2a76f, 0xa7bf8192, 0x2f0d6299, 0x0a3d2116, 0xa8fe337e, 0xf3a70c3f, 0x6545ca2c, 0x6484aa71}},
    {{0x00000001, 0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x00000000}},
};

struct SwuSecp256k1 {
    FUNCTION U256 z() {
        U256 r = {{0xfffffc24, 0xfffffffe, 0xffffffff, 0xffffffff,
                   0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}};
        return r;
    }
    FUNCTION U256 a() {
        U256 r = {{0x1a444533, 0x405447c0, 0xcb6f0e5d, 0xe953d363,
                   0xf0f5d272, 0xa08a5558, 0xdd661adc, 0x3f8731ab}};
        return r;
    }
    FUNCTION U256 b() { return small256(1771); }
    FUNCTION U256 root_of_minus_z() {
        U256 r = {{0x303c4a59, 0x286729c8, 0xa74789dd, 0xec184f00,
                   0x8f842afe, 0x7ad13fb3, 0x724013e5, 0x31fdf302}};
        return r;
    }

    // Sum of c_i xn^i xd^(degree - i): the polynomial times xd^degree, by Horner's rule.
    FUNCTION U256 evaluate(int first, int degree, const U256 &xn, const U256 &xd) {
        U256 sum = ISOGENY[first + degree], power = xd;
        ROLLED for (int i = degree - 1; i >= 0; i--) {
            sum = Field::add(Field::mul_aside(sum, xn), Field::mul_aside(ISOGENY[first + i], power));
            power = Field::mul_aside(power, xd);
        }
        return sum;
    }

    // The image is (nx / (dx xd), y ny / dy). Where a denominator is 0 it is infinity, and so is z.
    FUNCTION Jacobian to_curve(const U256 &xn, const U256 &xd, const U256 &y) {
        U256 nx = evaluate(0, 3, xn, xd), d = Field::mul_aside(evaluate(4, 2, xn, xd), xd);
        U256 ny = evaluate(7, 3, xn, xd), dy = evaluate(11, 3, xn, xd);
        U256 dy2 = Field::sqr_times(dy, 1), d3 = Field::mul_aside(Field::sqr_times(d, 1), d);
        Jacobian p;
        p.z = Field::mul_aside(d, dy);
        p.x = Field::mul_aside(Field::mul_aside(nx, d), dy2);
        p.y = Field::mul_aside(Field::mul_aside(y, ny), Field::mul_aside(dy2, d3));
        return p;
    }
};

#if !defined(CURVE) || CURVE == 1
typedef SwuSm2 Swu;
#else
typedef SwuSecp256k1 Swu;
#endif

// sqrt(u / v) in y if it is a square, all ones; else sqrt(Z u / v) and 0 (section F.2.1.2, p = 3 modulo 4).
FUNCTION u32 root_of_quotient(const U256 &u, const U256 &v, U256 &y) {
    U256 uv = Field::mul_aside(u, v), vv = Field::sqr_times(v, 1);
    U256 y1 = Field::mul_aside(Field::power_root(Field::mul_aside(uv, vv)), uv);
    u32 square = Field::is_zero(Field::sub(Field::mul_aside(Field::sqr_times(y1, 1), v), u));
    y = select256(square, Field::mul_aside(y1, Swu::root_of_minus_z()), y1);
    return square;
}

OUTLINED Jacobian map_to_curve(U256 plain) {
    U256 u = Field::to_field(plain), zero = small256(0);
    U256 t1 = Field::mul_aside(Field::sqr_times(u, 1), Swu::z());  // Z u^2
    U256 t2 = Field::add(Field::sqr_times(t1, 1), t1);
    U256 xn = Field::mul_aside(Field::add(t2, Field::one()), Swu::b());
    u32 special = Field::is_zero(t2);
    U256 xd = Field::mul_aside(select256(special, Field::sub(zero, t2), Swu::z()), Swu::a());
    // g(xn / xd) = (xn^3 + a xn xd^2 + b xd^3) / xd^3
    U256 xd2 = Field::sqr_times(xd, 1), xd3 = Field::mul_aside(xd2, xd);
    U256 gx = Field::add(Field::sqr_times(xn, 1), Field::mul_aside(Swu::a(), xd2));
    gx = Field::add(Field::mul_aside(gx, xn), Field::mul_aside(Swu::b(), xd3));
    U256 y1, x2n = Field::mul_aside(t1, xn);
    u32 first = root_of_quotient(gx, xd3, y1);
    U256 y2 = Field::mul_aside(Field::mul_aside(t1, u), y1);
    U256 y = select256(first, y2, y1);
    u32 differ = 0u - ((Field::from_field(y).v[0] ^ Field::from_field(u).v[0]) & 1);
    return Swu::to_curve(select256(first, x2n, xn), xd, negate_if(differ, y));
}

// Any sum, with masks instead of branches: what was hashed is secret.
FUNCTION Jacobian add_any(const Jacobian &p, const Jacobian &q) {
    Difference d;
    Jacobian sum = add_aside(p, q, d);
    sum = select_point(same_point(d), sum, double_aside(p));
    sum = select_point(Field::is_zero(q.z), sum, p);
    return select_point(Field::is_zero(p.z), sum, q);
}
