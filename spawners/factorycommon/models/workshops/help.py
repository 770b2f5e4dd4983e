"""The models of messages between session, link and workshops service about raised hands and shared notebooks.

The models bound the data that a participant, or code in a session, has written, and allow only text and checked PNG
images. So no page has to trust these data.
"""

from __future__ import annotations

import base64
import binascii
from functools import partial
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, ValidationInfo, field_validator, model_validator

from factorycommon.models.base import Model, Moment, Person, ProjectId, SessionId
from factorycommon.models.bodies import Problem
from factorycommon.models.plain import plain_lines, plain_text

MOST_QUESTION = 500  # characters
MOST_SENT = 16_000  # characters of a cell's source, and of a traceback
MOST_CELLS = 500
MOST_OUTPUTS = 30  # of one cell
MOST_OUTPUT = 20_000  # characters of one output
MOST_IMAGE = 400_000  # characters of one image, in base64
MOST_PIXELS = 40_000_000  # of one image
MOST_SNAPSHOT = 800_000  # characters of all sources and outputs of a notebook: a request's body is below 1 MiB
LOOK_MINUTES = 30
MOST_ASKS = 8  # that the service takes at a time
ASK_SECONDS = 25.0  # for which the link keeps the service's question for new asks open

_PNG = b"\x89PNG\r\n\x1a\n"


def plain_code(text: str, most: int = MOST_SENT) -> str:
    """Return a cell's source or output as plain text of at most ``most`` characters, with its lines and indentation.

    Tabs become spaces. Terminal sequences are removed, and other control characters become U+FFFD or a space.
    """
    guarded = "|" + text[: 4 * most].replace("\r\n", "\n").expandtabs(4)  # so that the first line keeps its blanks
    return plain_lines(guarded, most + 1)[1:]


def is_small_png(data: str) -> bool:
    """Return whether a text is valid base64 whose bytes begin with the header of a PNG image.

    The header must name at least one pixel, and at most ``MOST_PIXELS``. The rest of the image is not checked.
    """
    try:
        head = base64.b64decode(data, validate=True)[:24]
    except (binascii.Error, ValueError):
        return False
    if len(head) < 24 or not head.startswith(_PNG) or head[12:16] != b"IHDR":
        return False
    width, height = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    return 0 < width * height <= MOST_PIXELS


Question = Annotated[str, Field(max_length=4 * MOST_QUESTION), AfterValidator(partial(plain_lines, most=MOST_QUESTION))]
SentCode = Annotated[str, Field(max_length=4 * MOST_SENT), AfterValidator(plain_code)]
OutputText = Annotated[str, Field(max_length=4 * MOST_OUTPUT), AfterValidator(partial(plain_code, most=MOST_OUTPUT))]
FileName = Annotated[str, Field(max_length=1000), AfterValidator(partial(plain_text, most=200))]
HelperName = Annotated[str, Field(max_length=255), AfterValidator(partial(plain_text, most=255))]
AskId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
HelpAct = Literal["state", "raise", "lower", "look", "snapshot", "unlook"]


class HandBody(Model):
    """What a person sends with a raised hand; all fields may be left out.

    ``file``: the notebook's name; ``source``: the source of a cell; ``error``: the cell's traceback.
    """

    question: Question = ""
    file: FileName = ""
    source: SentCode = ""
    error: SentCode = ""


class SnapshotOutput(Model):
    """One output of a cell.

    If ``kind`` is ``png``, ``text`` is an image in base64. If ``kind`` is ``left-out``, ``text`` is empty, and the
    output is not shown.
    """

    kind: Literal["text", "error", "png", "left-out"]
    text: str = Field(default="", max_length=MOST_IMAGE, validate_default=True)

    @field_validator("text")
    @classmethod
    def _checked(cls, text: str, info: ValidationInfo) -> str:
        match info.data.get("kind"):
            case "png":
                if not is_small_png(text):
                    raise ValueError("a PNG image in base64 is needed")
                return text
            case "left-out":
                return ""
            case _:
                return plain_code(text, MOST_OUTPUT)


class SnapshotCell(Model):
    """One cell of a notebook. ``count``: the number that Jupyter shows beside the cell, 3 for ``In [3]``."""

    kind: Literal["code", "markdown", "raw"]
    source: OutputText = ""
    count: Annotated[int, Field(ge=0, le=10**9)] | None = None
    outputs: tuple[SnapshotOutput, ...] = Field(default=(), max_length=MOST_OUTPUTS)


class NotebookSnapshot(Model):
    """The last saved state of a notebook, as text and PNG images. ``cut``: whether parts are left out."""

    file: FileName
    saved: Moment
    cut: bool = False
    cells: tuple[SnapshotCell, ...] = Field(default=(), max_length=MOST_CELLS)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        sizes = (len(cell.source) + sum(len(one.text) for one in cell.outputs) for cell in self.cells)
        if sum(sizes) > MOST_SNAPSHOT:
            raise ValueError(f"cells: more than {MOST_SNAPSHOT} characters")
        return self


class LookBody(Model):
    """A person's consent that helpers see the last saved state of a notebook, for ``minutes`` minutes."""

    minutes: int = Field(default=LOOK_MINUTES, ge=1, le=LOOK_MINUTES)
    snapshot: NotebookSnapshot


class OwnHand(Model):
    """A person's raised hand, as that person sees it.

    ``place``: the place in the queue, from 1; 0 if a helper comes; ``by``: the helper who comes, "" if nobody comes
    yet; ``asked_by``: the helper who asks to see the person's notebook, "" if nobody does.
    """

    since: Moment
    place: int = Field(ge=0)
    by: HelperName = ""
    asked_by: HelperName = ""


class OwnLook(Model):
    """What a person is told about their own consent that helpers see a notebook.

    ``file``: the notebook's name; ``until``: when the consent ends; ``seen_by``: the names of the helpers who have
    looked.
    """

    file: FileName
    until: Moment
    seen_by: tuple[HelperName, ...] = ()


class HelpState(Model):
    """A person's raised hand in a workshop, and their consent that helpers see one of their notebooks.

    ``open``: whether the person can raise a hand now. ``hand``: the raised hand, None if the hand is not raised;
    ``look``: the consent, None if there is none.
    """

    open: bool = True
    hand: OwnHand | None = None
    look: OwnLook | None = None


class HelpAsk(Model):
    """A request about help that a session sends for its person: to raise a hand, to share a notebook, and so on.

    The link sets project, person and session, because the link knows to which session the request's token belongs.
    ``act``: ``raise`` raises the person's hand, with the content in the field ``hand``; ``lower`` lowers the hand.
    ``look`` gives the consent that helpers see the notebook in the field ``look``; ``snapshot`` sends the notebook's
    new saved state in the field ``snapshot``; ``unlook`` ends the consent. ``state`` only asks for the person's state.
    """

    id: AskId
    project: ProjectId
    person: Person
    session: SessionId
    act: HelpAct
    hand: HandBody | None = None
    look: LookBody | None = None
    snapshot: NotebookSnapshot | None = None


class HelpAsks(Model):
    """The requests about help that sessions have sent, the oldest first."""

    asks: tuple[HelpAsk, ...] = Field(default=(), max_length=MOST_ASKS)


class HelpAnswer(Model):
    """The workshops service's answer to a ``HelpAsk``: the person's state afterwards, or why the request failed."""

    state: HelpState | None = None
    problem: Problem | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.state is None) == (self.problem is None):
            raise ValueError("either state or problem is needed")
        return self
