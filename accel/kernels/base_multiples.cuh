// k G for secret k from a table of 43 windows of 32 odd multiples: a block at a time, in shared memory.
//
// Reading all 32 entries would cost as much as the additions, so they lie in banks (`banks.cuh`). Half a window
// (x, then y) fits the 48 KiB that every multiprocessor grants.
#pragma once
#include "banks.cuh"
#include "multiples.cuh"

static constexpr u32 BASE_THREADS = 256, HALF_WORDS = BASE_ENTRIES * 8;

// Copy the words of one coordinate of a window, each into four banks; all threads together into all banks.
FUNCTION void spread(Quad *shared, const u32 *window, u32 coordinate, u32 thread) {
    ROLLED for (u32 i = thread; i < HALF_WORDS * LANES / 4; i += BASE_THREADS) {
        u32 word = i / (LANES / 4);
        u32 value = window[(word / 8 * 2 + coordinate) * 8 + word % 8];
        Quad four = {{value, value, value, value}};
        shared[i] = four;
    }
}

// table: windows × entries × (x, y) in the form of the field. points: count numbers x, then y, then z.
KERNEL(base_multiples, 256, 2)(const u32 *table, const u8 *scalars, U256 *points, u64 count) {
    SHARED(Quad, shared, BASE_ENTRIES * 8 * 32 / 4);
    PER_THREAD(U256, k, 256);
    PER_THREAD(u32, negated, 256);
    PER_THREAD(u32, same, 256);
    PER_THREAD(Affine, q, 256);
    PER_THREAD(Jacobian, sum, 256);
    for (u64 first = (u64)blockIdx.x * BASE_THREADS; first < count; first += (u64)gridDim.x * BASE_THREADS) {
        PHASE(t) {
            // Threads beyond the batch multiply by 1: all must take part in the copying.
            U256 scalar = first + t < count ? load_big(scalars + 32 * (first + t)) : small256(1);
            k[LANE(t)] = odd_scalar(scalar, negated[LANE(t)]);
        }
        ROLLED for (int window = 0; window < BASE_WINDOWS; window++) {
            const u32 *row = table + window * BASE_WORDS;
            bool top = window == BASE_WINDOWS - 1;
            PHASE(t) { spread(shared, row, 0, t); }
            PHASE(t) { q[LANE(t)].x = read_lane(shared, base_digit(k[LANE(t)], top).index, t); }
            PHASE(t) { spread(shared, row, 1, t); }
            PHASE(t) {
                Digit digit = base_digit(k[LANE(t)], top);
                Affine &point = q[LANE(t)];
                point.y = negate_if(digit.negative, read_lane(shared, digit.index, t));
                Jacobian &acc = sum[LANE(t)];
                if (window == 0) {
                    acc = from_affine(point);
                } else {
                    Difference d;
                    acc = add_affine(acc, point, d);
                    same[LANE(t)] = same_point(d);  // until the last window it is 0
                }
                if (!top) shift_right(k[LANE(t)], BASE_BITS);
            }
        }
        // If the last two points were equal their double is due; y is still in shared memory.
        PHASE(t) {
            Digit digit = base_digit(k[LANE(t)], true);
            q[LANE(t)].y = read_lane(shared, digit.index, t);
        }
        PHASE(t) { spread(shared, table + (BASE_WINDOWS - 1) * BASE_WORDS, 0, t); }
        PHASE(t) {
            Affine last = {read_lane(shared, base_digit(k[LANE(t)], true).index, t), q[LANE(t)].y};
            sum[LANE(t)] = select_point(same[LANE(t)], sum[LANE(t)], double_aside(from_affine(last)));
        }
        PHASE(t) {
            if (first + t < count) {
                u64 i = first + t;
                points[i] = sum[LANE(t)].x;
                points[count + i] = negate_if(negated[LANE(t)], sum[LANE(t)].y);
                points[2 * count + i] = sum[LANE(t)].z;
            }
        }
    }
}
HOST_BLOCKS(base_multiples)
