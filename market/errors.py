"""What the portal refuses, with stable codes that are never reused.

Services raise these; only the API's edge (`market.api.problems`) and the pages map a code to a status. The
message says what to do; ``detail`` holds facts that the caller may see.
"""

from __future__ import annotations


class MarketError(Exception):
    """Root of the tree."""

    code = "market.error"
    status = 400
    title = "The request was refused"

    def __init__(self, message: str = "", *, rule: str = "", remedy: str = "", **detail: object) -> None:
        super().__init__(message or self.title)
        self.message = message or self.title
        self.rule = rule
        self.remedy = remedy
        self.detail = detail


class BadRequest(MarketError):
    """A field is missing or does not fit; ``field`` in detail names it."""

    code = "request.invalid"
    title = "A field of the request does not fit"


class TooLarge(MarketError):
    """The body is longer than any request needs."""

    code = "request.too_large"
    status = 413
    title = "The request is too large"


class Unauthenticated(MarketError):
    """No valid session or API key. Unknown, revoked and malformed keys look the same."""

    code = "auth.required"
    status = 401
    title = "Sign in, or send a valid API key"


class ScopeMissing(MarketError):
    """The key or the login's role does not include this kind of action."""

    code = "auth.scope_missing"
    status = 403
    title = "This key or role may not do that"


class NotFound(MarketError):
    """Nothing by that id that the caller may see: what belongs to others looks the same as nothing."""

    code = "object.not_found"
    status = 404
    title = "Nothing by that id"


class IdempotencyKeyMissing(MarketError):
    """A write needs a key, so that repeating it after a lost answer is safe."""

    code = "request.idempotency_key_missing"
    title = "Send an Idempotency-Key header with every write"


class IdempotencyKeyReused(MarketError):
    """The same key came with a different request."""

    code = "request.idempotency_key_reused"
    status = 409
    title = "This Idempotency-Key was used for a different request"


class WrongState(MarketError):
    """The object is not in a state that allows this step."""

    code = "object.wrong_state"
    status = 409
    title = "The object's state does not allow that"


class OfferClosed(MarketError):
    """The offer takes no further applications."""

    code = "offer.closed"
    status = 409
    title = "The offer is closed"


class OutsidePolicy(MarketError):
    """What is asked goes beyond the offer's policy."""

    code = "offer.outside_policy"
    status = 422
    title = "The request goes beyond what the offer allows"


class BadSignature(MarketError):
    """A signature is malformed or not by the key the chain names for the party."""

    code = "signature.invalid"
    status = 422
    title = "The signature is not by the party's active key"


class JobExists(MarketError):
    """A job with this id was submitted before: a signed request is good for one job."""

    code = "job.exists"
    status = 409
    title = "This signed request was used before"


class JobRejected(MarketError):
    """The job's request does not fit its spec, its grants or the clock."""

    code = "job.rejected"
    status = 422
    title = "The job request does not hold together"


class ChainUnavailable(MarketError):
    """The chain does not answer: nothing is assumed, new work waits."""

    code = "chain.unreachable"
    status = 503
    title = "The chain does not answer; try again later"


class NodeUnavailable(MarketError):
    """A party's node does not answer."""

    code = "node.unreachable"
    status = 503
    title = "The party's node does not answer; try again later"


class NodeRefused(MarketError):
    """A party's node answered with a refusal; code, rule and remedy are the node's."""

    code = "node.refused"
    status = 422
    title = "The party's node refused"


class AuditUnavailable(MarketError):
    """The audit log could not be written, so the action did not happen."""

    code = "audit.unavailable"
    status = 503
    title = "The action could not be recorded, so it did not happen"


class KeyMissing(MarketError):
    """This process has no key file for what it is asked to do: a configuration fault."""

    code = "config.key_missing"
    status = 503
    title = "A key file is not configured"
