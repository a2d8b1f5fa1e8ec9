"""What a job costs before it runs: bytes each role sends and group operations, from public sizes alone.

Every folder's ``cost.py`` returns a `Cost`; quotes and capacity plans use it, and a test holds measured runs
to within 2 %. Bytes are those of protocol messages before framing and encryption (under 0.1 % more).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compute.protocols.protocol import Message
from compute.protocols.stream import Block, block_items
from compute.wire import codec


@dataclass(frozen=True)
class Cost:
    """``bytes_sent`` per role; ``operations`` per name, all roles together.

    ``rounds``: messages that wait for one another, one after the other (0: not said); each takes half a round
    trip of the network. `compute.protocols.quote` makes seconds of all three.
    """

    bytes_sent: Mapping[str, int]
    operations: Mapping[str, int]
    rounds: int = 0


def message_bytes(*messages: Message) -> int:
    """Encoded size of messages whose lengths do not depend on data."""
    return sum(len(codec.encode(message)) for message in messages)


def array_bytes(count: int, width: int) -> int:
    """Encoded size of an array of ``count`` items of ``width`` bytes as `stream.send_array` cuts it."""
    step = block_items(width)
    full, rest = divmod(count, step)
    total = full * message_bytes(Block(full, bytes(step * width))) if full else 0
    return total + (message_bytes(Block(full, bytes(rest * width))) if rest else 0)
