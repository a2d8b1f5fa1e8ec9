// The two curves y^2 = x^3 + a x + b of prime order, chosen by the macro CURVE.
#pragma once
#include "field_secp256k1.cuh"
#include "field_sm2.cuh"
#include "order_field.cuh"

struct OrderSm2 {
    FUNCTION U256 modulus() {
        U256 n = {{0x39d54123, 0x53bbf409, 0x21c6052b, 0x7203df6b,
                   0xffffffff, 0xffffffff, 0xffffffff, 0xfffffffe}};
        return n;
    }
    FUNCTION U256 r_squared() {
        U256 r = {{0x7c114f20, 0x901192af, 0xde6fa2fa, 0x3464504a,
                   0x3affe0d4, 0x620fc84c, 0xa22b3d3b, 0x1eb5e412}};
        return r;
    }
    FUNCTION u32 negative_inverse() { return 0x72350975; }
};

// GB/T 32918.5-2017 section 2: a = -3.
struct CurveSm2 {
    typedef FieldSm2 Field;
    typedef OrderField<OrderSm2> Order;
    static constexpr bool A_IS_MINUS_3 = true;
    FUNCTION U256 b() {  // times 2^256
        U256 r = {{0x2bc0dd42, 0x90d23063, 0xe9b537ab, 0x71cf379a,
                   0x5ea51c3c, 0x52798150, 0xba20e2c8, 0x240fe188}};
        return r;
    }
};

struct OrderSecp256k1 {
    FUNCTION U256 modulus() {
        U256 n = {{0xd0364141, 0xbfd25e8c, 0xaf48a03b, 0xbaaedce6,
                   0xfffffffe, 0xffffffff, 0xffffffff, 0xffffffff}};
        return n;
    }
    FUNCTION U256 r_squared() {
        U256 r = {{0x67d7d140, 0x896cf214, 0x0e7cf878, 0x741496c2,
                   0x5bcd07c6, 0xe697f5e4, 0x81c69bc5, 0x9d671cd5}};
        return r;
    }
    FUNCTION u32 negative_inverse() { return 0x5588b13f; }
};

// SEC 2 section 2.4.1: a = 0, b = 7.
struct CurveSecp256k1 {
    typedef FieldSecp256k1 Field;
    typedef OrderField<OrderSecp256k1> Order;
    static constexpr bool A_IS_MINUS_3 = false;
    FUNCTION U256 b() { return small256(7); }
};

#if !defined(CURVE) || CURVE == 1
typedef CurveSm2 Curve;
#else
typedef CurveSecp256k1 Curve;
#endif
typedef Curve::Field Field;
typedef Curve::Order Order;
