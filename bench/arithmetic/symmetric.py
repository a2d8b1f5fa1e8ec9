"""SM3 and SM4 beside OpenSSL and gmssl, one core."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from gmssl import sm3 as gmssl_sm3
from gmssl import sm4 as gmssl_sm4

from accel import sm3, sm4
from bench.arithmetic import one_core
from bench.measure import Row, against, rate
from bench.peers import openssl

_MESSAGE_BYTES = 64


def rows(quick: bool) -> Iterator[Row]:
    seconds = 0.3 if quick else 1.5
    with one_core():
        yield from _sm4(1 << (20 if quick else 26), seconds)
        yield from _sm3(1 << (12 if quick else 18), seconds)


def _sm4(size: int, seconds: float) -> Iterator[Row]:
    key, counter, data = sm4.generate_key(), secrets.token_bytes(16), secrets.token_bytes(size)
    ours = rate(lambda: sm4.ctr(key, counter, data), size, seconds=seconds)
    through_cryptography = rate(
        lambda: Cipher(algorithms.SM4(key), modes.CTR(counter)).encryptor().update(data),
        size,
        seconds=seconds,
    )
    crypt = gmssl_sm4.CryptSM4()
    crypt.set_key(key, gmssl_sm4.SM4_ENCRYPT)
    few = data[:16384]
    for peer, theirs in (
        ("cryptography", through_cryptography),
        (openssl.version() + " speed", openssl.bytes_per_second("sm4-ctr", 1 << 20, max(1, round(seconds)))),
        ("gmssl, ECB", rate(lambda: crypt.crypt_ecb(few), len(few), seconds=seconds)),
    ):
        yield against(
            "SM4-CTR", size, ours, peer, theirs, unit="B/s", includes="one core, bytes in and out", target=2e9
        )
    nonce = secrets.token_bytes(12)
    yield Row(
        "SM4-GCM",
        size,
        rate(lambda: sm4.gcm_seal(key, nonce, data), size, seconds=seconds),
        "B/s",
        "one core, bytes in and out",
    )


def _sm3(batch: int, seconds: float) -> Iterator[Row]:
    rows = np.frombuffer(secrets.token_bytes(_MESSAGE_BYTES * batch), dtype=np.uint8).reshape(batch, -1)
    messages = [row.tobytes() for row in rows]
    peer_bytes = openssl.bytes_per_second("sm3", _MESSAGE_BYTES, max(1, round(seconds)))
    few = [list(message) for message in messages[:64]]
    matrix = rate(lambda: sm3.digest_many(rows), batch, seconds=seconds)
    for peer, theirs in (
        (openssl.version() + " speed", peer_bytes / _MESSAGE_BYTES),
        (
            "one call each, cryptography",
            rate(lambda: [sm3.digest(m) for m in messages], batch, seconds=seconds),
        ),
        ("gmssl", rate(lambda: [gmssl_sm3.sm3_hash(m) for m in few], len(few), seconds=seconds)),
    ):
        yield against(
            "SM3 of 64-byte messages",
            batch,
            matrix,
            peer,
            theirs,
            unit="1/s",
            includes="one core",
            target=8e6,
        )
