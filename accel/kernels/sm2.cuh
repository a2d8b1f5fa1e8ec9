// SM2 signatures in batches (GB/T 32918.2-2016 sections 6.1 and 7.1): after hashing, one thread a signature.
#pragma once
#include "weierstrass.cuh"

// r = e + x1 modulo n, s = (1 + d)^-1 (k + r) - r. `inverse` is (1 + d)^-1 2^256 modulo n.
struct StoreSignature {
    const u8 *digests, *nonces;
    U256 inverse;
    u8 *rows, *served;
    MEMBER void operator()(u64 i, const U256 &z_inverse, const U256 &x, const U256 &) const {
        U256 x1 = Field::from_field(Field::mul(x, Field::sqr(z_inverse))), zero = small256(0);
        U256 r = Order::add(Order::reduce(load_big(digests + 32 * i)), Order::reduce(x1));
        U256 sum = Order::add(r, load_big(nonces + 32 * i));
        U256 s = Order::sub(Order::montgomery(sum, inverse), r);
        u32 bad = zero_mask(r) | zero_mask(sum) | zero_mask(s);
        store_big(rows + 64 * i, select256(bad, r, zero));
        store_big(rows + 64 * i + 32, select256(bad, s, zero));
        served[i] = ~bad & 1;
    }
};

// After `base_multiples` of the nonces: secrets in, signatures out.
KERNEL(sm2_sign, 128, 4)(const U256 *points, U256 *products, const u8 *digests, const u8 *nonces,
                        const u8 *inverse, u8 *rows, u8 *served, u64 count) {
    StoreSignature store = {digests, nonces, load_big(inverse), rows, served};
    divide_by_z<Field>(points, products, count, store);
}
HOST_THREADS(sm2_sign)

// Before `sums`: u1 = s and u2 = t = r + s modulo n, or 0 and 0, whose sum is infinity, where r, s or t is
// out of range.
KERNEL(sm2_verify_scalars, 128, 4)(const u8 *signatures, u8 *u1, u8 *u2, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        U256 r = load_big(signatures + 64 * i), s = load_big(signatures + 64 * i + 32), zero = small256(0);
        u32 good = Order::is_canonical(r) & Order::is_canonical(s) & ~zero_mask(r) & ~zero_mask(s);
        U256 t = Order::add(select256(good, zero, r), select256(good, zero, s));
        good &= ~zero_mask(t);
        store_big(u1 + 32 * i, select256(good, zero, s));
        store_big(u2 + 32 * i, t);
    }
}
HOST_THREADS(sm2_verify_scalars)

// Is r = e + x1 modulo n? The residue x1 = r - e, or the same plus n, is compared as x = x1 z^2: no division.
FUNCTION u32 sm2_check(const U256 &x, const U256 &z, const U256 &digest, const U256 &r) {
    U256 x1 = Order::sub(r, Order::reduce(digest)), zz = Field::sqr(z), n = Order::modulus(), more;
    u32 beyond = add8(more.v, x1.v, n.v) - 1;  // 0 if the sum has more than 256 bits
    u32 right = Field::is_zero(Field::sub(x, Field::mul(Field::to_field(x1), zz)));
    u32 second = beyond & Field::is_canonical(more);
    more = select256(second, small256(0), more);
    second &= Field::is_zero(Field::sub(x, Field::mul(Field::to_field(more), zz)));
    return (right | second) & ~Field::is_zero(z) & 1;
}

// After `sums`. r below n: an infinite sum has answered for the others.
KERNEL(sm2_verify, 128, 4)(const U256 *points, const u8 *digests, const u8 *signatures, u8 *right,
                          u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size())
        right[i] = (u8)sm2_check(points[i], points[2 * count + i], load_big(digests + 32 * i),
                                 load_big(signatures + 64 * i));
}
HOST_THREADS(sm2_verify)
