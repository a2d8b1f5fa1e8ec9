"""Okamoto-Uchiyama: agrees with vectors and its reference on every backend; refuses bad keys and input."""

import gc
import pickle
import random
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from accel import modular, ou, ou_backends, paillier, samples, selftest
from accel.additive import random_rows, row_ints
from accel.errors import (
    AccelError,
    BadEncoding,
    BadParameter,
    InvalidCiphertext,
    InvalidKey,
    PlaintextOverflow,
    WrongKey,
)
from accel.ou_backends import DECRYPT, ENCRYPT, RERANDOMIZE, modulus, plain_bits
from accel.reference import ou as reference

VECTORS = selftest.vectors("ou")


def comment(case):
    return case["comment"]


def integers(case, *names):
    return tuple(int(case[name], 16) for name in names)


def plain(n, elements):
    return modular.leave(elements, modulus(n), backend="reference").to_ints()


@pytest.fixture(scope="module")
def key():
    return ou.PrivateKey(*integers(VECTORS["valid"][4], "p", "q"))


@pytest.mark.parametrize("case", VECTORS["valid"], ids=comment)
@pytest.mark.parametrize("backend", ENCRYPT.available())
def test_backends_agree_with_vectors(backend, case):
    p, q, e, c, again_e, again = integers(case, "p", "q", "e", "c", "rerandomizing_e", "rerandomized")
    n, m = p * p * q, int(case["m"])
    rows = samples.one_row(e, reference.encryption_bytes(n))
    made = ENCRYPT.select(backend, batch=1)(n, [m], plain_bits(n, abs(m)), rows)
    assert plain(n, made) == [c]
    rows = samples.one_row(again_e, reference.rerandomization_bytes(n))
    fresh = RERANDOMIZE.select(backend, batch=1)(n, made, rows)
    assert plain(n, fresh) == [again]
    assert DECRYPT.select(backend, batch=1)(p, q, fresh) == [m % p]


@pytest.mark.parametrize("batch", [0, 1, 7, 8, 9, 15, 16, 17])
@pytest.mark.parametrize("backend", ENCRYPT.available())
def test_backends_agree_with_the_reference_at_odd_sizes(backend, batch):
    p, q = integers(VECTORS["valid"][0], "p", "q")
    n = p * p * q
    draw = random.Random(batch)
    top = (1 << reference.plaintext_bits(n)) - 1
    values = [draw.randint(-top, top) for _ in range(batch)]
    rows = random_rows(batch, reference.encryption_bytes(n), draw.randbytes)
    long_rows = random_rows(batch, reference.rerandomization_bytes(n), draw.randbytes)
    made = ENCRYPT.select(backend, batch=batch)(n, values, plain_bits(n, top), rows)
    assert plain(n, made) == reference.encrypt(n, values, row_ints(rows))
    fresh = RERANDOMIZE.select(backend, batch=batch)(n, made, long_rows)
    assert plain(n, fresh) == reference.rerandomize(n, plain(n, made), row_ints(long_rows))
    assert DECRYPT.select(backend, batch=batch)(p, q, fresh) == [value % p for value in values]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(*[st.integers(-(2**40), 2**40)] * 3), max_size=6))
def test_computes_like_integers(key, rows):
    a, b, k = (np.array([row[i] for row in rows], dtype=object) for i in range(3))
    ea, eb = (ou.encrypt_ints(key.public, values, bound=2**40) for values in (a, b))
    assert_array_equal(ou.decrypt_array(key, ea + eb), a + b)
    assert_array_equal(ou.decrypt_array(key, ea * k - eb), a * k - b)
    assert_array_equal(ou.decrypt_array(key, (ea + b).rerandomize()), a + b)
    assert ou.decrypt_ints(key, ea.dot(k) - 5) == [sum(a * k) - 5]
    assert ou.decrypt_ints(key, ea.sum()) == [sum(a)]


@pytest.mark.parametrize("backend", ENCRYPT.available())
def test_what_was_encrypted_decrypts(key, backend):
    top = key.public.max_plaintext
    for bound in (5, 2**63 - 1, 2**63, 2**200, top):
        values = [0, 1, -1, bound, -bound]
        array = ou.encrypt_ints(key.public, values, bound=bound, backend=backend)
        assert ou.decrypt_ints(key, array, backend=backend) == values


def test_encryption_hides_equal_plaintexts_and_follows_its_random_source(key):
    assert len(set(ou.encrypt_ints(key.public, [7] * 20).ciphertexts())) == 20
    one, two = (ou.encrypt_ints(key.public, [1, -2], rng=random.Random(1).randbytes) for _ in range(2))
    assert one.ciphertexts() == two.ciphertexts()


