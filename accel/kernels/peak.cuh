// What the processor's multiply-add units can do at most, to hold the other kernels against.
#pragma once
#include "carry.cuh"

#define ROUND 256 // multiply-adds of a thread in one round
#define CHAINS 8
#define LINKS 16

// `rounds` x ROUND multiply-adds of 32 x 32 + 64 bits per thread, in CHAINS chains. Each multiplies its neighbour: a
// constant product would be computed once and only added. Written as a pair with a carry between its halves,
// because the assembler takes a 64-bit multiply-add apart.
KERNEL(wide_peak, 256, 4)(u32 y, u32 rounds, u64 *out) {
    u32 low[CHAINS], high[CHAINS];
    UNROLL for (int i = 0; i < CHAINS; ++i) high[i] = low[i] = ((u32)grid_index() | 1) << i;
    ROLLED for (u32 round = 0; round < rounds; ++round) {
        UNROLL for (int step = 0; step < ROUND / CHAINS; ++step) {
            UNROLL for (int i = 0; i < CHAINS; ++i) {
                Carry cc;
                mad_wide_cc(low[i], high[i], high[(i + 1) % CHAINS], y, cc);
            }
        }
    }
    u64 all = 0;
    UNROLL for (int i = 0; i < CHAINS; ++i) all ^= (u64)high[i] << 32 | low[i];
    out[grid_index()] = all;
}
HOST_THREADS(wide_peak)

// The same number of multiply-adds that hand a carry on, LINKS to a chain, as Montgomery products use them.
KERNEL(carry_peak, 256, 2)(u32 y, u32 rounds, u64 *out) {
    u32 even[2 * LINKS], odd[2 * LINKS];
    const u32 x = (u32)grid_index() | 1;
    UNROLL for (int i = 0; i < 2 * LINKS; ++i) {
        even[i] = x + i;
        odd[i] = x ^ i;
    }
    ROLLED for (u32 round = 0; round < rounds; ++round) {
        UNROLL for (int twice = 0; twice < ROUND / (2 * LINKS); ++twice) {
            Carry cc;
            mad_wide_cc(even[0], even[1], x, y + twice, cc);
            UNROLL for (int i = 1; i < LINKS; ++i) madc_wide_cc(even[2 * i], even[2 * i + 1], x, y + twice, cc);
            mad_wide_cc(odd[0], odd[1], x, y + twice, cc);
            UNROLL for (int i = 1; i < LINKS; ++i) madc_wide_cc(odd[2 * i], odd[2 * i + 1], x, y + twice, cc);
        }
    }
    u64 all = 0;
    UNROLL for (int i = 0; i < 2 * LINKS; ++i) all ^= (u64)even[i] << 32 | odd[i];
    out[grid_index()] = all;
}
HOST_THREADS(carry_peak)
