"""The texts of messages. Text that a person typed is shown inert: it pings no one, shows no link, formats nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import discord

from bot.config import ModelConfig
from bot.errors import Reference, format_references
from bot.jobs import (
    DRAINED,
    GenerationRequest,
    Image,
    Job,
    Operation,
    Picture,
    PictureLimits,
    PictureRef,
    Queued,
    Scope,
    Subject,
    utcnow,
)
from bot.logs import hide
from bot.money import Micros, dollars, roughly
from bot.policy.limits import BLOCKED, GALLERY, HOST, LOG, PAUSED, QUOTA_FROM, LimitName, Origin
from bot.policy.picture_limits import THRESHOLD_RULES
from bot.policy.purse import WHOSE, Fund, Purse
from bot.policy.wildcards import WILDCARD
from bot.policy.words import LONGEST_TERM, TERM
from bot.provider_config import ProviderConfig
from bot.requests.admission import Quote
from bot.requests.defaults import RULES as DEFAULT_RULES
from bot.requests.defaults import Source
from bot.requests.improving import Addition
from bot.requests.presets import RULE as PRESETS
from bot.responses import MESSAGE, fitted, units
from bot.storage.cases import CANCEL, CONTEST, DELETE, Case, is_final
from bot.storage.consents import CHANNEL as DATASET
from bot.storage.forgetting import Held
from bot.storage.styles import RULE as STYLE_RULE

_SHOWN_PROMPT = 400
_ALT_PART = 400
"""Characters of each prompt of an animation in its description, of which Discord takes 1,024."""
_SHOWN_TERMS = 5
_BAR_CELLS = 10
_SPARE = 250
"""Characters kept free in a failure message."""
_REASON = 900
"""Characters of the reason of a failure."""

# Discord shows a card for an invitation, even if its address has no https://.
_INVITE = re.compile(r"discord(?:app)?\.(?:gg|com)(?=/)", re.IGNORECASE)

_OPERATIONS = {
    Operation.IMAGE2IMAGE: "from an image",
    Operation.BLEND: "a blend of images",
    Operation.INPAINT: "a part repainted",
    Operation.OUTPAINT: "extended",
    Operation.UPSCALE: "enlarged",
    Operation.MORPH: "an animation",
    Operation.FILM: "a film",
    Operation.IMAGE2FILM: "a film from an image",
}

_VALUE_SOURCES = {
    Source.FLAG: "by flags:",
    Source.OPTION: "by options:",
    Source.STYLE: "by the style:",
    Source.LEARNED: "by what people here like:",
    Source.CONTROL: "by lot, to compare with what people here like:",
    Source.MINE: "by the requester's own settings:",
    Source.CHANNEL: "by the channel:",
    Source.SERVER: "by the server:",
}

REFUSED = "Not accepted."
EXPIRED_BILL = "You already answered this, or Atelier was restarted. Ask again; your quota is unchanged."
BUSY = "I get more requests at the moment than I can answer in time. Try again in a few seconds."
EXPIRED = "This button has expired."
FORGOTTEN = (
    "Deleted. I now delete my messages with your requests and pictures one by one. You can ask for new pictures "
    "whenever you like; the part of your quota that you used today still counts."
)
REMOVED = "🗑️ A moderator removed this result."


def inert(text: str, limit: int = _SHOWN_PROMPT) -> str:
    """Show a person's text as it is: formatting and mentions escaped, links without preview, cut at `limit`."""
    # If Discord refuses the message, its error quotes this text: keep it out of the log.
    hide(text)
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    text = re.sub(r"([\\*_`~|<>\[\]()#-])", r"\\\1", text)
    text = _INVITE.sub("\\g<0>\u200b", text.replace("://", ":\u200b//"))
    return discord.utils.escape_mentions(text)


def relative(at: datetime) -> str:
    """A time that Discord shows as a countdown."""
    return f"<t:{int(at.timestamp())}:R>"


def past(at: datetime) -> str:
    """A past time that Discord shows as "… ago". A time in the future, because the clock was set back, becomes now."""
    return relative(min(at, utcnow()))


