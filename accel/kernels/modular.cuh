// Batch modular arithmetic on tiled numbers (see montgomery.cuh). Every kernel that computes takes
//   modulus   lane 0 of a tile with n, followed by n0 = -n^-1 mod 2^32
//   count     how many results; tiles are allocated whole
// Shared numbers (b_shared, one, last) are lane 0 of a tile. Nothing here branches or addresses by the value of a
// number or of a digit. With PAIRS, numbers are pairs modulo n^2 (see elements.cuh).
#pragma once
#include "elements.cuh"

#ifndef PAIRS
// Numbers of 52-bit limbs, limb j of number i at [j stride + i], into tiles.
KERNEL(tiles_from_limbs, THREADS, 1)(const u64 *limbs, u32 limb_count, u64 stride, u32 *tiles, u64 count) {
    const u64 padded = (count + TILE - 1) / TILE * TILE;
    for (u64 i = grid_index(); i < padded; i += grid_size()) {
        u32 *number = tiles + tile_offset(i);
        ROLLED for (u32 j = 0; j < WORDS; ++j) {
            const u32 from = 32 * j / 52, shift = 32 * j % 52;
            u64 word = 0;
            if (i < count && from < limb_count) {
                word = limbs[from * stride + i] >> shift;
                if (shift > 20 && from + 1 < limb_count) word |= limbs[(from + 1) * stride + i] << (52 - shift);
            }
            number[j * TILE] = (u32)word;
        }
    }
}
HOST_THREADS(tiles_from_limbs)

// Back again; limbs beyond the tiles' words are zero.
KERNEL(limbs_from_tiles, THREADS, 1)(const u32 *tiles, u64 *limbs, u32 limb_count, u64 stride, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        const u32 *number = tiles + tile_offset(i);
        ROLLED for (u32 j = 0; j < limb_count; ++j) {
            const u32 from = 52 * j / 32, shift = 52 * j % 32;
            u64 low = from < WORDS ? number[from * TILE] : 0;
            if (from + 1 < WORDS) low |= (u64)number[(from + 1) * TILE] << 32;
            low >>= shift;
            if (shift > 12 && from + 2 < WORDS) low |= (u64)number[(from + 2) * TILE] << (64 - shift);
            limbs[j * stride + i] = low & 0xFFFFFFFFFFFFFull;
        }
    }
}
HOST_THREADS(limbs_from_tiles)

#endif

// r_i = a b 2^-(32 WORDS + extra) mod n, extra < 64 (0 for pairs), with a = a_(a_indices[i]) and b likewise. r is another array.
KERNEL(multiply, THREADS, 2)
(const u32 *a, const u32 *a_indices, const u32 *b, const u32 *b_indices, u32 b_shared, const u32 *modulus, u32 extra,
 u32 *r, u64 count) {
    const u32 n0 = modulus[WORDS * TILE];
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        u32 *out = r + tile_offset(i);
        PRODUCT(chosen(a, a_indices, i), b_shared ? b : chosen(b, b_indices, i), modulus, n0, out, nullptr);
#ifndef PAIRS
        if (extra >= 32) divide_by_power_of_two(out, 32, modulus, n0);
        if (extra % 32) divide_by_power_of_two(out, extra % 32, modulus, n0);
#endif
    }
}
HOST_THREADS(multiply)

// All ones if x and y are equal, else zero.
FUNCTION u32 equal_mask(u32 x, u32 y) {
    const u32 difference = x ^ y;
    return (u32)((i32)((difference - 1) & ~difference) >> 31);
}

#define AT_ONCE 4 // entries whose limbs are on their way together; tables have a multiple of it

