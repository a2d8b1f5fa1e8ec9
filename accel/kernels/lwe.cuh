// Products modulo 2^32 of a database with a vector or a matrix: bytes times balanced digits of 8 bits,
//   D x = sum over digits d < 4 of 2^(8 d) (D x_d),   x = sum of x_d 2^(8 d) modulo 2^32,  -128 <= x_d < 128,
// by dp4a for a vector (the memory is the limit) and by the tensor cores for a matrix. Sums wrap, so they are
// exact in any order.
//
// A database is bytes, `pitch` of them a row, a multiple of 64 on a 64-byte boundary; an entry of 2 or 4 bytes
// meets its factor times 2^(8 i) with byte i (`expansion` = bytes per entry), and bytes past the end of a row
// meet zeros. The factor is put into digits first, in the order in which threads read it:
//   vector   digits[group of 512 bytes][digit][lane][word]: lane l reads bytes 16 l ... 16 l + 15 of the group
//   matrix   digits[panel][chunk of 64 bytes][tile][lane][word], a panel being LWE_SIDES times 8 columns and
//            tile = 4 side + digit: lane l holds column l / 4 of the side and bytes 16 (l % 4) ... of the chunk
// The tensor cores' own order of depth (PTX ISA, mma.m16n8k32) is permuted so that a lane reads 16 neighbouring
// bytes: depth may be in any order as long as both factors agree.
#include "platform.cuh"

// Threads of a block one after the other on the host, without the barrier of a PHASE: warps work alone, and
// what lanes exchange is written once for both, over PER_THREAD arrays.
#if defined(ON_GPU)
#define EACH_THREAD(t) for (u32 t = threadIdx.x, once_ = 1; once_; once_ = 0)
#else
#define EACH_THREAD(t) for (u32 t = 0; t < blockDim.x; ++t)
#endif

#define LWE_BLOCK 128
#define LWE_VECTOR_ROWS 8 // of a warp: each digit that is read serves so many rows
#define LWE_MATRIX_ROWS 32 // of a warp: two tiles of 16
// Columns of a warp, in eights. 2 is for the memory's speed, three blocks to a multiprocessor; 4, for products
// that the tensor cores limit, reads the database half as often and leaves room for two blocks.
#ifndef LWE_SIDES
#define LWE_SIDES 2
#endif
#define LWE_TILES (4 * LWE_SIDES) // of 8 columns of one digit

struct alignas(16) LweWords {
    u32 word[4];
};
struct LweRowSums {
    u32 sum[LWE_VECTOR_ROWS];
};
struct LweMatrixRows {
    LweWords row[4]; // rows l / 4, + 8, + 16, + 24 of the warp
};
struct LweMatrixSums {
    u32 sum[2][LWE_TILES][4];
};

// 16 bytes of the database: read once, so they leave the first-level cache to the digits.
FUNCTION LweWords lwe_stream(const u8 *at) {
    LweWords x;
#if defined(ON_GPU)
    asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
        : "=r"(x.word[0]), "=r"(x.word[1]), "=r"(x.word[2]), "=r"(x.word[3])
        : "l"(at));
#else
    x = *(const LweWords *)at;
#endif
    return x;
}

FUNCTION LweWords lwe_digits(const u32 *at) {
    LweWords x;
#if defined(ON_GPU)
    asm("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4];"
        : "=r"(x.word[0]), "=r"(x.word[1]), "=r"(x.word[2]), "=r"(x.word[3])
        : "l"(at));
#else
    x = *(const LweWords *)at;
#endif
    return x;
}

