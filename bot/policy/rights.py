"""Who may do what: one table of people and actions, which `atelier rights` prints as docs/rights.md.

A *door* is a way to an action: a command such as `mod pause`, `menu:` and the name of an entry in the menu of a
message, `press:` and the action of a button or menu, `send:` and that of a form, `cli:` and a command of the host.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

YES, NO = "yes", "no"


@dataclass(frozen=True, slots=True)
class Right:
    """One action: its doors, and what each kind of person may do."""

    action: str
    doors: tuple[str, ...]
    moderators: str
    members: str
    strangers: str = NO
    host: str = "as a member"


def _host_only(action: str, *doors: str) -> Right:
    return Right(action, doors, NO, NO, NO, YES)


def _moderators_only(action: str, *doors: str) -> Right:
    return Right(action, doors, "on their server", NO, NO, "as a moderator")


_READ = "what they may read"

RIGHTS = (
    Right(
        "Ask for pictures, within the limits, the list of terms and the hard block",
        (
            *(
                "imagine",
                "blend",
                "animate",
                "film",
                "press:animate",
                "send:animate",
                "variants",
                "press:variants",
                "send:variants",
                "describe",
                "menu:Use this picture",
                "menu:Change this picture",
                "menu:Upscale",
            ),
            *("press:again", "press:finish", "press:vary", "press:varysubtle", "press:varystrong", "press:remix"),
            *("press:upscale", "press:region", "press:cells", "press:zoomsome", "press:zoomfar", "press:panleft"),
            *("press:panright", "press:panup", "press:pandown", "press:accept", "press:decline", "press:described"),
            *(
                "storyboard",
                "send:storyboard",
                "press:seriesall",
                "press:seriesfirst",
                "press:seriesplain",
                "press:seriesno",
            ),
            *("press:formagain", "send:remix", "send:region", "send:use", "press:use", "press:enlarge"),
            *("send:described", "reproduce"),
            *("press:improve", "press:change", "press:astyped", "send:improved"),
        ),
        YES,
        YES,
        "in direct messages, if the host opened them",
    ),
    Right(
        "Look at results, their values, their family, and find them",
        (
            *("show", "search", "menu:Info", "press:single", "press:more", "press:original", "press:prompt"),
            *("press:family", "press:walk", "press:alike", "press:lookalike", "press:found", "press:foundpage"),
            *("press:seriessheet", "press:boardsheet", "press:boardpdf", "press:boardwebp", "press:boardgif"),
            *("send:boardwebp", "send:boardgif"),
        ),
        _READ,
        _READ,
    ),
    Right("Find out whether a picture was made here", ("verify",), YES, YES),
    Right("Rate and favourite results, by reactions and by ❤️", ("press:heart",), YES, YES),
    Right("See the queue and the tour", ("queue", "help"), YES, YES, "in direct messages, if the host opened them"),
    Right(
        "See what they used, their history and their defaults",
        ("quota", "history", "settings", "press:show", "press:historypage"),
        "their own",
        "their own",
    ),
    Right(
        "See, copy and delete what is kept about them",
        ("privacy policy", "privacy show", "privacy export", "privacy delete", "press:privacyyes", "press:privacyno"),
        "their own",
        "their own",
        "their own",
    ),
    Right("Cancel a request", ("cancel", "press:cancel", "press:stopseries"), "any on their server", "their own"),
    Right(
        "Delete a result, or hide it behind a spoiler",
        ("press:delete", "press:spoiler"),
        "any on their server",
        "their own",
    ),
    Right(
        "Change the panels of a storyboard",
        (
            *("press:panel", "press:panelagain", "press:panelvary", "press:panelwords", "send:panelwords"),
            *("press:panelearlier", "press:panellater", "press:panelpicture"),
        ),
        "their own",
        "their own",
    ),
    Right("Tag a result", ("tag add", "tag remove"), "any on their server", "their own"),
    Right("See and share the styles of the server", ("style list", "style share", "press:stylepage"), YES, YES),
    Right(
        "Compare two settings by a vote, and vote",
        ("compare", "press:both", "press:vote"),
        YES,
        YES,
    ),
    Right(
        "Enter their results in a contest, see contests, and vote",
        (
            *("contest enter", "contest list", "press:contestenter", "press:contestpick", "press:contestleave"),
            *("press:contestballot", "press:contestpage", "press:contestvote"),
        ),
        YES,
        YES,
    ),
    Right("End a vote", ("press:endvote", "press:endvoteyes"), "any on their server", "their own"),
    Right(
        "Agree that their results go into data sets, or no longer",
        ("dataset join", "dataset leave", "dataset status"),
        "their own",
        "their own",
    ),
    Right("Report a result", ("report", "menu:Report", "send:report"), "results of others", "results of others"),
    _moderators_only(
        "See and change limits, with a case for each change",
        *("limits show", "limits set", "limits clear", "limits explain", "press:limitsyes", "press:limitsno"),
    ),
    _moderators_only(
        "Pause, block, cancel, reset a quota, remove a result, with a case for each",
        *("mod pause", "mod resume", "mod block", "mod unblock", "mod cancel", "mod quota reset", "mod delete"),
        *("press:modyes", "press:modno"),
    ),
    _moderators_only(
        "Set the gallery, the defaults, what is done about nude pictures, and the log channel",
        *("mod gallery", "mod defaults", "mod pictures", "mod log"),
    ),
    _moderators_only(
        "Keep the styles of the server",
        *("style add", "style edit", "style remove", "style import", "press:asstyle", "send:asstyle"),
    ),
    _moderators_only("Let ratings choose among presets", "presets"),
    _moderators_only("Choose the language of the server", "language"),
    _moderators_only("Let results of a channel go into data sets", "dataset channel"),
    _moderators_only("See which pictures of the server are the same", "dedup", "press:samepage"),
    _moderators_only("Keep the wildcards", "mod wildcards add", "mod wildcards remove", "mod wildcards list"),
    _moderators_only("Keep the list of terms", "mod terms add", "mod terms remove", "mod terms list"),
    _moderators_only(
        "See reports and decide about them",
        *("mod reports", "press:reportnext", "press:reportremove", "press:reportblock", "press:reportdismiss"),
    ),
    _moderators_only("Begin, end and cancel contests", "contest start", "contest end", "contest cancel"),
    _moderators_only("See cases and undo them", "mod cases", "mod undo"),
    Right("See statistics", ("stats", "press:statstable"), "of their server", NO, NO, "of all servers"),
    Right("Switch off the hard block", (), NO, NO, NO, NO),
    _host_only(
        "Choose models, files, the default limits and everything else in the configuration",
        *("cli:init", "cli:run", "cli:try", "cli:imagine", "cli:doctor", "cli:health", "cli:accept", "cli:rights"),
    ),
    _host_only(
        "Copy, restore, encrypt and repair the database; read it, with all words and pictures in it",
        *("cli:backup", "cli:restore", "cli:encrypt", "cli:rekey", "cli:reindex"),
        *("cli:dataset", "cli:graph"),
    ),
    _host_only("Delete what is kept about another person, for them", "cli:forget"),
    _host_only(
        "See the engines, drain one and bring it back", "host engines", "press:drain", "press:bringback", "cli:engines"
    ),
)
"""Every action. A door that is in no row, or in two, fails a test."""

_INTRODUCTION = """\
# Who may do what

