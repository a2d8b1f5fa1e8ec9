"""Every backend of batch modular arithmetic against the vectors, the reference and Python's integers."""

import random

import gmpy2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel import modular, selftest
from accel.errors import AccelError, BadParameter, NotInvertible
from accel.limbs import LimbArray
from accel.modular import FixedBase, Modulus
from accel.modular_backends import OPERATIONS

BACKENDS = OPERATIONS["multiply"].available()
FAST = [name for name in BACKENDS if name != "reference"]
SIZES = (256, 257, 300, 412, 413, 511, 1024, 1366, 2048, 3072, 4095, 4096, 6143, 6144, 16384)
VECTORS = selftest.vectors("modular")


def ints(values):
    return [int(value, 16) for value in values]


def odd(rng, bits):
    return rng.getrandbits(bits) | 1 | 1 << (bits - 1)


def edges(value):
    """Numbers below the modulus whose limbs are all zeros or all ones, and its neighbourhood."""
    ones = [(1 << 52 * j) - 1 for j in range(1, value.bit_length() // 52 + 1)]
    return [x % value for x in (0, 1, 2, value - 1, value - 2, value >> 1, ones[0], ones[-1], ones[-1] << 1)]


def empty(m):
    return LimbArray(np.zeros((m.limbs, 0), dtype=np.uint64))


def plain(array, m):
    return [m.from_montgomery(x) for x in array.to_ints()]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", VECTORS["valid"], ids=lambda c: c["comment"])
def test_vectors(backend, case):
    m = Modulus(int(case["modulus"], 16))
    assert m.limbs == case["limbs"]
    x = m.array(ints(case["montgomery"]))
    assert modular.enter(m.array(ints(case["values"])), m, backend=backend).to_ints() == x.to_ints()
    assert modular.leave(x, m, backend=backend).to_ints() == ints(case["values"])
    backwards = x.take(range(len(x))[::-1])
    fixed = FixedBase(int(case["fixed_base"]["base"], 16), case["fixed_base"]["exponent_bits"], m)
    exponents = np.array([list(bytes.fromhex(e)) for e in case["fixed_base"]["exponents"]], dtype=np.uint8)
    secret = int(case["power_secret"]["exponent"], 16)
    rows = [ints(row) for row in case["multi_power"]["exponents"]]
    results = {
        "multiply": modular.multiply(x, backwards, m, backend=backend),
        "square": modular.square(x, m, backend=backend),
        "power": modular.power(x, ints(case["power"]["exponents"]), m, backend=backend),
        "power_secret": modular.power_secret(
            x, secret, case["power_secret"]["exponent_bits"], m, backend=backend
        ),
        "fixed_base": fixed.power(exponents, backend=backend),
        "multi_power": modular.multi_power(x, rows, m, backend=backend),
        "product_by_group": modular.product_by_group(
            x, case["product_by_group"]["groups"], case["product_by_group"]["count"], m, backend=backend
        ),
        "inverse": modular.inverse(x[1:], m, backend=backend),
    }
    for name, result in results.items():
        assert plain(result, m) == ints(case[name]["result"]), name


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", VECTORS["crt"], ids=lambda c: c["comment"])
def test_crt_vectors(backend, case):
    p, q = Modulus(int(case["p"], 16)), Modulus(int(case["q"], 16))
    residues = p.array(ints(case["residues_p"])), q.array(ints(case["residues_q"]))
    got = modular.crt(*residues, p, q, backend=backend)
    assert got.limb_count == Modulus(p.value * q.value).limbs
    assert got.to_ints() == ints(case["result"])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", VECTORS["invalid"], ids=lambda c: c["comment"])
def test_invalid_vectors(backend, case):
    def call():
        m = Modulus(int(case["modulus"], 16))
        if case["operation"] != "modulus":
            values = LimbArray.from_ints(ints(case["values"]), m.limbs)
            getattr(modular, case["operation"])(values, m, backend=backend)

    with pytest.raises(AccelError) as caught:
        call()
    assert caught.value.code == case["error"]
    assert caught.value.detail.get("index") == case.get("index")


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("bits", SIZES)
def test_every_size_of_modulus_against_integers(backend, bits):
    rng = random.Random(bits)
    for value in (odd(rng, bits), (1 << bits) - 1, (1 << (bits - 1)) + 1):
        m = Modulus(value)
        xs = edges(value) + [rng.randrange(value) for _ in range(8)]
        ys = xs[5:] + xs[:5]
        x, y = (m.array([m.to_montgomery(v) for v in vs]) for vs in (xs, ys))
        assert modular.enter(m.array(xs), m, backend=backend).to_ints() == x.to_ints()
        assert modular.leave(x, m, backend=backend).to_ints() == xs
        product = modular.multiply(x, y, m, backend=backend)
        assert plain(product, m) == [a * b % value for a, b in zip(xs, ys, strict=True)]
        assert plain(modular.square(x, m, backend=backend), m) == [a * a % value for a in xs]
        by_one = modular.multiply(x, y[:1], m, backend=backend)
        assert plain(by_one, m) == [a * ys[0] % value for a in xs]
        assert plain(modular.power(x, 11, m, backend=backend), m) == [pow(a, 11, value) for a in xs]


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 15, 16, 17, 1000])
def test_every_batch_size_agrees_with_the_reference(backend, count):
    rng = random.Random(count)
    m = Modulus(odd(rng, 330))
    x = m.array([rng.randrange(m.value) for _ in range(count)]) if count else empty(m)
    y = x.take(list(range(count))[::-1])
    groups = [rng.randrange(20) for _ in range(count)]
    rows = [[rng.getrandbits(9) for _ in range(count)] for _ in range(3)]
    fixed = FixedBase(rng.randrange(m.value), 20, m)
    exponents = np.array([rng.getrandbits(20) for _ in range(count)], dtype=">u4").view(np.uint8)
    for call in (
        lambda name: modular.enter(x, m, backend=name),
        lambda name: modular.leave(x, m, backend=name),
        lambda name: modular.multiply(x, y, m, backend=name),
        lambda name: modular.square(x, m, backend=name),
        lambda name: modular.power(x, 1000003, m, backend=name),
        lambda name: modular.power(x, groups, m, backend=name),
        lambda name: modular.power_secret(x, 0b1011, 7, m, backend=name),
        lambda name: fixed.power(exponents.reshape(count, 4)[:, 1:], backend=name),
        lambda name: modular.multi_power(x, rows, m, backend=name),
        lambda name: modular.product_by_group(x, groups, 20, m, backend=name),
    ):
        assert call(backend).to_ints() == call("reference").to_ints()