// sum + four unsigned bytes times four signed ones
FUNCTION u32 lwe_dot(u32 unsigned_bytes, u32 signed_bytes, u32 sum) {
#if defined(ON_GPU)
    asm("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(sum) : "r"(unsigned_bytes), "r"(signed_bytes));
#else
    for (u32 i = 0; i < 4; ++i)
        sum += (u32)((i32)(unsigned_bytes >> 8 * i & 255) * (i32)(int8_t)(signed_bytes >> 8 * i));
#endif
    return sum;
}

FUNCTION void lwe_add(u32 *at, u32 value) {
#if defined(ON_GPU)
    atomicAdd(at, value);
#else
    *at += value;
#endif
}

// Every lane's sums become those of its warp.
FUNCTION void lwe_warp_sums(LweRowSums *sums) {
#if defined(ON_GPU)
    UNROLL for (u32 row = 0; row < LWE_VECTOR_ROWS; ++row)
        UNROLL for (u32 far = 16; far > 0; far /= 2)
            sums[0].sum[row] += __shfl_xor_sync(0xFFFFFFFFu, sums[0].sum[row], far);
#else
    for (u32 warp = 0; warp < blockDim.x; warp += 32)
        for (u32 row = 0; row < LWE_VECTOR_ROWS; ++row) {
            u32 total = 0;
            for (u32 t = warp; t < warp + 32; ++t) total += sums[t].sum[row];
            for (u32 t = warp; t < warp + 32; ++t) sums[t].sum[row] = total;
        }
#endif
}

// sums[half][tile] += (16 rows, 32 bytes of depth) times (8 columns of digits), for the words 2 step, 2 step + 1.
// Fragments as in the PTX ISA, "matrix fragments for mma.m16n8k32".
FUNCTION void lwe_tensor(
    LweMatrixSums *sums, const LweMatrixRows *rows, const LweWords *digits, u32 half, u32 tile, u32 step
) {
#if defined(ON_GPU)
    u32 *c = sums[0].sum[half][tile];
    const LweWords &top = rows[0].row[2 * half], &bottom = rows[0].row[2 * half + 1];
    asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(top.word[2 * step]), "r"(bottom.word[2 * step]), "r"(top.word[2 * step + 1]),
          "r"(bottom.word[2 * step + 1]), "r"(digits[0].word[2 * step]), "r"(digits[0].word[2 * step + 1]));
#else
    for (u32 t = 0; t < blockDim.x; ++t)
        for (u32 k = 0; k < 4; ++k) {
            // Lane t of its warp holds row t / 4 (+ 8 for k = 2, 3), column 2 (t % 4) (+ 1 for k = 1, 3).
            u32 warp = t & ~31u, row = (t & 31) / 4, column = 2 * (t & 3) + (k & 1);
            u32 &sum = sums[t].sum[half][tile][k];
            for (u32 quad = 0; quad < 4; ++quad)
                for (u32 word = 2 * step; word < 2 * step + 2; ++word)
                    sum = lwe_dot(
                        rows[warp + 4 * row + quad].row[2 * half + k / 2].word[word],
                        digits[warp + 4 * column + quad].word[word], sum
                    );
        }
#endif
}

// Digit `digit` of the (expanded) rows 4 depth ... 4 depth + 3 of one column, as the bytes of a word.
FUNCTION u32 lwe_pack(
    const u32 *matrix, u64 rows, u64 columns, u64 column, u32 expansion, u64 depth, u32 digit
) {
    u32 packed = 0;
    for (u32 i = 0; i < 4; ++i) {
        u64 row = (4 * depth + i) / expansion;
        u32 shift = 8 * (u32)((4 * depth + i) % expansion);
        u32 x = row < rows && column < columns ? matrix[row * columns + column] << shift : 0;
        // Adding the bias carries what a digit is above 127; the exclusive or takes the bias out again.
        x = (x + 0x80808080u) ^ 0x80808080u;
        packed |= (x >> 8 * digit & 255) << 8 * i;
    }
    return packed;
}

// One thread a word of `digits`; groups = bytes of a row / 512, rounded up.
KERNEL(lwe_pack_vector, LWE_BLOCK, 1)(
    const u32 *RESTRICT vector, u64 length, u32 expansion, u64 groups, u32 *RESTRICT digits
) {
    for (u64 i = grid_index(); i < groups * 512; i += grid_size()) {
        u32 word = i % 4, lane = i / 4 % 32, digit = i / 128 % 4;
        digits[i] = lwe_pack(vector, length, 1, 0, expansion, (i / 512 * 32 + lane) * 4 + word, digit);
    }
}
HOST_THREADS(lwe_pack_vector)

