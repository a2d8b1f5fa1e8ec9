"""What every intersection protocol here is built on: an oblivious pseudorandom function over many items.

For each pair of buckets, the receiver holds items x and the sender items y. Afterwards the receiver has F(x)
for each of its x, in its order; the sender has F(y) for each of its y; F is fresh and known to the sender
alone. The sender learns how many items the receiver has, the receiver nothing. What is compared (tags) and
what hides labels is derived from F by the caller: see `compute.protocols.psi.engine`.

Items are 32-byte digests of keys (`compute.protocols.keyset`), all different within a bucket; padding is
random digests. Outputs are 32 bytes each and pseudorandom. Buckets come in lists, so that an implementation
can ask for the work of several at once (`Session.parallel`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from compute.protocols.protocol import Part, Session

ITEM_BYTES = 32
OUTPUT_BYTES = 32

# n items or outputs: shape (n, 32), C-contiguous.
Items = npt.NDArray[np.uint8]


class Oprf(Protocol):
    """One implementation. ``instance`` (public, unique in the job) and the binding go into every hash."""

    @property
    def name(self) -> str:
        """As results show it."""

    def send(
        self,
        session: Session,
        peer: str,
        buckets: Sequence[Items],
        peer_counts: Sequence[int],
        instance: bytes,
    ) -> Part[list[Items]]:
        """The sender's part: F of its own items, bucket by bucket.

        Raises ProtocolAbort for anything the receiver may not send.
        """

    def receive(
        self,
        session: Session,
        peer: str,
        buckets: Sequence[Items],
        peer_counts: Sequence[int],
        instance: bytes,
    ) -> Part[list[Items]]:
        """The receiver's part: F of its own items, bucket by bucket. Raises ProtocolAbort as above."""
