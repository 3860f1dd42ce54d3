"""Request bodies and forms."""

import re
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    EmailStr,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

_ALLOWED = re.compile(r"[A-Za-z0-9@$!%*?&_]*")
_NEEDED = (re.compile(r"[a-z]"), re.compile(r"[A-Z]"), re.compile(r"[0-9]"), re.compile(r"[@$!%*?&_]"))
MAX_PASSWORD = 256
"""Characters."""


def _follow_policy(password: str) -> str:
    if not _ALLOWED.fullmatch(password) or not all(needed.search(password) for needed in _NEEDED):
        raise PydanticCustomError(
            "password_policy",
            "Password needs a lower-case letter, an upper-case letter, a digit and one of @$!%*?&_, "
            "and nothing else",
        )
    return password


# PostgreSQL stores no NUL in text.
Text = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00]*$")]
Password = Annotated[str, StringConstraints(max_length=MAX_PASSWORD)]
NewPassword = Annotated[Password, StringConstraints(min_length=8), AfterValidator(_follow_policy)]
LowerEmail = Annotated[EmailStr, AfterValidator(str.lower)]


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


class Signup(_Body):
    email: LowerEmail
    password: NewPassword
    confirm_password: str
    name: Text | None = None

    @field_validator("confirm_password")
    @classmethod
    def _same(cls, value: str, info: ValidationInfo) -> str:
        if "password" in info.data and value != info.data["password"]:
            raise PydanticCustomError("password_mismatch", "Passwords do not match")
        return value


class PasswordChange(_Body):
    current_password: Annotated[Password, Field(min_length=1)]
    new_password: NewPassword