def test_exponents_have_twice_the_strength_of_the_modulus(key):
    for modulus_bits, strength in ((2048, 112), (3072, 128), (4096, 152), (7680, 192), (8192, 200)):
        assert 8 * reference.encryption_bytes(1 << modulus_bits - 1) >= 2 * strength
    order_bits = ((key.p - 1) * (key.q - 1)).bit_length()
    assert 8 * reference.rerandomization_bytes(key.public.n) >= order_bits + 64


def test_both_bases_have_the_promised_orders(key):
    g, h = reference.plain_base(key.public.n), reference.random_base(key.public.n)
    assert pow(g, key.p - 1, key.p**2) != 1
    assert pow(h, (key.p - 1) * (key.q - 1), key.public.n) == 1


def test_sums_that_could_overflow_are_refused(key):
    array = ou.encrypt_ints(key.public, [1], bound=key.public.max_plaintext)
    for operation in (lambda: array + array, lambda: array * 2, lambda: array + 1):
        with pytest.raises(PlaintextOverflow):
            operation()
    with pytest.raises(PlaintextOverflow):
        ou.encrypt_ints(key.public, [0], bound=key.public.max_plaintext + 1)


def test_packed_and_fixed_point_values_survive(key):
    values = np.arange(-6, 6).reshape(2, 6)
    packed = ou.encrypt_packed(key.public, values, bound=6, guard_bits=3)
    assert_array_equal(ou.decrypt_packed(key, (packed + packed) * 3), values * 6)
    fixed = ou.encrypt_fixed(key.public, [0.5, -2.25])
    assert ou.decrypt_fixed(key, fixed) == [0.5, -2.25]


def test_arrays_survive_their_bytes_and_name_their_scheme(key, private):
    array = ou.encrypt_ints(key.public, [[1], [-2]], bound=2)
    again = ou.EncryptedArray.from_bytes(key.public, array.to_bytes())
    assert_array_equal(ou.decrypt_array(key, again), [[1], [-2]])
    with pytest.raises(WrongKey):
        paillier.decrypt_ints(private, array)
    with pytest.raises(WrongKey):
        ou.EncryptedArray.from_bytes(private.public, array.to_bytes())
    assert "Okamoto-Uchiyama" in repr(array)


@pytest.mark.parametrize("case", VECTORS["invalid_ciphertexts"], ids=comment)
def test_bad_ciphertext_is_refused_with_its_index(key, case):
    good = ou.encrypt_ints(key.public, [1, 2]).ciphertexts()
    with pytest.raises(InvalidCiphertext) as caught:
        ou.EncryptedArray.from_ciphertexts(key.public, [*good, *integers(case, "c")], bound=2)
    assert caught.value.detail["index"] == 2


@pytest.mark.parametrize("case", VECTORS["invalid_public"], ids=comment)
def test_bad_modulus_is_refused(case):
    with pytest.raises(InvalidKey):
        ou.PublicKey(*integers(case, "n"))


@pytest.mark.parametrize("case", VECTORS["invalid_private"], ids=comment)
def test_bad_factors_are_refused(case):
    with pytest.raises(InvalidKey):
        ou.PrivateKey(*integers(case, "p", "q"))


def test_generated_key_has_the_promised_form():
    key = ou.generate(2048)
    assert key.public.modulus_bits == 2048
    assert (key.p.bit_length(), key.q.bit_length()) == (683, 682)
    for bad in (1024, 2049, True, None):
        with pytest.raises(BadParameter):
            ou.generate(bad)


def test_keys_survive_their_bytes_and_show_nothing(key):
    assert ou.PublicKey.from_bytes(key.public.to_bytes()) == key.public
    again = ou.PrivateKey.from_bytes(key.to_bytes())
    assert (again.p, again.q) == (key.p, key.q)
    assert str(key.p) not in repr(key)
    with pytest.raises(TypeError):
        pickle.dumps(key)
    for kind, data in ((ou.PublicKey, key.public.to_bytes()), (ou.PrivateKey, key.to_bytes())):
        for bad in (b"", data[:3], data[:-1], data + b"\x00", b"X" + data[1:]):
            with pytest.raises(AccelError):
                kind.from_bytes(bad)
    with pytest.raises(BadEncoding):
        paillier.PublicKey.from_bytes(key.public.to_bytes())


def test_tables_go_with_the_last_use_of_a_key(key):
    bases = weakref.ref(ou_backends._bases(key.public.n))
    ou.encrypt_ints(key.public, [1], backend="portable").rerandomize(backend="portable")
    ou_backends._bases.cache_clear()
    gc.collect()
    assert bases() is None
