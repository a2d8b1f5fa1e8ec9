// X25519 with one secret scalar for many points (RFC 7748 section 5): one thread a point.
//
// Constant time: the ladder swaps by masks, every thread does the same work, and no address depends on a
// secret. Points are rows of 32 bytes.
#pragma once
#include "elligator.cuh"
#include "field25519.cuh"

// k u for a clamped scalar k; 0 where the product is the point at infinity.
FUNCTION U256 ladder(const u32 *scalar, const U256 &u) {
    typedef Field25519 F;
    U256 x2 = small256(1), z2 = small256(0), x3 = u, z3 = small256(1);
    u32 swapped = 0;
    ROLLED for (int t = 254; t >= 0; t--) {
        u32 bit = 0u - (scalar[t >> 5] >> (t & 31) & 1);
        swap256(swapped ^ bit, x2, x3);
        swap256(swapped ^ bit, z2, z3);
        swapped = bit;
        U256 a = F::add(x2, z2), b = F::sub(x2, z2);
        U256 da = F::mul(F::sub(x3, z3), a), cb = F::mul(F::add(x3, z3), b);
        x3 = F::sqr(F::add(da, cb));
        z3 = F::mul(u, F::sqr(F::sub(da, cb)));
        U256 aa = F::sqr(a), bb = F::sqr(b), e = F::sub(aa, bb);
        x2 = F::mul(aa, bb);
        z2 = F::mul(e, F::add(bb, F::mul_small(e, 121666)));
    }
    swap256(swapped, x2, x3);
    swap256(swapped, z2, z3);
    return F::reduce(F::mul(x2, F::invert(z2)));
}

// Why a peer's point is refused; the numbers are shared with the launcher.
enum PointFault { POINT_FINE = 0, POINT_ENCODING = 1, POINT_ON_TWIST = 2, POINT_LOW_ORDER = 3 };

// u of low order on curve or twist: 8 u is the point at infinity.
FUNCTION u32 point_fault(const U256 &u) {
    typedef Field25519 F;
    U256 gx = F::mul(F::add(F::mul(F::add(u, small256(486662)), u), small256(1)), u);
    // Legendre symbol: gx^((p - 1) / 2) = (gx^((p - 5) / 8))^4 gx^2.
    U256 symbol = F::mul(F::sqr_times(F::power_root(gx), 2), F::sqr(gx));
    u32 on_twist = ~F::is_zero(F::sub(symbol, small256(1))) & ~F::is_zero(gx);
    MontgomeryPoint p = {u, small256(1)};
    p = double_x(double_x(double_x(p)));
    u32 low_order = F::is_zero(p.z);
    u32 fault = (on_twist & ~low_order & POINT_ON_TWIST) | (low_order & POINT_LOW_ORDER);
    u32 encoded = less_mask(u, F::modulus());
    return (fault & encoded) | (~encoded & POINT_ENCODING);
}

KERNEL(x25519_multiply, 128, 4)(const u8 *points, const u32 *scalar, u8 *products, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size())
        store_little(products + 32 * i, ladder(scalar, load_little(points + 32 * i)));
}
HOST_THREADS(x25519_multiply)

KERNEL(x25519_validate, 128, 4)(const u8 *points, u8 *faults, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size())
        faults[i] = (u8)point_fault(load_little(points + 32 * i));
}
HOST_THREADS(x25519_validate)

// u of every hashed message; with `scalar`, multiplied by it in the same pass.
KERNEL(curve25519_hash, 128, 4)(const u8 *messages, const u64 *ends, const u8 *tag, u32 tag_bytes,
                               const u32 *scalar, u8 *products, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        u64 begin = i ? ends[i - 1] : 0;
        U256 u = hash_to_u(messages + begin, ends[i] - begin, tag, tag_bytes);
        store_little(products + 32 * i, scalar ? ladder(scalar, u) : u);
    }
}
HOST_THREADS(curve25519_hash)