def seconds(count: float) -> str:
    """A duration for people; a negative one is shown as 0."""
    count = max(count, 0.0)
    if count < 10:
        return f"{count:.1f} s"
    if count < 90:
        return f"{count:.0f} s"
    return f"{count / 60:.0f} min" if count < 5400 else f"{count / 3600:.1f} h"


def pictures(count: int) -> str:
    """A number of pictures."""
    return "1 picture" if count == 1 else f"{count} pictures"


def amount(request: GenerationRequest) -> str:
    """How much a request paints."""
    if not request.frames:
        return pictures(request.num_images_per_prompt)
    return f"{'a film' if request.operation.is_film else 'an animation'} of {request.frames} frames"


def alt(request: GenerationRequest) -> str:
    """What a picture shows, for those who do not see it; of an animation also what moves."""
    if not request.frames:
        return request.prompt
    begin = fitted(request.prompt, _ALT_PART)
    if request.operation.is_film:
        return f"A film in {request.frames} frames: {begin}"
    if not request.end_prompt:
        return f"A morph of {begin} between two seeds in {request.frames} frames"
    return f"A morph from {begin} to {fitted(request.end_prompt, _ALT_PART)} in {request.frames} frames"


def headline(job: Job) -> str:
    """The first line of a job's message: the prompt and the person who asked."""
    if job.is_withheld:
        return f"**A request** — <@{job.requester.user_id}>"
    return f"**{inert(job.request.title)}** — <@{job.requester.user_id}>"


def subject(about: Subject) -> str:
    """The server, channel, role or person that a rule is about, as a mention."""
    scope, subject_id = about
    match scope:
        case Scope.SERVER:
            return "this server"
        case Scope.CHANNEL:
            return f"<#{subject_id}>"
        case Scope.ROLE:
            return f"<@&{subject_id}>"
        case Scope.PERSON:
            return f"<@{subject_id}>" if subject_id else "a person"


def origin(decided: Origin) -> str:
    """Who decided a limit, in words."""
    if decided == HOST or decided.scope is None:
        return "the host's default"
    return f"the rule for {subject((decided.scope, decided.subject_id))}"


def command(name: str) -> str:
    """The name of one of the bot's commands, with its slash."""
    return f"`/{name}`"


def limit(name: LimitName, value: Any) -> str:
    """The value of a limit as people read it."""
    if value is None:
        return "all"
    if name is LimitName.CHANNELS:
        return ", ".join(subject((Scope.CHANNEL, channel_id)) for channel_id in value) or "none"
    if name is LimitName.MODELS:
        return ", ".join(f"`{model}`" for model in value) or "none"
    return f"{value:,}"


def said(sentence: str) -> str:
    """A sentence with its references formatted for Discord."""
    return format_references(sentence, _FORMATTERS)


def _subject_of(text: str) -> str:
    about = Origin.parse(text)
    if about.scope is None:
        raise ValueError(text)
    return subject((about.scope, about.subject_id))


_FORMATTERS: Mapping[Reference, Callable[[str], str]] = {
    Reference.ORIGIN: lambda text: origin(Origin.parse(text)),
    Reference.SUBJECT: _subject_of,
    # Discord counts down in whole seconds. Add one second, so that the time has come when the countdown ends.
    Reference.TIME: lambda text: relative(datetime.fromisoformat(text) + timedelta(seconds=1)),
    Reference.COMMAND: command,
}


ALL_DRAINED = "The host has stopped every engine for this for a while."


def queued(job: Job, news: Queued) -> str:
    """The message of an accepted request that waits."""
    if news == DRAINED:
        return f"{headline(job)}\n⏸️ {ALL_DRAINED} This request keeps its place."
    if news.is_held:
        return f"{headline(job)}\n⏸️ A moderator paused painting. This request keeps its place."
    when = "starts in a moment" if news.starts_at is None else f"starts {relative(news.starts_at)}"
    return f"{headline(job)}\n🕓 Queued: place {news.place}, {when}"


def painting(job: Job, step: int, of: int) -> str:
    """The message of a request that is being painted: after denoising step `step` of `of`."""
    done = step * _BAR_CELLS // max(of, 1)
    return f"{headline(job)}\n🖌️ Painting {'▰' * done}{'▱' * (_BAR_CELLS - done)} step {step} of {of}"


