"""Messages to people: an English text that keeps its code and its parameters, so that it can be translated later.

A text is translated where it is shown (``Language.said``), by the catalogue's translation of the message with that
code. Code that treats a message as a string, such as a script, a log or a library, gets the English text.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})


class Message(str):
    """An English text with its ``code``, which is stable, and the ``parameters`` that are filled in.

    Write ``Message("job-found", "Job {job} was found.").format(job=...)``: `bin/messages` collects code and text.
    """

    __slots__ = ("code", "parameters", "parts", "separator")

    code: str
    parameters: Mapping[str, str]
    parts: tuple[str, ...]  # of a text that was joined of several
    separator: str

    def __new__(cls, code: str, english: str, parameters: Mapping[str, str] = NO_PARAMETERS) -> Message:
        """Return the message. ``english``: the finished text if there are ``parameters``, else the text of the code."""
        message = super().__new__(cls, english)
        message.code, message.parameters, message.parts, message.separator = code, parameters, (), ""
        return message

    def format(self, *_: object, **parameters: object) -> Message:
        """Return the message with these parameters filled in. A parameter that is itself a message is translated,
        too."""
        texts = {name: value if isinstance(value, str) else str(value) for name, value in parameters.items()}
        return Message(self.code, str.format(self, **texts), texts)

    def __getnewargs__(self) -> tuple[Any, ...]:
        """Copy and pickle the message with its code and parameters."""
        return self.code, str(self), dict(self.parameters)


def joined(*parts: str, separator: str = " ") -> Message:
    """Return several texts as one that is translated part by part; empty ones are left out."""
    texts = tuple(part for part in parts if part)
    message = Message("", separator.join(texts))
    message.parts, message.separator = texts, separator
    return message


def of_error(error: BaseException) -> str:
    """Return the message with which an exception was raised, or the exception's text if that is no message."""
    first = error.args[0] if error.args else ""
    return first if isinstance(first, Message) else str(error)
