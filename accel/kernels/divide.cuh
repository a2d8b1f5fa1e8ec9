// Projective coordinates to affine ones, with one inversion for many points.
#pragma once
#include "integer256.cuh"

static constexpr u64 INVERTED_TOGETHER = 16;

// Montgomery's trick: one inversion for the z of 16 points. `each` gets the index, 1 / z or 0, and x, y.
// The members of a group lie a grid apart, so that neighbouring threads read neighbouring numbers.
template <class Field, class Each>
FUNCTION void divide_by_z(const U256 *points, U256 *products, u64 count, const Each &each) {
    u64 apart = (count + INVERTED_TOGETHER - 1) / INVERTED_TOGETHER;
    for (u64 g = grid_index(); g < apart; g += grid_size()) {
        U256 product = Field::one();
        ROLLED for (u64 i = g; i < count; i += apart) {
            U256 z = points[2 * count + i];
            z = select256(Field::is_zero(z), z, Field::one());
            products[i] = product;
            product = Field::mul(product, z);
        }
        product = Field::invert(product);
        u64 members = (count - g + apart - 1) / apart;
        ROLLED for (u64 m = members; m-- > 0;) {
            u64 i = g + m * apart;
            U256 z = points[2 * count + i];
            u32 infinite = Field::is_zero(z);
            z = select256(infinite, z, Field::one());
            U256 inverse = Field::mul(product, products[i]);
            product = Field::mul(product, z);
            each(i, select256(infinite, inverse, small256(0)), points[i], points[count + i]);
        }
    }
}
