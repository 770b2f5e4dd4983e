"""Explanations of the gateway's own faults, limits and refusals, by their codes."""

from __future__ import annotations

from factorycommon.language import N_
from factorycommon.messages import Message
from factorylink.explain.table import ANY_TIME, GOES_ON, KEPT, LOG_TELLS, NO_FAULT, SITE, Answer, Move

_ASK = Move("operator", N_("Ask this gateway's operators."))
_WAITS = Move("wait", N_("The gateway keeps trying; nothing is lost."))
_OWN_TOKEN = Move(
    "you", N_("Make a token on the hub's Token page and use that: in a notebook by factorygate.use_token().")
)

_ANSWERS = (
    # Submission
    Answer(
        "submit-doubtful",
        N_("The factory did not answer when your request was sent to it."),
        ANY_TIME,
    ),
    Answer("submit-slow", N_("The factory's scheduler is slow and has not taken it yet."), GOES_ON),
    Answer(
        "not-taken", N_("The factory did not answer."), Move("you", N_("Try again in a minute."))
    ),
    # The site's actions and silence
    Answer("completing", N_("The job is ending."), Move("wait", N_("It ends by itself."))),
    Answer(
        "suspended",
        N_("The factory has suspended your session: it is frozen, and its node does other work."),
        Move("wait", N_("It continues where it was. If it takes long, ask the factory's support.")),
    ),
    Answer(
        "unlooked",
        N_("The factory's scheduler has not looked at your request for some minutes. It may be down."),
        SITE,
    ),
    Answer(
        "nodes-out",
        N_("All nodes of this part of the factory are out of service at the moment."),
        Move("site", N_("It starts once some of them are back. Another size or factory may be quicker.")),
    ),
    # Permission
    Answer(
        "limit-pending",
        N_("You have reached your limit of waiting sessions."),
        Move("you", N_("Cancel one of them first.")),
    ),
    Answer(
        "limit-sessions",
        N_("You have reached your limit of sessions."),
        Move("you", N_("Stop one of them first.")),
    ),
    Answer(
        "too-many-estimates",
        N_("You asked for many estimates in a short time, so this one was not made."),
        Move("wait", N_("Wait a minute, then ask again.")),
    ),
    Answer(
        "too-many-streams",
        N_("You have reached your limit of connected pages, notebooks and programs."),
        Move("you", N_("Close some of them, then try again.")),
    ),
    Answer(
        "draining",
        N_("No new sessions start at this factory at the moment."),
        Move("you", N_("Choose another factory, or come back later.")),
    ),
    Answer(
        "no-account",
        N_("You have no account at this factory here."),
        Move("operator", N_("Ask this gateway's operators for one.")),
    ),
    Answer(
        "blocked",
        N_("Your login does not let you use the factories at the moment."),
        Move("operator", N_("Ask this gateway's operators.")),
    ),
    Answer(
        "robot-seat-only",
        N_("A robot that rehearses a class can use its one seat there, and start nothing else."),
        Move("operator", N_("Ask this gateway's operators.")),
    ),
    Answer(
        "rules-open",
        Message(
            "rules-open",
            "You have not accepted the present terms of use of {factory}, so nothing of yours starts there.",
        ),
        Move("you", Message(
            "rules-open",
            "Open your checklist in a browser ({address}), read and accept them, then start again.",
        )),
    ),
    Answer(
        "access-unknown",
        N_("You cannot start anything yet: the hub has not confirmed your login to the gateway."),
        Move("you", N_("Open the gateway's page in a browser, sign in if it asks you to, then try again.")),
    ),
    Answer(
        "access-expired",
        N_("You cannot start anything new: the hub has not confirmed your login for too long. Running sessions "
           "continue."),
        Move("you", N_("Open the gateway's page in a browser, sign in if it asks you to, then try again.")),
    ),
    Answer(
        "terms-open",
        N_("You have not accepted the current version of this gateway's terms of use, so nothing new starts for you."),
        Move("you", N_("Open your checklist on the gateway's page in a browser and accept them, then start again.")),
    ),
    Answer(
        "limit-extensions",
        N_("This session has been made longer as often as is allowed."),
        Move("you", N_("Save your work, and start a new session when this one has ended.")),
    ),
    # Limits of a token
    Answer(
        "token-of-session",
        Message(
            "token-of-session",
            "The token of a session acts only at that session's factory ({factory}) and for its project.",
        ),
        _OWN_TOKEN,
    ),
    Answer(
        "token-other-session",
        N_("The token of a session shows only that session, not your other ones."),
        _OWN_TOKEN,
    ),
    Answer(
        "token-session-over",
        N_("The session of this token has ended or is ending, so the token can start nothing any more."),
        Move("you", N_("Use the token of a session that runs, or make one on the hub's Token page.")),
    ),
    # Projects
    Answer(
        "no-project",
        N_("You are in no project, so nothing can be started."),
        Move("you", N_("Ask whoever leads your project to add you, or this gateway's operators how to apply for one.")),
    ),
    Answer(
        "projects-unknown",
        N_("The gateway does not know its projects at the moment, so nothing can be started."),
        Move("operator", N_("Running sessions continue. Tell this gateway's operators.")),
    ),
    Answer(
        "project-not-here",
        Message("project-not-here", "None of your projects may use {factory}."),
        Move("you", N_("Choose another factory.")),
    ),
    Answer(
        "project-elsewhere",
        Message("project-elsewhere", "The project {project} cannot be used at {factory}, only at: {names}."),
        Move("you", N_("Choose another factory, or another project.")),
    ),
    Answer(
        "project-not-yours",
        Message("project-not-yours", "You are not in a project {project}. Yours are: {names}."),
        Move("you", N_("Ask whoever leads it to add you, or choose another.")),
    ),
    Answer(
        "project-over",
        Message("project-over", "The project {project} ended on {day}."),
        Move("you", N_("Choose another project.")),
    ),
    Answer(
        "project-not-begun",
        Message("project-not-begun", "The project {project} begins on {day}."),
        Move("you", N_("Choose another project, or wait until then.")),
    ),
    Answer(
        "project-which",
        Message("project-which", "You are in several projects. Say which one is charged: {names}."),
        Move("you", N_("Choose one.")),
    ),
    Answer(
        "project-size",
        Message("project-size", "The project {project} may not use {size} there; it may use: {names}."),
        Move("you", N_("Choose another size, or another project.")),
    ),
    Answer(
        "project-hours",
        Message("project-hours", "{hours} h is more than the project {project} allows for one job: at most {most} h."),
        Move("you", N_("Ask for fewer hours.")),
    ),
    Answer(
        "project-end-near",
        Message(
            "project-end-near",
            "The project {project} ends on {ends}: {hours} h do not fit before then, only {most} h do.",
        ),
        Move("you", N_("Ask for fewer hours, or choose another project.")),
    ),
    Answer(
        "pool-empty",
        N_("All accounts that your project has there for its members are in use."),
        Move("you", N_("Try again when somebody has stopped, or ask whoever manages the project for more accounts.")),
    ),
    Answer(
        "pool-wiping",
        N_("The account that you will get there is being emptied of an earlier person's files."),
        Move("you", N_("Try again in a minute.")),
    ),
    Answer(
        "pool-not-wiped",
        N_("The only account that was left for you there could not be cleared of earlier files, so nobody gets it."),
        _ASK,
    ),
    Answer(
        "access-ends",
        N_("Your access to this project ends soon, and its sessions stop then."),
        Move("you", N_("Save your work. Ask whoever leads the project if this is a mistake.")),
    ),
    Answer(
        "access-lost",
        N_("Your access to this project ended, so the session was stopped."),
        Move(
            "you",
            N_(
                "Your files are as you saved them, unless your account at the factory was only lent to you. "
                "Ask whoever leads the project if this is a mistake."
            ),
        ),
    ),
    Answer(
        "moved",
        N_("Your class moved to another place, and you have a new seat there."),
        Move("you", N_("Go on in your new seat. What you saved stays where you worked before.")),
    ),
    Answer("not-offered", N_("This gateway no longer offers this factory, so nothing is known of the session."), _ASK),
    Answer("no-port", N_("The gateway has no port left for this session."), _ASK),
    # Accounts for charging
    Answer(
        "budget-over",
        Message("budget-over", "The project {project} has {left} GPU-hours left, and this may need {needs}."),
        Move("you", N_("Ask for fewer hours or a smaller size, wait until a job of the project ends, or choose another "
                       "project.")),
    ),
    Answer(
        "budget-over-until",
        Message(
            "budget-over-until",
            "The project {project} has {left} GPU-hours left, to be used until {until}, and this may need {needs}.",
        ),
        Move("you", N_("Ask for fewer hours or a smaller size, wait until a job of the project ends, or choose another "
                       "project.")),
    ),
    Answer(
        "budget-share",
        Message(
            "budget-share",
            "You have {left} GPU-hours left of your share of the project {project}, and this may need {needs}.",
        ),
        Move("you", N_("Ask for fewer hours or a smaller size, or end one of your jobs or clusters.")),
    ),
    Answer(
        "budget-ends",
        Message("budget-ends", "The project {project} ends on {until}, and this could go on for longer."),
        Move("you", N_("Ask for fewer hours, or choose another project.")),
    ),
    # Credentials and trust
    Answer(
        "credential-expired",
        N_("The gateway's permission to act for you at the factory has expired."),
        Move("you", N_("Renew it on Home; sessions there continue meanwhile.")),
    ),
    Answer(
        "paused",
        N_("The gateway's operators have paused this factory."),
        Move("operator", N_("Choose another factory, or come back later. Running sessions there continue.")),
    ),
    Answer(
        "stopped-by-site",
        N_("The factory has stopped this gateway for now."),
        Move("site", N_("Choose another factory, or come back later. Running sessions there continue.")),
    ),
    Answer(
        "off-list",
        N_("The factory no longer lets this gateway act for your account there."),
        Move("site", N_("Ask the factory's support to put your account on the gateway's list. Running sessions "
                        "continue.")),
    ),
    Answer(
        "host-key",
        N_("A computer of the factory showed another key than the one agreed on, so the gateway does not speak to it."),
        Move("operator", N_("Sessions there continue. The gateway's operators must ask the factory whether the key was "
                            "changed.")),
    ),
    # The connection to the notebook
    Answer("door-silent", N_("It is running, but it is not answering."), _WAITS),
    Answer(
        "carrier-refused",
        N_("It is running, but the factory does not let the gateway through to it."),
        Move(
            "operator",
            N_("The gateway's operators must ask the factory to allow it, or change the setting door.carrier."),
        ),
    ),
    Answer(
        "node-name",
        N_("It is running, but the gateway cannot resolve the name of its node."),
        Move("operator", N_("Tell this gateway's operators: the node's name must resolve, or door.host be set.")),
    ),
    Answer("door-key", N_("It is running, but the program that answers there does not have its key."), _ASK),
    Answer("notebook-late", N_("JupyterLab did not start in the time allowed."), LOG_TELLS),
    # Changes to the job at the factory
    Answer(
        "job-renamed",
        N_("Somebody gave this session's job another name. The session goes on, and its hours are counted as before."),
        GOES_ON,
    ),
    Answer(
        "job-altered",
        N_("Somebody changed the comment by which the gateway recognises this job. The job goes on and its hours are "
           "counted, but the gateway neither cancels it nor makes it longer."),
        Move("you", N_("To end the job, cancel it at the factory (scancel, qdel). A session also ends when you shut "
                       "its notebook down.")),
    ),
    Answer(
        "job-rewritten",
        N_("The factory changed the comment of this job when the job was submitted. The job goes on and its hours are "
           "counted, but the gateway neither cancels it nor makes it longer."),
        Move("operator", N_("Tell this gateway's operators. To end the session, shut its notebook down.")),
    ),
    Answer(
        "job-not-cancelled",
        N_("The session was asked to stop, but the comment of its job was changed, so the gateway does not cancel the "
           "job. The notebook was asked to end."),
        Move("you", N_("If the job goes on, cancel it at the factory (scancel, qdel). Its hours are counted until it "
                       "ends.")),
    ),
    # Ends
    Answer(
        "job-replaced",
        N_("The factory's scheduler lost its records and gave this job's number to another job, so this job is over."),
        NO_FAULT,
    ),
    Answer(
        "gave-up",
        N_("It had not started within the time you set, so it was taken out of the queue."),
        Move("you", N_("Start again with a longer limit, a smaller size, or at another factory.")),
    ),
    Answer("gone", N_("The factory no longer knows it, and keeps no record of why it ended."), LOG_TELLS),
    Answer(
        "cluster-session-over",
        N_("The session whose notebook ran the cluster is over, so its workers were ended."),
        Move("you", N_("Make the cluster again from a new session.")),
    ),
    Answer(
        "cluster-left",
        N_("Nobody has asked about the cluster for a while, so its workers were ended."),
        Move("you", N_("Make the cluster again when you need it.")),
    ),
    Answer(
        "cluster-idle",
        N_("Nothing was computed on the cluster for a while, so it ended itself."),
        Move("you", N_("Make the cluster again when you need it.")),
    ),
    Answer(
        "cluster-no-head",
        N_("The cluster's scheduler runs in a session at its factory, and only sessions there can reach it."),
        Move("you", N_("Open it from a session there, or make a cluster whose scheduler is a job of its own.")),
    ),
    Answer(
        "cluster-cap",
        N_("The factory started jobs of this cluster again, and the cluster might have used more than its cap, "
           "so it was stopped."),
        Move("you", N_("Make the cluster again with a larger cap if you need more.")),
    ),
    # The whole gateway
    Answer("unreachable", N_("The factory is not answering."), KEPT),
    Answer(
        "ledger",
        N_("The gateway cannot write its ledger now."),
        Move("operator", N_("Running sessions continue. Tell this gateway's operators.")),
    ),
)  # fmt: skip

OURS: dict[str, Answer] = {answer.code: answer for answer in _ANSWERS}
# Patterns for the link's last error in its connection to a door.
DOOR_TROUBLE: tuple[tuple[str, str], ...] = (
    (r"does not resolve|name or service not known|name resolution|no address", "node-name"),
    (r"prohibited|forward|refuses? (the|to) (channel|connect)|not permitted|srun: error", "carrier-refused"),
    (r"host key|fingerprint|another session", "door-key"),
)
# Messages of ``site/factorygate-act`` that refuse to do something, with our codes.
BARRED = (("factorygate-act: stopped by the site", "stopped-by-site"), ("is not on the site's list", "off-list"))
