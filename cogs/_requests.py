"""One request in words: as it waits, while it is painted, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bot.jobs import DRAINED, GenerationRequest, Image, Job, JobId, Operation, Picture, PictureRef, Queued
from bot.language import mark, say, say_many
from bot.language.reasons import Reason
from bot.money import dollars, roughly
from bot.requests.defaults import Source
from bot.responses import MESSAGE, fitted, units
from cogs import _words

_ALT_PART = 400
"""Characters of each prompt of an animation in its description, of which Discord takes 1,024."""

_BAR_CELLS = 10

_LONG_WAIT = 5.0
"""Seconds of waiting that are worth a word in a result."""

_REASON = 900
"""Characters of the reason of a failure."""

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

REMOVED = mark("🗑️ A moderator removed this result.")


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
    return f"**{_words.inert(job.request.title)}** — <@{job.requester.user_id}>"


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
        waits = say("🕓 Queued: place {place}, starts {when}", place=news.place, when=_words.relative(news.starts_at))
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
    text = f"{headline(job)}\n❌ {fitted(_words.said(reason), _REASON)}\n{uncounted} "
    if job.is_withheld:
        return text + say("`/history` shows you your prompt.")
    return text + _words.handed_back(job.request.title, MESSAGE - _words.SPARE - units(text))


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
    # An enlarged picture says its size below.
    facts = [painter(job.request) if job.request.operation is Operation.UPSCALE else parameters(job.request)]
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
        facts.append(say("painted in {time}", time=_words.seconds(painted)))
        if ready - painted >= _LONG_WAIT:
            facts.append(say("ready {time} after the request", time=_words.seconds(ready)))
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
    lines = [
        say("**Request {number}** by {person}, {when}", number=job.id, person=person, when=_words.past(job.asked_at))
    ]
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
    # No seed of a provider is shown, also not where it came from.
    hidden = ("seed",) if request.provider else ()
    cost = price(job)
    lines.append(f"-# {parameters(request)} · {cost}" if cost else f"-# {parameters(request)}")
    given = [
        say(words, names=", ".join(names))
        for source, words in _VALUE_SOURCES.items()
        if (names := [f"`{name}`" for name, origin in value_sources.items() if origin == source and name not in hidden])
    ]
    if given:
        lines.append(f"-# {' · '.join([*given, say('the rest comes from the model')])}")
    if origins:
        lines.append(say("Made from {sources}.", sources=sources(origins)))
    lines.append(say("Prompt: {prompt}", prompt=_words.inert(request.title, 700)))
    return _words.fitting(lines)


def sources(refs: Iterable[PictureRef], links: Mapping[JobId, str] | None = None) -> str:
    """The results that a request starts from; without a number, only the words of a request were used.

    `links` are the addresses of their messages, where they are known.
    """
    names = []
    for ref in refs:
        name = say("the words of request {request}", request=ref.job_id)
        if ref.number:
            name = say("picture {number} of request {request}", number=ref.number, request=ref.job_id)
        link = (links or {}).get(ref.job_id)
        names.append(f"[{name}](<{link}>)" if link else name)
    return ", ".join(names)


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
        facts.append(say("without {words}", words=_words.inert(request.negative_prompt, 100)))
    return " · ".join(facts)


def seeds(request: GenerationRequest) -> str:
    """The seed of a request, or the first and the last."""
    last = request.seeds[-1]
    if last == request.seed:
        return say("seed `{seed}`", seed=request.seed)
    return say("seeds `{first}`–`{last}`", first=request.seed, last=last)
