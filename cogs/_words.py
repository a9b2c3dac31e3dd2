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
from bot.language import NAMES, Language, current, lasting, mark, say, say_many, speaking
from bot.language.catalogues import COMMAND, OPTION
from bot.language.reasons import Reason
from bot.logs import hide
from bot.money import dollars, roughly
from bot.policy.language import RULE as LANGUAGE
from bot.policy.limits import BLOCKED, GALLERY, HOST, LOG, PAUSED, QUOTA_FROM, LimitName, Origin, spoken
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
from bot.translator import shown_name

_SHOWN_PROMPT = 400
_ALT_PART = 400
"""Characters of each prompt of an animation in its description, of which Discord takes 1,024."""
_SHOWN_TERMS = 5
_BAR_CELLS = 10
_LONG_WAIT = 5.0
"""Seconds of waiting that are worth a word in a result."""
_SPARE = 250
"""Characters kept free in a failure message."""
_REASON = 900
"""Characters of the reason of a failure."""

# Discord shows a card for an invitation, even if its address has no https://.
_INVITE = re.compile(r"discord(?:app)?\.(?:gg|com)(?=/)", re.IGNORECASE)

_OPERATIONS = {
    Operation.IMAGE2IMAGE: mark("from an image"),
    Operation.BLEND: mark("a blend of images"),
    Operation.INPAINT: mark("a part repainted"),
    Operation.OUTPAINT: mark("extended"),
    Operation.UPSCALE: mark("enlarged"),
    Operation.MORPH: mark("an animation"),
    Operation.FILM: mark("a film"),
    Operation.IMAGE2FILM: mark("a film from an image"),
}

_VALUE_SOURCES = {
    Source.FLAG: mark("by flags: {names}"),
    Source.OPTION: mark("by options: {names}"),
    Source.STYLE: mark("by the style: {names}"),
    Source.LEARNED: mark("by what people here like: {names}"),
    Source.CONTROL: mark("at random, to compare with what people here like: {names}"),
    Source.MINE: mark("by the requester's own settings: {names}"),
    Source.CHANNEL: mark("by the channel: {names}"),
    Source.SERVER: mark("by the server: {names}"),
}

REFUSED = mark("This request was not accepted.")
EXPIRED_BILL = mark("You already answered this, or Atelier was restarted. Ask again; your quota is unchanged.")
BUSY = mark("I get more requests at the moment than I can answer in time. Try again in a few seconds.")
EXPIRED = mark("This button has expired.")
FORGOTTEN = mark(
    "Deleted. I now delete my messages with your requests and pictures one by one. You can ask for new pictures "
    "whenever you like; the part of your quota that you used today still counts."
)
REMOVED = mark("🗑️ A moderator removed this result.")


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


def moment(at: datetime) -> str:
    """A time that Discord shows as a date and a time of day, with how far it is away."""
    return f"<t:{int(at.timestamp())}:f> ({relative(at)})"


def past(at: datetime) -> str:
    """A past time that Discord shows as "… ago". A time in the future, because the clock was set back, becomes now."""
    return relative(min(at, utcnow()))


def seconds(count: float) -> str:
    """A duration for people; a negative one is shown as 0."""
    count = max(count, 0.0)
    if count < 10:
        return say("{number:.1f} s", number=count)
    if count < 90:
        return say("{number:.0f} s", number=count)
    if count < 5400:
        return say("{number:.0f} min", number=count / 60)
    return say("{number:.1f} h", number=count / 3600)


def pictures(count: int) -> str:
    """A number of pictures."""
    return say_many("1 picture", "{count} pictures", count)


def requests(count: int) -> str:
    """A number of requests."""
    return say_many("1 request", "{count} requests", count)


def amount(request: GenerationRequest) -> str:
    """How much a request paints."""
    if not request.frames:
        return pictures(request.num_images_per_prompt)
    if request.operation.is_film:
        return say_many("a film of {count} frame", "a film of {count} frames", request.frames)
    return say_many("an animation of {count} frame", "an animation of {count} frames", request.frames)


