// Tables in shared memory for secret indices.
//
// An address that depends on a secret leaks by the bank conflicts it causes. So each word of a table is stored
// 32 times, once in the bank of each lane: a warp's lookup takes one pass whatever the indices.
#pragma once
#include "integer256.cuh"

static constexpr u32 LANES = 32;

struct alignas(16) Quad {
    u32 v[4];
};

FUNCTION U256 read_lane(const Quad *shared, u32 entry, u32 thread) {
    const u32 *words = (const u32 *)shared;
    U256 r;
    UNROLL for (u32 i = 0; i < 8; i++) r.v[i] = words[(entry * 8 + i) * LANES + thread % LANES];
    return r;
}
