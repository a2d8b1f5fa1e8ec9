// SM4 (GB/T 32907-2016) over many blocks: ECB, CTR, CBC decryption; one thread a block of 16 bytes.
//
// S-box and linear map are one table of 256 words, read at secret places. It is stored 32 times in shared
// memory, once in the bank of each lane, so that a warp's read takes one pass whatever the places.
#pragma once
#include "platform.cuh"

static constexpr u32 SM4_LANES = 32, SM4_ENTRIES = 256;

enum Sm4Mode { SM4_ECB = 0, SM4_CTR = 1, SM4_CBC_DECRYPT = 2 };

struct alignas(16) Sm4Block {
    u32 v[4];  // as in memory
};

FUNCTION u32 turned(u32 x, int n) { return x << n | x >> (32 - n); }
FUNCTION u32 reversed(u32 x) { return x >> 24 | (x >> 8 & 0xff00) | (x << 8 & 0xff0000) | x << 24; }

// L(S(.)) of a word: the linear map commutes with rotations by bytes.
FUNCTION u32 sm4_mixed(const u32 *table, u32 x, u32 lane) {
    u32 r = table[(x >> 24) * SM4_LANES + lane];
    r ^= turned(table[(x >> 16 & 255) * SM4_LANES + lane], 24);
    r ^= turned(table[(x >> 8 & 255) * SM4_LANES + lane], 16);
    return r ^ turned(table[(x & 255) * SM4_LANES + lane], 8);
}

FUNCTION Sm4Block sm4_cipher(const u32 *table, const u32 *round_keys, const Sm4Block &block, u32 lane) {
    u32 x[4];
    UNROLL for (int i = 0; i < 4; i++) x[i] = reversed(block.v[i]);
    ROLLED for (int round = 0; round < 32; round += 4) {
        UNROLL for (int i = 0; i < 4; i++) {
            u32 in = x[(i + 1) & 3] ^ x[(i + 2) & 3] ^ x[(i + 3) & 3] ^ round_keys[round + i];
            x[i] ^= sm4_mixed(table, in, lane);
        }
    }
    Sm4Block r;
    UNROLL for (int i = 0; i < 4; i++) r.v[i] = reversed(x[3 - i]);
    return r;
}

FUNCTION Sm4Block sm4_counter(const u64 *first, u64 i) {  // first: high half, low half
    u64 low = first[1] + i, high = first[0] + (low < i);
    Sm4Block r = {{reversed((u32)(high >> 32)), reversed((u32)high),
                   reversed((u32)(low >> 32)), reversed((u32)low)}};
    return r;
}

// CTR: `counter` belongs to the first block. CBC decryption: the IV, or the block before, precedes the others
// in `input`. Round keys in reverse order decrypt.
KERNEL(sm4_blocks, 256, 4)(const u32 *table, const u32 *round_keys, u32 mode, const u64 *counter,
                          const Sm4Block *input, Sm4Block *output, u64 count) {
    SHARED(u32, shared, 256 * 32);
    PHASE(t) {
        ROLLED for (u32 i = t; i < SM4_ENTRIES * SM4_LANES; i += blockDim.x) shared[i] = table[i / SM4_LANES];
    }
    PHASE(t) {
        u32 lane = t % SM4_LANES;
        for (u64 i = (u64)blockIdx.x * blockDim.x + t; i < count; i += grid_size()) {
            bool ctr = mode == SM4_CTR, chained = mode == SM4_CBC_DECRYPT;
            Sm4Block given = input[i + chained];
            Sm4Block made = sm4_cipher(shared, round_keys, ctr ? sm4_counter(counter, i) : given, lane);
            if (chained) given = input[i];
            if (ctr || chained) {
                UNROLL for (int j = 0; j < 4; j++) made.v[j] ^= given.v[j];
            }
            output[i] = made;
        }
    }
}
HOST_BLOCKS(sm4_blocks)
