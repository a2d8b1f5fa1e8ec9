"""Batches of SM2 operations equal the single ones, on every CPU path."""

import random

import numpy as np
import pytest
from gmssl import sm2 as gmssl_sm2
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import selftest, sm2, sm2_encryption, sm2_signature
from accel import weierstrass as ec
from accel.errors import BadParameter, BadSignature, DecryptionFailed, InvalidPoint
from accel.reference.sm2 import N
from accel.sm2_scalars import in_range, random_scalars

VECTORS = selftest.vectors("sm2")
ALICE = sm2.PrivateKey(int(VECTORS["sign"][0]["d"], 16))
BOB = sm2.PrivateKey(0xB0B << 200)
PATHS = [name for name in ec.SIGN_DIGESTS.available() if name != "reference"]
SIZES = [0, 1, 7, 8, 9, 15, 16, 17, 1000]


def seeded(seed):
    return random.Random(seed).randbytes


def texts(count, longest=90):
    return [bytes((i + j) % 256 for j in range(1 + i * 37 % longest)) for i in range(count)]


@pytest.mark.parametrize("backend", PATHS)
@pytest.mark.parametrize("count", SIZES)
def test_batch_signatures_verify_alone_and_together(backend, count):
    messages = texts(count)
    signatures = sm2.sign_many(ALICE, messages, identity=b"Alice", backend=backend)
    assert signatures.shape == (count, 64)
    for index in range(0, count, 1 + count // 20):
        signature = signatures[index].tobytes()
        sm2.verify(ALICE.public, messages[index], signature, identity=b"Alice", backend="portable")
    right = sm2.verify_many(ALICE.public, messages, signatures, identity=b"Alice", backend=backend)
    assert right.shape == (count,)
    assert right.all()


@pytest.mark.parametrize("backend", PATHS)
def test_batch_signature_is_the_single_one_for_one_source_of_randomness(backend):
    alone = sm2.sign(ALICE, b"message", rng=seeded(1), backend="portable")
    assert sm2.sign_many(ALICE, [b"message"], rng=seeded(1), backend=backend).tobytes() == alone
    message = np.frombuffer(b"message", np.uint8)[None]
    assert sm2.sign_many(ALICE, message, rng=seeded(1), backend=backend).tobytes() == alone


def nonces_of(private, signatures):
    d = private.d
    for row in signatures:
        r, s = int.from_bytes(row[:32].tobytes(), "big"), int.from_bytes(row[32:].tobytes(), "big")
        yield (s * (1 + d) + r * d) % N


def test_no_nonce_repeats_within_a_batch_even_from_a_stuck_source():
    """Two signatures with one nonce give away the key."""
    signatures = sm2.sign_many(ALICE, [b"same", b"same", b"other"] * 5, rng=bytes)
    again = sm2.sign_many(ALICE, [b"different"] * 15, rng=bytes)
    nonces = [*nonces_of(ALICE, signatures), *nonces_of(ALICE, again)]
    assert len(set(nonces)) == 30


def test_unusable_nonces_are_replaced_one_by_one(monkeypatch):
    """Out of range, r = 0 and s = 0 come up once in 2^32 or 2^255: here they are forced."""
    message, others = b"message", [b"one", b"two", b"three"]
    original = sm2_signature._nonces
    attempts = []

    def spoiled(key, seed, attempt, indices, digests):
        attempts.append((attempt, indices.tolist()))
        nonces = original(key, seed, attempt, indices, digests)
        for row, index in enumerate(indices.tolist()):
            if attempt == 0 and index in (0, 2):
                bad = 0 if index == 0 else N
                nonces[row] = np.frombuffer(bad.to_bytes(32, "big"), np.uint8)
        return nonces

    monkeypatch.setattr(sm2_signature, "_nonces", spoiled)
    signatures = sm2.sign_many(ALICE, [message, *others])
    assert attempts == [(0, [0, 1, 2, 3]), (1, [0, 2])]
    assert sm2.verify_many(ALICE.public, [message, *others], signatures).all()


UNUSABLE_NONCE = 12345


def unusable_digests():
    """Digests that make r = 0, r + k = N and s = 0 with one nonce k."""
    x1 = int.from_bytes(ec.multiply_base(ec.SM2, row(UNUSABLE_NONCE)).tobytes()[:32], "big")
    wanted = [0, N - UNUSABLE_NONCE, UNUSABLE_NONCE * pow(ALICE.d, -1, N)]
    return np.concatenate([row((r - x1) % N) for r in wanted])


@pytest.mark.parametrize("backend", ec.SIGN_DIGESTS.available())
def test_no_signature_comes_out_of_an_unusable_nonce(backend):
    digests = np.concatenate([unusable_digests(), row(5)])
    nonces = np.tile(row(UNUSABLE_NONCE), (4, 1))
    signatures, usable = ec.sign_digests(row(ALICE.d)[0], digests, nonces, backend=backend)
    assert usable.tolist() == [False, False, False, True]
    assert not signatures[:3].any()


def test_digests_that_a_nonce_does_not_serve_get_another(monkeypatch):
    original, attempts = sm2_signature._nonces, []

    def spoiled(key, seed, attempt, indices, digests):
        attempts.append(indices.tolist())
        fresh = original(key, seed, attempt, indices, digests)
        return np.tile(row(UNUSABLE_NONCE), (len(digests), 1)) if attempt == 0 else fresh

    monkeypatch.setattr(sm2_signature, "_nonces", spoiled)
    digests = np.concatenate([row(5), unusable_digests()])
    signatures = sm2_signature._sign_digests(ALICE, digests, bytes, "auto")
    assert attempts == [[0, 1, 2, 3], [1, 2, 3]]
    assert ec.verify_digests(sm2_signature.public_rows(ALICE.public), digests, signatures).all()


def row(value):
    return np.frombuffer(value.to_bytes(32, "big"), np.uint8)[None]


@pytest.mark.parametrize("backend", PATHS)
def test_wrong_signatures_are_told_apart_from_right_ones(backend):
    messages = texts(20)
    signatures = sm2.sign_many(ALICE, messages).copy()
    wrong = [0, 3, 8, 19]
    for index in wrong:
        signatures[index, index] ^= 1
    right = sm2.verify_many(ALICE.public, messages, signatures, backend=backend)
    assert np.flatnonzero(~right).tolist() == wrong
    case = VECTORS["sign"][0]
    invalid = [bytes.fromhex(bad["signature"]) for bad in VECTORS["invalid_signatures"]]
    valid = bytes.fromhex(case["r"] + case["s"])
    messages = [case["message"].encode()] * (len(invalid) + 1)
    right = sm2.verify_many(ALICE.public, messages, [*invalid, valid], backend=backend)
    assert right.tolist() == [False] * len(invalid) + [True]


@pytest.mark.parametrize("backend", PATHS)
def test_every_signature_may_have_its_own_key_and_identity(backend):
    signers = [(ALICE, b"Alice"), (BOB, b"Bob"), (ALICE, b"also Alice")]
    messages = texts(3)
    signatures = [
        sm2.sign(private, message, identity=identity)
        for (private, identity), message in zip(signers, messages, strict=True)
    ]
    publics = [private.public for private, _ in signers]
    identities = [identity for _, identity in signers]
    check = sm2.verify_many(publics, messages, signatures, identity=identities, backend=backend)
    assert check.all()
    assert sm2.verify_many(publics, messages, signatures, identity=b"Alice").tolist() == [True, False, False]
    rows = sm2_signature.public_rows(publics)
    assert sm2.verify_many(rows, messages, signatures, identity=identities).all()
    swapped = [BOB.public, ALICE.public, BOB.public]
    assert not sm2.verify_many(swapped, messages, signatures, identity=identities).any()


def test_identity_digests_of_a_batch_equal_the_single_ones():
    publics = [ALICE.public, BOB.public] * 3
    rows = sm2_signature.public_rows(publics)
    expected = [sm2.identity_digest(public, b"id") for public in publics]
    assert [z.tobytes() for z in sm2.identity_digests(rows, b"id")] == expected
    with pytest.raises(BadParameter):
        sm2.identity_digests(rows, [b"id"])
    with pytest.raises(BadParameter):
        sm2.identity_digests(rows, bytes(8192))


def test_batches_that_do_not_fit_together_are_refused():
    signatures = sm2.sign_many(ALICE, texts(3))
    for call in (
        lambda: sm2.verify_many(ALICE.public, texts(2), signatures),
        lambda: sm2.verify_many([ALICE.public], texts(3), signatures),
        lambda: sm2.verify_many(ALICE.public, texts(3), signatures[:, :63]),
        lambda: sm2.encrypt_many([ALICE.public] * 2, texts(3)),
    ):
        with pytest.raises(BadParameter):
            call()
    with pytest.raises(BadParameter) as caught:
        sm2.sign_many(ALICE, [b"good", "bad"])
    assert caught.value.detail["index"] == 1
    with pytest.raises(InvalidPoint) as caught:
        sm2.verify_many(np.zeros((3, 64), np.uint8), texts(3), signatures)
    assert caught.value.detail["index"] == 0


@pytest.mark.parametrize("backend", PATHS)
@pytest.mark.parametrize("count", SIZES)
def test_batch_encryption_decrypts_alone_and_together(backend, count):
    plaintexts = texts(count)
    sealed = sm2.encrypt_many(ALICE.public, plaintexts, backend=backend)
    assert [len(one) for one in sealed] == [len(one) + 97 for one in plaintexts]
    some = range(0, count, 1 + count // 20)
    assert [sm2.decrypt(ALICE, sealed[i], backend="portable") for i in some] == [plaintexts[i] for i in some]
    assert sm2.decrypt_many(ALICE, sealed, backend=backend) == plaintexts


def test_every_plaintext_may_have_its_own_key():
    first, second = sm2.encrypt_many([ALICE.public, BOB.public], [b"to Alice", b"to Bob"])
    assert sm2.decrypt(ALICE, first) == b"to Alice"
    assert sm2.decrypt(BOB, second) == b"to Bob"


def test_plaintexts_may_be_the_rows_of_a_matrix():
    rows = np.arange(48).astype(np.uint8).reshape(3, 16)
    assert sm2.decrypt_many(ALICE, sm2.encrypt_many(ALICE.public, rows)) == [r.tobytes() for r in rows]


def test_zero_key_stream_is_replaced():
    """Once in 256 for plaintexts of one byte; such a ciphertext would show its plaintext."""
    plaintexts = [b"\x5a"] * 1500
    for one in sm2.encrypt_many(ALICE.public, plaintexts, rng=seeded(4)):
        assert one[97:] != b"\x5a"


def test_ciphertext_whose_key_stream_is_zero_is_refused():
    """Its C3 is right: only the check on the key stream is left to refuse it."""
    zero = next(k for k in range(1, 5000) if sm2.encrypt_with(ALICE.public, b"\x5a", k) is None)
    nonce = np.frombuffer(zero.to_bytes(32, "big"), np.uint8)[None]
    keys, rows = sm2_signature.public_rows(ALICE.public), sm2_encryption.ByteRows.of([b"\x5a"])
    (sealed,), usable = sm2_encryption._encrypt(keys, rows, nonce, "auto")
    assert sealed[97:] == b"\x5a"
    assert not usable[0]
    with pytest.raises(DecryptionFailed):
        sm2.decrypt(ALICE, sealed)


@pytest.mark.parametrize("backend", PATHS)
@pytest.mark.parametrize("case", VECTORS["invalid_ciphertexts"], ids=lambda case: case["comment"])
def test_bad_ciphertext_in_a_batch_is_named_without_a_reason(backend, case):
    good = sm2.encrypt_many(ALICE.public, texts(4))
    with pytest.raises(DecryptionFailed) as caught:
        sm2.decrypt_many(ALICE, [*good[:3], bytes.fromhex(case["ciphertext"]), good[3]], backend=backend)
    assert caught.value.message == "the SM2 ciphertext does not decrypt"
    assert caught.value.detail == {"index": 3}
    assert caught.value.__cause__ is None


def test_empty_and_oversized_plaintexts_are_named():
    for bad in (b"", bytes(sm2.MAX_PLAINTEXT_BYTES + 1)):
        with pytest.raises(BadParameter) as caught:
            sm2.encrypt_many(ALICE.public, [b"good", bad])
        assert caught.value.detail["index"] == 1


@settings(max_examples=15, deadline=None)
@given(messages=st.lists(st.binary(min_size=1, max_size=100), max_size=12), identity=st.binary(max_size=40))
def test_batches_of_any_messages(messages, identity):
    signatures = sm2.sign_many(BOB, messages, identity=identity)
    assert sm2.verify_many(BOB.public, messages, signatures, identity=identity).all()
    assert sm2.decrypt_many(BOB, sm2.encrypt_many(BOB.public, messages)) == messages


def test_gmssl_accepts_what_batches_make():
    theirs = gmssl_sm2.CryptSM2(
        private_key=ALICE.to_bytes().hex(), public_key=ALICE.public.to_bytes()[1:].hex(), mode=1
    )
    messages = texts(3)
    for message, signature in zip(messages, sm2.sign_many(ALICE, messages), strict=True):
        assert theirs.verify_with_sm3(signature.tobytes().hex(), message)
    for message, sealed in zip(messages, sm2.encrypt_many(ALICE.public, messages), strict=True):
        assert theirs.decrypt(sealed[1:]) == message


def test_what_is_no_byte_string_is_refused():
    for message in ("text", 5, None, [1, 2]):
        with pytest.raises(BadParameter):
            sm2.sign(ALICE, message)
        with pytest.raises(BadParameter):
            sm2.sign_many(ALICE, [message])
        with pytest.raises(BadParameter):
            sm2.encrypt(ALICE.public, message)
        with pytest.raises(DecryptionFailed):
            sm2.decrypt(ALICE, message)
        with pytest.raises(BadSignature):
            sm2.verify(ALICE.public, b"message", message)
    for messages in (b"one byte string", "text", iter([b"m"]), None):
        with pytest.raises(BadParameter):
            sm2.sign_many(ALICE, messages)


def test_single_operations_take_every_kind_of_buffer():
    for kind in (bytes, bytearray, memoryview):
        signature = sm2.sign(ALICE, kind(b"message"))
        sm2.verify(ALICE.public, b"message", kind(signature))
        assert sm2.decrypt(ALICE, kind(sm2.encrypt(ALICE.public, kind(b"message")))) == b"message"


def test_scalars_are_in_range_and_their_edges_known():
    edges = [0, 1, N - 1, N, N + 1, 2**256 - 1, N - 2**64, N + 2**64, N - 2**192, 2**255]
    rows = np.concatenate([row(value) for value in edges])
    assert in_range(rows).tolist() == [1 <= value < N for value in edges]
    second = row(8).tobytes() + row(9).tobytes()
    drawn = iter([row(0).tobytes() + row(7).tobytes() + row(N).tobytes(), second])
    expected = np.concatenate([row(8), row(7), row(9)])
    assert (random_scalars(3, lambda n: next(drawn)) == expected).all()
    assert random_scalars(0, bytes).shape == (0, 32)
