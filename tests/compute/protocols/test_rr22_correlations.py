"""What RR22 stands on, layer by layer, against the relations that define each in plain integers."""

import dataclasses

import numpy as np
import pytest

from accel import ggm
from accel.reference import gf128
from accel.reference import weierstrass as affine
from compute.errors import ProtocolAbort
from compute.protocols.psi.rr22 import base_ot, items, noisy_vole, subspace_vole, vole
from compute.protocols.psi.rr22.parameters import LOW_COMMUNICATION, MALICIOUS, STANDARD, Mode, Shape, shape
from tests.compute.protocols.jobs import seeded

CONTEXT = bytes(range(16))
MODES = (STANDARD, LOW_COMMUNICATION, MALICIOUS)


def words(seed: str, *size: int) -> np.ndarray:
    return np.frombuffer(seeded(seed)(8 * int(np.prod(size))), np.uint64).reshape(size).copy()


def choices_of(count: int, seed: str) -> np.ndarray:
    return np.frombuffer(seeded(seed)(count), np.uint8) & 1


# Base transfers.


@pytest.mark.parametrize("count", [1, 2, 7, 128])
def test_the_receiver_gets_the_keys_it_chose_and_no_others(count: int) -> None:
    choices = choices_of(count, "choices")
    message, exponents = base_ot.choose(choices, CONTEXT, seeded("r")(base_ot.CHOOSE_BYTES * count))
    reply, keys = base_ot.answer(message, CONTEXT, seeded("s")(base_ot.ANSWER_BYTES * count))
    got = base_ot.finish(message, reply, choices, exponents, CONTEXT)
    rows = np.arange(count)
    assert np.array_equal(got, keys[rows, choices])
    assert (keys[:, 0] != keys[:, 1]).any(axis=1).all()
    assert not {row.tobytes() for row in got} & {row.tobytes() for row in keys[rows, 1 - choices]}


def test_equal_choices_of_two_runs_give_unrelated_keys_and_contexts_part_them() -> None:
    choices = choices_of(4, "c")
    randomness = seeded("r")(base_ot.CHOOSE_BYTES * 4), seeded("s")(base_ot.ANSWER_BYTES * 4)
    keys = []
    for context in (CONTEXT, CONTEXT[::-1]):
        message, _ = base_ot.choose(choices, context, randomness[0])
        keys.append(base_ot.answer(message, context, randomness[1])[1])
    assert not {k.tobytes() for k in keys[0].reshape(-1, 2)} & {k.tobytes() for k in keys[1].reshape(-1, 2)}


def test_a_sum_of_the_receivers_points_is_its_own_point_and_the_other_is_not() -> None:
    curve = base_ot._CURVE
    choices = np.array([0, 1], np.uint8)
    message, exponents = base_ot.choose(choices, CONTEXT, seeded("r")(base_ot.CHOOSE_BYTES * 2))
    for index, choice in enumerate(choices.tolist()):
        secret = int.from_bytes(exponents[index].tobytes(), "big")
        for side in (0, 1):
            point = base_ot._points(message[index, side : side + 1].copy())
            masks = base_ot.ec.hash_to_curve(
                curve,
                [index.to_bytes(4, "big") + bytes([side]) + message[index, 1 - side].tobytes()],
                base_ot._MASK + CONTEXT,
            )
            total = affine.add(curve, affine.points(point)[0], affine.points(masks)[0])
            assert (total == affine.multiply_point(curve, secret, curve.g)) == (side == choice)


@pytest.mark.parametrize("first", [0, 4, 5], ids=["infinity", "uncompressed", "bad prefix"])
def test_points_of_other_forms_are_refused(first: int) -> None:
    message, exponents = base_ot.choose(np.zeros(1, np.uint8), CONTEXT, seeded("r")(base_ot.CHOOSE_BYTES))
    reply, _ = base_ot.answer(message, CONTEXT, seeded("s")(base_ot.ANSWER_BYTES))
    wrong, bad = message.copy(), reply.copy()
    wrong[0, 1, 0] = bad[0, 0] = first
    with pytest.raises(ProtocolAbort):
        base_ot.answer(wrong, CONTEXT, seeded("s")(base_ot.ANSWER_BYTES))
    with pytest.raises(ProtocolAbort):
        base_ot.finish(message, bad, np.zeros(1, np.uint8), exponents, CONTEXT)


def test_a_point_that_cancels_its_mask_is_refused() -> None:
    message, _ = base_ot.choose(np.zeros(1, np.uint8), CONTEXT, seeded("r")(base_ot.CHOOSE_BYTES))
    mask = base_ot._hash_points(message[:, 1].copy(), np.zeros(1, np.uint8), CONTEXT)
    message[0, 0] = base_ot.ec.compress(base_ot._CURVE, base_ot._negate(mask))[0]
    with pytest.raises(ProtocolAbort, match="cancels"):
        base_ot.answer(message, CONTEXT, seeded("s")(base_ot.ANSWER_BYTES))


