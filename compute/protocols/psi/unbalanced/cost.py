"""Cost of a lookup in a preprocessed set; see `compute.protocols.cost`."""

from __future__ import annotations

from compute.protocols.cost import Cost, array_bytes, message_bytes
from compute.protocols.psi.ecdh.cost import answers_bytes, asked_bytes, operations
from compute.protocols.psi.ecdh.curves import CurveName
from compute.protocols.psi.unbalanced.online import Announce, Wanted
from compute.protocols.psi.unbalanced.tags import table_bytes


def unbalanced_cost(
    server: int,
    client: int,
    *,
    prepared: bool = False,
    downloaded: bool = False,
    curve: CurveName = "curve25519",
) -> Cost:
    """``prepared``: the server has its table; ``downloaded``: the client has it."""
    announced = message_bytes(Announce(bytes(32), server, bytes(32)))
    table = 0 if downloaded else array_bytes(table_bytes(server), 1)
    evaluated = 0 if prepared else server
    return Cost(
        {
            "server": announced + table + answers_bytes(client, curve),
            "client": message_bytes(Wanted(not downloaded)) + asked_bytes(client, curve),
        },
        operations(evaluated, client, curve),
    )
