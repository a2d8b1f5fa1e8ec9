// What a kernel works with: numbers modulo n, or with PAIRS, pairs modulo n^2 of 2 WORDS limbs each.
#pragma once
#include "pair.cuh"

#define THREADS 128

#ifdef PAIRS
#define LIMBS (2 * WORDS)
#define PRODUCT pair_product
#else
#define LIMBS WORDS
#define PRODUCT montgomery_product
#endif

FUNCTION u64 tile_offset(u64 index) { return index / TILE * (LIMBS * TILE) + index % TILE; }

// Number i is number indices[i] of the tiles, or number i where there are no indices.
FUNCTION const u32 *chosen(const u32 *tiles, const u32 *indices, u64 i) {
    return tiles + tile_offset(indices ? indices[i] : i);
}

FUNCTION void copy(u32 *to, const u32 *from) {
    ROLLED for (int block = 0; block < LIMBS / S; ++block) {
        u32 limbs[S];
        load_block(limbs, from, block);
        store_block(to, block, limbs);
    }
}