def alt(request: GenerationRequest) -> str:
    """What a picture shows, for those who do not see it; of an animation also what moves."""
    if not request.frames:
        return request.prompt
    begin, count = fitted(request.prompt, _ALT_PART), request.frames
    if request.operation.is_film:
        return say_many("A film of {count} frame: {prompt}", "A film of {count} frames: {prompt}", count, prompt=begin)
    if not request.end_prompt:
        return say_many(
            "A morph of {prompt} between two seeds in {count} frame",
            "A morph of {prompt} between two seeds in {count} frames",
            count,
            prompt=begin,
        )
    end = fitted(request.end_prompt, _ALT_PART)
    return say_many(
        "A morph from {first} to {last} in {count} frame",
        "A morph from {first} to {last} in {count} frames",
        count,
        first=begin,
        last=end,
    )


def headline(job: Job) -> str:
    """The first line of a job's message: the prompt and the person who asked."""
    if job.is_withheld:
        return say("**A request** — {person}", person=f"<@{job.requester.user_id}>")
    return f"**{inert(job.request.title)}** — <@{job.requester.user_id}>"


def subject(about: Subject) -> str:
    """The server, channel, role or person that a rule is about, as a mention."""
    scope, subject_id = about
    match scope:
        case Scope.SERVER:
            return say("this server")
        case Scope.CHANNEL:
            return f"<#{subject_id}>"
        case Scope.ROLE:
            return f"<@&{subject_id}>"
        case Scope.PERSON:
            return f"<@{subject_id}>" if subject_id else say("a person")


def origin(decided: Origin) -> str:
    """Who decided a limit, in words."""
    if decided == HOST or decided.scope is None:
        return say("the host's default")
    if decided.scope is Scope.SERVER:
        return say("the rule for this server")
    return say("the rule for {subject}", subject=subject((decided.scope, decided.subject_id)))


def command(name: str) -> str:
    """The name of one of the bot's commands as the reader sees it, with its slash."""
    return f"`/{command_name(name)}`"


def command_name(name: str) -> str:
    """The name of a command as the reader sees it."""
    return " ".join(shown_name(COMMAND, word) for word in name.split())


def limit(name: LimitName, value: Any) -> str:
    """The value of a limit as people read it."""
    if name is LimitName.CHANNELS:
        if value is None:
            return say("every channel")
        return ", ".join(subject((Scope.CHANNEL, channel_id)) for channel_id in value) or say("no channel")
    if name is LimitName.MODELS:
        if value is None:
            return say("every model")
        return ", ".join(f"`{model}`" for model in value) or say("no model")
    if name is LimitName.QUOTA:
        return str(lasting(value))
    return say("{number:,}", number=value)


def limit_said(name: LimitName, value: Any) -> str:
    """What a value of a limit allows, such as "at most 4 pictures per request"."""
    return str(spoken(name, value)) if isinstance(value, int) else limit(name, value)


def said(sentence: str) -> str:
    """A sentence in words, with its references formatted for Discord."""
    return format_references(str(sentence), _FORMATTERS)


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
    Reference.OPTION: lambda text: f"`{option(text)}`",
}


ALL_DRAINED = mark("The host has stopped every engine for this for a while.")


def queued(job: Job, news: Queued) -> str:
    """The message of an accepted request that waits."""
    if news == DRAINED:
        return f"{headline(job)}\n⏸️ {say(ALL_DRAINED)} {say('This request keeps its place.')}"
    if news.is_held:
        waits = say("⏸️ A moderator paused painting. This request keeps its place.")
    elif news.starts_at is None:
        waits = say("🕓 Queued: place {place}, starts in a moment", place=news.place)
    else:
        waits = say("🕓 Queued: place {place}, starts {when}", place=news.place, when=relative(news.starts_at))
    return f"{headline(job)}\n{waits}"


def painting(job: Job, step: int, of: int) -> str:
    """The message of a request that is being painted: after denoising step `step` of `of`."""
    done = step * _BAR_CELLS // max(of, 1)
    bar = f"{'▰' * done}{'▱' * (_BAR_CELLS - done)}"
    return f"{headline(job)}\n{say('🖌️ Painting {bar} {share:.0%}', bar=bar, share=step / max(of, 1))}"


