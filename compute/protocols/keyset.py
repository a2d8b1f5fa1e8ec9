"""The distinct join keys of a table as digests in arrays: what set protocols compare, at array speed.

A digest is SM3 over the injective encoding of the normalised key (`compute.protocols.identifiers`). It is
deterministic and unsalted, hence as good as the identifier itself: it never leaves the node. Protocols hash
it again under the job's binding, and send only what a secret has masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from accel import sm3
from compute.protocols.identifiers import Normalisation, keys_of

DIGEST_BYTES = 32


@dataclass(frozen=True, repr=False)  # holds identifiers: keep it out of logs
class KeySet:
    """Distinct keys in order of first appearance.

    ``digests`` (n, 32) uint8. The rows of key i are ``rows[offsets[i]:offsets[i + 1]]`` (int64), ascending.
    ``repeated`` counts rows beyond the first of a key; ``without_key`` rows with a null or empty key part,
    which take no part.
    """

    digests: npt.NDArray[np.uint8]
    rows: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    repeated: int
    without_key: int

    def __len__(self) -> int:
        return len(self.digests)


def key_set(table: pa.Table, columns: Sequence[str], normalisation: Normalisation) -> KeySet:
    """The keys of a table; raises BadInput naming column and row of a value that cannot be a key."""
    keys = keys_of(table, columns, normalisation)
    digests = sm3.digest_many(keys.encoded)
    counts = np.fromiter((len(rows) for rows in keys.rows), np.int64, len(keys))
    rows = np.fromiter((row for group in keys.rows for row in group), np.int64, int(counts.sum()))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    return KeySet(digests, rows, offsets, keys.repeated, keys.without_key)