// to = entry number `digit` of a thread's own table, every entry being read; they are `apart` words apart.
FUNCTION void select(u32 *to, const u32 *table, u64 apart, u32 entries, u32 digit) {
    ROLLED for (u32 j = 0; j < LIMBS; j += 8) {
        u32 found[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        const u32 *entry = table + j * TILE;
        ROLLED for (u32 first = 0; first < entries; first += AT_ONCE) {
            UNROLL for (u32 e = first; e < first + AT_ONCE; ++e, entry += apart) {
                const u32 mask = equal_mask(e, digit);
                UNROLL for (u32 w = 0; w < 8; ++w) found[w] |= entry[w * TILE] & mask;
            }
        }
        UNROLL for (u32 w = 0; w < 8; ++w) to[(j + w) * TILE] = found[w];
    }
}

// The same from a table that all threads share, limbs side by side: the warp reads one address, four limbs at once.
FUNCTION void select_shared(u32 *to, const u32 *table, u32 entries, u32 digit) {
    struct alignas(16) Four {
        u32 limb[4];
    };
    ROLLED for (u32 j = 0; j < LIMBS; j += 8) {
        u32 found[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        const Four *entry = (const Four *)(table + j);
        ROLLED for (u32 first = 0; first < entries; first += AT_ONCE) {
            UNROLL for (u32 e = first; e < first + AT_ONCE; ++e, entry += LIMBS / 4) {
                const u32 mask = equal_mask(e, digit);
                const Four low = entry[0], high = entry[1];
                UNROLL for (u32 w = 0; w < 4; ++w) {
                    found[w] |= low.limb[w] & mask;
                    found[4 + w] |= high.limb[w] & mask;
                }
            }
        }
        UNROLL for (u32 w = 0; w < 8; ++w) to[(j + w) * TILE] = found[w];
    }
}

// r_i = base_i^e_i by windows of `window` >= 2 bits: digits[d digit_step + i digit_each], highest first. Bases and
// results are in Montgomery form for 2^(32 WORDS), `one` is 1 in it. Every thread of the grid owns
// 2^window + 3 numbers of scratch: the table of powers, two for the running power, one for the chosen entry.
KERNEL(power, THREADS, 2)
(const u32 *bases, const u8 *digits, u32 digit_count, u64 digit_step, u32 digit_each, u32 window, const u32 *one,
 const u32 *modulus, u32 *scratch, u32 *r, u64 count) {
    const u32 n0 = modulus[WORDS * TILE], entries = 1u << window;
    const u64 apart = grid_size() / TILE * (LIMBS * TILE); // scratch number k of all threads lies together
    u32 *table = scratch + tile_offset(grid_index());
    u32 *chosen_entry = table + entries * apart;
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        u32 *now = chosen_entry + apart, *then = now + apart;
        copy(table, one);
        copy(table + apart, bases + tile_offset(i));
        // A short table first: entries 2 … of the powers; then `window` squarings and a product for each digit.
        const u32 building = entries - 2, steps = building + (digit_count - 1) * (window + 1);
        const u8 *digit = digits + i * digit_each;
        ROLLED for (u32 step = 0; step <= steps; ++step) {
            if (step == building) select(now, table, apart, entries, digit[0]);
            if (step == steps) break;
            const u32 *a, *b;
            u32 *out;
            if (step < building) {
                a = table + (step + 1) * apart;
                b = table + apart;
                out = table + (step + 2) * apart;
            } else {
                const u32 at = (step - building) % (window + 1), d = (step - building) / (window + 1) + 1;
                if (at == window) select(chosen_entry, table, apart, entries, digit[d * digit_step]);
                a = now;
                b = at == window ? chosen_entry : now;
                out = then;
                then = now;
                now = out;
            }
            PRODUCT(a, b, modulus, n0, out, chosen_entry); // a spare number while a square is made
        }
        copy(r + tile_offset(i), now);
    }
}
HOST_THREADS(power)

// r_i = g^e_i last 2^(-32 WORDS), digits of `window` >= 2 bits of e_i (digits[d stride + i], lowest first) choosing:
// entry c of window d is g^(c 2^(window d)) in Montgomery form, its limbs at [(d 2^window + c) LIMBS + j].
// With last_each, `last` is a number for each i. Scratch: two numbers for every thread of the grid.
KERNEL(fixed_base, THREADS, 2)
(const u32 *table, u32 window, const u8 *digits, u32 digit_count, u64 stride, const u32 *last, u32 last_each,
 const u32 *modulus, u32 *scratch, u32 *r, u64 count) {
    const u32 n0 = modulus[WORDS * TILE], entries = 1u << window;
    const u64 apart = grid_size() / TILE * (LIMBS * TILE);
    u32 *chosen_entry = scratch + tile_offset(grid_index());
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        // Products alternate between r and scratch so that the last one, number digit_count - 1, goes to r.
        u32 *out = r + tile_offset(i), *other = chosen_entry + apart;
        u32 *now = digit_count % 2 ? other : out, *then = digit_count % 2 ? out : other;
        select_shared(now, table, entries, digits[i]);
        ROLLED for (u32 d = 1; d <= digit_count; ++d) {
            const u32 *b = last + (last_each ? tile_offset(i) : 0);
            if (d < digit_count) {
                select_shared(chosen_entry, table + ((u64)d << window) * LIMBS, entries, digits[d * stride + i]);
                b = chosen_entry;
            }
            PRODUCT(now, b, modulus, n0, then, nullptr);
            u32 *free = now;
            now = then;
            then = free;
        }
    }
}
HOST_THREADS(fixed_base)

// to_(to_at i) = from_(from_at i); either list may be missing.
KERNEL(move, THREADS, 1)(const u32 *from, const u32 *from_at, u32 *to, const u32 *to_at, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size())
        copy(to + tile_offset(to_at ? to_at[i] : i), chosen(from, from_at, i));
}
HOST_THREADS(move)
