import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from gmssl.sm4 import SM4_DECRYPT, SM4_ENCRYPT, CryptSM4
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import selftest, sm4
from accel.errors import BackendUnavailable, BadParameter, DecryptionFailed
from accel.sm4_backends import CBC_DECRYPT, CTR, ECB, GCM_OPEN, GCM_SEAL

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


@pytest.mark.parametrize("backend", [name for name in ECB.available() if name in ("ifma", "avx2")])
def test_a_million_encryptions_agree_on_the_vector_kernels(backend):
    """CBC over zeros encrypts its initial vector again and again: the kernels must repeat every step."""
    case = VECTORS["block"][1]
    key, block = bytes.fromhex(case["key"]), bytes.fromhex(case["plaintext"])
    encryptor = Cipher(algorithms.SM4(key), modes.CBC(block)).encryptor()
    chain = np.frombuffer(block + encryptor.update(bytes(16 * case["repeat"])), np.uint8)
    assert chain[-16:].tobytes().hex() == case["ciphertext"]
    output = np.empty(len(chain) - 16, np.uint8)
    sm4.ecb_into(key, chain[:-16], output, backend=backend)
    assert (output == chain[16:]).all()
    sm4.ecb_into(key, output, output, decrypt=True, backend=backend)
    assert (output == chain[:-16]).all()


def fields(case, *names):
    return tuple(bytes.fromhex(case[name]) for name in names)


@pytest.mark.parametrize("backend", GCM_SEAL.available())
@pytest.mark.parametrize("mode", ["gcm", "ccm"])
def test_authenticated_modes_agree_with_rfc_8998(mode, backend):
    seal, open_ = {"gcm": (sm4.gcm_seal, sm4.gcm_open), "ccm": (sm4.ccm_seal, sm4.ccm_open)}[mode]
    for case in VECTORS[mode]:
        key, nonce, aad, plaintext = fields(case, "key", "nonce", "aad", "plaintext")
        sealed = bytes.fromhex(case["ciphertext"] + case["tag"])
        assert seal(key, nonce, plaintext, aad, backend=backend) == sealed
        assert open_(key, nonce, sealed, aad, backend=backend) == plaintext


@pytest.mark.parametrize("backend", GCM_OPEN.available())
@pytest.mark.parametrize("case", VECTORS["invalid_sealed"], ids=lambda case: case["comment"])
def test_tampered_vectors_are_refused_without_a_reason(case, backend):
    open_ = {"gcm": sm4.gcm_open, "ccm": sm4.ccm_open}[case["mode"]]
    key, nonce, sealed, aad = fields(case, "key", "nonce", "sealed", "aad")
    with pytest.raises(DecryptionFailed) as caught:
        open_(key, nonce, sealed, aad, backend=backend)
    assert caught.value.message == "the ciphertext does not authenticate"
    assert not caught.value.detail
    assert caught.value.__cause__ is None


VECTOR_PATHS = [name for name in CTR.available() if name in ("ifma", "avx2")]
SIZES = [0, 1, 15, 16, 17, 31, 511, 512, 513, 1023, 1024, 1025, 1040, 2047, 2048, 3000, 5007, 70000]


