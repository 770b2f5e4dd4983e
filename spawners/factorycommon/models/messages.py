"""Messages to people in JSON: English texts, each with the code and the parameters that a translation needs."""

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
    """Base class of models with a message to people: English texts, with what a translation needs.

    A translation needs the stable ``code`` ("" if there is none), and the ``parameters`` that are filled into the
    texts. The class attribute ``TEXTS`` names the fields that hold the texts. If such a field is set to a ``Message``
    (a str with a code and parameters), the model takes the code and parameters of this ``Message``; a ``code`` or
    ``parameters`` that is given as well takes precedence.
    """

    # names of the fields with texts for people; other fields hold names, numbers, or the scheduler's own words
    TEXTS: ClassVar[tuple[str, ...]] = ()

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
        """Return a copy in which the fields named by the keywords have these texts.

        The copy keeps the ``code``; if there is none, it takes the code of a text that is a ``Message``. The parameters
        of such a text are added to those of the copy.
        """
        kept: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields}
        for text in texts.values():
            if isinstance(text, Message):
                kept["parameters"] = {**kept["parameters"], **text.parameters}
        return type(self).model_validate(kept | texts)

    def as_message(self, field: str) -> Message:
        """Return the text of a field as a ``Message`` with the model's code and parameters, for a translation."""
        return Message(self.code, getattr(self, field), self.parameters)


class Phrase(Coded):
    """A message that consists of one text."""

    TEXTS = ("text",)

    text: PlainText
