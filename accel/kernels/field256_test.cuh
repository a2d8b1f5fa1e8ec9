// Kernels that test the 256-bit fields: FIELD=1 is 2^255 - 19, 2 SM2, 3 secp256k1.
#pragma once
#include "curves.cuh"
#include "field25519.cuh"

#if FIELD == 1
typedef Field25519 Tested;
#elif FIELD == 2
typedef FieldSm2 Tested;
typedef OrderField<OrderSm2> TestedOrder;
#else
typedef FieldSecp256k1 Tested;
typedef OrderField<OrderSecp256k1> TestedOrder;
#endif

#define TEST_KERNEL(name, result) \
    KERNEL(name, 128, 1)(const U256 *x, const U256 *y, U256 *r, u64 n) { \
        for (u64 i = grid_index(); i < n; i += grid_size()) { \
            U256 a = x[i], b = y[i]; \
            (void)b; \
            r[i] = result; \
        } \
    } \
    HOST_THREADS(name)

TEST_KERNEL(field_mul, Tested::mul(a, b))
TEST_KERNEL(field_sqr, Tested::sqr(a))
TEST_KERNEL(field_add, Tested::add(a, b))
TEST_KERNEL(field_sub, Tested::sub(a, b))
TEST_KERNEL(field_invert, Tested::invert(a))
#if FIELD == 1
TEST_KERNEL(field_reduce, Tested::reduce(a))
TEST_KERNEL(field_mul_small, Tested::mul_small(a, 486662))
#else
TEST_KERNEL(field_reduce, Tested::from_field(Tested::to_field(a)))
TEST_KERNEL(field_root, Tested::square_root(a))
TEST_KERNEL(order_mul, TestedOrder::mul(a, b))
TEST_KERNEL(order_add, TestedOrder::add(a, b))
TEST_KERNEL(order_sub, TestedOrder::sub(a, b))
TEST_KERNEL(order_reduce, TestedOrder::reduce(a))
#endif
