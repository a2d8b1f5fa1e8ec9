"""The transcript digest agrees at both ends whatever the interleaving, and on nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from compute.wire.transcript import Transcript

BINDING = b"j" * 32
MESSAGES = st.lists(st.tuples(st.booleans(), st.binary(max_size=40)), max_size=12)


def both_ends(exchange):
    left, right = Transcript("left", BINDING), Transcript("right", BINDING)
    for from_left, message in exchange:
        sender, receiver = (left, right) if from_left else (right, left)
        sender.sent(receiver.role, message)
        receiver.received(sender.role, message)
    return left, right


@given(MESSAGES)
def test_both_ends_of_a_two_role_job_agree(exchange):
    left, right = both_ends(exchange)
    assert left.digest() == right.digest()
    assert left.peer_digest("right") == right.peer_digest("left")


@given(MESSAGES)
def test_the_order_between_directions_does_not_matter(exchange):
    """Both sides may send at once: what one sees first the other sees last."""
    mixed, _ = both_ends(exchange)
    sorted_by_direction, _ = both_ends(sorted(exchange, key=lambda item: item[0]))
    assert mixed.digest() == sorted_by_direction.digest()


def test_order_count_direction_content_and_job_all_matter():
    def digest(exchange, binding=BINDING):
        transcript = Transcript("left", binding)
        for from_left, message in exchange:
            (transcript.sent if from_left else transcript.received)("right", message)
        return transcript.digest()

    variants = [
        digest([(True, b"a"), (True, b"b")]),
        digest([(True, b"b"), (True, b"a")]),
        digest([(True, b"ab")]),
        digest([(True, b"ab"), (True, b"")]),
        digest([(False, b"a"), (False, b"b")]),
        digest([(True, b"a"), (False, b"b")]),
        digest([]),
        digest([(True, b"a"), (True, b"b")], binding=b"k" * 32),
    ]
    assert len(set(variants)) == len(variants)


def test_with_three_roles_each_channel_agrees_and_each_node_has_its_own_digest():
    nodes = {role: Transcript(role, BINDING) for role in ("p1", "p2", "p3")}
    for sender, receiver, message in [("p1", "p2", b"x"), ("p2", "p3", b"y"), ("p3", "p1", b"z")]:
        nodes[sender].sent(receiver, message)
        nodes[receiver].received(sender, message)
    for one in nodes:
        for other in set(nodes) - {one}:
            assert nodes[one].peer_digest(other) == nodes[other].peer_digest(one)
    assert len({node.digest() for node in nodes.values()}) == 3
    assert nodes["p1"].peers() == ("p2", "p3")


def test_role_names_cannot_be_shifted_into_each_other():
    one, other = Transcript("a", BINDING), Transcript("ab", BINDING)
    one.sent("bc", b"m")
    other.sent("c", b"m")
    assert one.digest() != other.digest()
