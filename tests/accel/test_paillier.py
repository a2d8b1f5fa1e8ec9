import pickle
import random

import phe.paillier as phe
import pytest

from accel import modular, paillier, samples, selftest
from accel.additive import random_rows, row_ints
from accel.errors import (
    AccelError,
    BadEncoding,
    BadParameter,
    InvalidKey,
    PlaintextOverflow,
    WrongKey,
)
from accel.paillier_backends import DECRYPT, ENCRYPT, RERANDOMIZE, square
from accel.reference import paillier as reference

VECTORS = selftest.vectors("paillier")
SMALL = tuple(int(VECTORS["short_exponent"][0][name], 16) for name in ("p", "q"))


def montgomery(n, values):
    return modular.enter(square(n).array(values), square(n), backend="reference")


def plain(n, elements):
    return modular.leave(elements, square(n), backend="reference").to_ints()


def comment(case):
    return case["comment"]


@pytest.mark.parametrize("case", VECTORS["valid"], ids=comment)
def test_reference_encryption_agrees_with_vectors(case, public):
    assert reference.encrypt_with(public.n, case["m"], int(case["r"], 16)) == int(case["c"], 16)


@pytest.mark.parametrize("backend", DECRYPT.available())
@pytest.mark.parametrize("case", VECTORS["valid"], ids=comment)
def test_decryption_agrees_with_vectors(backend, case, private):
    c = montgomery(private.public.n, [int(case["c"], 16)])
    assert DECRYPT.select(backend, batch=1)(private.p, private.q, c) == [case["m"]]


@pytest.mark.parametrize("case", VECTORS["short_exponent"], ids=comment)
@pytest.mark.parametrize("backend", ENCRYPT.available())
def test_short_exponents_agree_with_vectors(backend, case):
    p, q, m, e, c, again_e, again = (
        int(case[name], 16) for name in ("p", "q", "m", "e", "c", "rerandomizing_e", "rerandomized")
    )
    n = p * q
    rows = samples.one_row(e, reference.encryption_bytes(n))
    made = ENCRYPT.select(backend, batch=1)(n, [m], rows)
    assert plain(n, made) == [c]
    rows = samples.one_row(again_e, reference.rerandomization_bytes(n))
    fresh = RERANDOMIZE.select(backend, batch=1)(n, made, rows)
    assert plain(n, fresh) == [again]
    assert DECRYPT.select(backend, batch=1)(p, q, fresh) == [m]


@pytest.mark.parametrize("batch", [0, 1, 7, 8, 9, 17])
@pytest.mark.parametrize("backend", ENCRYPT.available())
def test_backends_agree_with_the_reference_at_odd_sizes(backend, batch):
    p, q = SMALL
    n = p * q
    draw = random.Random(batch)
    residues = [draw.randrange(n) for _ in range(batch)]
    rows = random_rows(batch, reference.encryption_bytes(n), draw.randbytes)
    long_rows = random_rows(batch, reference.rerandomization_bytes(n), draw.randbytes)
    made = ENCRYPT.select(backend, batch=batch)(n, residues, rows)
    assert plain(n, made) == reference.encrypt(n, residues, row_ints(rows))
    fresh = RERANDOMIZE.select(backend, batch=batch)(n, made, long_rows)
    assert plain(n, fresh) == reference.rerandomize(n, plain(n, made), row_ints(long_rows))
    assert DECRYPT.select(backend, batch=batch)(p, q, fresh) == residues


@pytest.mark.parametrize("backend", ENCRYPT.available())
def test_what_was_encrypted_decrypts(backend, private):
    top = private.public.max_plaintext
    values = [0, 1, -1, 2**64, -(2**64), top, -top]
    array = paillier.encrypt_ints(private.public, values, bound=top, backend=backend)
    for decrypter in DECRYPT.available():
        assert paillier.decrypt_ints(private, array, backend=decrypter) == values


def test_equal_plaintexts_encrypt_differently(public):
    assert len(set(paillier.encrypt_ints(public, [7] * 20).ciphertexts())) == 20


def test_encryption_is_a_function_of_its_random_source(public):
    first = paillier.encrypt_ints(public, [1, 2], rng=random.Random(1).randbytes)
    second = paillier.encrypt_ints(public, [1, 2], rng=random.Random(1).randbytes)
    assert first.ciphertexts() == second.ciphertexts()


def test_encryption_draws_at_least_half_the_modulus_in_randomness(public):
    drawn = []

    def rng(length):
        drawn.append(length)
        return bytes(length - 1) + b"\x01"

    paillier.encrypt_ints(public, [5], rng=rng)
    assert sum(drawn) * 8 >= public.modulus_bits // 2


def test_empty_array_encrypts_to_an_empty_array(private):
    array = paillier.encrypt_ints(private.public, [])
    assert len(array) == 0
    assert paillier.decrypt_ints(private, array) == []


def test_phe_ciphertexts_compute_here(private):
    theirs = phe.PaillierPublicKey(private.public.n)
    ciphertexts = [theirs.encrypt(value).ciphertext() for value in (12, -5, 2**70)]
    array = paillier.EncryptedArray.from_ciphertexts(private.public, ciphertexts, bound=2**71)
    assert paillier.decrypt_ints(private, (array * [2, 3, 1]).sum()) == [24 - 15 + 2**70]


