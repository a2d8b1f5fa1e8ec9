// expand_message_xmd with SHA-512 to 96 bytes (RFC 9380 section 5.3.1).
//
// Timing depends on the length of a message, not on its content.
#pragma once
#include "sha512.cuh"

// The state after one block of zeros, with which expand_message_xmd begins.
CONSTANT u64 SHA512_AFTER_ZEROS[8] = {
    0xcf7881d5774acbe8ull, 0x533362e0fbc78070ull, 0x0267639d87460edaull, 0x3086cb40e85931b0ull,
    0x717dc95288a023a3ull, 0x96bab2c14ce0b5e0ull, 0x6fc4fe04eae33e0bull, 0x91f4d80cbd668beeull,
};

// What is hashed after whole words: message || lead || tag || padding. The tag ends with its own length.
struct HashedTail {
    const u8 *message;
    u64 message_bytes;
    u32 lead, lead_bytes;  // up to four bytes, first one on top
    const u8 *tag;
    u32 tag_bytes;
};

FUNCTION u32 tail_byte(const HashedTail &tail, u64 at) {
    if (at < tail.message_bytes) return tail.message[at];
    at -= tail.message_bytes;
    if (at < tail.lead_bytes) return tail.lead >> (24 - 8 * at) & 255;
    at -= tail.lead_bytes;
    if (at < tail.tag_bytes) return tail.tag[at];
    return at == tail.tag_bytes ? 0x80 : 0;
}

// Finish a hash: `before` bytes are in the state already, `words` of the first block are filled by the
// caller.
OUTLINED void hash_tail(u64 *state, u64 *block, u32 words, const HashedTail &tail, u64 before) {
    u64 content = tail.message_bytes + tail.lead_bytes + tail.tag_bytes;
    u64 in_blocks = content + 8 * words;
    u64 blocks = (in_blocks + 1 + 16 + 127) / 128, at = 0;
    ROLLED for (u64 b = 0; b < blocks; b++) {
        ROLLED for (u32 i = b ? 0 : words; i < 16; i++, at += 8) {
            u64 word = 0;
            ROLLED for (u32 j = 0; j < 8; j++) word = word << 8 | tail_byte(tail, at + j);
            block[i] = word;
        }
        if (b == blocks - 1) block[15] = 8 * (before + in_blocks);
        sha512_compress(state, block);
    }
}

// uniform: 16 words, of which the first 12 are the 96 bytes. `tag` is DST || length of DST in one byte.
FUNCTION void expand_message(const u8 *message, u64 bytes, const u8 *tag, u32 tag_bytes, u64 *uniform) {
    u64 first[8], block[16];
    UNROLL for (int i = 0; i < 8; i++) first[i] = SHA512_AFTER_ZEROS[i];
    HashedTail tail = {message, bytes, 0x00600000, 3, tag, tag_bytes};
    hash_tail(first, block, 0, tail, 128);
    UNROLL for (int i = 0; i < 8; i++) uniform[i] = 0;
    ROLLED for (u32 counter = 1; counter <= 2; counter++) {
        u64 state[8];
        UNROLL for (int i = 0; i < 8; i++) {
            state[i] = SHA512_START[i];
            block[i] = first[i] ^ uniform[i];
        }
        HashedTail after = {message, 0, counter << 24, 1, tag, tag_bytes};
        hash_tail(state, block, 8, after, 0);
        UNROLL for (int i = 0; i < 8; i++) uniform[8 * (counter - 1) + i] = state[i];
    }
}
