// Montgomery products of numbers of WORDS = S B limbs of 32 bits, one thread a number, R = 2^(32 WORDS).
//
// | symbol | meaning |
// |---|---|
// | S | limbs of a block (BLOCK_LIMBS, even); a block product lives in registers |
// | B | blocks of a number (BLOCKS) |
// | n, n0 | the odd modulus, -n^-1 mod 2^32 |
// | q | the multiple of n that clears the low half of the product |
//
// Source: Koc, Acar, Kaliski, Analyzing and comparing Montgomery multiplication algorithms, IEEE Micro 16 (1996),
// the finely integrated product scanning, with blocks of S limbs where the paper has limbs: column k of the
// result collects a_i b_(k-i) + q_i n_(k-i) over all i. Per block that is S loads and S^2 multiply-adds, so
// operands may lie in memory, and one source serves 256 to 16384 bits.
//
// Numbers in memory are tiled: 32 neighbours make a tile, limb j of lane l of tile t at (t WORDS + j) 32 + l. A
// warp reads 128 consecutive bytes, and limbs are constant distances apart.
#pragma once
#include "carry.cuh"

#define S BLOCK_LIMBS
#define B BLOCKS
#define WORDS (BLOCK_LIMBS * BLOCKS)
#define TILE 32

// A number in memory is the address of its limb 0; limb j lies at [j TILE]. A number that all threads share is
// lane 0 of a tile of its own, so that it needs no other code.

// A sum of block products. The product of limbs i and j has weight i + j; products of even and odd weight are
// kept apart, so that both are chains over aligned register pairs. `late` counts the carries that leave a chain,
// by weight minus S: they meet limbs in use, and letting them ripple on would cost more than the products.
struct Column {
    u32 even[2 * S];     // weight w at [w]
    u32 odd[2 * S];      // weight w at [w - 1]
    u32 late[S + 1];
};

FUNCTION void clear_column(Column &c) {
    UNROLL for (int w = 0; w < 2 * S; ++w) c.even[w] = c.odd[w] = 0;
    UNROLL for (int w = 0; w <= S; ++w) c.late[w] = 0;
}

// c += x y 2^(32 j), x a block in registers.
FUNCTION void add_row(Column &c, const u32 (&x)[S], u32 y, int j) {
    Carry cc;
    const int e = j % 2, o = 1 - e; // the first limb of x whose product has even weight, and odd weight
    mad_wide_cc(c.even[j + e], c.even[j + e + 1], x[e], y, cc);
    UNROLL for (int i = e + 2; i < S; i += 2) madc_wide_cc(c.even[j + i], c.even[j + i + 1], x[i], y, cc);
    c.late[j + e] = addc(c.late[j + e], 0, cc);
    mad_wide_cc(c.odd[j + o - 1], c.odd[j + o], x[o], y, cc);
    UNROLL for (int i = o + 2; i < S; i += 2) madc_wide_cc(c.odd[j + i - 1], c.odd[j + i], x[i], y, cc);
    c.late[j + o] = addc(c.late[j + o], 0, cc);
}

FUNCTION void load_block(u32 (&x)[S], const u32 *number, int block) {
    const u32 *at = number + block * (S * TILE);
    UNROLL for (int i = 0; i < S; ++i) x[i] = at[i * TILE];
}

// c += (block i of a) (block j of b).
FUNCTION void add_product(Column &c, const u32 *a, int i, const u32 *b, int j) {
    u32 x[S];
    load_block(x, a, i);
    const u32 *y = b + j * (S * TILE);
    UNROLL for (int r = 0; r < S; ++r) add_row(c, x, y[r * TILE], r);
}

// Clear weights 0 … S - 1 by adding q n, and write block k of q; returns what is carried to weight S.
FUNCTION u32 reduce_column(Column &c, const u32 *n, u32 n0, u32 *q) {
    u32 x[S], carry = 0;
    load_block(x, n, 0);
    UNROLL for (int w = 0; w < S; ++w) {
        u64 limb = (u64)c.even[w] + carry + (w ? c.odd[w - 1] : 0);
        carry = (u32)(limb >> 32);
        // It goes where this row's product of the same weight goes, and becomes zero there.
        if (w % 2 == 0)
            c.even[w] = (u32)limb;
        else
            c.odd[w - 1] = (u32)limb;
        u32 multiple = (u32)limb * n0;
        q[w * TILE] = multiple;
        add_row(c, x, multiple, w);
    }
    return carry;
}

// Write weights 0 … S - 1; returns what is carried to weight S.
FUNCTION u32 write_column(const Column &c, u32 *block) {
    Carry cc;
    block[0] = c.even[0];
    block[TILE] = add_cc(c.even[1], c.odd[0], cc);
    UNROLL for (int w = 2; w < S; ++w) block[w * TILE] = addc_cc(c.even[w], c.odd[w - 1], cc);
    return addc(0, 0, cc);
}

// c /= 2^(32 S), its low half being dealt with but for a carry.
FUNCTION void shift_column(Column &c, u32 carry) {
    Carry cc;
    // Weight S of the odd sum becomes weight 0, which only the even sum has a place for.
    u64 lowest = (u64)c.even[S] + c.odd[S - 1] + c.late[0] + carry;
    c.even[0] = (u32)lowest;
    c.late[1] += (u32)(lowest >> 32);
    c.even[1] = add_cc(c.even[S + 1], c.late[1], cc);
    UNROLL for (int w = 2; w < S; ++w) c.even[w] = addc_cc(c.even[S + w], c.late[w], cc);
    c.even[S] = addc(c.late[S], 0, cc);
    UNROLL for (int w = 0; w < S; ++w) c.odd[w] = c.odd[S + w];
    UNROLL for (int w = S + 1; w < 2 * S; ++w) c.even[w] = 0;
    UNROLL for (int w = S; w < 2 * S; ++w) c.odd[w] = 0;
    UNROLL for (int w = 0; w <= S; ++w) c.late[w] = 0;
}

