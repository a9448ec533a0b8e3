"""Every error CodeB raises, in one tree.

    CodebError
    ├── PublicError            may be shown to a caller: code, message, hint, details
    │   ├── InvalidParams      400  the call is malformed; nothing was done
    │   ├── Unauthenticated    401  no key, or one that is not valid
    │   ├── Forbidden          403  the key is good, the right is missing
    │   ├── NotFound           404  not there, or not the caller's: the same answer
    │   ├── Conflict           409  the world is in a state that does not allow it
    │   │   ├── Busy                another operation runs on this project and environment
    │   │   ├── StalePlan           the state moved since the plan was made
    │   │   └── StepFailed          a step of an operation failed and what was done is undone
    │   ├── TooLarge           413
    │   ├── Misdirected        421  the request is for a server of another name (assistants; elsewhere it is a 400)
    │   ├── RateLimited        429  too many calls in too short a time; nothing was done
    │   ├── Unavailable        503  Docker, the proxy or the store does not answer, or CodeB is stopping
    │   └── OperationFailed    as its cause: the operation ended without success
    └── InternalFault          everything else that goes wrong; the caller sees an id, the log the reason
        └── FenceLost               somebody newer holds the lock; this holder must not act any more

`status` is the HTTP number an entry gives it; it lives here so that a new error cannot be added without one.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class CodebError(Exception):
    """The root; nothing raises it directly."""


class PublicError(CodebError):
    """An error a caller may see whole.

    `message` says what happened and what is still true, `hint` what to do next,
    `details` carries evidence as plain JSON values.
    """

    status: ClassVar[int] = 500
    default_code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(
        self, message: str, *, code: str | None = None, hint: str = "", details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.hint = hint
        self.details: dict[str, Any] = dict(details or {})


class InvalidParams(PublicError):
    status = 400
    default_code = "invalid_params"


class Unauthenticated(PublicError):
    status = 401
    default_code = "unauthenticated"


class Forbidden(PublicError):
    status = 403
    default_code = "forbidden"


class NotFound(PublicError):
    status = 404
    default_code = "not_found"


class Conflict(PublicError):
    status = 409
    default_code = "conflict"


class Busy(Conflict):
    default_code = "operation_in_progress"
    retryable = True


class StalePlan(Conflict):
    default_code = "stale_plan"


class StepFailed(Conflict):
    default_code = "step_failed"


class TooLarge(PublicError):
    status = 413
    default_code = "too_large"


class Misdirected(PublicError):
    status = 421
    default_code = "host_not_allowed"


class RateLimited(PublicError):
    """`details.retryAfterSeconds` says when a call will be let in again."""

    status = 429
    default_code = "rate_limited"
    retryable = True


class Unavailable(PublicError):
    status = 503
    default_code = "unavailable"
    retryable = True


class OperationFailed(PublicError):
    """An operation ended without success; `status` and `code` are those of the step that failed."""

    default_code = "operation_failed"

    def __init__(self, message: str, *, status: int, code: str, hint: str = "", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, code=code, hint=hint, details=details)
        self.retryable = status == Unavailable.status  # type: ignore[misc]
        self.status = status  # type: ignore[misc]  # the one error whose number is known only when it happens


class InternalFault(CodebError):
    """A fault of CodeB's own; its text goes to the log, never to a caller."""


class FenceLost(InternalFault):
    """The lock of this operation has passed to a newer holder: stop, touch nothing."""
