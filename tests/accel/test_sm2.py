import inspect
import pickle

import numpy as np
import pytest
from gmssl import sm2 as gmssl_sm2
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import selftest, sm2
from accel import weierstrass as ec
from accel.errors import (
    AccelError,
    BadEncoding,
    BadParameter,
    BadSignature,
    DecryptionFailed,
    InvalidKey,
    InvalidPoint,
)
from accel.reference.sm2 import G, N, P
from accel.reference.weierstrass import SM2, add, multiply_point

VECTORS = selftest.vectors("sm2")
SIGN = VECTORS["sign"][0]
PRIVATE = sm2.PrivateKey(int(SIGN["d"], 16))
IDENTITY = SIGN["identity"].encode()
SIGNATURE = bytes.fromhex(SIGN["r"] + SIGN["s"])
SEALED = bytes.fromhex(VECTORS["encrypt"][0]["ciphertext"])


def comment(case):
    return case["comment"]


def gmssl_pair():
    return gmssl_sm2.CryptSM2(
        private_key=PRIVATE.to_bytes().hex(), public_key=PRIVATE.public.to_bytes()[1:].hex(), mode=1
    )


def test_every_step_of_signing_agrees_with_the_standard():
    assert (PRIVATE.public.x, PRIVATE.public.y) == (int(SIGN["x"], 16), int(SIGN["y"], 16))
    assert sm2.identity_digest(PRIVATE.public, IDENTITY).hex() == SIGN["z"]
    got = sm2.sign_digest(PRIVATE.d, int(SIGN["e"], 16), int(SIGN["k"], 16))
    assert got == (int(SIGN["r"], 16), int(SIGN["s"], 16))
    sm2.verify(PRIVATE.public, SIGN["message"].encode(), SIGNATURE)


def test_encryption_agrees_with_the_standard():
    case = VECTORS["encrypt"][0]
    assert sm2.encrypt_with(PRIVATE.public, case["plaintext"].encode(), int(case["k"], 16)) == SEALED
    assert sm2.decrypt(PRIVATE, SEALED) == case["plaintext"].encode()


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=50))
def test_signatures_verify_and_bind_message_identity_and_key(message, identity):
    private = sm2.generate()
    signature = sm2.sign(private, message, identity=identity)
    sm2.verify(private.public, message, signature, identity=identity)
    for public, other_message, other_identity in (
        (private.public, message + b"x", identity),
        (private.public, message, identity + b"x"),
        (sm2.generate().public, message, identity),
    ):
        with pytest.raises(BadSignature):
            sm2.verify(public, other_message, signature, identity=other_identity)


@pytest.mark.parametrize("case", VECTORS["invalid_signatures"], ids=comment)
def test_bad_signature_is_refused(case):
    with pytest.raises(BadSignature):
        sm2.verify(PRIVATE.public, SIGN["message"].encode(), bytes.fromhex(case["signature"]))


def test_every_flipped_bit_of_a_signature_is_noticed():
    for bit in range(0, 512, 7):
        damaged = bytearray(SIGNATURE)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadSignature):
            sm2.verify(PRIVATE.public, SIGN["message"].encode(), bytes(damaged))


def test_stuck_random_source_does_not_repeat_a_nonce():
    """Two signatures with one nonce give away the key; r differs only if the nonce does."""
    stuck = bytes
    first, second = (sm2.sign(PRIVATE, message, rng=stuck) for message in (b"one", b"two"))
    nonces = set()
    for message, signature in ((b"one", first), (b"two", second)):
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        nonces.add((s * (1 + PRIVATE.d) + r * PRIVATE.d) % N)
        sm2.verify(PRIVATE.public, message, signature)
    assert len(nonces) == 2


def test_signatures_of_one_message_differ():
    assert sm2.sign(PRIVATE, b"m") != sm2.sign(PRIVATE, b"m")


def test_gmssl_verifies_our_signatures_and_we_its():
    theirs = gmssl_pair()
    assert theirs.verify_with_sm3(sm2.sign(PRIVATE, b"message").hex(), b"message")
    sm2.verify(PRIVATE.public, b"message", bytes.fromhex(theirs.sign_with_sm3(b"message", f"{12345:064x}")))


def test_gmssl_decrypts_our_ciphertexts_and_we_its():
    theirs = gmssl_pair()
    assert theirs.decrypt(sm2.encrypt(PRIVATE.public, b"plaintext")[1:]) == b"plaintext"
    assert sm2.decrypt(PRIVATE, b"\x04" + theirs.encrypt(b"plaintext")) == b"plaintext"


