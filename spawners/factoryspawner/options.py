"""Reads a person's choice for a session (ids of factory, node size and so on) from a form or an API request.

Any field that is no option is refused with an explanation, except ``_xsrf`` and ``lang`` of a form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from factorycommon.messages import Message
from factorycommon.models import Choice, Words
from factoryspawner.errors import StartFailed

ALLOWED = tuple(Choice.model_fields)
# fields of a form that are no options: JupyterHub's XSRF token, and the page's language
_NOT_OPTIONS = ("_xsrf", "lang")
_SWITCHES = ("url_tokens",)  # options that are true or false
_SHOWN = 60  # maximum characters of a refused value in a message


def choice_from_options(options: object) -> Choice:
    """Return the choice in a JSON object.

    Raises StartFailed (400) for an unknown or invalid option, which the error names, and if ``options`` is no JSON
    object.
    """
    if not isinstance(options, Mapping):
        raise _invalid("The options must be an object such as {“factory”: “…”, “size”: “…”}.", None)
    for key, value in options.items():
        if isinstance(value, bool) and key not in _SWITCHES:  # pydantic would convert a bool to a number
            raise _invalid(f"{key}: {value} is not a value for it.", str(key))
    try:
        return Choice.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _invalid(_words(first), str(first["loc"][0]) if first["loc"] else None) from error


def choice_from_form(form: Mapping[str, Sequence[Any]]) -> Choice:
    """Return the choice in a posted form or a query, whose values are lists of strings.

    The value "" means that the option is not chosen; ``_xsrf`` and ``lang`` are ignored. Raises StartFailed (400) for
    an unknown or invalid option, and for an option with several values.
    """
    options: dict[str, object] = {}
    for key, values in form.items():
        if key in _NOT_OPTIONS:
            continue
        if len(values) > 1:
            raise _invalid(Message("given-twice", "{key} is given more than once.").format(key=_shown(key)), key)
        if values and values[0] != "":
            options[key] = values[0]
        elif key not in ALLOWED:
            options[key] = ""  # refused below, even when empty
    return choice_from_options(options)


def plain(choice: Choice) -> dict[str, Any]:
    """Return the choice as the JSON object that JupyterHub stores.

    Options that are not chosen are left out.
    """
    return choice.model_dump(mode="json", exclude_none=True)


def _invalid(what: str, field: str | None) -> StartFailed:
    code = what.code if isinstance(what, Message) else "invalid"
    return StartFailed("invalid", Words(code=code, what=what, whose="you"), field=field)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _words(error: ErrorDetails) -> str:
    field = str(error["loc"][0]) if error["loc"] else "options"
    value = _shown(error["input"])
    match error["type"]:
        case "extra_forbidden":
            return Message("option-unknown", "There is no option {field}. The options are: {names}.").format(
                field=_shown(field), names=", ".join(ALLOWED)
            )
        case "string_pattern_mismatch":
            return Message(
                "not-an-id", "{field}: {value} is not an id. Ids are small letters, digits and dashes."
            ).format(field=field, value=value)
        case "string_type":
            return Message("not-a-text", "{field}: {value} is not a text.").format(field=field, value=value)
        case "bool_parsing" | "bool_type":
            return Message("not-true-or-false", "{field}: {value} is neither true nor false.").format(
                field=field, value=value
            )
        case "float_parsing" | "float_type" | "int_parsing" | "int_type" | "int_from_float" | "finite_number":
            return Message("not-a-number", "{field}: {value} is not a number.").format(field=field, value=value)
        case _:
            return f"{field}: {value}: {error['msg']}."