@settings(max_examples=25, deadline=None)
@given(st.integers(256, 700), st.integers(0, 1 << 700), st.data())
def test_products_and_powers_of_any_number_under_any_modulus(bits, seed, data):
    m = Modulus(seed % (1 << (bits - 1)) | 1 | 1 << (bits - 1))
    number = st.one_of(st.sampled_from(edges(m.value)), st.integers(0, m.value - 1))
    xs = data.draw(st.lists(number, min_size=1, max_size=9))
    exponents = [data.draw(st.integers(0, 1 << 70)) for _ in xs]
    x = m.array(xs)
    for backend in FAST:
        product = modular.multiply(x, x[:1], m, backend=backend)
        assert product.to_ints() == [m.from_montgomery(a * xs[0]) for a in xs]
        entered = modular.enter(x, m, backend=backend)
        powers = modular.leave(modular.power(entered, exponents, m, backend=backend), m, backend=backend)
        assert powers.to_ints() == [pow(a, e, m.value) for a, e in zip(xs, exponents, strict=True)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_exponents_of_every_length(backend):
    rng = random.Random(5)
    m = Modulus(odd(rng, 256))
    xs = [0, 1, m.value - 1, rng.randrange(m.value)]
    x = m.array([m.to_montgomery(v) for v in xs])
    for exponent in [*range(34), *((1 << k) + s for k in (8, 31, 64, 255, 700) for s in (-1, 0, 1))]:
        expected = [pow(v, exponent, m.value) for v in xs]
        assert plain(modular.power(x, exponent, m, backend=backend), m) == expected
        for width in (exponent.bit_length() or 1, exponent.bit_length() + 9):
            assert plain(modular.power_secret(x, exponent, width, m, backend=backend), m) == expected
        fixed = FixedBase(xs[3], max(exponent.bit_length(), 1), m)
        row = np.frombuffer(exponent.to_bytes(fixed.exponent_bytes, "big"), dtype=np.uint8)
        assert plain(fixed.power(row[None, :], backend=backend), m) == expected[3:]


@pytest.mark.parametrize("backend", BACKENDS)
def test_fixed_base_takes_limbs_or_bytes(backend):
    m = Modulus((1 << 300) - 153)
    fixed = FixedBase(3, 70, m)
    exponents = [0, 1, (1 << 70) - 1, 12345678901234567890]
    data = b"".join(e.to_bytes(9, "big") for e in exponents)
    rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, 9)
    got = fixed.power(rows, backend=backend).to_ints()
    assert got == fixed.power(LimbArray.from_ints(exponents, 2), backend=backend).to_ints()
    assert got == [m.to_montgomery(pow(3, e, m.value)) for e in exponents]


