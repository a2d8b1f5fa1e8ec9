"""What a consumer's program imports: ``from compute.sdk import Liutong``."""

from compute.sdk.client import Liutong
from compute.sdk.errors import (
    BadPortalAnswer,
    GrantEnded,
    JobEnded,
    PortalRefused,
    PortalUnreachable,
    WaitedTooLong,
)
from compute.sdk.identity import Identity
from compute.sdk.jobs import JobResult

__all__ = [
    "BadPortalAnswer",
    "GrantEnded",
    "Identity",
    "JobEnded",
    "JobResult",
    "Liutong",
    "PortalRefused",
    "PortalUnreachable",
    "WaitedTooLong",
]
