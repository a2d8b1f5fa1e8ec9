// SM3 and HMAC-SM3 of many messages (GB/T 32905-2016, RFC 2104): one thread a message.
//
// Neither tables nor branches on data; time depends on the lengths of the messages.
#pragma once
#include "platform.cuh"

CONSTANT u32 SM3_START[8] = {
    0x7380166f, 0x4914b2b9, 0x172442d7, 0xda8a0600, 0xa96f30bc, 0x163138aa, 0xe38dee4d, 0xb0fb0e4e,
};

FUNCTION u32 rotate32(u32 x, u32 n) { return x << n | x >> (32 - n); }

FUNCTION u32 big_word(const u8 *bytes) {
    return (u32)bytes[0] << 24 | (u32)bytes[1] << 16 | (u32)bytes[2] << 8 | bytes[3];
}

// Sixteen rounds; the window of sixteen message words moves on by as many. FIRST: rounds 0 … 15.
template <bool FIRST>
FUNCTION void sm3_rounds(u32 *v, u32 *w, u32 start) {
    UNROLL for (u32 i = 0; i < 16; i++) {
        u32 a = v[0], b = v[1], c = v[2], e = v[4], f = v[5], g = v[6];
        u64 constant = (u64)(FIRST ? 0x79cc4519 : 0x7a879d8a) << ((start + i) & 31);
        u32 t = (u32)constant | (u32)(constant >> 32);  // rotated by the round
        u32 a12 = rotate32(a, 12), ss1 = rotate32(a12 + e + t, 7);
        u32 ff = FIRST ? a ^ b ^ c : (a & b) | (a & c) | (b & c);
        u32 gg = FIRST ? e ^ f ^ g : (e & f) | (~e & g);
        u32 tt1 = ff + v[3] + (ss1 ^ a12) + (w[i] ^ w[(i + 4) & 15]);
        u32 tt2 = gg + v[7] + ss1 + w[i];
        v[3] = c;
        v[2] = rotate32(b, 9);
        v[1] = a;
        v[0] = tt1;
        v[7] = g;
        v[6] = rotate32(f, 19);
        v[5] = e;
        v[4] = tt2 ^ rotate32(tt2, 9) ^ rotate32(tt2, 17);
        u32 x = w[i] ^ w[(i + 7) & 15] ^ rotate32(w[(i + 13) & 15], 15);
        w[i] = (x ^ rotate32(x, 15) ^ rotate32(x, 23)) ^ rotate32(w[(i + 3) & 15], 7) ^ w[(i + 10) & 15];
    }
}

FUNCTION void sm3_compress(u32 *state, u32 *w) {
    u32 v[8];
    UNROLL for (int i = 0; i < 8; i++) v[i] = state[i];
    sm3_rounds<true>(v, w, 0);
    ROLLED for (u32 start = 16; start < 64; start += 16) sm3_rounds<false>(v, w, start);
    UNROLL for (int i = 0; i < 8; i++) state[i] ^= v[i];
}

// One byte of the padded message: 1 bit, zeros, and in the last block the length in bits.
FUNCTION u32 sm3_padded(const u8 *message, u64 bytes, u64 before, u64 end, u64 at) {
    if (at < bytes) return message[at];
    if (at == bytes) return 0x80;
    return end - at <= 8 ? (u32)(8 * (before + bytes) >> (8 * (end - at - 1))) & 255 : 0;
}

// The rest of a hash: `before` bytes, whole blocks, are in the state already.
FUNCTION void sm3_finish(u32 *state, const u8 *message, u64 bytes, u64 before) {
    u64 end = (bytes + 8) / 64 * 64 + 64;
    bool aligned = ((u64)message & 3) == 0;
    ROLLED for (u64 at = 0; at < end; at += 64) {
        u32 w[16];
        if (at + 64 <= bytes && aligned) {
            const u32 *words = (const u32 *)(message + at);
            UNROLL for (int i = 0; i < 16; i++) {
                u32 x = words[i];
                w[i] = x >> 24 | (x >> 8 & 0xff00) | (x << 8 & 0xff0000) | x << 24;
            }
        } else {
            UNROLL for (int i = 0; i < 16; i++) {
                w[i] = 0;
                ROLLED for (int j = 0; j < 4; j++)
                    w[i] = w[i] << 8 | sm3_padded(message, bytes, before, end, at + 4 * i + j);
            }
        }
        sm3_compress(state, w);
    }
}

FUNCTION void sm3_store(u8 *bytes, const u32 *state) {
    UNROLL for (int i = 0; i < 32; i++) bytes[i] = (u8)(state[i / 4] >> (24 - 8 * (i % 4)));
}

// Message i is data[starts[i] …], lengths[i] bytes.
KERNEL(sm3_digests, 128, 6)(const u8 *data, const u64 *starts, const u64 *lengths, u8 *digests, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        u32 state[8];
        UNROLL for (int j = 0; j < 8; j++) state[j] = SM3_START[j];
        sm3_finish(state, data + starts[i], lengths[i], 0);
        sm3_store(digests + 32 * i, state);
    }
}
HOST_THREADS(sm3_digests)

// The state after one block of the key, xored with the pad.
FUNCTION void sm3_keyed(u32 *state, const u8 *key, u32 pad) {
    u32 w[16];
    UNROLL for (int j = 0; j < 8; j++) state[j] = SM3_START[j];
    UNROLL for (int j = 0; j < 16; j++) w[j] = big_word(key + 4 * j) ^ pad * 0x01010101u;
    sm3_compress(state, w);
}

// Keys are rows of 64 bytes, `stride` apart; 0: one key for all.
KERNEL(sm3_hmacs, 128, 6)(const u8 *keys, u64 stride, const u8 *data, const u64 *starts, const u64 *lengths,
                         u8 *digests, u64 count) {
    for (u64 i = grid_index(); i < count; i += grid_size()) {
        u32 state[8], w[16];
        sm3_keyed(state, keys + stride * i, 0x36);
        sm3_finish(state, data + starts[i], lengths[i], 64);
        UNROLL for (int j = 0; j < 8; j++) {
            w[j] = state[j];
            w[8 + j] = 0;
        }
        w[8] = 0x80000000;
        w[15] = 8 * (64 + 32);
        sm3_keyed(state, keys + stride * i, 0x5c);
        sm3_compress(state, w);
        sm3_store(digests + 32 * i, state);
    }
}
HOST_THREADS(sm3_hmacs)