// One thread a word of `digits`; chunks = bytes of a row / 64.
KERNEL(lwe_pack_matrix, LWE_BLOCK, 1)(
    const u32 *RESTRICT matrix, u64 rows, u64 columns, u32 expansion, u64 chunks, u64 panels,
    u32 *RESTRICT digits
) {
    for (u64 i = grid_index(); i < panels * chunks * (128 * LWE_TILES); i += grid_size()) {
        u32 word = i % 4, lane = i / 4 % 32, tile = i / 128 % LWE_TILES;
        u64 chunk = i / (128 * LWE_TILES) % chunks, panel = i / (128 * LWE_TILES) / chunks;
        u64 column = (panel * LWE_SIDES + tile / 4) * 8 + lane / 4;
        u64 depth = chunk * 16 + lane % 4 * 4 + word;
        digits[i] = lwe_pack(matrix, rows, columns, column, expansion, depth, tile % 4);
    }
}
HOST_THREADS(lwe_pack_matrix)

// Adds D x to `output`, which starts as zeros. A warp takes 8 rows and one of `slices` ranges of groups; the grid
// is (blocks of 32 rows) times slices.
KERNEL(lwe_matvec, LWE_BLOCK, 4)(
    const u8 *RESTRICT database, u64 rows, u64 pitch, const u32 *RESTRICT digits, u32 slices,
    u32 *RESTRICT output
) {
    PER_THREAD(LweRowSums, totals, LWE_BLOCK);
    u64 pieces = pitch / 16, groups = (pieces + 31) / 32, each = (groups + slices - 1) / slices;
    u64 first = blockIdx.x % slices * each, block_row = (u64)(blockIdx.x / slices) * (LWE_BLOCK / 32);
    u64 last = first + each < groups ? first + each : groups;
    EACH_THREAD(t) {
        u64 top = (block_row + t / 32) * LWE_VECTOR_ROWS;
        u32 mine[LWE_VECTOR_ROWS][4];
        UNROLL for (u32 r = 0; r < LWE_VECTOR_ROWS; ++r)
            UNROLL for (u32 d = 0; d < 4; ++d) mine[r][d] = 0;
        const u8 *start[LWE_VECTOR_ROWS];
        // Rows past the last are read as the last and not written.
        UNROLL for (u32 r = 0; r < LWE_VECTOR_ROWS; ++r)
            start[r] = database + (top + r < rows ? top + r : rows - 1) * pitch;
        ROLLED for (u64 group = first; group < last; ++group) {
            u64 piece = group * 32 + t % 32;
            if (piece >= pieces) break;
            LweWords row[LWE_VECTOR_ROWS], factor[4];
            UNROLL for (u32 r = 0; r < LWE_VECTOR_ROWS; ++r) row[r] = lwe_stream(start[r] + piece * 16);
            UNROLL for (u32 d = 0; d < 4; ++d)
                factor[d] = lwe_digits(digits + ((group * 4 + d) * 32 + t % 32) * 4);
            UNROLL for (u32 r = 0; r < LWE_VECTOR_ROWS; ++r)
                UNROLL for (u32 d = 0; d < 4; ++d)
                    UNROLL for (u32 w = 0; w < 4; ++w)
                        mine[r][d] = lwe_dot(row[r].word[w], factor[d].word[w], mine[r][d]);
        }
        UNROLL for (u32 r = 0; r < LWE_VECTOR_ROWS; ++r)
            totals[LANE(t)].sum[r] =
                mine[r][0] + (mine[r][1] << 8) + (mine[r][2] << 16) + (mine[r][3] << 24);
    }
    lwe_warp_sums(totals);
    EACH_THREAD(t) {
        u64 top = (block_row + t / 32) * LWE_VECTOR_ROWS;
        UNROLL for (u32 r = 0; r < LWE_VECTOR_ROWS; ++r)
            if (t % 32 == r && top + r < rows) lwe_add(output + top + r, totals[LANE(t)].sum[r]);
    }
}
HOST_BLOCKS(lwe_matvec)

