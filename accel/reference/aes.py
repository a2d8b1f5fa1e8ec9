"""AES-128 on whole blocks, from OpenSSL: the permutation that fixed-key constructions are made of."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def encrypt(key: bytes, blocks: bytes) -> bytes:
    """Every block of 16 bytes by itself."""
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(blocks)  # noqa: S305


def round_keys(key: bytes) -> list[bytes]:
    """The 11 round keys of AES-128 (FIPS 197, section 5.2), for instructions that take them one by one."""
    words = [key[4 * i : 4 * i + 4] for i in range(4)]
    constant = 1
    for i in range(4, 44):
        last = words[i - 1]
        if i % 4 == 0:
            last = bytes(_SBOX[octet] for octet in last[1:] + last[:1])
            last = bytes([last[0] ^ constant]) + last[1:]
            constant = constant << 1 ^ (0x11B if constant & 0x80 else 0)
        words.append(bytes(a ^ b for a, b in zip(words[i - 4], last, strict=True)))
    return [b"".join(words[i : i + 4]) for i in range(0, 44, 4)]


def _sbox() -> bytes:
    """FIPS 197, section 5.1.1: p runs through the powers of 3 and q through their inverses."""
    table = bytearray([0x63] * 256)
    p = q = 1
    while True:
        p ^= p << 1 & 0xFF ^ (0x1B if p & 0x80 else 0)
        for shift in (1, 2, 4):
            q ^= q << shift & 0xFF
        q ^= 0x09 if q & 0x80 else 0
        rotations = (q << shift | q >> (8 - shift) for shift in (1, 2, 3, 4))
        table[p] = 0x63 ^ q
        for rotation in rotations:
            table[p] ^= rotation & 0xFF
        if p == 1:
            return bytes(table)


_SBOX = _sbox()