def retrying(job: Job) -> str:
    """The message of a request whose attempt was interrupted, because the engine died."""
    return f"{headline(job)}\n🔁 The engine was restarted. Trying again."


def failed(job: Job, reason: str) -> str:
    """The message of a request that ended without a picture: the reason, and the prompt to copy."""
    text = f"{headline(job)}\n❌ {fitted(said(reason), _REASON)}\n-# It does not count towards your quota. "
    if job.is_withheld:
        return f"{text}`/history` shows you your prompt."
    return text + _handed_back(job.request.title, MESSAGE - _SPARE - units(text))


def cancelled(job: Job) -> str:
    """The message of a request that was cancelled."""
    text = f"{headline(job)}\n🚫 Cancelled."
    if job.is_sent and (cost := price(job)):
        text += f"\n-# {job.request.provider} had been asked already: {cost}"
    return text


def price(job: Job) -> str:
    """What a job costs in money, and whether that is an estimate; empty if it costs none."""
    if job.billed_micros is not None:
        return f"cost {dollars(job.billed_micros)}" if job.billed_micros else ""
    return f"cost about {roughly(job.held_micros)}, an estimate" if job.held_micros else ""


def result(job: Job, images: Sequence[Image | Picture]) -> str:
    """The message of finished pictures: the values that paint them again, and how long the painting took."""
    facts = [parameters(job.request)]
    asked = job.request.width, job.request.height
    if images and (images[0].width, images[0].height) != asked and job.request.provider:
        facts.append(f"came as {images[0].width}×{images[0].height}")
    elif images and images[0].width != job.request.width:
        facts.append(f"enlarged to {images[0].width}×{images[0].height}")
    if job.started_at is not None and job.painted_at is not None and job.asked_at <= job.started_at <= job.painted_at:
        # If the clock was set back meanwhile, these times are out of order and the durations are not known.
        facts.append(f"painted in {seconds((job.painted_at - job.started_at).total_seconds())}")
        facts.append(f"ready {seconds((job.painted_at - job.asked_at).total_seconds())} after the request")
    if cost := price(job):
        facts.append(cost)
    return f"{headline(job)}\n-# {' · '.join(facts)}"


def single(job: Job, picture: Picture) -> str:
    """The words under one picture of several."""
    return f"Picture {picture.ref.number} of {headline(job)}\n-# seed `{picture.seed}`"


def operation(request: GenerationRequest) -> str:
    """How the pictures of a request were made, in two or three words."""
    words = _OPERATIONS.get(request.operation, "from words")
    return f"draft, {words}" if request.draft else words


def info(job: Job, pictures: Sequence[Picture], origins: Sequence[PictureRef], value_sources: Mapping[str, str]) -> str:
    """Every value of a result, with the seed and the size of each picture."""
    request = job.request
    lines = [f"**Request {job.id}** by <@{job.requester.user_id}>, {past(job.asked_at)}"]
    lines += [
        f"Picture {picture.ref.number}: seed `{picture.seed}`, {picture.width}×{picture.height}" for picture in pictures
    ]
    lines.append(f"-# {parameters(request)}")
    given = [
        f"{words} {', '.join(names)}"
        for source, words in _VALUE_SOURCES.items()
        if (names := [f"`{name}`" for name, origin in value_sources.items() if origin == source])
    ]
    if given:
        lines.append(f"-# {' · '.join(given)} · the rest comes from the model")
    if origins:
        lines.append(f"Made from {sources(origins)}.")
    lines.append(f"Prompt: {inert(request.title, 700)}")
    return fitting(lines)


def sources(refs: Iterable[PictureRef]) -> str:
    """The results that a request starts from; without a number, only the words of a request were used."""
    return ", ".join(
        f"picture {ref.number} of request {ref.job_id}" if ref.number else f"the words of request {ref.job_id}"
        for ref in refs
    )


def painted_again(job_id: int, provider: str, *, is_same: bool) -> str:
    """Whether a request that was painted again gave the same pictures."""
    if is_same:
        return f"-# Painted again from request {job_id}: every pixel is equal"
    if provider:
        return f"-# Painted again from request {job_id}: {provider} seldom paints the same picture twice"
    return (
        f"-# Painted again from request {job_id}: some pixels differ. Requests that are painted together differ by "
        "rounding, unless the host sets engine.reproducible"
    )


