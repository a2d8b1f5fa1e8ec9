// Integers modulo the order of a curve, by plain Montgomery multiplication: a signature takes a handful.
#pragma once
#include "integer256.cuh"

// MODULUS has modulus(), with its top bit set, and negative_inverse() = -1/n modulo 2^32 and r_squared() =
// 2^512 modulo n.
template <class MODULUS>
struct OrderField : MODULUS {
    using MODULUS::modulus;

    // t - n if t, with `carry` above it, is at least n; t below 2 n, such as any number of 256 bits.
    FIELD_FUNCTION U256 subtract_once(const U256 &t, u32 carry) {
        U256 n = modulus(), r;
        u32 keep = sub8(r.v, t.v, n.v) & (carry - 1);
        return select256(keep, r, t);
    }

    FUNCTION U256 reduce(const U256 &a) { return subtract_once(a, 0); }

    FUNCTION U256 add(const U256 &a, const U256 &b) {
        U256 r;
        u32 carry = add8(r.v, a.v, b.v);
        return subtract_once(r, carry);
    }

    FIELD_FUNCTION U256 sub(const U256 &a, const U256 &b) {
        U256 n = modulus(), r;
        u32 borrow = sub8(r.v, a.v, b.v);
        UNROLL for (int i = 0; i < 8; i++) n.v[i] &= borrow;
        add8(r.v, r.v, n.v);
        return r;
    }

    // a b / 2^256
    OUTLINED U256 montgomery(U256 a, U256 b) {
        U256 n = modulus(), r;
        u32 t[16], top = 0;
        product16(t, a.v, b.v);
        UNROLL for (int i = 0; i < 8; i++) {
            u32 q = t[i] * MODULUS::negative_inverse();
            u64 carry = 0;
            UNROLL for (int j = 0; j < 8; j++) {
                carry += (u64)q * n.v[j] + t[i + j];
                t[i + j] = (u32)carry;
                carry >>= 32;
            }
            carry += (u64)t[i + 8] + top;
            t[i + 8] = (u32)carry;
            top = (u32)(carry >> 32);
        }
        UNROLL for (int i = 0; i < 8; i++) r.v[i] = t[8 + i];
        return subtract_once(r, top);
    }

    FUNCTION U256 mul(const U256 &a, const U256 &b) {
        return montgomery(montgomery(a, b), MODULUS::r_squared());
    }

    FUNCTION u32 is_canonical(const U256 &a) { return less_mask(a, modulus()); }
};