def retrying(job: Job) -> str:
    """The message of a request whose attempt was interrupted, because the engine died."""
    words = say("🔁 The engine was restarted. Trying again.")
    if provider := job.request.provider:
        words = say("🔁 {provider} did not finish this. Trying again.", provider=provider)
    return f"{headline(job)}\n{words}"


def failed(job: Job, reason: Reason) -> str:
    """The message of a request that ended without a picture: the reason, and the prompt to copy."""
    uncounted = say("-# It does not count towards your quota.")
    text = f"{headline(job)}\n❌ {fitted(said(reason), _REASON)}\n{uncounted} "
    if job.is_withheld:
        return text + say("`/history` shows you your prompt.")
    return text + _handed_back(job.request.title, MESSAGE - _SPARE - units(text))


def cancelled(job: Job) -> str:
    """The message of a request that was cancelled."""
    text = f"{headline(job)}\n{say('🚫 Cancelled.')}"
    if job.is_sent and (cost := price(job)):
        asked = say("-# {provider} had been asked already: {cost}", provider=job.request.provider, cost=cost)
        text += f"\n{asked}"
    return text


def price(job: Job) -> str:
    """What a job costs in money, and whether that is an estimate; empty if it costs none."""
    if job.billed_micros is not None:
        return say("cost {money}", money=dollars(job.billed_micros)) if job.billed_micros else ""
    return say("cost about {money}, an estimate", money=roughly(job.held_micros)) if job.held_micros else ""


def result(job: Job, images: Sequence[Image | Picture]) -> str:
    """The message of finished pictures: the values that paint them again, and how long the painting took."""
    facts = [parameters(job.request)]
    asked = job.request.width, job.request.height
    if images and (images[0].width, images[0].height) != asked and job.request.provider:
        facts.append(
            say(
                "{provider} sent {width}×{height}",
                provider=job.request.provider,
                width=images[0].width,
                height=images[0].height,
            )
        )
    elif images and images[0].width != job.request.width:
        facts.append(say("enlarged to {width}×{height}", width=images[0].width, height=images[0].height))
    if job.started_at is not None and job.painted_at is not None and job.asked_at <= job.started_at <= job.painted_at:
        # If the clock was set back meanwhile, these times are out of order and the durations are not known.
        painted = (job.painted_at - job.started_at).total_seconds()
        ready = (job.painted_at - job.asked_at).total_seconds()
        facts.append(say("painted in {time}", time=seconds(painted)))
        if ready - painted >= _LONG_WAIT:
            facts.append(say("ready {time} after the request", time=seconds(ready)))
    facts += [fact for fact in (fewer(job, len(images)), price(job)) if fact]
    return f"{headline(job)}\n-# {' · '.join(facts)}"


def fewer(job: Job, came: int) -> str:
    """That a provider painted fewer pictures than it was asked for; empty if it did not."""
    asked = job.request.num_images_per_prompt
    if not job.request.provider or not 0 < came < asked:
        return ""
    return say("{provider} painted {came} of {asked} pictures", provider=job.request.provider, came=came, asked=asked)


def single(job: Job, picture: Picture) -> str:
    """The words under one picture of several. Pictures of a provider have no seed of their own."""
    words = say("Picture {number} of {request}", number=picture.ref.number, request=headline(job))
    fact = say("seed `{seed}`", seed=picture.seed)
    if job.request.provider:
        fact = painter(job.request)
    return f"{words}\n-# {fact}"


def painter(request: GenerationRequest) -> str:
    """With which model a request is painted, and by whom, if that is not Atelier itself."""
    model = say("model `{model}`", model=request.model)
    by = say("painted by {provider}", provider=request.provider) if request.provider else ""
    return f"{model} · {by}" if by else model


def operation(request: GenerationRequest) -> str:
    """How the pictures of a request were made, in two or three words."""
    words = say(_OPERATIONS.get(request.operation, mark("from words")))
    return say("draft, {operation}", operation=words) if request.draft else words