def data_of(size):
    return bytes((i * i + i // 7) % 256 for i in range(size))


@pytest.mark.parametrize("backend", VECTOR_PATHS)
@pytest.mark.parametrize("size", SIZES)
def test_kernels_equal_openssl_at_every_size(backend, size):
    data, aad = data_of(size), data_of(size % 300)
    blocks = data[: size // 16 * 16]
    for run in (
        lambda name: sm4.ctr(KEY, IV, data, backend=name),
        lambda name: sm4.ecb_encrypt(KEY, blocks, backend=name),
        lambda name: sm4.ecb_decrypt(KEY, blocks, backend=name),
        lambda name: sm4.cbc_decrypt(KEY, IV, sm4.cbc_encrypt(KEY, IV, data), backend=name),
        lambda name: sm4.gcm_seal(KEY, NONCE, data, aad, backend=name),
        lambda name: sm4.gcm_open(KEY, NONCE, sm4.gcm_seal(KEY, NONCE, data, aad), aad, backend=name),
        lambda name: sm4.ccm_seal(KEY, NONCE, data, aad, backend=name),
    ):
        assert run(backend) == run("portable")


@pytest.mark.parametrize("backend", CBC_DECRYPT.available())
@pytest.mark.parametrize("size", [0, 1, 16, 40, 300])
def test_backends_equal_the_reference(backend, size):
    data = data_of(size)
    assert sm4.ctr(KEY, IV, data, backend=backend) == sm4.ctr(KEY, IV, data, backend="reference")
    sealed = sm4.gcm_seal(KEY, NONCE, data, b"aad", backend="reference")
    assert sm4.gcm_seal(KEY, NONCE, data, b"aad", backend=backend) == sealed
    assert sm4.gcm_open(KEY, NONCE, sealed, b"aad", backend=backend) == data
    chained = sm4.cbc_encrypt(KEY, IV, data, backend="reference")
    assert chained == sm4.cbc_encrypt(KEY, IV, data)
    assert sm4.cbc_decrypt(KEY, IV, chained, backend=backend) == data
    assert sm4.ccm_seal(KEY, NONCE, data, b"aad", backend="reference") == sm4.ccm_seal(
        KEY, NONCE, data, b"aad"
    )


@pytest.mark.parametrize("backend", VECTOR_PATHS)
@given(key=st.binary(min_size=16, max_size=16), start=st.binary(min_size=16, max_size=16))
@settings(max_examples=25, deadline=None)
def test_kernels_equal_openssl_for_every_key_and_counter(backend, key, start):
    data = data_of(2100)
    assert sm4.ctr(key, start, data, backend=backend) == sm4.ctr(key, start, data, backend="portable")


@pytest.mark.parametrize("backend", CTR.available())
@pytest.mark.parametrize("ones", [4, 8, 12, 16])
@pytest.mark.parametrize("below", [0, 1, 63, 70, 600])
def test_counter_carries_into_every_word(backend, ones, below):
    """The counter passes 2^(8 ones) after ``below`` blocks, within and between groups of the kernels."""
    size = 16 * 100 if backend == "reference" else 16 * 700
    counter = (((1 << 8 * ones) - below) % (1 << 128)).to_bytes(16, "big")
    expected = Cipher(algorithms.SM4(KEY), modes.CTR(counter)).encryptor().update(bytes(size))
    assert sm4.ctr(KEY, counter, bytes(size), backend=backend) == expected


@pytest.mark.parametrize("backend", VECTOR_PATHS)
def test_more_than_one_thread_gives_the_same_bytes(backend, monkeypatch):
    data = np.arange(1 << 20).astype(np.uint8)[: (1 << 20) - 5]
    results = []
    for threads in ("1", "3"):
        monkeypatch.setenv("LIUTONG_THREADS", threads)
        results.append(sm4.gcm_seal(KEY, NONCE, data, backend=backend))
    assert results[0] == results[1] == sm4.gcm_seal(KEY, NONCE, data, backend="portable")


@pytest.mark.parametrize("backend", CTR.available())
def test_output_may_be_the_input_itself(backend):
    for run in (
        lambda source, target: sm4.ctr_into(KEY, IV, source, target, backend=backend),
        lambda source, target: sm4.ecb_into(KEY, source, target, backend=backend),
        lambda source, target: sm4.ecb_into(KEY, source, target, decrypt=True, backend=backend),
    ):
        data, separate = bytearray(data_of(1600)), np.empty(1600, np.uint8)
        run(bytes(data), separate)
        run(data, data)
        assert data == separate.tobytes()
    buffer = bytearray(data_of(1600) + bytes(16))
    sm4.gcm_seal_into(KEY, NONCE, memoryview(buffer)[:1600], buffer, b"aad", backend=backend)
    assert buffer == sm4.gcm_seal(KEY, NONCE, data_of(1600), b"aad")
    sm4.gcm_open_into(KEY, NONCE, buffer, memoryview(buffer)[:1600], b"aad", backend=backend)
    assert buffer[:1600] == data_of(1600)


@pytest.mark.parametrize("backend", GCM_OPEN.available())
def test_nothing_is_written_when_the_tag_is_wrong(backend):
    sealed = bytearray(sm4.gcm_seal(KEY, NONCE, data_of(1100)))
    sealed[-1] ^= 1
    output = np.full(1100, 7, np.uint8)
    with pytest.raises(DecryptionFailed):
        sm4.gcm_open_into(KEY, NONCE, sealed, output, backend=backend)
    assert (output == 7).all()


def test_outputs_that_cannot_hold_the_result_are_refused():
    data = bytearray(64)
    for output in (bytearray(62), bytes(63), memoryview(data)[1:], np.zeros(128, np.uint8)[::2]):
        with pytest.raises(BadParameter):
            sm4.ctr_into(KEY, IV, memoryview(data)[:63], output)
    with pytest.raises(BadParameter):
        sm4.ctr_into(KEY, IV, memoryview(data)[:48], memoryview(data)[16:])
    for bad in ("text", 5, np.zeros(4, np.uint32), None):
        with pytest.raises(BadParameter):
            sm4.ctr(KEY, IV, bad)


def test_every_kind_of_buffer_is_taken():
    expected = sm4.ctr(KEY, IV, data_of(1500))
    for data in (
        bytearray(data_of(1500)),
        memoryview(data_of(1501))[:1500],
        np.frombuffer(data_of(1500), np.uint8),
        memoryview(data_of(1500)).cast("I"),
    ):
        assert sm4.ctr(KEY, IV, data) == expected


def test_named_backend_never_falls_back():
    from accel import features

    with features.at_level("portable"), pytest.raises(BackendUnavailable):
        sm4.ctr(KEY, IV, b"data", backend="avx2")


@pytest.mark.parametrize("nonce_bytes", range(7, 14))
@pytest.mark.parametrize("tag_bytes", [4, 10, 16])
def test_ccm_equals_its_definition_for_every_shape(nonce_bytes, tag_bytes):
    from accel.reference.sm4 import ccm_seal

    nonce = bytes(range(nonce_bytes))
    for size, aad_bytes in ((0, 0), (1, 1), (16, 14), (33, 300)):
        data, aad = data_of(size), data_of(aad_bytes)
        sealed = sm4.ccm_seal(KEY, nonce, data, aad, tag_bytes=tag_bytes)
        assert sealed == ccm_seal(KEY, nonce, data, aad, tag_bytes)
        assert sm4.ccm_open(KEY, nonce, sealed, aad, tag_bytes=tag_bytes) == data
        with pytest.raises(DecryptionFailed):
            sm4.ccm_open(KEY, nonce, sealed, aad + b"x", tag_bytes=tag_bytes)


def test_ccm_layout_is_that_of_openssl_with_aes(monkeypatch):
    """With AES in place of SM4 the reference must give what OpenSSL's AES-CCM gives, long data included."""
    from cryptography.hazmat.primitives.ciphers.aead import AESCCM

    from accel.reference import sm4 as reference

    def aes(rk, block):
        return Cipher(algorithms.AES(KEY), modes.ECB()).encryptor().update(block)

    monkeypatch.setattr(reference, "encrypt_block", aes)
    for nonce_bytes, tag_bytes, size, aad_bytes in ((12, 16, 40, 20), (7, 4, 0, 5), (13, 8, 100, 0xFF00)):
        nonce, data, aad = bytes(range(nonce_bytes)), data_of(size), data_of(aad_bytes)
        expected = AESCCM(KEY, tag_length=tag_bytes).encrypt(nonce, data, aad)
        assert reference.ccm_seal(KEY, nonce, data, aad, tag_bytes) == expected


def test_ccm_refuses_what_does_not_fit():
    for call in (
        lambda: sm4.ccm_seal(KEY, bytes(6), b""),
        lambda: sm4.ccm_seal(KEY, bytes(14), b""),
        lambda: sm4.ccm_seal(KEY, bytes(13), bytes(1 << 16)),
        lambda: sm4.ccm_seal(KEY, NONCE, b"", tag_bytes=5),
        lambda: sm4.ccm_seal(KEY, NONCE, b"", tag_bytes=2),
        lambda: sm4.ccm_seal(KEY[:15], NONCE, b""),
    ):
        with pytest.raises(BadParameter):
            call()


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
