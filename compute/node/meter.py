"""What a job is charged.

| the job ended | units charged |
|---|---|
| completed | what the protocol used, and what the consumer was sent again; at most what was reserved |
| refused, or ended because this node was stopped or killed | 0 |
| otherwise, nothing sent to a role of the consumer's party yet, or it has none | 0 |
| otherwise, messages were sent to such a role | all reserved |

The last row is the fairness rule against a consumer that takes an answer and hangs up: what it was sent it
may have learned. It asks what was sent and never whose fault the end was: a peer can bring about an error, a
full disk or a full memory here, and neither a node nor a judge can tell that from bad luck. The receipt names
the reason, so the parties can settle what the meter cannot. Such a role is the kind's consumer role or, if
the consumer has a node, whatever that plays. An EaaS session is charged its calls however it ends.

A resumable job is one job however often it was cut: "sent" means in any attempt (noted in the store before
the first such message leaves). After a cut the bucket under way is begun again; a consumer that cut the line
may have put other inputs into it, so what it is sent again it pays again: for each time the mean of a bucket.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from compute.errors import ComputeError
from compute.wire.messages import JobSpec, JobState


class MeterExceeded(ComputeError):
    """A role claims to have used more than was reserved: nothing is released."""

    code = "meter.exceeded"


def roles_of_consumer(spec: JobSpec, consumer_role: str | None) -> frozenset[str]:
    """Roles whose messages the consumer reads itself: the kind's consumer role, and what its node plays."""
    roles = {item.role for item in spec.participants if item.party == spec.consumer}
    return frozenset(roles | {consumer_role} if consumer_role is not None else roles)


@dataclass
class Meter:
    """One job's meter. ``units`` is what the job may use at most; one task uses it.

    ``on_first_sent`` is called before the first message to a role of the consumer's party leaves.
    """

    units: int
    sent_to_consumer: int = 0
    on_first_sent: Callable[[], None] = lambda: None

    def note_sent_to_consumer(self) -> None:
        """A role of the consumer's party is given a message."""
        if not self.sent_to_consumer:
            self.on_first_sent()
        self.sent_to_consumer += 1

    def completed(self, used: int) -> int:
        """The charge of a completed job; raises MeterExceeded."""
        if not 0 <= used <= self.units:
            raise MeterExceeded(f"the protocol used {used} units and {self.units} were reserved")
        return used

    def repeated(self, used: int, repeats: int, buckets: int) -> int:
        """The charge of a completed job of so many buckets, so many of which were sent again to the consumer.

        At most what was reserved: beyond it only the node's settings for peers bound what cuts may show.
        """
        return min(self.completed(used) + -(-used * repeats // max(buckets, 1)), self.units)

    def ended_early(self, state: JobState, *, stopped: bool = False) -> int:
        """The charge of a job that did not complete; ``stopped``: because this node was stopped or killed."""
        if state == "refused" or stopped or not self.sent_to_consumer:
            return 0
        return self.units
