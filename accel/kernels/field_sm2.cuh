// The field of SM2, p = 2^256 - 2^224 - 2^96 + 2^64 - 1 (GB/T 32918.5-2017 section 2), in Montgomery form.
//
// p = -1 modulo 2^64, so a Montgomery step of 64 bits has its quotient for nothing, and adding the multiple
// of p takes shifted additions: reduction costs no multiplication. Elements are canonical, in [0, p).
#pragma once
#include "integer256.cuh"

struct FieldSm2 {
    FUNCTION U256 modulus() {
        U256 p = {{0xffffffff, 0xffffffff, 0, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xfffffffe}};
        return p;
    }

    FUNCTION U256 one() {  // 2^256 modulo p
        U256 r = {{1, 0, 0xffffffff, 0, 0, 0, 0, 1}};
        return r;
    }

    FUNCTION U256 r_squared() {  // 2^512 modulo p
        U256 r = {{0x00000003, 0x00000002, 0xffffffff, 0x00000002,
                   0x00000001, 0x00000001, 0x00000002, 0x00000004}};
        return r;
    }

    // t - p if t, with `carry` above it, is at least p. t + carry 2^256 is below 2 p.
    FUNCTION U256 subtract_once(const U256 &t, u32 carry) {
        U256 p = modulus(), r;
        u32 keep = sub8(r.v, t.v, p.v) & (carry - 1);
        UNROLL for (int i = 0; i < 8; i++) p.v[i] &= keep;
        add8(r.v, r.v, p.v);
        return r;
    }

    FIELD_FUNCTION U256 add(const U256 &a, const U256 &b) {
        U256 r;
        u32 carry = add8(r.v, a.v, b.v);
        return subtract_once(r, carry);
    }

    FIELD_FUNCTION U256 sub(const U256 &a, const U256 &b) {
        U256 p = modulus(), r;
        u32 borrow = sub8(r.v, a.v, b.v);
        UNROLL for (int i = 0; i < 8; i++) p.v[i] &= borrow;
        add8(r.v, r.v, p.v);
        return r;
    }

    // t / 2^256 for t below p 2^256. With q the two lowest limbs and w = (2^32 - 1) q, a step computes
    // (t + q p) / 2^64 = t / 2^64 + (2^160 - 1) w, which stays below 2^256.
    FIELD_FUNCTION U256 fold(const u32 *t) {
        U256 r;
        UNROLL for (int i = 0; i < 8; i++) r.v[i] = t[i];
        UNROLL for (int step = 0; step < 4; step++) {
            u32 q0 = r.v[0], q1 = r.v[1];
            Carry cc;
            u32 w0 = sub_cc(0, q0, cc);
            u32 w1 = subc_cc(q0, q1, cc);
            u32 w2 = subc(q1, 0, cc);
            r.v[0] = sub_cc(r.v[2], w0, cc);
            r.v[1] = subc_cc(r.v[3], w1, cc);
            r.v[2] = subc_cc(r.v[4], w2, cc);
            r.v[3] = subc_cc(r.v[5], 0, cc);
            r.v[4] = subc_cc(r.v[6], 0, cc);
            r.v[5] = subc_cc(r.v[7], 0, cc);
            r.v[6] = subc_cc(w1, 0, cc);
            r.v[7] = subc(w2, 0, cc);
            // The borrow above stands for 2^256; the carry out of this chain takes it back.
            r.v[5] = add_cc(r.v[5], w0, cc);
            r.v[6] = addc_cc(r.v[6], 0, cc);
            r.v[7] = addc(r.v[7], 0, cc);
        }
        u32 carry = add8(r.v, r.v, t + 8);
        return subtract_once(r, carry);
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

    FUNCTION u32 is_canonical(const U256 &a) { return less_mask(a, modulus()); }
    FUNCTION u32 is_zero(const U256 &a) { return zero_mask(a); }

    FUNCTION U256 to_field(const U256 &a) { return mul(a, r_squared()); }

    FUNCTION U256 from_field(const U256 &a) {
        u32 t[16];
        UNROLL for (int i = 0; i < 8; i++) {
            t[i] = a.v[i];
            t[8 + i] = 0;
        }
        return fold(t);
    }

    // For the exponentiations, where a call costs less than another copy of the code.
    OUTLINED U256 mul_aside(U256 a, U256 b) { return mul(a, b); }

    OUTLINED U256 sqr_times(U256 a, int count) {
        ROLLED for (int i = 0; i < count; i++) a = sqr(a);
        return a;
    }

    // a^((p - 3) / 4). From the top, the exponent is 31 ones, 0, 128 ones, 32 zeros, 62 ones.
    OUTLINED U256 power_root(U256 a) {
        U256 x2 = mul_aside(sqr_times(a, 1), a);  // xN = a^(2^N - 1)
        U256 x3 = mul_aside(sqr_times(x2, 1), a);
        U256 x6 = mul_aside(sqr_times(x3, 3), x3);
        U256 x12 = mul_aside(sqr_times(x6, 6), x6);
        U256 x15 = mul_aside(sqr_times(x12, 3), x3);
        U256 x30 = mul_aside(sqr_times(x15, 15), x15);
        U256 r = mul_aside(sqr_times(x30, 1), a);
        U256 x32 = mul_aside(sqr_times(r, 1), a);
        r = mul_aside(sqr_times(r, 33), x32);
        ROLLED for (int i = 0; i < 3; i++) r = mul_aside(sqr_times(r, 32), x32);
        r = mul_aside(sqr_times(r, 64), x32);
        return mul_aside(sqr_times(r, 30), x30);
    }

    // a^(p - 2), 0 for 0.
    FUNCTION U256 invert(const U256 &a) { return mul_aside(sqr_times(power_root(a), 2), a); }

    // a^((p + 1) / 4), a root if a is a square.
    FUNCTION U256 square_root(const U256 &a) { return mul_aside(power_root(a), a); }
};
