"""What `python -m bench gpu` checks and times, a file for each family. Needs numpy and CuPy, nothing else."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from bench.gpu.entry import Entry

FAMILIES = ("curves", "lwe", "modular", "paillier", "symmetric")
"""Modules of this package, each with ``ENTRIES``, a tuple of `Entry`."""


def families(only: Sequence[str] = ()) -> list[Entry]:
    """The entries of the named families, or of all."""
    chosen = only or FAMILIES
    return [e for name in chosen for e in importlib.import_module(f"bench.gpu.{name}").ENTRIES]
