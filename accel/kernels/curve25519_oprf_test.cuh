// For the tests alone: parts that no message is known to reach.
#pragma once
#include "curve25519_oprf.cuh"

// mapped: for each sum the xn, xd and y of two points.
KERNEL(clear_sums, 128, 1)(const U256 *mapped, U256 *points, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size())
        store_extended(points, count, i, clear_sum((const MappedPoint *)(mapped + 6 * i)));
}
HOST_THREADS(clear_sums)