FUNCTION void store_block(u32 *number, int block, const u32 (&x)[S]) {
    u32 *at = number + block * (S * TILE);
    UNROLL for (int i = 0; i < S; ++i) at[i * TILE] = x[i];
}

// (top:r) -= less, then -= n if it is not below n: reads and writes all limbs either way. Returns 1 if n went.
// Here and below, a block is loaded whole before any of it is used or stored: a load waits hundreds of cycles,
// and the compiler moves none across a store that might change it.
FUNCTION u32 subtract_once(u32 *r, u32 &top, const u32 *n, u32 less = 0) {
    u32 borrow = less;
    ROLLED for (int block = 0; block < B; ++block) {
        u32 x[S], y[S];
        load_block(x, r, block);
        load_block(y, n, block);
        UNROLL for (int w = 0; w < S; ++w) borrow = (u32)(((u64)x[w] - y[w] - borrow) >> 63);
    }
    const u32 gone = top >= borrow, keep = 0 - gone;
    borrow = less;
    ROLLED for (int block = 0; block < B; ++block) {
        u32 x[S], y[S];
        load_block(x, r, block);
        load_block(y, n, block);
        UNROLL for (int w = 0; w < S; ++w) {
            const u64 limb = (u64)x[w] - (y[w] & keep) - borrow;
            x[w] = (u32)limb;
            borrow = (u32)(limb >> 63);
        }
        store_block(r, block, x);
    }
    top -= borrow;
    return gone;
}

// c += the complement of S limbs, and `one`.
FUNCTION void add_complement(Column &c, const u32 *limbs, u32 one) {
    Carry cc;
    const u64 lowest = (u64)c.even[0] + ~limbs[0] + one;
    c.even[0] = (u32)lowest;
    add_cc((u32)(lowest >> 32), 0xFFFFFFFFu, cc); // its carry into the chain
    UNROLL for (int w = 1; w < S; ++w) c.even[w] = addc_cc(c.even[w], ~limbs[w * TILE], cc);
    c.late[0] = addc(c.late[0], 0, cc);
}

// (top:r) = (a b + c d + ~m + 1 + q n) / 2^(32 WORDS) with the q < 2^(32 WORDS) that makes it exact; returns top.
// Without `second` there is no c d, without `m` no complement. r and q lie in tiles, differ from a, b, c and d,
// and may be the same, or the same as m: until its own blocks are known, r holds those of q. Block i of q is
// used last in column i + B - 1, block i of r is known in column i + B, block i of m is used in column i.
// Time and addresses depend on sizes alone.
FUNCTION u32 reduced_sum(const u32 *a, const u32 *b, bool second, const u32 *c, const u32 *d, const u32 *m,
                         const u32 *n, u32 n0, u32 *q, u32 *r) {
    const int kinds = second ? 2 : 1; // bits that number them
    Column sum;
    clear_column(sum);
    ROLLED for (int k = 0; k < 2 * B; ++k) {
        const int first = k < B ? 0 : k - B + 1, last = k < B ? k : B - 1;
        if (m && k < B) add_complement(sum, m + k * (S * TILE), k == 0);
        // Terms take turns: q_i n_(k-i), a_i b_(k-i), c_i d_(k-i). One copy of the code serves all.
        ROLLED for (int term = first << kinds; term < (last + 1) << kinds; ++term) {
            const int i = term >> kinds, kind = term & ((1 << kinds) - 1);
            // Block k of q is not known yet; there is no fourth kind.
            if ((kind == 0 && i == k) || kind == 3) continue;
            add_product(sum, kind == 0 ? q : kind == 1 ? a : c, i, kind == 0 ? n : kind == 1 ? b : d, k - i);
        }
        u32 carry;
        if (k < B)
            carry = reduce_column(sum, n, n0, q + k * (S * TILE));
        else
            carry = write_column(sum, r + (k - B) * (S * TILE));
        shift_column(sum, carry);
    }
    return sum.even[0];
}

// r = a b 2^(-32 WORDS) mod n, below n, for a b < n 2^(32 WORDS). r lies in a tile and is neither a nor b.
// (`spare` is for the squares of pairs.)
FUNCTION void montgomery_product(const u32 *a, const u32 *b, const u32 *n, u32 n0, u32 *r, u32 * = nullptr) {
    u32 top = reduced_sum(a, b, false, a, b, nullptr, n, n0, r, r);
    subtract_once(r, top, n);
}

// r = r 2^-bits mod n for 0 < bits <= 32, r below n before and after: one more step of the reduction.
FUNCTION void divide_by_power_of_two(u32 *r, u32 bits, const u32 *n, u32 n0) {
    const u32 q = (r[0] * n0) & (0xFFFFFFFFu >> (32 - bits));
    u64 sum = 0;
    u32 low = 0;
    ROLLED for (int block = 0; block < B; ++block) {
        u32 x[S], y[S];
        load_block(x, r, block);
        load_block(y, n, block);
        u32 *at = r + block * (S * TILE);
        UNROLL for (int w = 0; w < S; ++w) {
            sum = (sum >> 32) + (u64)q * y[w] + x[w];
            const u32 limb = (u32)(((u64)(u32)sum << 32 | low) >> bits);
            if (w > 0 || block > 0) at[(w - 1) * TILE] = limb;
            low = (u32)sum;
        }
    }
    r[(WORDS - 1) * TILE] = (u32)((sum >> 32 << 32 | low) >> bits);
}