def info(job: Job, pictures: Sequence[Picture], origins: Sequence[PictureRef], value_sources: Mapping[str, str]) -> str:
    """Every value of a result, with the seed and the size of each picture."""
    request = job.request
    person = f"<@{job.requester.user_id}>"
    lines = [say("**Request {number}** by {person}, {when}", number=job.id, person=person, when=past(job.asked_at))]
    picture_words = mark("Picture {number}: seed `{seed}`, {width}×{height}")
    if request.provider:
        picture_words = mark("Picture {number}: {width}×{height}")
    lines += [
        say(
            picture_words,
            number=picture.ref.number,
            seed=picture.seed,
            width=picture.width,
            height=picture.height,
        )
        for picture in pictures
    ]
    cost = price(job)
    lines.append(f"-# {parameters(request)} · {cost}" if cost else f"-# {parameters(request)}")
    given = [
        say(words, names=", ".join(names))
        for source, words in _VALUE_SOURCES.items()
        if (names := [f"`{name}`" for name, origin in value_sources.items() if origin == source])
    ]
    if given:
        lines.append(f"-# {' · '.join([*given, say('the rest comes from the model')])}")
    if origins:
        lines.append(say("Made from {sources}.", sources=sources(origins)))
    lines.append(say("Prompt: {prompt}", prompt=inert(request.title, 700)))
    return fitting(lines)


def sources(refs: Iterable[PictureRef]) -> str:
    """The results that a request starts from; without a number, only the words of a request were used."""
    return ", ".join(
        say("picture {number} of request {request}", number=ref.number, request=ref.job_id)
        if ref.number
        else say("the words of request {request}", request=ref.job_id)
        for ref in refs
    )


def painted_again(job_id: int, provider: str, *, is_same: bool) -> str:
    """Whether a request that was painted again gave the same pictures."""
    if is_same:
        return say("-# Painted again from request {request}: every pixel is equal", request=job_id)
    if provider:
        return say(
            "-# Painted again from request {request}: {provider} seldom paints the same picture twice",
            request=job_id,
            provider=provider,
        )
    return say(
        "-# Painted again from request {request}: some pixels differ. Requests that are painted together differ by "
        "rounding, unless the host sets engine.reproducible",
        request=job_id,
    )


def smaller(lossless: bool, *, moves: bool = False) -> str:
    """The note under pictures that were sent as WebP instead of PNG, or under a smaller animation."""
    if moves:
        return say("-# Made smaller, because the file is too large for Discord here; some detail is lost")
    if lossless:
        return say("-# Sent as WebP, because the PNG is too large for Discord here; no detail is lost")
    return say("-# Sent as WebP, because the PNG is too large for Discord here; some detail is lost")


def parameters(request: GenerationRequest) -> str:
    """A request's resolved values, in one line."""
    if request.operation is Operation.UPSCALE:
        return f"{say('enlarged')} · {say('model `{model}`', model=request.model)}"
    facts = [painter(request), f"{request.width}×{request.height}"]
    if not request.provider:
        facts = [
            seeds(request),
            *([say("to seed `{seed}`", seed=request.end_seed)] if request.end_seed is not None else []),
            *([say_many("1 frame", "{count} frames", request.frames)] if request.frames else []),
            *facts,
            say_many("{count} step", "{count} steps", request.num_inference_steps),
            say("guidance {scale:g}", scale=request.guidance_scale),
        ]
    if request.draft:
        facts.insert(0, say("draft"))
    if request.style:
        facts.insert(0, say("style `{style}` (version {version})", style=request.style, version=request.style_version))
    if request.sampler != "default":
        facts.append(say("sampler `{sampler}`", sampler=request.sampler))
    facts += [f"LoRA `{name}:{weight:g}`" for name, weight in request.loras]
    if request.operation in _OPERATIONS and not request.frames:
        how = say(_OPERATIONS[request.operation])
        if not request.provider:
            how = say("{operation} at strength {strength:g}", operation=how, strength=request.strength)
        facts.append(how)
    if request.controlnet:
        facts.append(f"ControlNet `{request.controlnet}:{request.controlnet_conditioning_scale:g}`")
    if request.negative_prompt:
        facts.append(say("without {words}", words=inert(request.negative_prompt, 100)))
    return " · ".join(facts)