`atelier rights` prints this page from the code, and a test compares both.

- **Strangers** are people who are not members of the server, also moderators of other servers.
- **Members** are the people of a server. Moderators can block a member, and limit what a member may use.
- **Moderators** are members with the right Manage Server. They act on their own server only. Discord lets an
  administrator open a command to others; Atelier checks the right again, with each command and each button.
- The **host** runs Atelier: the machine, its files and the configuration. On a server the host is what Discord says:
  a moderator, a member or a stranger.

"""


def doors(rights: Iterable[Right] = RIGHTS) -> list[str]:
    """All ways to the actions."""
    return [door for right in rights for door in right.doors]


def page() -> str:
    """The page docs/rights.md."""
    lines = ["| action | host | moderators | members | strangers | by |", "| --- | --- | --- | --- | --- | --- |"]
    for right in RIGHTS:
        cells = (right.action, right.host, right.moderators, right.members, right.strangers, _by(right))
        lines.append(f"| {' | '.join(cells)} |")
    return _INTRODUCTION + "\n".join(lines) + "\n"


def _by(right: Right) -> str:
    """The commands and menus of an action, as people type and see them; the buttons in a word."""
    names = []
    for door in right.doors:
        kind, _, name = door.rpartition(":")
        if kind == "cli":
            names.append(f"`atelier {name}`")
        elif kind == "menu":
            names.append(f"the menu *{name}*")
        elif not kind:
            names.append(f"`/{name}`")
    if any(door.startswith("press:") for door in right.doors):
        names.append("buttons")
    return ", ".join(names) or "nothing"
