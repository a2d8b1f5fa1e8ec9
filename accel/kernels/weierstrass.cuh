// Batches on SM2 (CURVE=1) and secp256k1 (CURVE=2): one thread a point, rows of big-endian bytes.
//
// Scalars of `base_multiples` and `point_multiples` are secret: fixed sequences of operations, every table
// entry read or a read without bank conflicts. Everything in `sums`, `verify`, `on_curve` and `decompress` is
// public. A `stride` is the bytes from one row to the next, 0 for one row that serves all.
#pragma once
#include "base_multiples.cuh"
#include "divide.cuh"
#include "multiples.cuh"
#include "sswu.cuh"

FUNCTION void store_jacobian(U256 *points, u64 count, u64 i, const Jacobian &p) {
    points[i] = p.x;
    points[count + i] = p.y;
    points[2 * count + i] = p.z;
}

KERNEL(point_multiples, 128, 4)(const u8 *bases, u64 base_stride, const u8 *scalars, u64 scalar_stride,
                               U256 *points, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        Jacobian table[POINT_ENTRIES];
        odd_multiples(table, load_point(bases + base_stride * i));
        U256 k = load_big(scalars + scalar_stride * i);
        store_jacobian(points, count, i, multiply_point<true>(table, k));
    }
}
HOST_THREADS(point_multiples)

// u1 G + u2 P for public numbers below the order, 0 included.
FUNCTION Jacobian public_sum(const U256 *table, const U256 &u1, const Affine &base, const U256 &u2) {
    Jacobian multiples[POINT_ENTRIES];
    odd_multiples(multiples, base);
    return add_base_public(multiply_point<false>(multiples, u2), table, u1);
}

KERNEL(sums, 128, 4)(const U256 *table, const u8 *u1, const u8 *bases, u64 base_stride, const u8 *u2,
                    U256 *points, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        Affine base = load_point(bases + base_stride * i);
        Jacobian sum = public_sum(table, load_big(u1 + 32 * i), base, load_big(u2 + 32 * i));
        store_jacobian(points, count, i, sum);
    }
}
HOST_THREADS(sums)

struct StoreAffine {
    u8 *rows, *infinite;
    // Infinity, with an inverse of 0, becomes a row of zeros.
    MEMBER void operator()(u64 i, const U256 &inverse, const U256 &x, const U256 &y) const {
        U256 square = Field::sqr(inverse);
        store_big(rows + 64 * i, Field::from_field(Field::mul(x, square)));
        store_big(rows + 64 * i + 32, Field::from_field(Field::mul(y, Field::mul(square, inverse))));
        infinite[i] = Field::is_zero(inverse) & 1;
    }
};

KERNEL(to_affine, 128, 4)(const U256 *points, U256 *products, u8 *rows, u8 *infinite, u64 count) {
    StoreAffine store = {rows, infinite};
    divide_by_z<Field>(points, products, count, store);
}
HOST_THREADS(to_affine)

// Is (x, y), canonical or not, a point: y^2 = x^3 + a x + b?
KERNEL(on_curve, 128, 4)(const u8 *rows, u8 *found, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        U256 x = load_big(rows + 64 * i), y = load_big(rows + 64 * i + 32);
        u32 canonical = Field::is_canonical(x) & Field::is_canonical(y);
        y = Field::to_field(select256(canonical, small256(0), y));
        x = Field::to_field(select256(canonical, small256(0), x));
        found[i] = canonical & Field::is_zero(Field::sub(Field::sqr(y), curve_equation(x))) & 1;
    }
}
HOST_THREADS(on_curve)

// The points of these x and parities of y; a row of zeros where there is none.
KERNEL(decompress, 128, 4)(const u8 *xs, const u8 *parities, u8 *rows, u8 *found, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        U256 given = load_big(xs + 32 * i), zero = small256(0);
        u32 canonical = Field::is_canonical(given);
        U256 x = Field::to_field(select256(canonical, zero, given));
        U256 square = curve_equation(x), y = Field::square_root(square);
        u32 good = canonical & Field::is_zero(Field::sub(Field::sqr(y), square));
        U256 plain = Field::from_field(y);
        u32 other = 0u - ((plain.v[0] ^ parities[i]) & 1);
        plain = Field::from_field(negate_if(other, y));
        store_big(rows + 64 * i, select256(good, zero, given));
        store_big(rows + 64 * i + 32, select256(good, zero, plain));
        found[i] = good & 1;
    }
}
HOST_THREADS(decompress)

// After hashing to the field: the sum of the images of two elements below p, in Jacobian form. No branch.
KERNEL(map_to_sum, 128, 4)(const u8 *elements, U256 *points, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        Jacobian p = map_to_curve(load_big(elements + 64 * i));
        store_jacobian(points, count, i, add_any(p, map_to_curve(load_big(elements + 64 * i + 32))));
    }
}
HOST_THREADS(map_to_sum)