def seeds(request: GenerationRequest) -> str:
    """The seed of a request, or the first and the last."""
    last = request.seeds[-1]
    if last == request.seed:
        return say("seed `{seed}`", seed=request.seed)
    return say("seeds `{first}`–`{last}`", first=request.seed, last=last)


def bill(*quotes: Quote) -> str:
    """The question before requests are accepted that are big together: what they would cost, and what is left."""
    allowance, time = quotes[0].allowance, sum(quote.seconds for quote in quotes)
    purse = next((quote.purse for quote in quotes if quote.purse is not None), None)
    painted = amount(quotes[0].request)
    if len(quotes) > 1:
        painted = pictures(sum(quote.request.num_images_per_prompt for quote in quotes))
    if purse is not None:
        question = mark("{pictures}, {estimate} {left} Paint it?")
        if time:
            question = mark(
                "{pictures}, about {time} of your {mine} of painting time, and in money {estimate} {left} Paint it?"
            )
        return say(
            question,
            pictures=painted,
            estimate=estimated(quotes),
            left=money_left(purse),
            time=lasting(time),
            mine=lasting(allowance.left),
        )
    return say(
        "This is a big one: {pictures}, about {time} of the {left} of painting time that you have left today. Paint "
        "it?",
        pictures=painted,
        time=lasting(time),
        left=lasting(allowance.left),
    )


def estimated(quotes: Sequence[Quote]) -> str:
    """What requests to providers will probably cost, as the end of a sentence and one more."""
    names = {quote.request.provider for quote in quotes if quote.micros}
    provider = names.pop() if len(names) == 1 else say("each provider")
    micros = sum(quote.micros for quote in quotes)
    return say(
        "about {money}. This is an estimate: {provider} says afterwards what it costs, and that is what counts. If it "
        "fails, you pay nothing.",
        money=roughly(micros),
        provider=provider,
    )


def money_left(purse: Purse) -> str:
    """What a person can spend now, and what holds them back, as a sentence."""
    least = min(purse.funds, key=lambda fund: fund.left)
    return say(
        "{left} of {whose} is left, of {most} in 24 hours.",
        left=dollars(least.left),
        whose=say(WHOSE[least.name]),
        most=dollars(least.most),
    )


def spent(fund: Fund) -> str:
    """What is spent and left of a limit of money, and who decided it."""
    return say(
        "**{left}** of {whose} is left: {used} of {most} in 24 hours is spent or held ({origin}).",
        left=dollars(fund.left),
        whose=say(WHOSE[fund.name]),
        used=dollars(fund.used),
        most=dollars(fund.most),
        origin=origin(fund.origin),
    )


def offer(additions: Sequence[Addition], notes: Sequence[str] = ()) -> str:
    """What would improve a prompt, and how it is liked; nothing is changed yet."""
    lines = [say("People here like pictures whose prompts have this. Nothing is changed yet.")]
    lines += [
        say(
            "- **{words}**: liked by {share:.0%} of the {people} people who rated pictures with it",
            words=inert(addition.text, 80),
            share=addition.reception.share,
            people=addition.reception.people,
        )
        for addition in additions
    ]
    return fitting([*lines, *(say("-# About your request: {note}", note=said(note)) for note in notes)])


def presence(waiting: int, running: int) -> str:
    """The status under the bot's name: how many requests are painted and how many wait."""
    if not waiting and not running:
        return "Ready to paint"
    return f"Painting {running}, {waiting} waiting"


def declined(back: str) -> str:
    """The answer after a person declined a big request; `back` returns the prompt."""
    return f"{say('Your quota is unchanged.')} {back}"


_DESCRIBED = mark("This is what I see. Only you see this message.")


def described(said: str) -> str:
    """The answer to a person who wants a picture described; `said` is the sentence of the model."""
    before, after = _around_description()
    room = MESSAGE - units(before) - units(after)
    return before + fitted(said.replace("``", "`\u200b`"), room) + after