# Columns of the key.


def columns(
    blocks: int, tree_bits: int, seed: str = "0"
) -> tuple[np.ndarray, subspace_vole.Extension, np.ndarray, np.ndarray]:
    key, pairs = words(f"{seed} key", 2), words(f"{seed} pairs", 128, 2, 2)
    bits = subspace_vole.key_bits(key)
    chosen = pairs[np.arange(128), 1 - bits]
    extension = subspace_vole.extend(pairs, words(f"{seed} roots", 128 // tree_bits, 2), blocks, tree_bits)
    held, proofs = subspace_vole.hold(key, chosen, extension.sums, extension.corrections, tree_bits)
    return key, extension, held, proofs


@pytest.mark.parametrize("tree_bits", [1, 2, 4, 8])
@pytest.mark.parametrize("blocks", [1, 3])
def test_columns_differ_by_the_bits_where_the_key_has_a_one(blocks: int, tree_bits: int) -> None:
    key, extension, held, proofs = columns(blocks, tree_bits)
    number = int(key[0]) | int(key[1]) << 64
    for c in range(128):
        expected = extension.bits if number >> c & 1 else np.zeros_like(extension.bits)
        assert np.array_equal(held[c] ^ extension.columns[c], expected)
    subspace_vole.check_trees(key, proofs, extension.tree_sums, extension.digest, tree_bits)


def test_an_honest_fingerprint_passes_and_wrong_bits_or_columns_do_not() -> None:
    key, extension, held, _ = columns(3, 4)
    challenge = words("challenge", 2)
    bits_hash, digest = subspace_vole.fingerprint(extension.bits, extension.columns, challenge)
    subspace_vole.check_fingerprint(key, held, challenge, bits_hash, digest)
    for change in ("bits", "columns"):
        altered = getattr(extension, change).copy()
        altered.reshape(-1)[0] ^= np.uint64(1)
        parts = extension._replace(**{change: altered})
        wrong = subspace_vole.fingerprint(parts.bits, parts.columns, challenge)
        with pytest.raises(ProtocolAbort):
            subspace_vole.check_fingerprint(key, held, challenge, *wrong)


def test_transposed_columns_hold_the_key_times_each_bit() -> None:
    key, extension, held, _ = columns(2, 4)
    difference = subspace_vole.transpose(held) ^ subspace_vole.transpose(extension.columns)
    bits = np.unpackbits(extension.bits.view(np.uint8).reshape(-1), bitorder="little").astype(bool)
    assert np.array_equal(difference[bits], np.broadcast_to(key, (int(bits.sum()), 2)))
    assert not difference[~bits].any()


@pytest.mark.parametrize("width", [1, 2])
def test_products_differ_by_value_times_key(width: int) -> None:
    count = 5
    key, extension, held, _ = columns(noisy_vole.blocks_of(count, width), 4)
    values = noisy_vole.values(extension.bits, count, width)
    difference = noisy_vole.combine(held, count, width) ^ noisy_vole.combine(extension.columns, count, width)
    (key_number,) = gf128.to_ints(key[None])
    for value, found in zip(values.tolist(), gf128.to_ints(difference), strict=True):
        number = value[0] | (value[1] << 64 if width == 2 else 0)
        assert found == gf128.product(number, key_number)


# Silent VOLE.


def small(mode: Mode, *, leaves: int = 11, noise: int = 9, outputs: int = 14) -> Shape:
    """A shape that no run would have, quick enough for plain integers."""
    return Shape(mode, outputs, outputs, noise, leaves)


def silent(
    one: Shape, *, alter: str = ""
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    key, extension, held, _ = columns(one.blocks, 4)
    points = vole.noise_points(one, seeded("points")(16 * one.noise))
    flips = vole.flips(one, extension.bits, points)
    leaves, masked, corrections = vole.offer_noise(
        one, key, held, flips, words("seeds", one.noise, 2), CONTEXT
    )
    if alter == "sums":
        masked ^= np.uint64(1)
    if alter == "corrections":
        corrections[3, 1] ^= np.uint64(4)
    taken = vole.take_noise(one, extension.columns, points, masked, corrections, CONTEXT)
    return key, extension.bits, extension.columns, held, points, leaves, taken


@pytest.mark.parametrize("leaves", [8, 9, 13])
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_leaves_differ_by_the_noise_times_the_key(mode: Mode, leaves: int) -> None:
    one = small(mode, leaves=leaves)
    key, bits, _, _, points, ours, theirs = silent(one)
    values = vole.noise_values(one, bits)
    (key_number,) = gf128.to_ints(key[None])
    expected = np.zeros_like(ours)
    for tree, point in enumerate(points.tolist()):
        number = int(values[tree, 0]) | (int(values[tree, 1]) << 64 if mode.words == 2 else 0)
        expected[tree, point] = gf128.to_blocks([gf128.product(number, key_number)])[0]
    assert np.array_equal(ours ^ theirs, expected)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("count", [40, 3500])
def test_spread_values_are_correlated_entry_by_entry(count: int, mode: Mode) -> None:
    one = shape(mode, count)
    key, extension, held, _ = columns(one.blocks, 4)
    if one.noise:
        key, bits, _, held, points, ours, theirs = silent(one)
        b = vole.spread(one, ours, CONTEXT)
        a, c = vole.spread_noise(one, bits, points, theirs, CONTEXT)
    else:
        a, c = vole.noise_values(one, extension.bits), vole.products(one, extension.columns)
        b = vole.products(one, held)
    assert a.shape == (one.outputs, mode.words)
    assert c.shape == b.shape == (one.outputs, 2)
    (key_number,) = gf128.to_ints(key[None])
    sample = np.linspace(0, one.outputs - 1, 60).astype(int)
    wide = np.zeros((len(sample), 2), np.uint64)
    wide[:, : mode.words] = a[sample]
    products = [gf128.product(value, key_number) for value in gf128.to_ints(wide)]
    assert gf128.to_ints(b[sample] ^ c[sample]) == products
    assert len({row.tobytes() for row in a}) == one.outputs


def test_combinations_agree_and_show_what_was_altered() -> None:
    at = words("at", 2)
    for alter in ("", "sums", "corrections"):
        one = small(MALICIOUS)
        key, bits, own_columns, held, points, ours, theirs = silent(one, alter=alter)
        masked, expected = vole.combination(one, own_columns, bits, points, theirs, at)
        assert (vole.combination_digest(one, key, held, ours, at, masked) == expected) == (not alter)


def test_combinations_of_many_chunks_agree() -> None:
    one = small(MALICIOUS, leaves=4001, noise=9)
    assert one.noise * one.leaves > 2 * vole._CHUNK
    key, bits, own_columns, held, points, ours, theirs = silent(one)
    masked, expected = vole.combination(one, own_columns, bits, points, theirs, words("at", 2))
    assert vole.combination_digest(one, key, held, ours, words("at", 2), masked) == expected


@pytest.mark.parametrize("leaves", [1, 2, 3, 100, (1 << 26) - 5])
def test_points_are_the_numbers_modulo_the_leaves(leaves: int) -> None:
    one = dataclasses.replace(small(STANDARD), leaves=leaves, noise=20)
    data = seeded("points")(16 * 20)
    expected = [int.from_bytes(data[at : at + 16], "little") % leaves for at in range(0, len(data), 16)]
    assert vole.noise_points(one, data).tolist() == expected


def test_flips_turn_random_choices_into_the_sides_that_are_needed() -> None:
    one = small(STANDARD)
    bits = words("bits", one.blocks, 2)
    points = vole.noise_points(one, seeded("points")(16 * one.noise))
    packed = vole.flips(one, bits, points)
    random = np.unpackbits(bits.view(np.uint8).reshape(-1), count=one.choices, bitorder="little")
    turned = random ^ np.unpackbits(packed, count=one.choices, bitorder="little")
    assert turned.tolist() == ggm.siblings(points, one.leaves).reshape(-1).tolist()
    assert len(packed) == one.flip_bytes


# Hashes of items.


def test_contexts_tell_every_part_apart() -> None:
    names = {
        items.context(binding, mode, instance, bucket)
        for binding in (b"a", b"ab")
        for mode in ("rr22", "rr22-low")
        for instance in (b"", b"b", b"bc")
        for bucket in (0, 1)
    }
    assert len(names) == 24


def test_outputs_depend_on_block_coin_and_item() -> None:
    hashed = items.digests(np.frombuffer(seeded("i")(64), np.uint8).reshape(2, 32), CONTEXT)
    blocks = words("blocks", 2, 2)
    plain = items.outputs(blocks, b"", hashed)
    assert not np.array_equal(plain, items.outputs(blocks, bytes(15) + b"\1", hashed))
    assert np.array_equal(plain, items.outputs(blocks, bytes(16), hashed))
    assert not (plain == items.outputs(blocks, b"", hashed[::-1].copy())).all(axis=1).any()
    assert not np.array_equal(hashed, items.digests(hashed, CONTEXT))
