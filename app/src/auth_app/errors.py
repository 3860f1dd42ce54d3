"""The two kinds of error of this package: for the operator, and for the client of the API."""


class AuthAppError(Exception):
    """Bad settings or a fault of the environment.

    The message is one sentence that says what is wrong and how to mend it. The CLI and the server's
    factory print it as ``auth-app: MESSAGE``.
    """


def unusable(service: str, error: Exception) -> AuthAppError:
    """Say in one sentence that a backing service failed, and with what."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return AuthAppError(
        f"{service} could not be used ({reason}): see that it runs and that the settings are right."
    )


class ApiError(Exception):
    """An answer other than success: becomes ``{"detail": detail}`` with ``status``."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


RETRY_LATER = {"Retry-After": "1"}


def busy() -> ApiError:
    """Tell a client whose turn did not come within the limits to come again."""
    return ApiError(503, "Too many requests are waiting", RETRY_LATER)


NOT_AUTHENTICATED = "Not authenticated"
INVALID_TOKEN = "Invalid token"  # noqa: S105  (a message, not a secret)
TOKEN_EXPIRED = "Token has expired"  # noqa: S105  (a message, not a secret)
INVALID_CREDENTIALS = "Invalid credentials"
