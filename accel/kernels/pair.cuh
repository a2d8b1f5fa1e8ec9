// Products modulo n^2 on pairs (a, b) of numbers below n that stand for a + b n.
//
// Montgomery's reduction finds t = (a c + m n) / R, so a c = t R - m n, and modulo n^2
//   (a + b n)(c + d n) = t R + (a d + b c - m) n.
// Divided by R = 2^(32 WORDS), whose inverse modulo n is all that the second part needs:
//   (t, REDC(a d + b c - m)).
// That is five products of WORDS^2 where a Montgomery product modulo n^2 takes eight. With t' = t - e n below n,
// and -m = ~m + 1 - R, the second part is REDC(a d + b c + ~m + 1) - 1 + e: positive before the 1 goes, since
// ~m + 1 is, and at most 3 n after it went.
#pragma once
#include "montgomery.cuh"

// r = 2 x mod n for x below n.
FUNCTION void twice(u32 *r, const u32 *x, const u32 *n) {
    u32 top = 0;
    ROLLED for (int block = 0; block < B; ++block) {
        u32 limbs[S];
        load_block(limbs, x, block);
        UNROLL for (int w = 0; w < S; ++w) {
            const u32 limb = limbs[w];
            limbs[w] = limb << 1 | top;
            top = limb >> 31;
        }
        store_block(r, block, limbs);
    }
    subtract_once(r, top, n);
}

// r = x y 2^(-32 WORDS) mod n^2; each is a number of WORDS limbs followed by another. r is neither x nor y.
// With room for a number in `spare`, a square takes four products: a (2 b) for a d + b c.
FUNCTION void pair_product(const u32 *x, const u32 *y, const u32 *n, u32 n0, u32 *r, u32 *spare) {
    const u32 half = WORDS * TILE;
    const bool square = spare && x == y;
    if (square) twice(spare, x + half, n);
    u32 gone = 0;
    ROLLED for (u32 part = 0; part < 2; ++part) {
        // Part 0 leaves m where part 1 puts its own quotient and result.
        u32 top = reduced_sum(x, !part ? y : square ? spare : y + half, part && !square, x + half, y, part ? r + half : nullptr, n, n0,
                              r + half, part ? r + half : r);
        const u32 passes = part ? 3 : 1;
        u32 less = part ? 1 - gone : 0;
        ROLLED for (u32 pass = 0; pass < passes; ++pass) {
            gone = subtract_once(part ? r + half : r, top, n, less);
            less = 0;
        }
    }
}