def smaller(lossless: bool, *, moves: bool = False) -> str:
    """The note under pictures that were sent as WebP instead of PNG, or under a smaller animation."""
    if moves:
        return "-# Made smaller, because the file is too large for Discord here; some detail is lost"
    how = "no detail is lost" if lossless else "some detail is lost"
    return f"-# Sent as WebP, because the PNG is too large for Discord here; {how}"


def parameters(request: GenerationRequest) -> str:
    """A request's resolved values, in one line."""
    if request.operation is Operation.UPSCALE:
        return f"enlarged · model `{request.model}`"
    last = request.seeds[-1]
    facts = [f"model `{request.model}`", f"{request.width}×{request.height}"]
    if request.provider:
        facts.insert(1, f"painted by {request.provider}")
    else:
        facts = [
            f"seed `{request.seed}`" if last == request.seed else f"seeds `{request.seed}`–`{last}`",
            *([f"to seed `{request.end_seed}`"] if request.end_seed is not None else []),
            *([f"{request.frames} frames"] if request.frames else []),
            *facts,
            f"{request.num_inference_steps} steps",
            f"guidance {request.guidance_scale:g}",
        ]
    if request.draft:
        facts.insert(0, "draft")
    if request.style:
        facts.insert(0, f"style `{request.style}` (version {request.style_version})")
    if request.sampler != "default":
        facts.append(f"sampler `{request.sampler}`")
    facts += [f"LoRA `{name}:{weight:g}`" for name, weight in request.loras]
    if request.operation in _OPERATIONS and not request.frames:
        how = "" if request.provider else f" at strength {request.strength:g}"
        facts.append(f"{_OPERATIONS[request.operation]}{how}")
    if request.controlnet:
        facts.append(f"ControlNet `{request.controlnet}:{request.controlnet_conditioning_scale:g}`")
    if request.negative_prompt:
        facts.append(f"without {inert(request.negative_prompt, 100)}")
    return " · ".join(facts)


def bill(quote: Quote) -> str:
    """The question before a big request is accepted: what it would cost, and what is left."""
    if quote.purse is not None:
        return (
            f"{pictures(quote.request.num_images_per_prompt)}, {estimated(quote.micros, quote.request.provider)} "
            f"{money_left(quote.purse)} Paint it?"
        )
    allowance = quote.allowance
    asked = max(allowance.pictures(quote.seconds), 1)
    return (
        f"{amount(quote.request).capitalize()}, about {seconds(quote.seconds)} of GPU time. This takes "
        f"{asked} of the {allowance.pictures(allowance.left)} pictures with default settings that are left of your "
        "quota today. Paint it?"
    )


def estimated(micros: Micros, provider: str) -> str:
    """What something will probably cost, as the end of a sentence and one more."""
    return (
        f"about {roughly(micros)}. This is an estimate: {provider} says afterwards what it costs, and that is what "
        "counts. If it fails, you pay nothing."
    )


def money_left(purse: Purse) -> str:
    """What a person can spend now, and what holds them back, as a sentence."""
    least = min(purse.funds, key=lambda fund: fund.left)
    return f"{dollars(least.left)} of {WHOSE[least.name]} is left, of {dollars(least.most)} in 24 hours."


def spent(fund: Fund) -> str:
    """What is spent and left of a limit of money, and who decided it."""
    return (
        f"**{dollars(fund.left)}** of {WHOSE[fund.name]} is left: {dollars(fund.used)} of {dollars(fund.most)} in 24 "
        f"hours is spent or held ({origin(fund.origin)})."
    )


def offer(additions: Sequence[Addition], notes: Sequence[str] = ()) -> str:
    """What would improve a prompt, and how it is liked; nothing is changed yet."""
    lines = ["People here like pictures whose prompts have this. Nothing is changed yet."]
    lines += [
        f"- **{inert(addition.text, 80)}**: liked by {addition.reception.share:.0%} of the "
        f"{addition.reception.people} people who rated pictures with it"
        for addition in additions
    ]
    return fitting([*lines, *(f"-# About your request: {said(note)}" for note in notes)])


