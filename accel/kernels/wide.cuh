// Between moduli of different sizes: residues of longer numbers, exact division, Garner's formula. Tiles of the
// shape this is compiled for have WORDS limbs; others come with their limb count.
#pragma once
#include "elements.cuh"

FUNCTION u64 offset_of(u64 index, u32 words) { return index / TILE * ((u64)words * TILE) + index % TILE; }

// The three words that a column of a schoolbook product adds up in.
struct Sum {
    u64 low;
    u32 high;
};
FUNCTION void add_to(Sum &s, u64 value) {
    s.low += value;
    s.high += s.low < value;
}
FUNCTION u32 next_word(Sum &s) {
    const u32 word = (u32)s.low;
    s.low = s.low >> 32 | (u64)s.high << 32;
    s.high = 0;
    return word;
}

// r_i = (x_i 2^(32 WORDS)) mod n for x of `words` limbs. factors: for each part of WORDS limbs of x, lowest first,
// a number 2^(32 WORDS (part + 2)) mod n, WORDS TILE words apart. Scratch: two numbers for every thread.
KERNEL(reduce_wide, THREADS, 2)
(const u32 *x, u32 words, const u32 *factors, const u32 *modulus, u32 *scratch, u32 *r, u64 count) {
    const u32 n0 = modulus[WORDS * TILE];
    u32 *part = scratch + tile_offset(grid_index()), *product = part + grid_size() / TILE * (WORDS * TILE);
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        const u32 *from = x + offset_of(i, words);
        u32 *sum = r + tile_offset(i);
        ROLLED for (u32 j = 0; j < WORDS; ++j) sum[j * TILE] = 0;
        ROLLED for (u32 base = 0; base < words; base += WORDS) {
            ROLLED for (u32 j = 0; j < WORDS; ++j) part[j * TILE] = base + j < words ? from[(base + j) * TILE] : 0;
            montgomery_product(part, factors + base * TILE, modulus, n0, product);
            u64 limb = 0;
            ROLLED for (u32 j = 0; j < WORDS; ++j) {
                limb = (limb >> 32) + sum[j * TILE] + product[j * TILE];
                sum[j * TILE] = (u32)limb;
            }
            u32 top = (u32)(limb >> 32);
            subtract_once(sum, top, modulus);
        }
    }
}
HOST_THREADS(reduce_wide)

// r_i = a_i - b_i mod n.
KERNEL(subtract, THREADS, 1)(const u32 *a, const u32 *b, const u32 *modulus, u32 *r, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        const u64 at = tile_offset(i);
        u32 borrow = 0, carry = 0;
        ROLLED for (u32 j = 0; j < WORDS; ++j) {
            const u64 limb = (u64)a[at + j * TILE] - b[at + j * TILE] - borrow;
            r[at + j * TILE] = (u32)limb;
            borrow = (u32)(limb >> 63);
        }
        const u32 keep = 0 - borrow;
        ROLLED for (u32 j = 0; j < WORDS; ++j) {
            const u64 limb = (u64)r[at + j * TILE] + (modulus[j * TILE] & keep) + carry;
            r[at + j * TILE] = (u32)limb;
            carry = (u32)(limb >> 32);
        }
    }
}
HOST_THREADS(subtract)

// r_i = (x_i - y_i) / d for x_i of `words` >= WORDS limbs, y_i of WORDS, d dividing the difference and the
// quotient below 2^(32 WORDS): (x + ~y + 1) times inverse = d^-1, modulo 2^(32 WORDS).
KERNEL(quotient, THREADS, 1)(const u32 *x, u32 words, const u32 *y, const u32 *inverse, u32 *r, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        const u32 *from = x + offset_of(i, words), *less = y + tile_offset(i);
        u32 *out = r + tile_offset(i);
        Sum sum = {0, 0};
        ROLLED for (u32 j = 0; j < WORDS; ++j) {
            add_to(sum, inverse[j * TILE]);
            ROLLED for (u32 k = 0; k <= j; ++k) {
                const u64 factor = inverse[(j - k) * TILE];
                add_to(sum, from[k * TILE] * factor);
                add_to(sum, (u32)~less[k * TILE] * factor);
            }
            out[j * TILE] = next_word(sum);
        }
    }
}
HOST_THREADS(quotient)

// r_i = x_i + d h_i, of WORDS limbs. x has x_words limbs in tiles of x_tile, h has h_words in tiles of h_tile from
// limb h_first on: both may be halves of pairs.
KERNEL(multiply_add, THREADS, 1)
(const u32 *x, u32 x_words, u32 x_tile, const u32 *d, u32 d_words, const u32 *h, u32 h_words, u32 h_tile, u32 h_first,
 u32 *r, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        const u32 *from = x + offset_of(i, x_tile), *factor = h + offset_of(i, h_tile) + h_first * TILE;
        u32 *out = r + tile_offset(i);
        Sum sum = {0, 0};
        ROLLED for (u32 j = 0; j < WORDS; ++j) {
            if (j < x_words) add_to(sum, from[j * TILE]);
            const u32 first = j < h_words ? 0 : j - h_words + 1;
            ROLLED for (u32 k = first; k <= j && k < d_words; ++k)
                add_to(sum, (u64)d[k * TILE] * factor[(j - k) * TILE]);
            out[j * TILE] = next_word(sum);
        }
    }
}
HOST_THREADS(multiply_add)

// x_i = x_i + d mod n, in place, for a number d < n.
KERNEL(add_number, THREADS, 1)(u32 *x, const u32 *d, const u32 *modulus, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        u32 *limbs = x + tile_offset(i);
        u64 limb = 0;
        ROLLED for (u32 j = 0; j < WORDS; ++j) {
            limb = (limb >> 32) + limbs[j * TILE] + d[j * TILE];
            limbs[j * TILE] = (u32)limb;
        }
        u32 top = (u32)(limb >> 32);
        subtract_once(limbs, top, modulus);
    }
}
HOST_THREADS(add_number)

// Pairs (a_i, b_i) of numbers; with a_shared, a is one number for all.
KERNEL(pair_up, THREADS, 1)(const u32 *a, u32 a_shared, const u32 *b, u32 *pairs, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        u32 *pair = pairs + offset_of(i, 2 * WORDS);
        copy(pair, a + (a_shared ? 0 : tile_offset(i)));
        copy(pair + WORDS * TILE, b + tile_offset(i));
    }
}
HOST_THREADS(pair_up)

// The second number of every pair.
KERNEL(second_of_pair, THREADS, 1)(const u32 *pairs, u32 *r, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size())
        copy(r + tile_offset(i), pairs + offset_of(i, 2 * WORDS) + WORDS * TILE);
}
HOST_THREADS(second_of_pair)
