"""What is sealed opens for one key and one context, and follows RFC 9180 so that others can open it too."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from compute.errors import BadInput
from compute.keys.sealing import OVERHEAD_BYTES, box_public, new_box_key, open_sealed, seal

PRIVATE, PUBLIC = new_box_key()
CONTEXT = b"job 1, role left"


@given(st.binary(max_size=300), st.binary(max_size=40))
@settings(max_examples=40)
def test_what_is_sealed_opens_again(payload, context):
    sealed = seal(PUBLIC, payload, context)
    assert len(sealed) == len(payload) + OVERHEAD_BYTES
    assert open_sealed(PRIVATE, sealed, context) == payload


def test_sealing_twice_differs():
    assert seal(PUBLIC, b"x", CONTEXT) != seal(PUBLIC, b"x", CONTEXT)


def test_another_context_or_key_does_not_open():
    sealed = seal(PUBLIC, b"payload", CONTEXT)
    for private, context in [(PRIVATE, b"job 2, role left"), (PRIVATE, b""), (new_box_key()[0], CONTEXT)]:
        with pytest.raises(BadInput):
            open_sealed(private, sealed, context)


def test_every_altered_byte_is_noticed():
    sealed = seal(PUBLIC, b"payload", CONTEXT)
    for position in range(len(sealed)):
        altered = bytearray(sealed)
        altered[position] ^= 1
        with pytest.raises(BadInput):
            open_sealed(PRIVATE, bytes(altered), CONTEXT)


@pytest.mark.parametrize("sealed", [b"", b"x", bytes(48), bytes(1000)], ids=len)
def test_garbage_does_not_open(sealed):
    with pytest.raises(BadInput):
        open_sealed(PRIVATE, sealed, CONTEXT)


def test_cut_short_does_not_open():
    sealed = seal(PUBLIC, b"payload", CONTEXT)
    for length in range(len(sealed)):
        with pytest.raises(BadInput):
            open_sealed(PRIVATE, sealed[:length], CONTEXT)


@pytest.mark.parametrize("public", [b"", bytes(31), bytes(33), bytes(32), b"\x01" + bytes(31)])
def test_nothing_is_sealed_to_an_unusable_key(public):
    with pytest.raises(BadInput):
        seal(public, b"payload", CONTEXT)


def test_private_keys_are_checked():
    assert box_public(PRIVATE) == PUBLIC
    with pytest.raises(BadInput):
        box_public(b"short")
    with pytest.raises(BadInput):
        open_sealed(b"short", bytes(60), CONTEXT)


# --- RFC 9180 written out, as an independent reader would: sections 4, 4.1 and 5.1


def _labeled_extract(salt, suite, label, ikm):
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, hashlib.sha256)


def _labeled_expand(prk, suite, label, info, length):
    block, output, counter = b"", b"", 1
    labeled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    while len(output) < length:
        block = hmac.digest(prk, block + labeled + bytes([counter]), hashlib.sha256)
        output, counter = output + block, counter + 1
    return output[:length]


def _hpke_open(private, sealed, info, *, aead_id, key_bytes, aad=b""):
    kem_suite = b"KEM\x00\x20"
    suite = b"HPKE\x00\x20\x00\x01" + aead_id
    enc, ciphertext = sealed[:32], sealed[32:]
    key = X25519PrivateKey.from_private_bytes(private)
    shared = key.exchange(X25519PublicKey.from_public_bytes(enc))
    kem_context = enc + key.public_key().public_bytes_raw()
    eae = _labeled_extract(b"", kem_suite, b"eae_prk", shared)
    secret = _labeled_expand(eae, kem_suite, b"shared_secret", kem_context, 32)
    schedule = (
        b"\x00"
        + _labeled_extract(b"", suite, b"psk_id_hash", b"")
        + _labeled_extract(b"", suite, b"info_hash", info)
    )
    prk = _labeled_extract(secret, suite, b"secret", b"")
    aes = AESGCM(_labeled_expand(prk, suite, b"key", schedule, key_bytes))
    return aes.decrypt(_labeled_expand(prk, suite, b"base_nonce", schedule, 12), ciphertext, aad)


def test_the_written_out_reader_agrees_with_the_rfcs_vector():
    """RFC 9180, appendix A.1.1 (AES-128-GCM), sequence number 0: so the reader below can be trusted."""
    private = bytes.fromhex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8")
    enc = bytes.fromhex("37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431")
    info = bytes.fromhex("4f6465206f6e2061204772656369616e2055726e")
    ciphertext = bytes.fromhex(
        "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"
    )
    opened = _hpke_open(private, enc + ciphertext, info, aead_id=b"\x00\x01", key_bytes=16, aad=b"Count-0")
    assert opened == b"Beauty is truth, truth beauty"


def test_an_independent_reader_opens_what_we_seal():
    sealed = seal(PUBLIC, b"payload", CONTEXT)
    info = b"liutong/sealed/v1\x00" + CONTEXT
    assert _hpke_open(PRIVATE, sealed, info, aead_id=b"\x00\x02", key_bytes=32) == b"payload"