def presence(waiting: int, running: int) -> str:
    """The status under the bot's name: how many requests are painted and how many wait."""
    if not waiting and not running:
        return "Ready to paint"
    return f"Painting {running}, {waiting} waiting"


def declined(back: str) -> str:
    """The answer after a person declined a big request; `back` returns the prompt."""
    return f"Your quota is unchanged. {back}"


_DESCRIBED = "This is what I see. Only you see this message.\n```\n{}\n```"


def described(said: str) -> str:
    """The answer to a person who wants a picture described; `said` is the sentence of the model."""
    return _DESCRIBED.format(fitted(said.replace("``", "`\u200b`"), MESSAGE - units(_DESCRIBED)))


def described_in(message: str) -> str:
    """The sentence in a message that `described` made; nothing if there is none."""
    before, _, after = _DESCRIBED.partition("{}")
    is_ours = message.startswith(before) and message.endswith(after)
    return message[len(before) : len(message) - len(after)] if is_ours else ""


def _handed_back(prompt: str, room: int) -> str:
    """A prompt to copy, with its frame in at most `room` UTF-16 units; a longer prompt is cut."""
    frame = "Your prompt, to copy:\n```\n{}\n```"
    whole = frame.format(prompt.replace("``", "`\u200b`"))
    if units(whole) <= room:
        return whole
    frame = f"Only its beginning fits here. {frame}"
    return frame.format(fitted(prompt.replace("``", "`\u200b`"), room - units(frame)))


def notes(remarks: Iterable[str]) -> str:
    """The notes for the person whose request was accepted: changed values, words that the model does not know."""
    lines = [said(remark) for remark in remarks]
    if len(lines) == 1:
        return fitting([f"About your request: {lines[0]}"])
    return fitting(["About your request:", *(f"- {line}" for line in lines)])


def fitting(lines: Sequence[str], room: int = MESSAGE) -> str:
    """As many whole lines as `room` UTF-16 units hold. The first line is cut if it alone is too long."""
    text = "\n".join(lines)
    if units(text) <= room:
        return text
    cut = fitted(text, room - 1)
    whole = cut.rpartition("\n")[0]
    return f"{whole}\n…" if whole else cut


def pages(text: str, room: int = MESSAGE) -> list[str]:
    """A page of several parts as messages: as many whole parts in each as `room` UTF-16 units hold."""
    found: list[str] = []
    for part in re.split(r"\n(?=## )", text.strip()):
        together = f"{found[-1]}\n{part}" if found else part
        if found and units(together) <= room:
            found[-1] = together
        else:
            found.append(fitting(part.splitlines(), room))
    return found


def senders(models: Sequence[ModelConfig], providers: Sequence[ProviderConfig]) -> str:
    """Which models send words to other servers, and to which; empty if none does."""
    lines = []
    for provider in providers:
        names = ", ".join(f"`{model.name}`" for model in models if model.provider == provider.name)
        if names:
            host = urlsplit(provider.base_url).hostname or provider.base_url
            lines.append(f"- {names}: painted by **{provider.name}** (`{host}`)")
    if not lines:
        return ""
    return "\n".join(
        [
            "**Words leave this machine if you ask with one of these models:**",
            *lines,
            "Sent are the words of the request and the pictures that it starts from, without names, ids or channels. "
            "What becomes of them there is up to that server. Other models send nothing.",
        ]
    )


def kept(held: Held, sent: str = "") -> str:
    """What is kept about a person, why, and for how long; `sent` says which models send words elsewhere."""
    leaves = f"\n{sent}\n\nApart from that, only Discord receives" if sent else "\nOnly Discord receives"
    return (
        f"**Kept about you, on all servers together:** {_counted(held)}.\n"
        "- Your requests with their words and settings, their pictures and those you sent, for `/history`, to paint "
        "them again, and to offer phrases of them that ten people wrote. They stay until you delete them.\n"
        "- The GPU time and the money that they cost, and when, for quotas and the order of the queue.\n"
        "- Your reactions under results, to sum up how people like each model, and to do what they ask for. They stay "
        "until you take them back. Also which results were sent to you because you asked by ✉️.\n"
        "- Your `/settings`. They stay until you clear them.\n"
        "- Which rule refused a request of yours, without the words of the request. This stays for 30 days.\n"
        "- Comparisons that you asked for and your votes, what you entered in contests and your votes in them, prompts "
        "with choices as you typed them, words that you put on results, styles made from them, and whether you joined "
        "data sets.\n"
        "- Limits that moderators set for you, and the numbered cases of what they did about you.\n"
        "- Results that you reported, and your reasons; that results of yours were reported. Moderators do not see who "
        "reported.\n"
        "- Daily backups: one for each of 7 days and 4 weeks.\n"
        f"{leaves} any of this data. `/privacy export` gives you all of it, `/privacy delete` deletes it."
    )


