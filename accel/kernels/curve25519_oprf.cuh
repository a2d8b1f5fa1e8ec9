// 2HashDH with additive masks on curve25519, in the steps of `accel/gpu/curve25519_oprf.py`.
//
// Masks, scalars, messages and what was unmasked are secret: every thread does the same work, and no address
// depends on a secret but where lookups have banks of their own (`banks.cuh`). A point is encoded as 32 bytes
// of u, the parity of v in the top bit. Between kernels numbers of a kind lie together: count X, count Y, ...
#pragma once
#include "banks.cuh"
#include "divide.cuh"
#include "edwards25519.cuh"
#include "ladder25519.cuh"

static constexpr u32 COMB_THREADS = 256, COMB_BITS = 5, COMB_WINDOWS = 51, COMB_ENTRIES = 16;
static constexpr u32 COMB_WORDS = COMB_ENTRIES * 3 * 8;  // of a window in the table

FUNCTION void store_extended(U256 *points, u64 count, u64 i, const Extended &p) {
    points[i] = p.x;
    points[count + i] = p.y;
    points[2 * count + i] = p.z;
    points[3 * count + i] = p.t;
}

// The fault of an encoded point; if it has none, (u, v).
FUNCTION u32 decode_point(const u8 *row, U256 &u, U256 &v) {
    typedef Field25519 F;
    u = load_little(row);
    u32 odd = 0u - (u.v[7] >> 31);
    u.v[7] &= 0x7fffffff;
    U256 square = curve25519_equation(u);
    U256 root = F::mul_aside(F::power_root(square), square);  // of v^2 or -v^2, where either has one
    U256 found = F::sqr_times(root, 1);
    u32 straight = F::equal(found, square), turned = F::is_zero(F::add(found, square));
    root = F::reduce(select256(turned, root, F::mul_aside(root, root_of_minus_one())));
    u32 other = odd ^ (0u - (root.v[0] & 1));
    v = select256(other, root, F::sub(small256(0), root));
    return fault_of(u, ~(straight | turned));
}

// H(x) of every message.
KERNEL(curve25519_hash_points, 128, 4)(const u8 *messages, const u64 *ends, const u8 *tag, u32 tag_bytes,
                                      U256 *points, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        u64 begin = i ? ends[i - 1] : 0;
        MappedPoint mapped[2];
        hash_to_mapped(messages + begin, ends[i] - begin, tag, tag_bytes, mapped);
        store_extended(points, count, i, clear_sum(mapped));
    }
}
HOST_THREADS(curve25519_hash_points)

KERNEL(curve25519_decode_points, 128, 4)(const u8 *rows, U256 *points, u8 *faults, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        U256 u, v;
        faults[i] = (u8)decode_point(rows + 32 * i, u, v);
        store_extended(points, count, i, enter_edwards(u, small256(1), v));
    }
}
HOST_THREADS(curve25519_decode_points)

// Copy the words of a window, each into four banks; all threads together into all banks.
FUNCTION void spread_window(Quad *shared, const u32 *window, u32 thread) {
    ROLLED for (u32 i = thread; i < COMB_WORDS * LANES / 4; i += COMB_THREADS) {
        u32 value = window[i / (LANES / 4)];
        Quad four = {{value, value, value, value}};
        shared[i] = four;
    }
}

// Five bits of a mask of 32 bytes.
FUNCTION u32 comb_digit(const u8 *mask, u32 window) {
    const u32 *words = (const u32 *)mask;
    u32 word = COMB_BITS * window / 32, shift = COMB_BITS * window % 32;
    u64 bits = words[word];
    if (word < 7) bits |= (u64)words[word + 1] << 32;
    return (u32)(bits >> shift) & (2 * COMB_ENTRIES - 1);
}

FUNCTION Niels read_niels(const Quad *shared, u32 entry, u32 thread) {
    Niels q = {read_lane(shared, 3 * entry, thread), read_lane(shared, 3 * entry + 1, thread),
               read_lane(shared, 3 * entry + 2, thread)};
    return q;
}

