// The ladder on u-coordinates of curve25519 (RFC 7748 section 5), and what a peer's u must be.
//
// Constant time: the ladder swaps by masks, every thread does the same work, and no address depends on a
// secret.
#pragma once
#include "elligator.cuh"
#include "field25519.cuh"

struct LadderPoints {  // k P = (x2 : z2) and (k + 1) P = (x3 : z3)
    U256 x2, z2, x3, z3;
};

FUNCTION LadderPoints climb(const u32 *scalar, const U256 &u) {
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
    LadderPoints r = {x2, z2, x3, z3};
    return r;
}

// k u for a clamped scalar k; 0 where the product is the point at infinity.
FUNCTION U256 ladder(const u32 *scalar, const U256 &u) {
    typedef Field25519 F;
    LadderPoints p = climb(scalar, u);
    return F::reduce(F::mul(p.x2, F::invert(p.z2)));
}

// Why a peer's point is refused; the numbers are shared with the launcher.
enum PointFault { POINT_FINE = 0, POINT_ENCODING = 1, POINT_ON_TWIST = 2, POINT_LOW_ORDER = 3 };

// The fault of a point, given whether its u is one of the twist. u of low order on curve or twist: 8 u is the
// point at infinity.
FUNCTION u32 fault_of(const U256 &u, u32 on_twist) {
    typedef Field25519 F;
    MontgomeryPoint p = {u, small256(1)};
    p = double_x(double_x(double_x(p)));
    u32 low_order = F::is_zero(p.z);
    u32 fault = (on_twist & ~low_order & POINT_ON_TWIST) | (low_order & POINT_LOW_ORDER);
    u32 encoded = less_mask(u, F::modulus());
    return (fault & encoded) | (~encoded & POINT_ENCODING);
}

// v^2 for this u.
FUNCTION U256 curve25519_equation(const U256 &u) {
    typedef Field25519 F;
    return F::mul(F::add(F::mul(F::add(u, small256(486662)), u), small256(1)), u);
}

FUNCTION u32 point_fault(const U256 &u) {
    typedef Field25519 F;
    U256 gx = curve25519_equation(u);
    // Legendre symbol: gx^((p - 1) / 2) = (gx^((p - 5) / 8))^4 gx^2.
    U256 symbol = F::mul(F::sqr_times(F::power_root(gx), 2), F::sqr(gx));
    return fault_of(u, ~F::is_zero(F::sub(symbol, small256(1))) & ~F::is_zero(gx));
}