def _counted(held: Held) -> str:
    requests = "1 request" if held.requests == 1 else f"{held.requests} requests"
    ratings = "1 rating" if held.ratings == 1 else f"{held.ratings} ratings"
    return f"{requests}, {pictures(held.pictures)}, {ratings}"


def forget_question(held: Held) -> str:
    """The question before a deletion: what is deleted, and what stays."""
    open_ = f" {held.open} of the requests are still open and will be cancelled." if held.open else ""
    return (
        f"**This deletes what Atelier keeps about you, on all servers: {_counted(held)}.**{open_}\n"
        "It cannot be undone. `/privacy export` and `/history` give you a copy first.\n"
        "**Deleted at once:** your prompts, their settings and your `/settings`, your pictures and those you sent, "
        "your ratings; within minutes also from the backups.\n"
        "**Deleted one by one,** 25 in two minutes in each channel: my messages with your requests and pictures, and "
        "their copies in galleries and direct messages.\n"
        "**Stays:** when, where and with which model you asked, and the GPU time. Your id stays with it for 3 days, "
        "because a deletion does not reset a quota. Limits and blocks that moderators set for you stay, and their "
        "cases without the reasons. The fact that you asked for this stays for 90 days, in case a backup is restored.\n"
        "**I cannot delete:** your reactions under others' messages, copies that people or the host made elsewhere, "
        "and messages in channels that I may no longer enter."
    )


def receipt(case: Case) -> str:
    """What a moderator did, and the command that undoes it."""
    undo = "" if is_final(case.action) else f" `/mod undo case:{case.number}` undoes it."
    return f"Case {case.number}: {change(case)}.{undo}"


def change(case: Case) -> str:
    """What a case changed, with the old and the new values."""
    what = f"{case.action} for {subject(case.subject)}"
    if case.undoes is not None:
        what = f"undo of case {case.undoes} for {subject(case.subject)}"
    if case.action == DELETE:
        words = f"{what}: {pictures(case.before['pictures'])} of message {case.before['message']}"
        # Cases from before have no such count.
        if count := case.before.get("requests", 0):
            words += f", and {count} open request{'' if count == 1 else 's'} of it"
        return words
    if case.action == CANCEL:
        count = len(case.after)
        return f"{what}: {count} request{'' if count == 1 else 's'}"
    names = list(dict.fromkeys((*case.before, *case.after)))
    if names and all(name.startswith(CONTEST) for name in names):
        return f"{what}: contest {names[0].removeprefix(CONTEST)} {_contest_state(case)}"
    if case.undoes is None and case.action in _PLAIN:
        ends = f" {_value(BLOCKED, case.after)}" if isinstance(case.after.get(BLOCKED), str) else ""
        return f"{_PLAIN[case.action]} {subject(case.subject)}{ends}"
    if names and all(name.startswith(TERM) for name in names):
        return f"{what}: {_terms_changed(case)}"
    changes = [
        f"{_rule(name)} {_value(name, case.before)} → {_value(name, case.after)}"
        for name in names
        if _value(name, case.before) != _value(name, case.after)
    ]
    return f"{what}: {', '.join(changes)}" if changes else what


def _contest_state(case: Case) -> str:
    (state,) = case.after.values()
    return {
        "entries": "takes entries",
        "voting": "takes votes",
        "counted": "is over, and its votes are counted",
        "cancelled": "is cancelled",
    }[state]


_PLAIN = {
    "block": "blocked",
    "unblock": "unblocked",
    "pause": "paused painting for",
    "resume": "resumed painting for",
}
"""What moderators did where the name of the action says all."""