@settings(max_examples=20, deadline=None)
@given(st.binary(min_size=1, max_size=200))
def test_encryption_round_trip(plaintext):
    sealed = sm2.encrypt(PRIVATE.public, plaintext)
    assert len(sealed) == len(plaintext) + 97
    assert sm2.decrypt(PRIVATE, sealed) == plaintext


@pytest.mark.parametrize("case", VECTORS["invalid_ciphertexts"], ids=comment)
def test_bad_ciphertext_is_refused_without_a_reason(case):
    with pytest.raises(DecryptionFailed) as caught:
        sm2.decrypt(PRIVATE, bytes.fromhex(case["ciphertext"]))
    assert caught.value.message == "the SM2 ciphertext does not decrypt"
    assert not caught.value.detail
    assert caught.value.__cause__ is None


def test_every_damaged_byte_of_a_ciphertext_is_noticed():
    for position in range(len(SEALED)):
        damaged = bytearray(SEALED)
        damaged[position] ^= 0x20
        with pytest.raises(DecryptionFailed):
            sm2.decrypt(PRIVATE, bytes(damaged))


def test_wrong_key_does_not_decrypt():
    with pytest.raises(DecryptionFailed):
        sm2.decrypt(sm2.generate(), SEALED)


def test_empty_and_oversized_plaintexts_are_refused():
    for plaintext in (b"", bytes(sm2.MAX_PLAINTEXT_BYTES + 1)):
        with pytest.raises(BadParameter):
            sm2.encrypt(PRIVATE.public, plaintext)


@pytest.mark.parametrize("case", VECTORS["invalid_points"], ids=comment)
def test_bad_public_key_is_refused(case):
    with pytest.raises((InvalidPoint, BadEncoding)):
        sm2.PublicKey.from_bytes(bytes.fromhex(case["point"]))


def test_public_key_survives_both_encodings():
    for key in [PRIVATE.public] + [sm2.generate().public for _ in range(6)]:
        assert sm2.PublicKey.from_bytes(key.to_bytes()) == key
        assert sm2.PublicKey.from_bytes(key.to_bytes(compressed=True)) == key
    with pytest.raises(InvalidPoint):
        sm2.PublicKey(P, 1)


@pytest.mark.parametrize("d", [0, N - 1, N, -1, 2**256])
def test_private_key_out_of_range_is_refused(d):
    with pytest.raises(InvalidKey):
        sm2.PrivateKey(d)


def test_private_key_survives_its_bytes_and_shows_nothing():
    assert sm2.PrivateKey.from_bytes(PRIVATE.to_bytes()).public == PRIVATE.public
    for bad in (b"", PRIVATE.to_bytes()[1:], PRIVATE.to_bytes() + b"\x00"):
        with pytest.raises(BadEncoding):
            sm2.PrivateKey.from_bytes(bad)
    assert str(PRIVATE.d) not in repr(PRIVATE)
    with pytest.raises(TypeError):
        pickle.dumps(PRIVATE)


def test_key_that_begins_with_04_is_not_stripped():
    """gmssl strips a leading 04 from keys; a coordinate may well begin with it."""
    case = VECTORS["encrypt"][0]["ciphertext"]
    point = sm2.PublicKey.from_bytes(bytes.fromhex(case)[:65])
    assert point.x >> 248 == 0x04
    assert sm2.PublicKey.from_bytes(point.to_bytes()) == point


def test_long_identity_is_refused():
    with pytest.raises(BadParameter):
        sm2.sign(PRIVATE, b"m", identity=bytes(8192))


def test_der_round_trips():
    assert sm2.signature_from_der(sm2.signature_to_der(SIGNATURE)) == SIGNATURE
    assert sm2.ciphertext_from_der(sm2.ciphertext_to_der(SEALED)) == SEALED
    long = sm2.encrypt(PRIVATE.public, bytes(70000))
    assert sm2.ciphertext_from_der(sm2.ciphertext_to_der(long)) == long
    short = bytes(31) + b"\x01" + bytes(31) + b"\x80"
    assert sm2.signature_to_der(short).hex() == "3007" + "020101" + "02020080"
    assert sm2.signature_from_der(sm2.signature_to_der(short)) == short


@pytest.mark.parametrize("case", VECTORS["invalid_der_signatures"], ids=comment)
def test_der_that_is_not_canonical_is_refused(case):
    with pytest.raises(BadEncoding):
        sm2.signature_from_der(bytes.fromhex(case["der"]))


