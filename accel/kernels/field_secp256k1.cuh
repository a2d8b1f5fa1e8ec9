// The field of secp256k1, p = 2^256 - 2^32 - 977 (SEC 2 section 2.4.1), in plain form.
//
// Elements are residues in [0, 2^256): what overflows returns (2^32 + 977)-fold at the bottom. `from_field`
// gives the canonical residue.
#pragma once
#include "integer256.cuh"

struct FieldSecp256k1 {
    FUNCTION U256 modulus() {
        U256 p = {{0xfffffc2f, 0xfffffffe, 0xffffffff, 0xffffffff,
                   0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}};
        return p;
    }

    FUNCTION U256 one() { return small256(1); }

    // r += times (2^32 + 977) for times below 2^34, modulo p.
    FUNCTION void add_back(U256 &r, u64 times) {
        u64 low = (times & 0xffffffff) * 977;
        u64 high = (low >> 32) + (times >> 32) * 977 + (times & 0xffffffff);
        u32 top = (u32)(times >> 32) + (u32)(high >> 32);
        Carry cc;
        r.v[0] = add_cc(r.v[0], (u32)low, cc);
        r.v[1] = addc_cc(r.v[1], (u32)high, cc);
        r.v[2] = addc_cc(r.v[2], top, cc);
        UNROLL for (int i = 3; i < 8; i++) r.v[i] = addc_cc(r.v[i], 0, cc);
        u32 carry = addc(0, 0, cc);
        // After a carry the rest is below 2^67, so three limbs take what comes back.
        r.v[0] = add_cc(r.v[0], 977 * carry, cc);
        r.v[1] = addc_cc(r.v[1], carry, cc);
        r.v[2] = addc(r.v[2], 0, cc);
    }

    FIELD_FUNCTION U256 add(const U256 &a, const U256 &b) {
        U256 r;
        u32 carry = add8(r.v, a.v, b.v);
        carry = add_words(r.v, 977 * carry, carry);
        Carry cc;
        r.v[0] = add_cc(r.v[0], 977 * carry, cc);
        r.v[1] = addc(r.v[1], carry, cc);
        return r;
    }

    FIELD_FUNCTION U256 sub(const U256 &a, const U256 &b) {
        U256 r;
        u32 borrow = sub8(r.v, a.v, b.v);
        borrow = sub_words(r.v, borrow & 977, borrow & 1);
        // After a second borrow r is within 2^33 of 2^256: two limbs have enough.
        Carry cc;
        r.v[0] = sub_cc(r.v[0], borrow & 977, cc);
        r.v[1] = subc(r.v[1], borrow & 1, cc);
        return r;
    }

    FIELD_FUNCTION U256 fold(const u32 *t) {
        u32 odd[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        U256 r;
        UNROLL for (int i = 0; i < 8; i++) r.v[i] = t[i];
        u32 top = mac_row<4>(r.v, t + 8, 977);
        mac_row<4>(odd, t + 9, 977);
        // Both what 977 left on odd columns and 2^32 times the upper half begin at limb 1.
        u32 carry = add8(odd, odd, t + 8);
        Carry cc;
        r.v[1] = add_cc(r.v[1], odd[0], cc);
        UNROLL for (int i = 2; i < 8; i++) r.v[i] = addc_cc(r.v[i], odd[i - 1], cc);
        top = addc_cc(top, odd[7], cc);
        carry = addc(carry, 0, cc);
        add_back(r, (u64)carry << 32 | top);
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

    FUNCTION u32 is_canonical(const U256 &a) { return less_mask(a, modulus()); }

    // The residue below p, out of [0, 2^256).
    FIELD_FUNCTION U256 from_field(const U256 &a) {
        U256 p = modulus(), less;
        u32 borrow = sub8(less.v, a.v, p.v);
        return select256(borrow, less, a);
    }

    FUNCTION U256 to_field(const U256 &a) { return a; }
    FUNCTION u32 is_zero(const U256 &a) { return zero_mask(from_field(a)); }

    // For the exponentiations, where a call costs less than another copy of the code.
    OUTLINED U256 mul_aside(U256 a, U256 b) { return mul(a, b); }

    OUTLINED U256 sqr_times(U256 a, int count) {
        ROLLED for (int i = 0; i < count; i++) a = sqr(a);
        return a;
    }

    // a^((p - 3) / 4). From the top, the exponent is 223 ones, 0, 22 ones, 00001, 011.
    OUTLINED U256 power_root(U256 a) {
        U256 x2 = mul_aside(sqr_times(a, 1), a);  // xN = a^(2^N - 1)
        U256 x3 = mul_aside(sqr_times(x2, 1), a);
        U256 x6 = mul_aside(sqr_times(x3, 3), x3);
        U256 x9 = mul_aside(sqr_times(x6, 3), x3);
        U256 x11 = mul_aside(sqr_times(x9, 2), x2);
        U256 x22 = mul_aside(sqr_times(x11, 11), x11);
        U256 x44 = mul_aside(sqr_times(x22, 22), x22);
        U256 x88 = mul_aside(sqr_times(x44, 44), x44);
        U256 x176 = mul_aside(sqr_times(x88, 88), x88);
        U256 x220 = mul_aside(sqr_times(x176, 44), x44);
        U256 r = mul_aside(sqr_times(x220, 3), x3);
        r = mul_aside(sqr_times(r, 23), x22);
        r = mul_aside(sqr_times(r, 5), a);
        return mul_aside(sqr_times(r, 3), x2);
    }

    // a^(p - 2), 0 for 0.
    FUNCTION U256 invert(const U256 &a) { return mul_aside(sqr_times(power_root(a), 2), a); }

    // a^((p + 1) / 4), a root if a is a square.
    FUNCTION U256 square_root(const U256 &a) { return mul_aside(power_root(a), a); }
};