def hidden(text: str) -> str:
    """A text that a person typed, behind a spoiler."""
    return f"||{inert(text, LONGEST_TERM)}||"


def _terms_changed(case: Case) -> str:
    """Which terms a case put on the list of a server, and which it took off."""
    sides = (("added", case.after, case.before), ("removed", case.before, case.after))
    parts = []
    for verb, to, since in sides:
        if terms := [str(term) for name, term in to.items() if name not in since]:
            more = f" and {len(terms) - _SHOWN_TERMS} more" if len(terms) > _SHOWN_TERMS else ""
            parts.append(f"{verb} {', '.join(map(hidden, terms[:_SHOWN_TERMS]))}{more}")
    return ", ".join(parts) or "the spelling of a term"


_RULES = {
    QUOTA_FROM: "GPU time that counts",
    LOG: "log channel",
    PRESETS: "presets among which ratings choose",
    DATASET: "results for data sets",
    **{rule: f"pictures: {name}" for name, rule in THRESHOLD_RULES.items()},
    **{rule: f"usual {name}" for name, rule in DEFAULT_RULES.items()},
}


def _rule(name: str) -> str:
    """What a rule is called."""
    if name.startswith(STYLE_RULE):
        return f"the style `{name.removeprefix(STYLE_RULE)}`"
    if name.startswith(WILDCARD):
        return f"the wildcard `__{name.removeprefix(WILDCARD)}__`"
    return _RULES.get(name, name.replace(":", " "))


def defaults_of(place: Subject, rules: Mapping[str, Any]) -> str:
    """What the requests of a place get if people choose nothing."""
    lines = [f"- {name}: {_value(rule, rules)}" for name, rule in DEFAULT_RULES.items()]
    return "\n".join(
        [
            f"**Defaults of {subject(place)}**",
            *lines,
            "-# What a person types or sets with `/settings` wins. `clear:` removes a default.",
        ]
    )


def thresholds_of(place: Subject, rules: Mapping[str, Any], limits: PictureLimits, *, is_off: bool) -> str:
    """How explicit pictures may be in a place: what holds, and which of it moderators have set there."""
    if is_off:
        return "The host has switched the safety check off: no picture is checked, and these thresholds have no effect."
    lines = [f"**Pictures in {subject(place)}**"]
    for name, rule in THRESHOLD_RULES.items():
        value = limits.block if name == "block" else limits.spoiler
        holds = "never" if value is None else f"from {value:.0%}"
        origin = f"set here to {rules[rule]}%" if rule in rules else "not set here"
        lines.append(f"- {name}: {holds} ({origin})")
    lines.append(
        "-# The safety check says of each picture, also of those that people send, how explicit it is, in percent."
    )
    return "\n".join(lines)


_OFF = (PAUSED, BLOCKED, GALLERY, LOG, DATASET, PRESETS)


def _value(name: str, rules: Mapping[str, Any]) -> str:
    """The value of a rule in words; without the rule, words that say so."""
    if name not in rules:
        is_off = name in _OFF or name.startswith((STYLE_RULE, WILDCARD))
        return "all" if name == QUOTA_FROM else "no" if is_off else "no rule"
    value = rules[name]
    if name.startswith(STYLE_RULE):
        return f"version {value}"
    if name.startswith(WILDCARD):
        return f"{inert(', '.join(value), 100)} ({len(value)})"
    if name == GALLERY:
        channel_id, threshold = value
        return (
            f"{subject((Scope.CHANNEL, channel_id))} from {threshold} {'favourite' if threshold == 1 else 'favourites'}"
        )
    if name == PRESETS:
        return ", ".join(f"`{style}`" for style in value)
    if name == LOG:
        return subject((Scope.CHANNEL, value))
    if name in list(LimitName):
        return limit(LimitName(name), value)
    if name in (BLOCKED, QUOTA_FROM) and isinstance(value, str):
        at = datetime.fromisoformat(value)
        return f"since {relative(at)}" if name == QUOTA_FROM else f"until {relative(at)}"
    if name in DEFAULT_RULES.values():
        return f"`{inert(str(value), 40)}`"
    if name in THRESHOLD_RULES.values():
        return f"{value}%"
    return "yes" if value in (None, True) else str(value)
