"""The SM4 block cipher and its modes in Python integers and bytes.

| symbol | meaning |
|---|---|
| FK, CK | system parameter and fixed parameters of the key expansion |
| rk | the 32 round keys |
| H, J0 | GHASH key E(0) and first counter block of GCM |

Source: GB/T 32907-2016 (cipher), GB/T 17964-2021 (modes), NIST SP 800-38D (GCM), RFC 3610 (CCM).
"""

from __future__ import annotations

import hmac
import struct
from itertools import pairwise

SBOX = bytes.fromhex(
    "d690e9fecce13db716b614c228fb2c052b679a762abe04c3aa44132649860699"
    "9c4250f491ef987a33540b43edcfac62e4b31ca9c908e89580df94fa758f3fa6"
    "4707a7fcf37317ba83593c19e6854fa8686b81b27164da8bf8eb0f4b70569d35"
    "1e240e5e6358d1a225227c3b01217887d40046579fd327524c3602e7a0c4c89e"
    "eabf8ad240c738b5a3f7f2cef96115a1e0ae5da49b341a55ad933230f58cb1e3"
    "1df6e22e8266ca60c02923ab0d534e6fd5db3745defd8e2f03ff6a726d6c5b51"
    "8d1baf92bbddbc7f11d95c411f105ad80ac13188a5cd7bbd2d74d012b8e5b4b0"
    "8969974a0c96777e65b9f109c56ec68418f07dec3adc4d2079ee5f3ed7cb3948"
)
FK = (0xA3B1BAC6, 0x56AA3350, 0x677D9197, 0xB27022DC)
CK = tuple(sum((4 * i + j) * 7 % 256 << 8 * (3 - j) for j in range(4)) for i in range(32))
_MASK = 0xFFFFFFFF


def round_keys(key: bytes) -> tuple[int, ...]:
    """GB/T 32907-2016 section 7.3."""
    k = [word ^ parameter for word, parameter in zip(struct.unpack(">4I", key), FK, strict=True)]
    for i in range(32):
        b = _tau(k[i + 1] ^ k[i + 2] ^ k[i + 3] ^ CK[i])
        k.append(k[i] ^ b ^ _rotate(b, 13) ^ _rotate(b, 23))
    return tuple(k[4:])


def encrypt_block(rk: tuple[int, ...], block: bytes) -> bytes:
    """Sections 7.1 and 7.2; with the round keys in reverse order it decrypts."""
    x = list(struct.unpack(">4I", block))
    for i in range(32):
        b = _tau(x[i + 1] ^ x[i + 2] ^ x[i + 3] ^ rk[i])
        x.append(x[i] ^ b ^ _rotate(b, 2) ^ _rotate(b, 10) ^ _rotate(b, 18) ^ _rotate(b, 24))
    return struct.pack(">4I", *x[:31:-1])


def ecb(key: bytes, blocks: bytes, decrypt: bool = False) -> bytes:
    rk = round_keys(key)[:: -1 if decrypt else 1]
    return b"".join(encrypt_block(rk, block) for block in _blocks(blocks))


def ctr(key: bytes, counter: bytes, data: bytes) -> bytes:
    rk, first = round_keys(key), int.from_bytes(counter, "big")
    pieces = []
    for i, block in enumerate(_blocks(data)):
        pad = encrypt_block(rk, ((first + i) % (1 << 128)).to_bytes(16, "big"))
        pieces.append(_xor(block, pad))
    return b"".join(pieces)


def cbc_encrypt(key: bytes, iv: bytes, blocks: bytes) -> bytes:
    rk, pieces = round_keys(key), [iv]
    for block in _blocks(blocks):
        pieces.append(encrypt_block(rk, _xor(block, pieces[-1])))
    return b"".join(pieces[1:])


def cbc_decrypt(key: bytes, iv: bytes, blocks: bytes) -> bytes:
    rk = round_keys(key)[::-1]
    return b"".join(
        _xor(encrypt_block(rk, block), before) for before, block in pairwise([iv, *_blocks(blocks)])
    )


def gcm_seal(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """SP 800-38D algorithm 4 for nonces of 12 bytes: ciphertext, then the tag of 16 bytes."""
    ciphertext = ctr(key, nonce + b"\0\0\0\2", plaintext)
    return ciphertext + _gcm_tag(key, nonce, ciphertext, aad)


def gcm_open(key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes | None:
    ciphertext, tag = sealed[:-16], sealed[-16:]
    if not hmac.compare_digest(_gcm_tag(key, nonce, ciphertext, aad), tag):
        return None
    return ctr(key, nonce + b"\0\0\0\2", ciphertext)


def ghash(h: bytes, data: bytes, state: bytes = bytes(16)) -> bytes:
    """SP 800-38D algorithm 2 over whole blocks, going on from ``state``."""
    key, y = int.from_bytes(h, "big"), int.from_bytes(state, "big")
    for block in _blocks(data):
        y = _multiply(y ^ int.from_bytes(block, "big"), key)
    return y.to_bytes(16, "big")


def ccm_seal(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes, tag_bytes: int) -> bytes:
    """RFC 3610 section 2, the length field taking what the nonce leaves of 15 bytes."""
    first = bytes([14 - len(nonce)]) + nonce + bytes(15 - len(nonce))
    tag = ctr(key, first, ccm_mac(key, nonce, plaintext, aad, tag_bytes))[:tag_bytes]
    counter = (int.from_bytes(first, "big") + 1).to_bytes(16, "big")
    return ctr(key, counter, plaintext) + tag


def ccm_mac(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes, tag_bytes: int) -> bytes:
    """T of RFC 3610 section 2.2, not yet encrypted and not yet cut."""
    return cbc_encrypt(key, bytes(16), ccm_blocks(nonce, plaintext, aad, tag_bytes))[-16:]


def ccm_blocks(nonce: bytes, plaintext: bytes, aad: bytes, tag_bytes: int) -> bytes:
    """What the CBC-MAC of RFC 3610 section 2.2 is taken of: B_0, the additional data, the message."""
    length_bytes = 15 - len(nonce)
    flags = 64 * bool(aad) + 8 * ((tag_bytes - 2) // 2) + length_bytes - 1
    b = bytes([flags]) + nonce + len(plaintext).to_bytes(length_bytes, "big")
    if aad:
        short = len(aad) < 0xFF00
        b += _pad((len(aad).to_bytes(2, "big") if short else b"\xff\xfe" + len(aad).to_bytes(4, "big")) + aad)
    return b + _pad(plaintext)


def _gcm_tag(key: bytes, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes:
    h = ecb(key, bytes(16))
    lengths = struct.pack(">QQ", 8 * len(aad), 8 * len(ciphertext))
    return _xor(ghash(h, _pad(aad) + _pad(ciphertext) + lengths), ecb(key, nonce + b"\0\0\0\1"))


def _multiply(x: int, y: int) -> int:
    """SP 800-38D algorithm 1: the leftmost bit is the coefficient of 1."""
    z = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            z ^= y
        y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
    return z


def _tau(word: int) -> int:
    return int.from_bytes(bytes(SBOX[byte] for byte in word.to_bytes(4, "big")), "big")


def _rotate(x: int, bits: int) -> int:
    return (x << bits | x >> (32 - bits)) & _MASK


def _blocks(data: bytes) -> list[bytes]:
    return [data[i : i + 16] for i in range(0, len(data), 16)]


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 16)


def _xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=False))
