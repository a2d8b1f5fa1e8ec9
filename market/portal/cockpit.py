"""The operator's view of the machinery: parties, nodes, workers, queues, outbox, versions.

Reads tables only. Whether a node answers the drive worker writes down; no page waits for a node.
"""

from __future__ import annotations

import importlib.metadata
import platform
from datetime import timedelta
from typing import Any

import django
from django.conf import settings
from django.db.models import Count
from django.utils import timezone

from market.jobs.models import Job
from market.ledger.models import Block, ChainTransaction, Receipt, WorkerBeat
from market.parties.models import NodeStatus, Party

# A worker that works beats several times a second; this much silence means that it stands still.
_SILENT_AFTER = timedelta(seconds=30)


def cockpit() -> dict[str, Any]:
    """Counts by state and what needs a hand."""
    outbox = _by_state(ChainTransaction.objects.all())
    return {
        "parties": _by_state(Party.objects.all()),
        "outbox": outbox,
        "outbox_waiting": outbox.get("queued", 0) + outbox.get("sent", 0),
        "jobs": _by_state(Job.objects.all()),
        "jobs_open": Job.objects.exclude(state__in=Job.FINAL).count(),
        "receipts": _by_state(Receipt.objects.all()),
        "reverted": ChainTransaction.objects.filter(state=ChainTransaction.State.REVERTED).order_by("-id")[
            :6
        ],
        "nodes_reachable": NodeStatus.objects.filter(reachable=True).count(),
        "nodes_total": Party.objects.exclude(node_url="").count(),
        "workers": workers(),
        "address_book": settings.ADDRESS_BOOK,
        "last_block": Block.objects.last(),
        "versions": versions(),
    }


def workers() -> list[dict[str, Any]]:
    """Each background worker with its last sign of life."""
    now = timezone.now()
    return [
        {"name": beat.name, "at": beat.at, "note": beat.note, "alive": now - beat.at < _SILENT_AFTER}
        for beat in WorkerBeat.objects.order_by("name")
    ]


def versions() -> list[tuple[str, str]]:
    """What runs here, for a report of a fault."""
    try:
        own = importlib.metadata.version("liutong")
    except importlib.metadata.PackageNotFoundError:
        own = "source"
    database = settings.DATABASES["default"]["ENGINE"].rpartition(".")[2]
    return [
        ("Liutong", own),
        ("Python", platform.python_version()),
        ("Django", django.get_version()),
        ("Database", database),
        ("Channel layer", "redis" if settings.REDIS_URL else "memory"),
    ]


def _by_state(rows: Any) -> dict[str, int]:
    return dict(rows.order_by().values_list("state").annotate(n=Count("pk")))
