// Integers of 256 bits in eight 32-bit limbs, little end first: what the 256-bit fields are built from.
//
// A row of a product is one carry chain of multiply-adds. Each needs its pair of limbs on an even index, so
// products whose column is odd collect in a second accumulator, shifted by one limb, and meet the first one
// in a final addition. Nothing here branches on a value.
#pragma once
#include "carry.cuh"
#include "platform.cuh"

// Inline on the GPU, where a call costs its registers; a call on the host, where g++ would take minutes.
#if defined(ON_GPU)
#define FIELD_FUNCTION FUNCTION
#define MEMBER __device__ __forceinline__
#else
#define FIELD_FUNCTION OUTLINED
#define MEMBER inline
#endif

struct alignas(16) U256 {
    u32 v[8];
};

// r = a + b, returns the carry. r may be a or b.
FUNCTION u32 add8(u32 *r, const u32 *a, const u32 *b) {
    Carry cc;
    r[0] = add_cc(a[0], b[0], cc);
    UNROLL for (int i = 1; i < 8; i++) r[i] = addc_cc(a[i], b[i], cc);
    return addc(0, 0, cc);
}

// r = a - b, returns 0 or, after a borrow, 2^32 - 1.
FUNCTION u32 sub8(u32 *r, const u32 *a, const u32 *b) {
    Carry cc;
    r[0] = sub_cc(a[0], b[0], cc);
    UNROLL for (int i = 1; i < 8; i++) r[i] = subc_cc(a[i], b[i], cc);
    return subc(0, 0, cc);
}

// r += low + high 2^32, returns the carry.
FUNCTION u32 add_words(u32 *r, u32 low, u32 high) {
    Carry cc;
    r[0] = add_cc(r[0], low, cc);
    r[1] = addc_cc(r[1], high, cc);
    UNROLL for (int i = 2; i < 8; i++) r[i] = addc_cc(r[i], 0, cc);
    return addc(0, 0, cc);
}

// r -= low + high 2^32, returns 0 or, after a borrow, 2^32 - 1.
FUNCTION u32 sub_words(u32 *r, u32 low, u32 high) {
    Carry cc;
    r[0] = sub_cc(r[0], low, cc);
    r[1] = subc_cc(r[1], high, cc);
    UNROLL for (int i = 2; i < 8; i++) r[i] = subc_cc(r[i], 0, cc);
    return subc(0, 0, cc);
}

// acc[0 .. 2 PAIRS) += b * sum of a[2 j] 2^(64 j) for j < PAIRS, returns the carry.
template <int PAIRS>
FUNCTION u32 mac_row(u32 *acc, const u32 *a, u32 b) {
    Carry cc;
    mad_wide_cc(acc[0], acc[1], a[0], b, cc);
    UNROLL for (int j = 1; j < PAIRS; j++) madc_wide_cc(acc[2 * j], acc[2 * j + 1], a[2 * j], b, cc);
    return addc(0, 0, cc);
}

// t[0 .. 16) = a b: 64 wide multiplications, about 22 additions.
FIELD_FUNCTION void product16(u32 *t, const u32 *a, const u32 *b) {
    u32 even[16], odd[16];
    UNROLL for (int i = 0; i < 16; i++) even[i] = odd[i] = 0;
    UNROLL for (int i = 0; i < 8; i += 2) {
        even[i + 8] = mac_row<4>(even + i, a, b[i]);
        mac_row<4>(odd + i, a + 1, b[i]);
        mac_row<4>(even + i + 2, a + 1, b[i + 1]);
        odd[i + 8] = mac_row<4>(odd + i, a, b[i + 1]);
    }
    // even[k] is column k, odd[k] is column k + 1.
    t[0] = even[0];
    u32 carry = add8(t + 1, even + 1, odd);
    u32 last[8] = {even[9], even[10], even[11], even[12], even[13], even[14], even[15], 0};
    u32 high[8];
    carry = add_words(last, carry, 0);
    add8(high, last, odd + 8);
    UNROLL for (int i = 0; i < 7; i++) t[9 + i] = high[i];
}