def _around_description() -> tuple[str, str]:
    """What stands before and after the sentence of a model."""
    return f"{say(_DESCRIBED)}\n```\n", "\n```"


def described_in(message: str) -> str:
    """The sentence in a message that `described` made, in any language; nothing if there is none."""
    for language in dict.fromkeys((current(), *Language)):
        with speaking(language):
            before, after = _around_description()
        if message.startswith(before) and message.endswith(after):
            return message[len(before) : len(message) - len(after)]
    return ""


def _handed_back(prompt: str, room: int) -> str:
    """A prompt to copy, with its frame in at most `room` UTF-16 units; a longer prompt is cut."""
    inert_prompt = prompt.replace("``", "`\u200b`")
    heading = say("Your prompt, to copy:")
    whole = f"{heading}\n```\n{inert_prompt}\n```"
    if units(whole) <= room:
        return whole
    before = f"{say('Only its beginning fits here.')} {heading}\n```\n"
    after = "\n```"
    return before + fitted(inert_prompt, room - units(before) - units(after)) + after


def notes(remarks: Iterable[str]) -> str:
    """The notes for the person whose request was accepted: changed values, words that the model does not know."""
    lines = [said(remark) for remark in remarks]
    if len(lines) == 1:
        return fitting([say("About your request: {note}", note=lines[0])])
    return fitting([say("About your request:"), *(f"- {line}" for line in lines)])


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
    return f"{requests(held.requests)}, {pictures(held.pictures)}, {ratings}"


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


def receipt(case: Case, was: Mapping[str, str] | None = None) -> str:
    """What a moderator did, and the command that undoes it; `was` says what held before, by the name of a limit."""
    words = say("Case {number}: {change}.", number=case.number, change=change(case, was))
    if is_final(case.action):
        return words
    return f"{words} {say('`/mod undo case:{number}` undoes it.', number=case.number)}"


def change(case: Case, was: Mapping[str, str] | None = None) -> str:
    """What a case changed, with the old and the new values; `was` says what held before, by the name of a limit."""
    names = list(dict.fromkeys((*case.before, *case.after)))
    if names and all(name in list(LimitName) for name in names):
        return _limits_changed(case, names, was or {})
    done = say(case.action)
    if case.undoes is not None:
        done = say("undo of case {number}", number=case.undoes)
    if case.subject[0] is Scope.SERVER:
        what = say("{action} for this server", action=done)
    else:
        what = say("{action} for {subject}", action=done, subject=subject(case.subject))
    if case.action == DELETE:
        words = say(
            "{what}: {pictures} of message {message}",
            what=what,
            pictures=pictures(case.before["pictures"]),
            message=case.before["message"],
        )
        # Cases from before have no such count.
        if count := case.before.get("requests", 0):
            words = say_many(
                "{removed}; {count} open request of this message was cancelled",
                "{removed}; {count} open requests of this message were cancelled",
                count,
                removed=words,
            )
        return words
    if case.action == CANCEL:
        return pair(what, requests(len(case.after)))
    if names and all(name.startswith(CONTEST) for name in names):
        (state,) = case.after.values()
        words = say(_CONTEST_STATES[state], number=names[0].removeprefix(CONTEST))
        return words if case.undoes is None else _undone(case.undoes, words)
    if case.undoes is None and case.action in _PLAIN:
        here, there = _PLAIN[case.action]
        if isinstance(until := case.after.get(BLOCKED), str):
            ends = moment(datetime.fromisoformat(until))
            return say("blocked {subject} until {when}", subject=subject(case.subject), when=ends)
        return say(here) if case.subject[0] is Scope.SERVER else say(there, subject=subject(case.subject))
    if names and all(name.startswith(TERM) for name in names):
        return pair(what, _terms_changed(case))
    changes = [
        f"{_rule(name)} {_value(name, case.before)} → {_value(name, case.after)}"
        for name in names
        if _value(name, case.before) != _value(name, case.after)
    ]
    return pair(what, ", ".join(changes)) if changes else what


