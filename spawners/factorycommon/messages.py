"""Messages to people: English texts that keep their code and parameters, so that they can be translated later.

A text is translated where it is shown: ``Language.said`` looks up the translation by the message's code. Code that
treats a message as a string, such as a script, a log or a library, gets the English text.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})


class Message(str):
    """An English text with its stable ``code`` ("" if it has none), and the ``parameters`` that are filled in.

    Write a message as ``Message("job-found", "Job {job} was found.").format(job=...)``, so that `bin/messages` finds
    its code and text. ``parts`` and ``separator`` are set by ``joined``, and empty in all other messages.
    """

    __slots__ = ("code", "parameters", "parts", "separator")

    code: str
    parameters: Mapping[str, str]
    parts: tuple[str, ...]  # the parts of a message that was made by ``joined``
    separator: str

    def __new__(cls, code: str, english: str, parameters: Mapping[str, str] = NO_PARAMETERS) -> Message:
        """Make a message; nothing is filled in here.

        ``english``: the text, in which ``format`` may still fill in placeholders such as ``{job}``. ``parameters``:
        those that are filled in already; code that writes a new message leaves them out and calls ``format``.
        """
        message = super().__new__(cls, english)
        message.code, message.parameters, message.parts, message.separator = code, parameters, (), ""
        return message

    def format(self, *_: object, **parameters: object) -> Message:
        """Return the English message with these parameters filled in.

        A parameter that is itself a message is translated together with this message. But JSON stores parameters as
        plain texts, so in a message that was read from JSON such a parameter stays English.
        """
        texts = {name: value if isinstance(value, str) else str(value) for name, value in parameters.items()}
        return Message(self.code, str.format(self, **texts), texts)

    def __getnewargs__(self) -> tuple[Any, ...]:
        """Return the arguments of ``__new__``, so that copies and pickles keep code and parameters."""
        return self.code, str(self), dict(self.parameters)


def joined(*parts: str, separator: str = " ") -> Message:
    """Join texts to one message, each part of which is translated by itself; empty texts are left out."""
    texts = tuple(part for part in parts if part)
    message = Message("", separator.join(texts))
    message.parts, message.separator = texts, separator
    return message


def of_error(error: BaseException) -> str:
    """Return the Message with which an exception was raised; if there is none, the exception's text."""
    first = error.args[0] if error.args else ""
    return first if isinstance(first, Message) else str(error)