FUNCTION LweMatrixRows lwe_rows(const u8 *database, u64 rows, u64 pitch, u64 top, u64 at) {
    LweMatrixRows x;
    UNROLL for (u32 r = 0; r < 4; ++r) {
        u64 row = top + 8 * r < rows ? top + 8 * r : rows - 1;
        x.row[r] = lwe_stream(database + row * pitch + at);
    }
    return x;
}

// Adds D M to `output` (rows, columns), which starts as zeros. A warp takes 32 rows, a panel of columns and one of
// `slices` ranges of chunks; the grid is (blocks of 128 rows) times slices times panels, the panels of a row
// one after the other, so that they find it in the cache. The next chunk of rows is on its way while one is
// multiplied.
KERNEL(lwe_matmul, LWE_BLOCK, LWE_SIDES == 2 ? 3 : 2)(
    const u8 *RESTRICT database, u64 rows, u64 pitch, const u32 *RESTRICT digits, u64 columns, u32 slices,
    u32 *RESTRICT output
) {
    PER_THREAD(LweMatrixSums, sums, LWE_BLOCK);
    PER_THREAD(LweMatrixRows, words, LWE_BLOCK);
    PER_THREAD(LweMatrixRows, ahead, LWE_BLOCK);
    PER_THREAD(LweWords, factor, LWE_BLOCK);
    u32 panels = (u32)((columns + 8 * LWE_SIDES - 1) / (8 * LWE_SIDES)), panel = blockIdx.x % panels;
    u64 chunks = pitch / 64, each = (chunks + slices - 1) / slices;
    u64 first = blockIdx.x / panels % slices * each;
    u64 last = first + each < chunks ? first + each : chunks;
    u64 block_row = (u64)(blockIdx.x / panels / slices) * (LWE_BLOCK / 32);
    if (first >= last) return; // the depth was cut into fewer slices than asked for
    EACH_THREAD(t) {
        UNROLL for (u32 half = 0; half < 2; ++half)
            UNROLL for (u32 tile = 0; tile < LWE_TILES; ++tile)
                UNROLL for (u32 k = 0; k < 4; ++k) sums[LANE(t)].sum[half][tile][k] = 0;
        u64 top = (block_row + t / 32) * LWE_MATRIX_ROWS + t % 32 / 4;
        ahead[LANE(t)] = lwe_rows(database, rows, pitch, top, first * 64 + t % 4 * 16);
    }
    ROLLED for (u64 chunk = first; chunk < last; ++chunk) {
        EACH_THREAD(t) {
            words[LANE(t)] = ahead[LANE(t)];
            u64 top = (block_row + t / 32) * LWE_MATRIX_ROWS + t % 32 / 4;
            u64 next = chunk + 1 < last ? chunk + 1 : chunk;
            ahead[LANE(t)] = lwe_rows(database, rows, pitch, top, next * 64 + t % 4 * 16);
        }
        UNROLL for (u32 tile = 0; tile < LWE_TILES; ++tile) {
            EACH_THREAD(t) {
                u64 place = ((panel * chunks + chunk) * LWE_TILES + tile) * 32 + t % 32;
                factor[LANE(t)] = lwe_digits(digits + place * 4);
            }
            UNROLL for (u32 step = 0; step < 2; ++step)
                UNROLL for (u32 half = 0; half < 2; ++half) lwe_tensor(sums, words, factor, half, tile, step);
        }
    }
    EACH_THREAD(t)
        UNROLL for (u32 half = 0; half < 2; ++half)
            UNROLL for (u32 side = 0; side < LWE_SIDES; ++side)
                UNROLL for (u32 k = 0; k < 4; ++k) {
                    u64 row = (block_row + t / 32) * LWE_MATRIX_ROWS + 16 * half + t % 32 / 4 + k / 2 * 8;
                    u64 column = (panel * LWE_SIDES + side) * 8 + t % 4 * 2 + k % 2;
                    u32 total = 0;
                    UNROLL for (u32 d = 0; d < 4; ++d)
                        total += sums[LANE(t)].sum[half][4 * side + d][k] << 8 * d;
                    if (row < rows && column < columns) lwe_add(output + row * columns + column, total);
                }
}
HOST_BLOCKS(lwe_matmul)
