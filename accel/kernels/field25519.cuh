// The field of 2^255 - 19 (RFC 7748 section 4.1).
//
// Elements are residues modulo 2 p = 2^256 - 38 in [0, 2^256): what overflows 256 bits returns 38-fold at the
// bottom, and no operation needs a comparison. `reduce` gives the canonical residue.
#pragma once
#include "integer256.cuh"

struct Field25519 {
    typedef U256 Element;

    FUNCTION U256 one() { return small256(1); }

    FIELD_FUNCTION U256 add(const U256 &a, const U256 &b) {
        U256 r;
        u32 carry = add8(r.v, a.v, b.v);
        carry = add_words(r.v, 38 * carry, 0);
        r.v[0] += 38 * carry;  // after a second carry only limb 0 is left, and it is below 38
        return r;
    }

    FIELD_FUNCTION U256 sub(const U256 &a, const U256 &b) {
        U256 r;
        u32 borrow = sub8(r.v, a.v, b.v);
        borrow = sub_words(r.v, 38 & borrow, 0);
        r.v[0] -= 38 & borrow;
        return r;
    }

    // 2^256 = 38: fold the upper half of a product onto the lower one.
    FIELD_FUNCTION U256 fold(const u32 *t) {
        u32 odd[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        U256 r;
        UNROLL for (int i = 0; i < 8; i++) r.v[i] = t[i];
        u32 top = mac_row<4>(r.v, t + 8, 38);
        mac_row<4>(odd, t + 9, 38);
        Carry cc;
        r.v[1] = add_cc(r.v[1], odd[0], cc);
        UNROLL for (int i = 2; i < 8; i++) r.v[i] = addc_cc(r.v[i], odd[i - 1], cc);
        top = addc(top, odd[7], cc);  // at most 38
        u32 carry = add_words(r.v, 38 * top, 0);
        r.v[0] += 38 * carry;
        return r;
    }

    FIELD_FUNCTION U256 mul(const U256 &a, const U256 &b) {
        u32 t[16];
        product16(t, a.v, b.v);
        return fold(t);
    }

    FIELD_FUNCTION U256 sqr(const U256 &a) {
        u32 t[16];
        square16(t, a.v);
        return fold(t);
    }

    // b below 2^26.
    FIELD_FUNCTION U256 mul_small(const U256 &a, u32 b) {
        u32 odd[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        U256 r = small256(0);
        u32 top = mac_row<4>(r.v, a.v, b);
        mac_row<4>(odd, a.v + 1, b);
        Carry cc;
        r.v[1] = add_cc(r.v[1], odd[0], cc);
        UNROLL for (int i = 2; i < 8; i++) r.v[i] = addc_cc(r.v[i], odd[i - 1], cc);
        top = addc(top, odd[7], cc);
        u32 carry = add_words(r.v, 38 * top, 0);
        r.v[0] += 38 * carry;
        return r;
    }

    FUNCTION U256 modulus() {
        U256 p = {{0xffffffed, 0xffffffff, 0xffffffff, 0xffffffff,
                   0xffffffff, 0xffffffff, 0xffffffff, 0x7fffffff}};
        return p;
    }

    // The residue below p: a is below 2 p + 38, so p goes at most twice.
    FIELD_FUNCTION U256 reduce(const U256 &a) {
        U256 p = modulus(), r = a;
        UNROLL for (int i = 0; i < 2; i++) {
            U256 less;
            u32 borrow = sub8(less.v, r.v, p.v);
            r = select256(borrow, less, r);
        }
        return r;
    }

    FUNCTION u32 is_zero(const U256 &a) { return zero_mask(reduce(a)); }
    FUNCTION u32 equal(const U256 &a, const U256 &b) { return is_zero(sub(a, b)); }

    // For the exponentiations, where a call costs less than another copy of the code.
    OUTLINED U256 mul_aside(U256 a, U256 b) { return mul(a, b); }

    OUTLINED U256 sqr_times(U256 a, int count) {
        ROLLED for (int i = 0; i < count; i++) a = sqr(a);
        return a;
    }

    // a^(2^250 - 1) and a^11: the common part of the exponents below.
    OUTLINED U256 power_2_250_less_1(U256 a, U256 &a11) {
        U256 a2 = sqr_times(a, 1);
        U256 a9 = mul_aside(sqr_times(a2, 2), a);
        a11 = mul_aside(a9, a2);
        U256 x5 = mul_aside(sqr_times(a11, 1), a9);  // xN = a^(2^N - 1)
        U256 x10 = mul_aside(sqr_times(x5, 5), x5);
        U256 x20 = mul_aside(sqr_times(x10, 10), x10);
        U256 x40 = mul_aside(sqr_times(x20, 20), x20);
        U256 x50 = mul_aside(sqr_times(x40, 10), x10);
        U256 x100 = mul_aside(sqr_times(x50, 50), x50);
        U256 x200 = mul_aside(sqr_times(x100, 100), x100);
        return mul_aside(sqr_times(x200, 50), x50);
    }

    // a^(p - 2): the inverse, and 0 for 0. p - 2 = 2^255 - 21.
    FUNCTION U256 invert(const U256 &a) {
        U256 a11, x250 = power_2_250_less_1(a, a11);
        return mul_aside(sqr_times(x250, 5), a11);
    }

    // a^((p - 5) / 8) with (p - 5) / 8 = 2^252 - 3: the core of a square root.
    FUNCTION U256 power_root(const U256 &a) {
        U256 a11, x250 = power_2_250_less_1(a, a11);
        return mul_aside(sqr_times(x250, 2), a);
    }
};
