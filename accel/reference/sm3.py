"""The SM3 hash function in Python integers (GB/T 32905-2016)."""

from __future__ import annotations

import struct

IV = (
    0x7380166F,
    0x4914B2B9,
    0x172442D7,
    0xDA8A0600,
    0xA96F30BC,
    0x163138AA,
    0xE38DEE4D,
    0xB0FB0E4E,
)
_MASK = 0xFFFFFFFF


def digest(data: bytes) -> bytes:
    """Section 5: pad, then compress block by block."""
    padding = b"\x80" + bytes((55 - len(data)) % 64) + (8 * len(data)).to_bytes(8, "big")
    message = data + padding
    state: tuple[int, ...] = IV
    for offset in range(0, len(message), 64):
        state = _compress(state, message[offset : offset + 64])
    return struct.pack(">8I", *state)


def hmac(key: bytes, data: bytes) -> bytes:
    """RFC 2104 with SM3 and its block of 64 bytes."""
    block = (digest(key) if len(key) > 64 else key).ljust(64, b"\0")
    inner = digest(bytes(byte ^ 0x36 for byte in block) + data)
    return digest(bytes(byte ^ 0x5C for byte in block) + inner)


def _compress(state: tuple[int, ...], block: bytes) -> tuple[int, ...]:
    """Section 5.3.3, with the names of the standard for the working variables."""
    w = list(struct.unpack(">16I", block))
    for j in range(16, 68):
        mixed = w[j - 16] ^ w[j - 9] ^ _rotate(w[j - 3], 15)
        w.append(_p1(mixed) ^ _rotate(w[j - 13], 7) ^ w[j - 6])
    a, b, c, d, e, f, g, h = state
    for j in range(64):
        constant = 0x79CC4519 if j < 16 else 0x7A879D8A
        ss1 = _rotate(_rotate(a, 12) + e + _rotate(constant, j % 32) & _MASK, 7)
        ss2 = ss1 ^ _rotate(a, 12)
        ff = a ^ b ^ c if j < 16 else (a & b) | (a & c) | (b & c)
        gg = e ^ f ^ g if j < 16 else (e & f) | (~e & g)
        tt1 = ff + d + ss2 + (w[j] ^ w[j + 4]) & _MASK
        tt2 = gg + h + ss1 + w[j] & _MASK
        a, b, c, d = tt1, a, _rotate(b, 9), c
        e, f, g, h = _p0(tt2), e, _rotate(f, 19), g
    return tuple(x ^ y for x, y in zip((a, b, c, d, e, f, g, h), state, strict=True))


def _rotate(x: int, bits: int) -> int:
    return (x << bits | x >> (32 - bits)) & _MASK


def _p0(x: int) -> int:
    return x ^ _rotate(x, 9) ^ _rotate(x, 17)


def _p1(x: int) -> int:
    return x ^ _rotate(x, 15) ^ _rotate(x, 23)
