"""All job kinds: importing this module registers them. A further protocol adds its folder here."""

from __future__ import annotations

import importlib

from compute.protocols.protocol import JobKind, job_kind, job_kinds

MODULES = (
    "compute.protocols.psi.intersect.protocol",
    "compute.protocols.psi.cardinality.protocol",
    "compute.protocols.psi.many.protocol",
    "compute.protocols.psi.sum.protocol",
    "compute.protocols.stats.vertical.protocol",
    "compute.protocols.stats.horizontal.protocol",
    "compute.protocols.pir.simple.protocol",
    "compute.protocols.fl.logistic.protocol",
    "compute.protocols.eaas.protocol",
)

for _module in MODULES:
    importlib.import_module(_module)

__all__ = ["JobKind", "job_kind", "job_kinds"]