// t[0 .. 16) = a^2: 36 wide multiplications.
FIELD_FUNCTION void square16(u32 *t, const u32 *a) {
    u32 even[16], odd[16];
    UNROLL for (int i = 0; i < 16; i++) even[i] = odd[i] = 0;
    mac_row<4>(odd, a + 1, a[0]);
    mac_row<3>(even + 2, a + 2, a[0]);
    odd[8] = mac_row<3>(odd + 2, a + 2, a[1]);
    mac_row<3>(even + 4, a + 3, a[1]);
    mac_row<3>(odd + 4, a + 3, a[2]);
    even[10] = mac_row<2>(even + 6, a + 4, a[2]);
    odd[10] = mac_row<2>(odd + 6, a + 4, a[3]);
    mac_row<2>(even + 8, a + 5, a[3]);
    mac_row<2>(odd + 8, a + 5, a[4]);
    even[12] = mac_row<1>(even + 10, a + 6, a[4]);
    odd[12] = mac_row<1>(odd + 10, a + 6, a[5]);
    mac_row<1>(even + 12, a + 7, a[5]);
    mac_row<1>(odd + 12, a + 7, a[6]);
    t[0] = even[0];
    u32 carry = add8(t + 1, even + 1, odd);
    u32 high[8] = {even[9], even[10], even[11], even[12], even[13], 0, 0, 0};
    add_words(high, carry, 0);
    add8(high, high, odd + 8);
    UNROLL for (int i = 0; i < 7; i++) t[9 + i] = high[i];
    // Every product of two different limbs counts twice.
    UNROLL for (int i = 15; i > 0; i--) t[i] = (t[i] << 1) | (t[i - 1] >> 31);
    t[0] <<= 1;
    Carry cc;
    mad_wide_cc(t[0], t[1], a[0], a[0], cc);
    UNROLL for (int i = 1; i < 8; i++) madc_wide_cc(t[2 * i], t[2 * i + 1], a[i], a[i], cc);
}

// All ones if a is zero, else 0.
FUNCTION u32 zero_mask(const U256 &a) {
    u32 any = 0;
    UNROLL for (int i = 0; i < 8; i++) any |= a.v[i];
    return (u32)(((u64)any - 1) >> 32);
}

// All ones if a < b, else 0.
FUNCTION u32 less_mask(const U256 &a, const U256 &b) {
    u32 difference[8];
    return sub8(difference, a.v, b.v);
}

// b where the mask is all ones, a where it is 0.
FUNCTION U256 select256(u32 mask, const U256 &a, const U256 &b) {
    U256 r;
    UNROLL for (int i = 0; i < 8; i++) r.v[i] = (a.v[i] & ~mask) | (b.v[i] & mask);
    return r;
}

FUNCTION void swap256(u32 mask, U256 &a, U256 &b) {
    UNROLL for (int i = 0; i < 8; i++) {
        u32 difference = (a.v[i] ^ b.v[i]) & mask;
        a.v[i] ^= difference;
        b.v[i] ^= difference;
    }
}

FUNCTION U256 small256(u32 value) {
    U256 r = {{value, 0, 0, 0, 0, 0, 0, 0}};
    return r;
}

FUNCTION u32 swap_bytes(u32 x) {
    return (x >> 24) | ((x >> 8) & 0xff00) | ((x << 8) & 0xff0000) | (x << 24);
}

// Rows of 32 bytes, 4-byte aligned. A warp reads neighbouring rows: every sector is used in full.
FUNCTION U256 load_little(const u8 *bytes) {
    const u32 *words = (const u32 *)bytes;
    U256 r;
    UNROLL for (int i = 0; i < 8; i++) r.v[i] = words[i];
    return r;
}

FUNCTION U256 load_big(const u8 *bytes) {
    const u32 *words = (const u32 *)bytes;
    U256 r;
    UNROLL for (int i = 0; i < 8; i++) r.v[i] = swap_bytes(words[7 - i]);
    return r;
}

FUNCTION void store_little(u8 *bytes, const U256 &a) {
    u32 *words = (u32 *)bytes;
    UNROLL for (int i = 0; i < 8; i++) words[i] = a.v[i];
}

FUNCTION void store_big(u8 *bytes, const U256 &a) {
    u32 *words = (u32 *)bytes;
    UNROLL for (int i = 0; i < 8; i++) words[7 - i] = swap_bytes(a.v[i]);
}
