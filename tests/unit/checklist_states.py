"""A scripted link's data for a checklist whose page shows all its parts."""

from __future__ import annotations

from factorycommon.models import AccountHelp, AccountThere, ChecklistView, SiteCheck, SiteRules
from tests.unit.fake_link import FakeLink


def fill_checklist(link: FakeLink) -> None:
    """Fill the link's checklist with accounts of all kinds, and with sites' rules in all states.

    Rules are not accepted yet, accepted, or of a site where ada has no account. Call this once the projects exist.
    """
    of_one = (
        AccountThere(kind="own", name="u_ada", projects=(link.projects[0].id,)),
        AccountThere(kind="lent", projects=(link.projects[1].id,)),
    )
    shared, missing = AccountThere(kind="shared", name="pool1"), AccountThere(kind="missing")
    rules = SiteRules(version="2026-11", url="https://one.example/rules", text="Be kind.\nNo mining.")
    desk = AccountHelp(url="https://three.example/account", text="Write to the desk.")
    link.accepted["ada", "two"] = rules.version
    link.checklist = ChecklistView(
        projects=tuple(link.projects),
        sites=(
            SiteCheck(factory="one", name="One", machine="ONE", accounts=of_one, rules=rules),
            SiteCheck(factory="two", name="Two", machine="TWO", accounts=(shared,), rules=rules),
            SiteCheck(
                factory="three", name="Three", machine="THREE", accounts=(missing,), account_help=desk, rules=rules
            ),
            SiteCheck(factory="four", name="Four", machine="FOUR", accounts=(missing,)),
        ),
    )
