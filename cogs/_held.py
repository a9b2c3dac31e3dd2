"""What is kept about a person, where their words go, and what a deletion changes."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from bot.config import ModelConfig
from bot.language import say, say_many
from bot.provider_config import ProviderConfig
from bot.storage.forgetting import Held
from cogs import _words


def senders(models: Sequence[ModelConfig], providers: Sequence[ProviderConfig]) -> str:
    """Which models send words to other servers, and to which; empty if none does."""
    lines = []
    for provider in providers:
        names = ", ".join(f"`{model.name}`" for model in models if model.provider == provider.name)
        if names:
            host = urlsplit(provider.base_url).hostname or provider.base_url
            painted = say("{models}: painted by {provider}", models=names, provider=f"**{provider.name}** (`{host}`)")
            lines.append(f"- {painted}")
    if not lines:
        return ""
    return "\n".join(
        [
            say("**Words leave this machine if you ask with one of these models:**"),
            *lines,
            say(
                "Atelier sends the words of the request and the pictures that it starts from, without names, ids or "
                "channels. What the provider does with them is up to the provider. Other models send nothing."
            ),
        ]
    )


def kept(held: Held, sent: str = "") -> str:
    """What is kept about a person, why, and for how long; `sent` says which models send words elsewhere."""
    points = (
        say(
            "Your requests with their words and settings, their pictures and those you sent, for `/history`, to paint "
            "them again, and to offer phrases of them that ten people wrote. They stay until you delete them."
        ),
        say("The painting time and the money that they cost, and when, for quotas and the order of the queue."),
        say(
            "Your reactions under results, to sum up how people like each model, and to do what they ask for. They "
            "stay until you take them back. Also which results were sent to you because you asked by ✉️."
        ),
        say("Your `/settings`. They stay until you clear them."),
        say("Which rule refused a request of yours, without the words of the request. This stays for 30 days."),
        say(
            "Comparisons that you asked for and your votes, what you entered in contests and your votes in them, "
            "prompts with choices as you typed them, words that you put on results, styles made from them, and whether "
            "you joined data sets."
        ),
        say("Limits that moderators set for you, and the numbered cases of what they did about you."),
        say(
            "Results that you reported, and your reasons; that results of yours were reported. Moderators do not see "
            "who reported."
        ),
        say("Backups of all this: one for each of the last 7 days, and one for each of the last 4 weeks."),
    )
    heading = say("**Kept about you, on all servers together:** {held}.", held=_counted(held))
    receivers = say(
        "Only Discord receives any of this data. `/privacy export` gives you all of it, `/privacy delete` deletes it."
    )
    if sent:
        receivers = say(
            "Apart from that, only Discord receives any of this data. `/privacy export` gives you all of it, "
            "`/privacy delete` deletes it."
        )
    leaves = ["", sent] if sent else []
    return "\n".join([heading, *(f"- {point}" for point in points), *leaves, "", receivers])


def _counted(held: Held) -> str:
    ratings = say_many("1 rating", "{count} ratings", held.ratings)
    return f"{_words.requests(held.requests)}, {_words.pictures(held.pictures)}, {ratings}"


def forget_question(held: Held) -> str:
    """The question before a deletion: what is deleted, and what stays."""
    first = say("**This deletes what Atelier keeps about you, on all servers: {held}.**", held=_counted(held))
    if held.open:
        first += " " + say_many(
            "{count} of the requests is still open and will be cancelled.",
            "{count} of the requests are still open and will be cancelled.",
            held.open,
        )
    return "\n".join(
        [
            first,
            say("It cannot be undone. `/privacy export` and `/history` give you a copy first."),
            say(
                "**Deleted at once:** your prompts, their settings and your `/settings`, your pictures and those you "
                "sent, your ratings; within minutes also from the backups."
            ),
            say(
                "**Deleted one by one,** 25 in two minutes in each channel: my messages with your requests and "
                "pictures, and their copies in galleries and direct messages."
            ),
            say(
                "**Stays:** when, where and with which model you asked, and the painting time. Your id stays with it "
                "for 3 days, because a deletion does not reset a quota. Limits and blocks that moderators set for you "
                "stay, and their cases without the reasons. The fact that you asked for this stays for 90 days, in "
                "case a backup is restored."
            ),
            say(
                "**I cannot delete:** your reactions under others' messages, copies that people or the host made "
                "elsewhere, and messages in channels that I may no longer enter."
            ),
        ]
    )
