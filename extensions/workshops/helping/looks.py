"""Keeps the notebooks that people let helpers see, in this process's memory only.

So no copy of a notebook outlives this process. Once the person's consent is over, nobody gets the copy any more, and
the next ``sweep`` deletes it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from factorycommon.messages import Message
from factorycommon.models.workshops.help import LookBody, NotebookSnapshot
from factorycommon.service.problems import conflict, too_many

MOST_LOOKS = 60  # of all workshops: each takes up to some megabytes of memory


@dataclass
class NotebookConsent:
    """The consent with which a person lets helpers see a notebook, and the notebook's last saved state.

    ``until``: when the consent ends; ``session``: the session that gave the consent; ``seen_by``: the helpers who have
    looked at the notebook, in the order of their first looks.
    """

    workshop: str
    person: str
    session: str
    until: datetime
    snapshot: NotebookSnapshot
    seen_by: list[str] = field(default_factory=list)


class Looks:
    """Keeps the consents with which people let helpers see a notebook, each with the notebook, for all workshops.

    ``now``: the clock.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._looks: dict[tuple[str, str], NotebookConsent] = {}  # by workshop and person

    def get(self, slug: str, person: str) -> NotebookConsent | None:
        """Return a person's consent; None: there is none, or its time is over."""
        found = self._looks.get((slug, person))
        return found if found is not None and self._now() < found.until else None

    def of(self, slug: str) -> list[NotebookConsent]:
        """Return those consents of a workshop's people that are not over."""
        return [one for (of, person), one in self._looks.items() if of == slug and self.get(slug, person) is not None]

    def begin(self, slug: str, person: str, session: str, body: LookBody) -> NotebookConsent:
        """Store a person's consent that helpers see the notebook in ``body``; return the consent.

        The new consent replaces the person's earlier consent for this workshop. ``session``: the id of the session that
        sends the notebook. Raises ProblemError if ``MOST_LOOKS`` other consents are stored already, in all workshops
        together.
        """
        if (slug, person) not in self._looks and len(self._looks) >= MOST_LOOKS:
            raise too_many(Message("look-limit", "As many people as possible let helpers see a notebook just now."))
        until = self._now() + timedelta(minutes=body.minutes)
        self._looks[slug, person] = look = NotebookConsent(slug, person, session, until, body.snapshot)
        return look

    def renew(self, slug: str, person: str, session: str, snapshot: NotebookSnapshot) -> None:
        """Store the new saved state of a notebook that helpers may see.

        Raises ProblemError unless ``session`` has given a consent for the file of ``snapshot``, and this consent is not
        over.
        """
        look = self.get(slug, person)
        if look is None or look.session != session or look.snapshot.file != snapshot.file:
            raise conflict(Message("look-over", "Helpers may not see this notebook any more."))
        look.snapshot = snapshot

    def end(self, slug: str, person: str) -> NotebookConsent | None:
        """Delete a person's consent with its notebook, and return the consent; None if there was none."""
        return self._looks.pop((slug, person), None)

    def sweep(self) -> list[NotebookConsent]:
        """Delete the consents whose time is over, and return them."""
        over = [key for key, look in self._looks.items() if self._now() >= look.until]
        return [self._looks.pop(key) for key in over]

    def others(self, slugs: Collection[str]) -> list[NotebookConsent]:
        """Return the stored consents in all workshops except ``slugs``, also consents whose time is over."""
        return [one for one in self._looks.values() if one.workshop not in slugs]
