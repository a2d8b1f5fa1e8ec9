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
    divide_by_z(points, products, count, store);
}
HOST_THREADS(sm2_sign)

// x1 = r - e modulo n is compared without a division: x = x1 z^2, where x1 is that residue or the same plus n.
FUNCTION u32 sm2_check(const U256 *table, const Affine &key, const U256 &digest, const U256 &r, const U256 &s) {
    u32 good = Order::is_canonical(r) & Order::is_canonical(s) & ~zero_mask(r) & ~zero_mask(s);
    if (!good) return 0;
    U256 t = Order::add(r, s);
    if (zero_mask(t)) return 0;
    Jacobian p = public_sum(table, s, key, t);
    if (Field::is_zero(p.z)) return 0;
    U256 x1 = Order::sub(r, Order::reduce(digest)), zz = Field::sqr(p.z), n = Order::modulus(), more;
    if (Field::is_zero(Field::sub(p.x, Field::mul(Field::to_field(x1), zz)))) return 1;
    if (add8(more.v, x1.v, n.v) || !Field::is_canonical(more)) return 0;
    return Field::is_zero(Field::sub(p.x, Field::mul(Field::to_field(more), zz))) & 1;
}

KERNEL(sm2_verify, 128, 4)(const U256 *table, const u8 *keys, u64 key_stride, const u8 *digests,
                          const u8 *signatures, u8 *right, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        U256 r = load_big(signatures + 64 * i), s = load_big(signatures + 64 * i + 32);
        right[i] = (u8)sm2_check(table, load_point(keys + key_stride * i), load_big(digests + 32 * i), r, s);
    }
}
HOST_THREADS(sm2_verify)