def test_our_ciphertexts_compute_in_phe(private):
    theirs = phe.PaillierPublicKey(private.public.n)
    secret = phe.PaillierPrivateKey(theirs, private.p, private.q)
    for value, c in zip((12, -5), paillier.encrypt_ints(private.public, [12, -5]).ciphertexts(), strict=True):
        assert secret.decrypt(phe.EncryptedNumber(theirs, c) * 2 + 1) == 2 * value + 1
    # 40 bits of scale are ten digits of phe's base 16.
    fixed = paillier.encrypt_fixed(private.public, [-3.25])
    assert secret.decrypt(phe.EncryptedNumber(theirs, fixed.ciphertexts()[0], exponent=-10)) == -3.25


def test_phe_keys_are_accepted():
    theirs, secret = phe.generate_paillier_keypair(n_length=2048)
    ours = paillier.PrivateKey(secret.p, secret.q)
    assert ours.public.n == theirs.n
    assert paillier.decrypt_ints(ours, paillier.encrypt_ints(ours.public, [-9])) == [-9]


def test_fixed_point_round_trip(private):
    values = [0.1, -2.5, 1e6, 1 / 3]
    array = paillier.encrypt_fixed(private.public, values)
    assert paillier.decrypt_fixed(private, array) == pytest.approx(values, rel=1e-11, abs=2**-40)


def test_generated_key_has_the_promised_form():
    key = paillier.generate(2048)
    assert key.public.modulus_bits == 2048
    assert key.p % 4 == key.q % 4 == 3
    assert key.p < key.q
    assert key.p.bit_length() == key.q.bit_length() == 1024


@pytest.mark.parametrize("bits", [0, 1024, 2047, 2049, 2100, 8448])
def test_other_sizes_are_not_generated(bits):
    with pytest.raises(BadParameter):
        paillier.generate(bits)


@pytest.mark.parametrize("case", VECTORS["invalid_public"], ids=comment)
def test_bad_modulus_is_refused(case):
    with pytest.raises(InvalidKey):
        paillier.PublicKey(int(case["n"], 16))


@pytest.mark.parametrize("case", VECTORS["invalid_private"], ids=comment)
def test_bad_factors_are_refused(case):
    with pytest.raises(InvalidKey):
        paillier.PrivateKey(int(case["p"], 16), int(case["q"], 16))


def test_keys_survive_their_bytes(private, public):
    assert paillier.PublicKey.from_bytes(public.to_bytes()) == public
    again = paillier.PrivateKey.from_bytes(private.to_bytes())
    assert (again.p, again.q) == (private.p, private.q)
    assert again.public.fingerprint == public.fingerprint


def test_damaged_key_bytes_are_refused(private, public):
    for key, data in ((paillier.PublicKey, public.to_bytes()), (paillier.PrivateKey, private.to_bytes())):
        padded = data[:5] + (int.from_bytes(data[5:7], "big") + 1).to_bytes(2, "big") + b"\x00" + data[7:]
        for bad in (b"", data[:3], data[:-1], data + b"\x00", b"X" + data[1:], padded, bytes(len(data))):
            with pytest.raises(AccelError):
                key.from_bytes(bad)
    with pytest.raises(BadEncoding):
        paillier.PublicKey.from_bytes(private.to_bytes())


def test_swapped_primes_are_not_a_second_encoding(private):
    data = private.to_bytes()
    half = (len(data) - 5) // 2
    with pytest.raises(BadEncoding):
        paillier.PrivateKey.from_bytes(data[:5] + data[5 + half :] + data[5 : 5 + half])


def test_private_key_shows_nothing(private):
    assert str(private.p) not in repr(private)
    assert hex(private.p)[2:20] not in repr(private)
    with pytest.raises(TypeError):
        pickle.dumps(private)


def test_value_beyond_the_bound_is_refused_with_its_index(public):
    with pytest.raises(PlaintextOverflow) as caught:
        paillier.encrypt_ints(public, [1, 100, 101], bound=100)
    assert caught.value.detail["index"] == 2
    with pytest.raises(PlaintextOverflow):
        paillier.encrypt_ints(public, [0], bound=public.max_plaintext + 1)


def test_randomness_is_drawn_once_for_a_whole_batch(public):
    drawn = []

    def rng(length):
        drawn.append(length)
        return bytes(length)

    paillier.encrypt_ints(public, [5] * 9, rng=rng)
    assert drawn == [9 * 128]


def test_keys_of_4096_bits_work():
    key = paillier.generate(4096)
    assert paillier.decrypt_ints(key, -paillier.encrypt_ints(key.public, [5]).rerandomize()) == [-5]


@pytest.mark.parametrize("bad", [1.0, "1", None, True])
def test_what_is_no_int_is_refused(public, bad):
    with pytest.raises(BadParameter):
        paillier.encrypt_ints(public, [bad])


def test_array_under_another_key_does_not_decrypt(other, public):
    with pytest.raises(WrongKey):
        paillier.decrypt_ints(other, paillier.encrypt_ints(public, [1]))


def test_broken_promise_about_the_bound_is_noticed(private):
    honest = paillier.encrypt_ints(private.public, [1000])
    lie = paillier.EncryptedArray.from_ciphertexts(private.public, honest.ciphertexts(), bound=999)
    with pytest.raises(PlaintextOverflow):
        paillier.decrypt_ints(private, lie)


def test_public_values_name_themselves_in_one_line(public):
    array = paillier.encrypt_ints(public, [1, 2])
    assert repr(array) == f"<EncryptedArray of shape (2,) under {public!r}, rerandomized>"
    assert public.fingerprint.hex()[:16] in repr(public)
