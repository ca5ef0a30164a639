"""Every exception we raise, and nothing else.

StreamhedgeError
├── ConfigError               the operator's words do not fit; names file, key, reason, what to do
├── ParseError                the venue broke its grammar: quarantine, resync
├── VenueError
│   ├── ApiError              a definite no: (status, code, message)
│   │   ├── AuthenticationError
│   │   ├── InsufficientMargin
│   │   └── FilterViolation
│   ├── RateLimited           refused before acceptance: (retry_after_ms)
│   ├── NetworkError          never left this machine
│   └── OutcomeUnknown        anything may have happened: the order is IN_DOUBT
├── CommandError              an illegal request, ours or a user's; nothing was done
├── AlreadyRunning            another instance holds the account
├── NotRunning                no process answers on the control socket
├── StoreError                no memory, no trading
│   ├── JournalCorrupt
│   └── LedgerUnwritable
│       └── LedgerDamaged
└── ReplayDiverged            (seq, expected, actual)

Inside the core an expected refusal is a value, not an exception; whatever else escapes is a bug and stops the process.
"""

from __future__ import annotations


class StreamhedgeError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigError(StreamhedgeError):
    """The configuration, an option or a credential does not fit."""


class ParseError(StreamhedgeError):
    """A venue message could not be decoded."""


class VenueError(StreamhedgeError):
    """The venue or the way to it failed."""


class ApiError(VenueError):
    """A definite refusal by the venue.

    Args:
        status: HTTP status, or the status member of a WebSocket API answer.
        code: The venue's error code, 0 where the body had none.
        message: The venue's text.
    """

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(f"venue refused: HTTP {status}, code {code}: {message}")
        self.status = status
        self.code = code
        self.message = message


class AuthenticationError(ApiError):
    """Key, signature or permission refused; trading stops until a person has looked."""


class InsufficientMargin(ApiError):
    """The account does not carry the order."""


class FilterViolation(ApiError):
    """Quantity or price breaks a trading filter of the symbol."""


class RateLimited(VenueError):
    """Refused before acceptance because of a rate limit.

    Args:
        retry_after_ms: How long the venue asks to wait, in milliseconds; None where it did not say.
        message: The venue's text.
    """

    def __init__(self, retry_after_ms: int | None, message: str) -> None:
        super().__init__(f"rate limited, retry after {retry_after_ms} ms: {message}")
        self.retry_after_ms = retry_after_ms
        self.message = message


class NetworkError(VenueError):
    """The request never left this machine."""


class OutcomeUnknown(VenueError):
    """Anything may have happened; nothing may be sent again."""


class CommandError(StreamhedgeError):
    """An illegal request was found before anything was done."""


class AlreadyRunning(StreamhedgeError):
    """Another instance holds the account."""


class NotRunning(StreamhedgeError):
    """No running process answers for this account."""


class StoreError(StreamhedgeError):
    """The recording or the ledger failed."""


class JournalCorrupt(StoreError):
    """A recording does not hash to what it says."""


class LedgerUnwritable(StoreError):
    """The ledger could not commit; nothing may be sent."""


class LedgerDamaged(LedgerUnwritable):
    """The ledger cannot be read: what we meant is not known, so nothing may be sent."""


class ReplayDiverged(StreamhedgeError):
    """A replayed recording led to another state than the run that wrote it.

    Args:
        seq: Sequence number of the first checkpoint that differs.
        expected: Digest in the recording.
        actual: Digest of this replay.
    """

    def __init__(self, seq: int, expected: str, actual: str) -> None:
        super().__init__(f"replay diverged at input {seq}: recording says {expected}, replay gives {actual}")
        self.seq = seq
        self.expected = expected
        self.actual = actual