def test_cut_der_is_refused_at_every_length():
    for data, decode in (
        (sm2.signature_to_der(SIGNATURE), sm2.signature_from_der),
        (sm2.ciphertext_to_der(SEALED), sm2.ciphertext_from_der),
    ):
        for length in range(len(data)):
            with pytest.raises(BadEncoding):
                decode(data[:length])


@given(st.binary(max_size=100))
def test_garbage_never_raises_an_untyped_error(data):
    for parse in (sm2.signature_from_der, sm2.ciphertext_from_der, sm2.PublicKey.from_bytes):
        with pytest.raises(AccelError):
            parse(data)
    with pytest.raises(DecryptionFailed):
        sm2.decrypt(PRIVATE, data)


def test_raw_forms_of_the_wrong_length_do_not_become_der():
    with pytest.raises(BadEncoding):
        sm2.signature_to_der(SIGNATURE[:-1])
    with pytest.raises(BadEncoding):
        sm2.ciphertext_to_der(SEALED[:97])


@pytest.mark.parametrize("case", VECTORS["invalid_der_ciphertexts"], ids=comment)
def test_der_ciphertext_that_is_not_canonical_is_refused(case):
    with pytest.raises(BadEncoding):
        sm2.ciphertext_from_der(bytes.fromhex(case["der"]))


def test_other_forms_of_the_standard_ciphertext():
    case = VECTORS["encrypt"][0]
    assert sm2.ciphertext_to_der(SEALED).hex() == case["der"]
    assert sm2.ciphertext_from_der(bytes.fromhex(case["der"])) == SEALED
    assert sm2.ciphertext_to_c1c2c3(SEALED).hex() == case["c1c2c3"]
    assert sm2.ciphertext_from_c1c2c3(bytes.fromhex(case["c1c2c3"])) == SEALED


def test_gmssl_reads_and_writes_the_old_order():
    theirs = gmssl_sm2.CryptSM2(
        private_key=PRIVATE.to_bytes().hex(), public_key=PRIVATE.public.to_bytes()[1:].hex(), mode=0
    )
    assert theirs.decrypt(sm2.ciphertext_to_c1c2c3(sm2.encrypt(PRIVATE.public, b"old"))[1:]) == b"old"
    assert sm2.decrypt(PRIVATE, sm2.ciphertext_from_c1c2c3(b"\x04" + theirs.encrypt(b"old"))) == b"old"


def test_the_orders_are_never_guessed():
    old = sm2.ciphertext_to_c1c2c3(SEALED)
    with pytest.raises(DecryptionFailed):
        sm2.decrypt(PRIVATE, old)
    for bad in (b"", old[:97], b"\x03" + old[1:]):
        for convert in (sm2.ciphertext_to_c1c2c3, sm2.ciphertext_from_c1c2c3):
            with pytest.raises(BadEncoding):
                convert(bad)


def test_what_gmssl_decrypts_without_looking_is_refused():
    """gmssl computes the check value C3 and never compares it, and takes a C1 off the curve."""
    theirs = gmssl_pair()
    damaged = bytearray(SEALED)
    damaged[65] ^= 1  # C3
    assert theirs.decrypt(bytes(damaged[1:])) is not None
    with pytest.raises(DecryptionFailed):
        sm2.decrypt(PRIVATE, bytes(damaged))
    off_curve = SEALED[:64] + bytes([SEALED[64] ^ 1]) + SEALED[65:]
    with pytest.raises(DecryptionFailed):
        sm2.decrypt(PRIVATE, off_curve)


def test_signature_that_gmssl_accepts_beyond_the_order_is_refused():
    """gmssl does not check the range of s, so that there s + N verifies too. Only small s leave room for
    that: from s and t chosen first, take the digest that they sign."""
    public = (PRIVATE.public.x, PRIVATE.public.y)
    s, t = 12345, 1 << 250
    x1, _ = add(SM2, multiply_point(SM2, s, G), multiply_point(SM2, t, public))
    r = (t - s) % N
    e = ((r - x1) % N).to_bytes(32, "big")
    accepted = []
    for number in (s, s + N):
        signature = r.to_bytes(32, "big") + number.to_bytes(32, "big")
        assert gmssl_pair().verify(signature.hex(), e)
        rows = [np.frombuffer(data, np.uint8)[None] for data in (PRIVATE.public.to_bytes()[1:], e, signature)]
        accepted.append(bool(ec.verify_digests(*rows)[0]))
    assert accepted == [True, False]


def test_a_caller_has_no_way_to_choose_the_nonce():
    """gmssl's sign(data, K) lets one be used twice."""
    for function in (sm2.sign, sm2.sign_many):
        assert set(inspect.signature(function).parameters) & {"k", "K", "nonce", "nonces"} == set()
