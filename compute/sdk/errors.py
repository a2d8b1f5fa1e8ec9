"""What goes wrong between a consumer's program and the market; part of the ComputeError tree."""

from __future__ import annotations

from compute.errors import ComputeError
from compute.wire.messages import Problem


class PortalUnreachable(ComputeError):
    """No answer from the portal, or one that says "later". Writes carry a key, so repeating them is safe."""

    code = "portal.unreachable"


class PortalRefused(ComputeError):
    """The portal answered with a problem; ``problem`` holds code, rule, detail and remedy."""

    code = "portal.refused"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail or problem.title, code=problem.code, rule=problem.rule)
        self.problem = problem


class BadPortalAnswer(ComputeError):
    """The portal's answer does not fit its API, or contradicts what was signed."""

    code = "portal.bad_answer"


class JobEnded(ComputeError):
    """A job ended without a result. ``detail`` holds state, code, rule, remedy and the refusing party."""

    code = "job.ended"


class GrantEnded(ComputeError):
    """A grant request came to an end that is not a usable grant."""

    code = "grant.ended"


class WaitedTooLong(ComputeError):
    """What was waited for did not happen in time; it may still happen."""

    code = "wait.timeout"
