// X25519 with one secret scalar for many points (RFC 7748 section 5): one thread a point.
//
// Points are rows of 32 bytes.
#pragma once
#include "ladder25519.cuh"

KERNEL(x25519_multiply, 128, 4)(const u8 *points, const u32 *scalar, u8 *products, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size())
        store_little(products + 32 * i, ladder(scalar, load_little(points + 32 * i)));
}
HOST_THREADS(x25519_multiply)

KERNEL(x25519_validate, 128, 4)(const u8 *points, u8 *faults, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size())
        faults[i] = (u8)point_fault(load_little(points + 32 * i));
}
HOST_THREADS(x25519_validate)

// u of every hashed message; with `scalar`, multiplied by it in the same pass.
KERNEL(curve25519_hash, 128, 4)(const u8 *messages, const u64 *ends, const u8 *tag, u32 tag_bytes,
                               const u32 *scalar, u8 *products, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        u64 begin = i ? ends[i - 1] : 0;
        U256 u = hash_to_u(messages + begin, ends[i] - begin, tag, tag_bytes);
        store_little(products + 32 * i, scalar ? ladder(scalar, u) : u);
    }
}
HOST_THREADS(curve25519_hash)
