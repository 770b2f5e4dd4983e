"""Messages to people in JSON: English texts, with the code and the parameters by which they can be translated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, StringConstraints, model_validator

from factorycommon.messages import Message
from factorycommon.models.base import Model
from factorycommon.models.plain import PlainText

Code = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{0,64}$")]
_Name = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,32}$")]
Parameters = Annotated[dict[_Name, PlainText], Field(max_length=16)]


class Coded(Model):
    """What is said to a person: English texts, their ``code`` (stable; "": there is none), and the ``parameters`` that
    are filled in. A field that is given a ``Message`` brings both along; a code that is given goes first.
    """

    TEXTS: ClassVar[tuple[str, ...]] = ()  # fields for people; all others are names, numbers, the scheduler's own words

    code: Code = ""
    parameters: Parameters = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _take_messages(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        messages = [text for name in cls.TEXTS if isinstance(text := values.get(name), Message)]
        if not messages:
            return values
        parameters = {name: str(value) for message in messages for name, value in message.parameters.items()}
        code = next((message.code for message in messages if message.code), "")
        return {"code": code, "parameters": parameters} | {
            name: value for name, value in values.items() if value or name not in ("code", "parameters")
        }

    def saying(self, **texts: str) -> Self:
        """Return a copy with other texts; texts that are messages bring their parameters along."""
        kept: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields}
        for text in texts.values():
            if isinstance(text, Message):
                kept["parameters"] = {**kept["parameters"], **text.parameters}
        return type(self).model_validate(kept | texts)

    def as_message(self, field: str) -> Message:
        """Return one of the texts as a message that can be translated."""
        return Message(self.code, getattr(self, field), self.parameters)


class Phrase(Coded):
    """A text, or a part of one, by itself."""

    TEXTS = ("text",)

    text: PlainText
