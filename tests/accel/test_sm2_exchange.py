import pytest

from accel import selftest, sm2, sm3
from accel.errors import BadEncoding, BadParameter, InvalidPoint, KeyConfirmationFailed
from accel.reference.sm2 import G, N
from accel.reference.weierstrass import SM2, add, multiply_point
from accel.sm2_exchange import Initiator, Responder

VECTORS = selftest.vectors("sm2")
CASE = VECTORS["exchange"][0]
ALICE, BOB = (sm2.PrivateKey(int(CASE[name], 16)) for name in ("d_a", "d_b"))


def fixed(scalar):
    return lambda count: scalar.to_bytes(count, "big")


def pair(key_bytes=16, names=(b"Alice", b"Bob"), expected=None, **randomness):
    """Both roles; ``expected`` are the identities that the peers have in mind."""
    alice, bob = names
    expected_alice, expected_bob = expected or names
    return (
        Initiator(ALICE, alice, BOB.public, expected_bob, key_bytes=key_bytes, **randomness.get("a", {})),
        Responder(BOB, bob, ALICE.public, expected_alice, key_bytes=key_bytes, **randomness.get("b", {})),
    )


def test_every_message_agrees_with_the_standard():
    names = (CASE["identity_a"].encode(), CASE["identity_b"].encode())
    randomness = {"a": {"rng": fixed(int(CASE["r_a"], 16))}, "b": {"rng": fixed(int(CASE["r_b"], 16))}}
    initiator, responder = pair(names=names, **randomness)
    first = initiator.start()
    assert first.hex() == CASE["point_a"]
    second = responder.respond(first)
    assert second.hex() == CASE["point_b"] + CASE["s_b"]
    key, third = initiator.finish(second)
    assert (key.hex(), third.hex()) == (CASE["key"], CASE["s_a"])
    assert responder.confirm(third) == key


def test_the_key_is_that_of_the_formula_in_plain_integers():
    r_a, r_b = int(CASE["r_a"], 16), int(CASE["r_b"], 16)
    point_a, point_b = multiply_point(SM2, r_a, G), multiply_point(SM2, r_b, G)
    low = (1 << 127) - 1
    x_a, x_b = (1 << 127 | point[0] & low for point in (point_a, point_b))
    t_b = (BOB.d + x_b * r_b) % N
    public_a = (ALICE.public.x, ALICE.public.y)
    v = multiply_point(SM2, t_b, add(SM2, public_a, multiply_point(SM2, x_a, point_a)))
    z = [sm2.identity_digest(key.public, sm2.DEFAULT_ID) for key in (ALICE, BOB)]
    shared = v[0].to_bytes(32, "big") + v[1].to_bytes(32, "big")
    assert sm3.kdf(shared + z[0] + z[1], 16).hex() == CASE["key"]


@pytest.mark.parametrize("key_bytes", [1, 16, 32, 100])
def test_both_parties_get_the_same_fresh_key(key_bytes):
    keys = set()
    for _ in range(2):
        initiator, responder = pair(key_bytes)
        key, third = initiator.finish(responder.respond(initiator.start()))
        assert responder.confirm(third) == key
        assert len(key) == key_bytes
        keys.add(key)
    assert len(keys) == (2 if key_bytes > 1 else len(keys))


def test_another_identity_fails_confirmation():
    for expected in ((b"Mallory", b"Bob"), (b"Alice", b"Mallory")):
        initiator, responder = pair(expected=expected)
        with pytest.raises(KeyConfirmationFailed):
            initiator.finish(responder.respond(initiator.start()))


def test_another_private_key_fails_confirmation():
    initiator, _ = pair()
    mallory = Responder(sm2.generate(), b"Bob", ALICE.public, b"Alice", key_bytes=16)
    with pytest.raises(KeyConfirmationFailed):
        initiator.finish(mallory.respond(initiator.start()))
    _, responder = pair()
    mallory = Initiator(sm2.generate(), b"Alice", BOB.public, b"Bob", key_bytes=16)
    with pytest.raises(KeyConfirmationFailed):
        mallory.finish(responder.respond(mallory.start()))


@pytest.mark.parametrize("position", [0, 40, 64, 65, 96])
def test_a_changed_answer_is_refused(position):
    initiator, responder = pair()
    second = bytearray(responder.respond(initiator.start()))
    second[position] ^= 1
    with pytest.raises((KeyConfirmationFailed, InvalidPoint, BadEncoding)):
        initiator.finish(bytes(second))


def test_a_changed_confirmation_gives_no_key_and_no_second_try():
    initiator, responder = pair()
    _, third = initiator.finish(responder.respond(initiator.start()))
    for bad in (b"", third[:-1], bytes([third[0] ^ 1]) + third[1:]):
        _, fresh = pair()
        fresh.respond(Initiator(ALICE, b"Alice", BOB.public, b"Bob", key_bytes=16).start())
        with pytest.raises(KeyConfirmationFailed):
            fresh.confirm(bad)
        with pytest.raises(BadParameter):
            fresh.confirm(third)


@pytest.mark.parametrize("case", VECTORS["invalid_points"], ids=lambda case: case["comment"])
def test_bad_points_are_refused_on_both_sides(case):
    point = bytes.fromhex(case["point"])
    initiator, responder = pair()
    with pytest.raises((InvalidPoint, BadEncoding)):
        responder.respond(point)
    initiator.start()
    with pytest.raises((InvalidPoint, BadEncoding)):
        initiator.finish(point + bytes(32))


def test_points_that_cancel_are_refused():
    """P + x̄ R = infinity for R = -P / x̄: search an ephemeral of a dishonest peer that knows its key."""
    # R = r G with r x̄(r G) = -d: x̄ depends on R, so build the peer's key from R instead.
    r = 12345
    point = multiply_point(SM2, r, G)
    x = 1 << 127 | point[0] & (1 << 127) - 1
    dishonest = sm2.PrivateKey(-x * r % N)
    responder = Responder(BOB, b"Bob", dishonest.public, b"Alice", key_bytes=16)
    message = b"\x04" + point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")
    with pytest.raises(InvalidPoint):
        responder.respond(message)


def test_steps_come_in_their_order_and_once():
    initiator, responder = pair()
    with pytest.raises(BadParameter):
        initiator.finish(bytes(97))
    with pytest.raises(BadParameter):
        responder.confirm(bytes(32))
    first = initiator.start()
    with pytest.raises(BadParameter):
        initiator.start()
    responder.respond(first)
    with pytest.raises(BadParameter):
        responder.respond(first)


@pytest.mark.parametrize("key_bytes", [0, -1, (1 << 16) + 1])
def test_session_keys_of_no_length_or_too_long_are_refused(key_bytes):
    with pytest.raises(BadParameter):
        pair(key_bytes)
