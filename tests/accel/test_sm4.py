import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from gmssl.sm4 import SM4_DECRYPT, SM4_ENCRYPT, CryptSM4
from hypothesis import given
from hypothesis import strategies as st

from accel import selftest, sm4
from accel.errors import BadParameter, DecryptionFailed

VECTORS = selftest.vectors("sm4")
KEY, IV = bytes(range(16)), bytes(range(16, 32))
NONCE = bytes(range(12))


def test_one_block_agrees_with_the_standard():
    case = VECTORS["block"][0]
    key, plaintext, ciphertext = (bytes.fromhex(case[name]) for name in ("key", "plaintext", "ciphertext"))
    assert sm4.ecb_encrypt(key, plaintext) == ciphertext
    assert sm4.ecb_decrypt(key, ciphertext) == plaintext


def test_a_million_encryptions_agree_with_the_standard():
    case = VECTORS["block"][1]
    block = bytes.fromhex(case["plaintext"])
    encryptor = Cipher(algorithms.SM4(bytes.fromhex(case["key"])), modes.ECB()).encryptor()
    for _ in range(case["repeat"]):
        block = encryptor.update(block)
    assert block.hex() == case["ciphertext"]


@pytest.mark.parametrize("case", VECTORS["gcm"], ids=lambda case: case["comment"])
def test_gcm_agrees_with_rfc_8998(case):
    key, nonce, aad, plaintext = (bytes.fromhex(case[n]) for n in ("key", "nonce", "aad", "plaintext"))
    sealed = bytes.fromhex(case["ciphertext"] + case["tag"])
    assert sm4.gcm_seal(key, nonce, plaintext, aad) == sealed
    assert sm4.gcm_open(key, nonce, sealed, aad) == plaintext


@given(st.binary(max_size=100))
def test_every_mode_inverts_itself(data):
    assert sm4.gcm_open(KEY, NONCE, sm4.gcm_seal(KEY, NONCE, data, b"aad"), b"aad") == data
    assert sm4.cbc_decrypt(KEY, IV, sm4.cbc_encrypt(KEY, IV, data)) == data
    assert sm4.ctr(KEY, IV, sm4.ctr(KEY, IV, data)) == data
    blocks = data * 16
    assert sm4.ecb_decrypt(KEY, sm4.ecb_encrypt(KEY, blocks)) == blocks


@given(st.binary(min_size=1, max_size=100))
def test_cbc_and_ecb_agree_with_gmssl(data):
    theirs = CryptSM4()
    theirs.set_key(KEY, SM4_ENCRYPT)
    assert theirs.crypt_cbc(IV, data) == sm4.cbc_encrypt(KEY, IV, data)
    theirs.set_key(KEY, SM4_DECRYPT)
    assert theirs.crypt_cbc(IV, sm4.cbc_encrypt(KEY, IV, data)) == data


def test_counter_carries_over_all_its_bytes():
    stream = sm4.ctr(KEY, b"\xff" * 16, bytes(32))
    assert stream[16:] == sm4.ecb_encrypt(KEY, bytes(16))


@pytest.mark.parametrize("position", range(0, 36, 5))
def test_tampered_gcm_is_refused(position):
    sealed = bytearray(sm4.gcm_seal(KEY, NONCE, bytes(20), b"aad"))
    sealed[position] ^= 1
    with pytest.raises(DecryptionFailed):
        sm4.gcm_open(KEY, NONCE, bytes(sealed), b"aad")


def test_gcm_binds_key_nonce_aad_and_length():
    sealed = sm4.gcm_seal(KEY, NONCE, b"secret", b"aad")
    for key, nonce, data, aad in (
        (IV, NONCE, sealed, b"aad"),
        (KEY, bytes(12), sealed, b"aad"),
        (KEY, NONCE, sealed, b"other"),
        (KEY, NONCE, sealed[:-1], b"aad"),
        (KEY, NONCE, sealed[:15], b"aad"),
        (KEY, NONCE, b"", b"aad"),
    ):
        with pytest.raises(DecryptionFailed):
            sm4.gcm_open(key, nonce, data, aad)


def test_bad_padding_and_length_fail_alike():
    sealed = sm4.cbc_encrypt(KEY, IV, b"secret")
    messages = set()
    for data in (b"", sealed[:-1], bytes(16), sealed + b"\0" * 16):
        with pytest.raises(DecryptionFailed) as caught:
            sm4.cbc_decrypt(KEY, IV, data)
        messages.add(caught.value.message)
    assert len(messages) == 1


@pytest.mark.parametrize("key", [b"", bytes(15), bytes(17), bytes(32)])
def test_keys_of_another_length_are_refused(key):
    with pytest.raises(BadParameter):
        sm4.gcm_seal(key, NONCE, b"data")
    with pytest.raises(BadParameter):
        sm4.ecb_encrypt(key, bytes(16))


def test_nonces_counters_and_blocks_of_another_length_are_refused():
    for call in (
        lambda: sm4.gcm_seal(KEY, bytes(16), b""),
        lambda: sm4.gcm_open(KEY, b"", bytes(16)),
        lambda: sm4.ctr(KEY, bytes(12), b""),
        lambda: sm4.cbc_encrypt(KEY, bytes(12), b""),
        lambda: sm4.cbc_decrypt(KEY, bytes(12), bytes(16)),
        lambda: sm4.ecb_encrypt(KEY, bytes(15)),
        lambda: sm4.ecb_decrypt(KEY, bytes(17)),
    ):
        with pytest.raises(BadParameter):
            call()


def test_generated_keys_are_fresh():
    assert len({sm4.generate_key() for _ in range(10)}) == 10