def _limits_changed(case: Case, names: Sequence[str], was: Mapping[str, str]) -> str:
    """Which limits a case changed, for whom, and what held before."""
    parts = []
    for name in names:
        before = was.get(name) or _value(name, case.before)
        if name in case.after:
            parts.append(
                say("{limit} (before: {before})", limit=limit_said(LimitName(name), case.after[name]), before=before)
            )
        else:
            parts.append(say("the limit {limit} is removed (it was: {before})", limit=option(name), before=before))
    changes = "; ".join(parts)
    words = say("{changes}, for {subject}", changes=changes, subject=subject(case.subject))
    if case.subject[0] is Scope.SERVER:
        words = say("{changes}, for everyone here", changes=changes)
    if case.undoes is not None:
        return _undone(case.undoes, words)
    return words


def _undone(number: int, changes: str) -> str:
    return say("undo of case {number}: {changes}", number=number, changes=changes)


_CONTEST_STATES = {
    "entries": mark("contest {number} takes entries now"),
    "voting": mark("contest {number} takes votes now"),
    "counted": mark("contest {number} is over, and its votes are counted"),
    "cancelled": mark("contest {number} is cancelled"),
}

_PLAIN = {
    "block": (mark("blocked everyone on this server"), mark("blocked {subject}")),
    "unblock": (mark("unblocked everyone on this server"), mark("unblocked {subject}")),
    "pause": (mark("paused painting for this server"), mark("paused painting for {subject}")),
    "resume": (mark("resumed painting for this server"), mark("resumed painting for {subject}")),
}
"""What moderators did where the name of the action says all: for the server, and for another subject."""

_ACTIONS = (
    *(mark("block"), mark("unblock"), mark("pause"), mark("resume"), mark("cancel"), mark("delete")),
    *(mark("limits set"), mark("limits clear"), mark("quota reset"), mark("gallery"), mark("defaults")),
    *(mark("pictures"), mark("log"), mark("language"), mark("presets"), mark("dataset channel"), mark("dismiss")),
    *(mark("terms add"), mark("terms remove"), mark("wildcards add"), mark("wildcards remove")),
    *(mark("contest start"), mark("contest end"), mark("contest cancel")),
    *(mark("style add"), mark("style edit"), mark("style remove"), mark("style import")),
)
"""The actions of cases. One that is missing here is shown by its English name."""


def hidden(text: str) -> str:
    """A text that a person typed, behind a spoiler."""
    return f"||{inert(text, LONGEST_TERM)}||"


def _terms_changed(case: Case) -> str:
    """Which terms a case put on the list of a server, and which it took off."""
    parts = []
    if terms := [str(term) for name, term in case.after.items() if name not in case.before]:
        parts.append(say_many("added the term {terms}", "added the terms {terms}", len(terms), terms=_shown(terms)))
    if terms := [str(term) for name, term in case.before.items() if name not in case.after]:
        parts.append(say_many("removed the term {terms}", "removed the terms {terms}", len(terms), terms=_shown(terms)))
    return ", ".join(parts) or say("the spelling of a term")


def _shown(terms: Sequence[str]) -> str:
    """The first terms of several, behind spoilers, and how many more there are."""
    shown = ", ".join(map(hidden, terms[:_SHOWN_TERMS]))
    more = len(terms) - _SHOWN_TERMS
    return say("{listed} and {count} more", listed=shown, count=more) if more > 0 else shown


_RULES = {
    QUOTA_FROM: mark("painting time that counts"),
    LOG: mark("log channel"),
    PRESETS: mark("presets among which ratings choose"),
    DATASET: mark("results for data sets"),
    LANGUAGE: mark("language"),
    THRESHOLD_RULES["block"]: mark("pictures: block"),
    THRESHOLD_RULES["spoiler"]: mark("pictures: spoiler"),
    DEFAULT_RULES["images"]: mark("usual images"),
    DEFAULT_RULES["aspect"]: mark("usual aspect"),
    DEFAULT_RULES["model"]: mark("usual model"),
    GALLERY: mark("gallery"),
    PAUSED: mark("paused"),
    BLOCKED: mark("blocked"),
}