@pytest.mark.parametrize("backend", BACKENDS)
def test_simultaneous_powers_take_negative_exponents(backend):
    m = Modulus((1 << 521) - 1)
    xs = [3, 5, 7]
    x = m.array([m.to_montgomery(v) for v in xs])
    rows = [[1, 2, 3], [-1, 0, 2], [-3, -4, -5], [0, 0, 0]]
    expected = []
    for row in rows:
        product = 1
        for v, e in zip(xs, row, strict=True):
            product = product * pow(v, e, m.value) % m.value
        expected.append(product)
    assert plain(modular.multi_power(x, rows, m, backend=backend), m) == expected
    zero = m.array([0, m.one, m.one])
    with pytest.raises(NotInvertible) as caught:
        modular.multi_power(zero, [[1, 1, 1], [-1, 1, 1]], m, backend=backend)
    assert caught.value.detail["index"] == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_empty_products_are_one(backend):
    m = Modulus((1 << 256) - 189)
    assert modular.multi_power(empty(m), [[], []], m, backend=backend).to_ints() == [m.one] * 2
    assert modular.multi_power(empty(m), [], m, backend=backend).to_ints() == []
    assert modular.product_by_group(empty(m), [], 2, m, backend=backend).to_ints() == [m.one] * 2
    assert modular.product_by_group(empty(m), [], 0, m, backend=backend).to_ints() == []
    assert modular.inverse(empty(m), m, backend=backend).to_ints() == []


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("count", [1, 16, 17, 33, 500])
def test_inverses(backend, count):
    rng = random.Random(count)
    m = Modulus(int(gmpy2.next_prime(1 << 400)) * int(gmpy2.next_prime(1 << 300)))
    xs = [rng.randrange(1, m.value) for _ in range(count)]
    x = modular.enter(m.array(xs), m, backend=backend)
    assert plain(modular.inverse(x, m, backend=backend), m) == [pow(v, -1, m.value) for v in xs]
    bad = rng.randrange(count)
    xs[bad] = int(gmpy2.next_prime(1 << 300)) * 17
    with pytest.raises(NotInvertible) as caught:
        modular.inverse(modular.enter(m.array(xs), m, backend=backend), m, backend=backend)
    assert caught.value.detail["index"] == bad


@pytest.mark.parametrize("backend", FAST)
def test_crt_with_moduli_of_different_sizes(backend):
    rng = random.Random(3)
    for p_bits, q_bits in ((256, 256), (1024, 1024), (300, 1000), (1500, 257)):
        p, q = (int(gmpy2.next_prime(odd(rng, bits))) for bits in (p_bits, q_bits))
        xs = [0, 1, p - 1, p, q - 1, q, p * q - 1] + [rng.randrange(p * q) for _ in range(4)]
        mp, mq = Modulus(p), Modulus(q)
        residues = mp.array([x % p for x in xs]), mq.array([x % q for x in xs])
        assert modular.crt(*residues, mp, mq, backend=backend).to_ints() == xs


@pytest.mark.parametrize("backend", FAST)
def test_views_and_copies_of_any_layout(backend):
    m = Modulus((1 << 700) - 1)
    x = m.array(list(range(100, 140)))
    turned = LimbArray(np.asfortranarray(x.limbs))
    frozen = x.limbs.copy()
    frozen.flags.writeable = False
    expected = [m.from_montgomery(v * v) for v in range(100, 140)]
    for view in (x, turned, LimbArray(frozen)):
        assert modular.square(view, m, backend=backend).to_ints() == expected
        assert modular.multiply(view[3:20], view[3:20], m, backend=backend).to_ints() == expected[3:20]
        third = LimbArray(view.limbs[:, ::3])
        assert modular.square(third, m, backend=backend).to_ints() == expected[::3]


@pytest.mark.parametrize("threads", ["1", "2", "5"])
def test_threads_do_not_change_results(threads, monkeypatch):
    monkeypatch.setenv("LIUTONG_THREADS", threads)
    rng = random.Random(9)
    m = Modulus(odd(rng, 512))
    xs = [rng.randrange(m.value) for _ in range(1111)]
    x, groups = m.array(xs), [rng.randrange(5) for _ in xs]
    for backend in FAST:
        assert modular.square(x, m, backend=backend).to_ints() == [m.from_montgomery(v * v) for v in xs]
        got = modular.product_by_group(x, groups, 5, m, backend=backend).to_ints()
        assert got == modular.product_by_group(x, groups, 5, m, backend="reference").to_ints()


