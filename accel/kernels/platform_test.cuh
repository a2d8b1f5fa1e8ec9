// Kernels that test the platform header itself.
#pragma once
#include "carry.cuh"

KERNEL(square_all, 128, 1)(u32 *values, u64 n) {
    for (u64 i = grid_index(); i < n; i += grid_size()) values[i] *= values[i];
}
HOST_THREADS(square_all)

// Every block reverses its values; PER_THREAD variables live on from phase to phase.
KERNEL(reverse_blocks, 128, 1)(const u32 *in, u32 *out) {
    SHARED(u32, turned, 128);
    PER_THREAD(u32, at, 128);
    PHASE(t) {
        at[LANE(t)] = blockIdx.x * blockDim.x + t;
        turned[blockDim.x - 1 - t] = in[at[LANE(t)]] + 1;
    }
    PHASE(t) { out[at[LANE(t)]] = turned[t]; }
}
HOST_BLOCKS(reverse_blocks)

// cases: x, y, lo, hi. out: (hi:lo) + x y + (carry of (hi:lo) + x y) in three words, and the borrow of lo - hi.
KERNEL(chain, 128, 1)(const u32 *cases, u32 *out, u64 n) {
    for (u64 i = grid_index(); i < n; i += grid_size()) {
        Carry cc;
        u32 x = cases[i], y = cases[n + i], lo = cases[2 * n + i], hi = cases[3 * n + i];
        u32 lo2 = lo, hi2 = hi;
        mad_wide_cc(lo, hi, x, y, cc);
        madc_wide_cc(lo2, hi2, x, y, cc);
        u32 top = addc(0, 0, cc);
        out[i] = lo2;
        out[n + i] = hi2;
        out[2 * n + i] = top;
        sub_cc(cases[2 * n + i], cases[3 * n + i], cc);
        out[3 * n + i] = subc(0, 0, cc);
    }
}
HOST_THREADS(chain)