def _rule(name: str) -> str:
    """What a rule is called."""
    if name.startswith(STYLE_RULE):
        return say("the style `{style}`", style=name.removeprefix(STYLE_RULE))
    if name.startswith(WILDCARD):
        return say("the wildcard `{wildcard}`", wildcard=f"__{name.removeprefix(WILDCARD)}__")
    if name in list(LimitName):
        return option(name)
    return say(_RULES.get(name, name.replace(":", " ")))


def defaults_of(place: Subject, rules: Mapping[str, Any]) -> str:
    """What the requests of a place get if people choose nothing."""
    lines = [f"- {pair(option(name), _value(rule, rules))}" for name, rule in DEFAULT_RULES.items()]
    heading = say("**Defaults of {subject}**", subject=subject(place))
    if place[0] is Scope.SERVER:
        heading = say("**Defaults of this server**")
    wins = say("-# What a person types or sets with `/settings` wins. `clear:` removes a default.")
    return "\n".join([heading, *lines, wins])


def pair(name: str, value: str) -> str:
    """What something is called and what it is, as a list shows it."""
    return say("{name}: {value}", name=name, value=value)


def option(name: str) -> str:
    """The name of an option as the reader sees it."""
    return shown_name(OPTION, name)


def thresholds_of(place: Subject, rules: Mapping[str, Any], limits: PictureLimits, *, is_off: bool) -> str:
    """How explicit pictures may be in a place: what holds, and which of it moderators have set there."""
    if is_off:
        return say(
            "The host has switched the safety check off: no picture is checked, and these thresholds have no effect."
        )
    lines = [say("**Pictures in {subject}**", subject=subject(place))]
    if place[0] is Scope.SERVER:
        lines = [say("**Pictures in this server**")]
    for name, rule in THRESHOLD_RULES.items():
        value = limits.block if name == "block" else limits.spoiler
        holds = say("never") if value is None else say("from {share:.0%}", share=value)
        origin = say("not set here")
        if rule in rules:
            origin = say("set here to {share:.0%}", share=float(rules[rule]) / 100)
        lines.append(f"- {pair(option(name), holds)} ({origin})")
    lines.append(
        say("-# The safety check says of each picture, also of those that people send, how explicit it is, in percent.")
    )
    return "\n".join(lines)


_OFF = (PAUSED, BLOCKED, GALLERY, LOG, DATASET, PRESETS)


def _value(name: str, rules: Mapping[str, Any]) -> str:
    """The value of a rule in words; without the rule, words that say so."""
    if name not in rules:
        is_off = name in _OFF or name.startswith((STYLE_RULE, WILDCARD))
        return say("all of it") if name == QUOTA_FROM else say("no") if is_off else say("no rule")
    value = rules[name]
    if name.startswith(STYLE_RULE):
        return say("version {version}", version=value)
    if name.startswith(WILDCARD):
        return f"{inert(', '.join(value), 100)} ({len(value)})"
    if name == GALLERY:
        channel_id, threshold = value
        place = subject((Scope.CHANNEL, channel_id))
        return say_many(
            "{channel}, for results with {count} favourite or more",
            "{channel}, for results with {count} favourites or more",
            threshold,
            channel=place,
        )
    if name == PRESETS:
        return ", ".join(f"`{style}`" for style in value)
    if name == LOG:
        return subject((Scope.CHANNEL, value))
    if name in list(LimitName):
        return limit(LimitName(name), value)
    if name in (BLOCKED, QUOTA_FROM) and isinstance(value, str):
        at = datetime.fromisoformat(value)
        return say("since {when}", when=moment(at)) if name == QUOTA_FROM else say("until {when}", when=moment(at))
    if name in DEFAULT_RULES.values():
        return f"`{inert(str(value), 40)}`"
    if name in THRESHOLD_RULES.values():
        return say("{share:.0%}", share=value / 100)
    if name == LANGUAGE and value in list(Language):
        return NAMES[Language(value)]
    return say("yes") if value in (None, True) else str(value)