def test_values_not_below_the_modulus_are_named():
    m = Modulus((1 << 2000) - 1)
    good = m.array([0, m.value - 1])
    assert modular.leave(good, m).to_ints()[0] == 0
    for value in (m.value, m.value + 1, (1 << 2001) - 1, (1 << 52 * m.limbs) - 1):
        bad = LimbArray.from_ints([1, 2, value, value], m.limbs)
        for call in (
            lambda a: modular.enter(a, m),
            lambda a: modular.multiply(a, a, m),
            lambda a: modular.multiply(good, a[2:], m),
            lambda a: modular.power(a, 3, m),
            lambda a: modular.power_secret(a, 3, 2, m),
            lambda a: modular.multi_power(a, [[1, 1, 1, 1]], m),
            lambda a: modular.product_by_group(a, [0, 0, 0, 0], 1, m),
            lambda a: modular.inverse(a, m),
        ):
            with pytest.raises(BadParameter) as caught:
                call(bad)
            assert caught.value.detail["index"] in (0, 2)  # 0: the slice begins there


def test_wrong_types_and_shapes_are_refused():
    m, other = Modulus((1 << 256) - 189), Modulus((1 << 2048) - 1)
    x = m.array([1, 2, 3])
    for call in (
        lambda: modular.enter(other.array([1]), m),
        lambda: modular.enter([1, 2], m),
        lambda: modular.enter(x, m.value),
        lambda: modular.multiply(x, x[:2], m),
        lambda: modular.multiply(x, empty(m), m),
        lambda: modular.power(x, [1, 2], m),
        lambda: modular.power(x, -1, m),
        lambda: modular.power(x, 1.5, m),
        lambda: modular.power(x, [1, 2.5, 3], m),
        lambda: modular.multi_power(x, [[1, 2.5, 3]], m),
        lambda: modular.power(x, 1 << 70000, m),
        lambda: modular.power_secret(x, 8, 3, m),
        lambda: modular.power_secret(x, -1, 3, m),
        lambda: modular.power_secret(x, 0, 0, m),
        lambda: modular.product_by_group(x, [0, 0], 1, m),
        lambda: modular.product_by_group(x, [0.0, 1.0, 0.0], 2, m),
        lambda: modular.product_by_group(x, [0, 0, 0], -1, m),
        lambda: FixedBase(m.value, 8, m),
        lambda: FixedBase(-1, 8, m),
        lambda: FixedBase(2, 0, m),
        lambda: FixedBase(2, 16, m).power(np.zeros((3, 1), dtype=np.uint8)),
        lambda: FixedBase(2, 16, m).power(np.zeros((3, 2), dtype=np.int64)),
        lambda: FixedBase(2, 16, m).power(np.zeros(2, dtype=np.uint8)),
        lambda: modular.crt(x, x, m, m),
        lambda: modular.crt(x, m.array([1]), m, Modulus((1 << 256) - 357)),
        lambda: Modulus(True),
        lambda: Modulus(1.5e90),
    ):
        with pytest.raises(BadParameter):
            call()


def test_errors_name_the_element():
    m = Modulus((1 << 256) - 189)
    x = m.array([1, 2, 3])
    wide = np.array([[0, 1], [15, 255], [16, 0]], dtype=np.uint8)
    for call, index in (
        (lambda: modular.power(x, [1, -2, 3], m), 1),
        (lambda: modular.product_by_group(x, [0, 1, 2], 2, m), 2),
        (lambda: modular.product_by_group(x, [0, -1, 1], 2, m), 1),
        (lambda: modular.multi_power(x, [[1, 2, 3], [1, 2]], m), 1),
        (lambda: FixedBase(2, 12, m).power(wide), 2),
    ):
        with pytest.raises(BadParameter) as caught:
            call()
        assert caught.value.detail["index"] == index


def test_numbers_and_their_modulus_do_not_show_their_value():
    m = Modulus((1 << 256) - 189)
    assert repr(m) == "<Modulus of 256 bits>"
    assert "12345" not in repr(m.array([12345]))
    assert m == Modulus((1 << 256) - 189)
    assert len({m, Modulus((1 << 256) - 189)}) == 1