// points: extended ones; to each is added the base of the table times what its mask stands for, negated where
// `turned` is all ones. Their places take (x, z) with u = x / z, and `with_v` y with v = y / z.
KERNEL(curve25519_comb, 256, 2)(const u32 *table, const u8 *masks, u32 turned, u32 with_v, U256 *points,
                               u64 count) {
    typedef Field25519 F;
    SHARED(Quad, shared, COMB_WORDS * 32 / 4);
    PER_THREAD(Extended, sum, 256);
    for (u64 first = (u64)blockIdx.x * COMB_THREADS; first < count; first += (u64)gridDim.x * COMB_THREADS) {
        PHASE(t) {
            // Threads beyond the batch take the first point once more: all must take part in the copying.
            u64 i = first + t < count ? first + t : first;
            Extended p = {points[i], points[count + i], points[2 * count + i], points[3 * count + i]};
            sum[LANE(t)] = p;
        }
        ROLLED for (u32 window = 0; window < COMB_WINDOWS; window++) {
            PHASE(t) { spread_window(shared, table + window * COMB_WORDS, t); }
            PHASE(t) {
                u64 i = first + t < count ? first + t : first;
                u32 digit = (comb_digit(masks + 32 * i, window) ^ turned) & (2 * COMB_ENTRIES - 1);
                u32 negative = 0u - (u32)(digit < COMB_ENTRIES);
                Niels q = read_niels(shared, (digit ^ negative) & (COMB_ENTRIES - 1), t);
                sum[LANE(t)] = add_niels(sum[LANE(t)], q, negative);
            }
        }
        PHASE(t) {
            if (first + t < count) {
                u64 i = first + t;
                Extended &p = sum[LANE(t)];
                U256 above = F::add(p.z, p.y), below = F::sub(p.z, p.y);
                if (with_v) {
                    points[count + i] = F::mul_aside(F::mul_aside(above, p.z), map_factor());
                    above = F::mul_aside(above, p.x);
                    below = F::mul_aside(below, p.x);
                }
                points[i] = above;
                points[2 * count + i] = below;
            }
        }
    }
}
HOST_BLOCKS(curve25519_comb)

// After the ladder: k (u, v) as x, y and z, z = 0 if that has no two coordinates. Okeya, Sakurai, CHES 2001, as
// in Costello, Smith, "Montgomery Curves and Their Arithmetic", JCEN 2018, algorithm 5.
FUNCTION void recover(const LadderPoints &p, const U256 &u, const U256 &v, U256 *products, u64 count, u64 i) {
    typedef Field25519 F;
    U256 scale = F::mul_aside(F::mul_aside(F::add(v, v), p.z2), p.z3);
    products[i] = F::mul_aside(p.x2, scale);
    products[2 * count + i] = F::mul_aside(p.z2, scale);
    U256 uz = F::mul_aside(u, p.z2), jz = F::mul_small(p.z2, 2 * 486662);
    U256 difference = F::sub(p.x2, uz);
    difference = F::mul_aside(F::sqr_times(difference, 1), p.x3);
    U256 sum = F::mul_aside(F::add(F::add(p.x2, uz), jz), F::add(F::mul_aside(u, p.x2), p.z2));
    sum = F::mul_aside(F::sub(sum, F::mul_aside(jz, p.z2)), p.z3);
    products[count + i] = F::sub(sum, difference);
}

// A secret clamped scalar times every encoded point, as x, y and z.
KERNEL(curve25519_multiply_points, 128, 4)(const u8 *rows, const u32 *scalar, U256 *products, u8 *faults,
                                          u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        U256 u, v;
        faults[i] = (u8)decode_point(rows + 32 * i, u, v);
        products[i] = v;  // out of the way: the ladder takes all registers
        LadderPoints p = climb(scalar, u);
        recover(p, u, products[i], products, count, i);
    }
}
HOST_THREADS(curve25519_multiply_points)

struct StoreEncoded {
    u8 *rows, *infinite;
    u32 with_v;
    MEMBER void operator()(u64 i, const U256 &inverse, const U256 &x, const U256 &y) const {
        typedef Field25519 F;
        U256 u = F::reduce(F::mul_aside(x, inverse));
        if (with_v) u.v[7] |= F::reduce(F::mul_aside(y, inverse)).v[0] << 31;
        store_little(rows + 32 * i, u);
        infinite[i] = F::is_zero(inverse) & 1;
    }
};

// x, y and z to encoded points, or to u alone.
KERNEL(curve25519_encode_points, 128, 4)(const U256 *points, U256 *products, u32 with_v, u8 *rows, u8 *infinite,
                                        u64 count) {
    StoreEncoded store = {rows, infinite, with_v};
    divide_by_z<Field25519>(points, products, count, store);
}
HOST_THREADS(curve25519_encode_points)
