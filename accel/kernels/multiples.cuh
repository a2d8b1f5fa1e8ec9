// Scalars times points, with signed odd digits.
//
// An odd k below the order n is sum of d_i 2^(W i) with odd |d_i| < 2^W: b_i = bits W i + 1 … W i + W of k
// give d_i = 2 b_i + 1 - 2^W, the top digit is 2 floor(k / 2^(W top + 1)) + 1 (Joye, Tunstall, AFRICACRYPT
// 2009). No digit is zero, so every scalar takes the same additions. An even k is replaced by n - k and the
// result negated. On the way no partial sum is infinite or plus-minus the point to be added: as integers they
// differ, and all but the last stay below n / 2 (base) or below n (point). Only after the last addition the
// double is put in its place, by a mask, where the points were equal.
#pragma once
#include "points.cuh"

static constexpr int BASE_BITS = 6, BASE_WINDOWS = 43, BASE_ENTRIES = 1 << (BASE_BITS - 1);
static constexpr int POINT_BITS = 4, POINT_WINDOWS = 64, POINT_ENTRIES = 1 << (POINT_BITS - 1);
static constexpr u32 BASE_WORDS = BASE_ENTRIES * 16;  // of a window's row in the table

struct Digit {
    u32 index, negative;  // (|d| - 1) / 2, and all ones or 0
};

FUNCTION Digit signed_digit(u32 bits, int width) {
    u32 half = 1u << (width - 1);
    Digit d;
    d.negative = 0u - (u32)(bits < half);
    d.index = (bits ^ d.negative) & (half - 1);
    return d;
}

// k or n - k, whichever is odd; `negated` tells.
FUNCTION U256 odd_scalar(const U256 &k, u32 &negated) {
    U256 n = Order::modulus(), other;
    sub8(other.v, n.v, k.v);
    negated = (k.v[0] & 1) - 1;
    return select256(negated, k, other);
}

FUNCTION void shift_right(U256 &k, int bits) {
    UNROLL for (int i = 0; i < 7; i++) k.v[i] = k.v[i] >> bits | k.v[i + 1] << (32 - bits);
    k.v[7] >>= bits;
}

FUNCTION void shift_left(U256 &k, int bits) {
    UNROLL for (int i = 7; i > 0; i--) k.v[i] = k.v[i] << bits | k.v[i - 1] >> (32 - bits);
    k.v[0] <<= bits;
}

// The digit of window i of a scalar that was shifted right by BASE_BITS i.
FUNCTION Digit base_digit(const U256 &shifted, bool top) {
    u32 bits = shifted.v[0] >> 1 & (2 * BASE_ENTRIES - 1);
    return signed_digit(top ? bits + BASE_ENTRIES : bits, BASE_BITS);
}

// P, 3 P, 5 P … 15 P.
OUTLINED void odd_multiples(Jacobian *table, Affine p) {
    table[0] = from_affine(p);
    Jacobian step = double_aside(table[0]);
    Difference d;
    ROLLED for (int i = 1; i < POINT_ENTRIES; i++) table[i] = add_aside(table[i - 1], step, d);
}

// Read every entry, keep one: the index is secret.
FUNCTION Jacobian scan(const Jacobian *table, const Digit &digit) {
    Jacobian r = table[0];
    ROLLED for (u32 j = 1; j < (u32)POINT_ENTRIES; j++)
        r = select_point(0u - (u32)(j == digit.index), r, table[j]);
    r.y = negate_if(digit.negative, r.y);
    return r;
}

FUNCTION Jacobian look_up(const Jacobian *table, const Digit &digit) {
    Jacobian r = table[digit.index];
    r.y = negate_if(digit.negative, r.y);
    return r;
}

// k P for 0 < k < n, from P's odd multiples. SECRET: every entry is read; otherwise only the one.
template <bool SECRET>
OUTLINED Jacobian multiply_point(const Jacobian *table, U256 scalar) {
    u32 negated;
    U256 k = odd_scalar(scalar, negated);
    // Window 63 begins at bit 252, so the top digit comes from bits 253 … 255; the others follow from above.
    Digit digit = signed_digit(POINT_ENTRIES + (k.v[7] >> 29), POINT_BITS);
    Jacobian sum = SECRET ? scan(table, digit) : look_up(table, digit);
    shift_left(k, 3);
    u32 same = 0;
    ROLLED for (int i = POINT_WINDOWS - 2; i >= 0; i--) {
        ROLLED for (int j = 0; j < POINT_BITS; j++) sum = double_point(sum);
        digit = signed_digit(k.v[7] >> 28, POINT_BITS);
        shift_left(k, 4);
        Difference d;
        sum = add_jacobian(sum, SECRET ? scan(table, digit) : look_up(table, digit), d);
        same = same_point(d);  // until the last round it is 0
    }
    // The table is read again rather than kept in registers through every addition.
    Jacobian last = SECRET ? scan(table, digit) : look_up(table, digit);
    sum = select_point(same, sum, double_aside(last));
    sum.y = negate_if(negated, sum.y);
    return sum;
}

// sum + k G for public k below n, from the table of the base; adds nothing secret.
OUTLINED Jacobian add_base_public(Jacobian sum, const U256 *table, U256 scalar) {
    u32 negated;
    U256 k = odd_scalar(scalar, negated);
    ROLLED for (int i = 0; i < BASE_WINDOWS; i++) {
        Digit digit = base_digit(k, i == BASE_WINDOWS - 1);
        shift_right(k, BASE_BITS);
        const U256 *entry = table + 2 * (i * BASE_ENTRIES + digit.index);
        Affine q = {entry[0], negate_if(digit.negative ^ negated, entry[1])};
        sum = add_public(sum, q);
    }
    return sum;
}
