"""What the controls under a picture ask for, as options: to vary, enlarge, extend or repaint it, or to paint it again.

An edit begins with the options that paint the picture's own request again, and changes what the control is about.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from bot.config import ModelConfig
from bot.errors import UserError
from bot.jobs import GRID, GenerationRequest, Kept, Margins, Operation, Picture, PictureRef, Upload
from bot.requests.flags import with_flags
from bot.requests.options import Edit, Morph, Options
from bot.requests.variants import Variant

SUBTLE, STRONG = 0.35, 0.7
"""The strengths of the two variations: the first keeps the composition, the second changes details of it."""

HIRES_STRENGTH = 0.3
"""How much an enlarged picture is painted over, if no network can enlarge it."""
HIRES_FACTOR = 2

_PAN = 0.5
"""How much a pan adds, in parts of the picture's side."""


def _around(factor: float) -> Margins:
    """The margins of a canvas that is wider and higher by a factor, with the picture in its middle."""
    margin = (factor - 1) / 2
    return margin, margin, margin, margin


EXTENSIONS: Mapping[str, Margins] = {
    "zoomsome": _around(1.5),
    "zoomfar": _around(2.0),
    "panleft": (_PAN, 0.0, 0.0, 0.0),
    "panright": (0.0, 0.0, _PAN, 0.0),
    "panup": (0.0, _PAN, 0.0, 0.0),
    "pandown": (0.0, 0.0, 0.0, _PAN),
}
"""How far each control continues a picture."""


def options_of(request: GenerationRequest, sources: Sequence[PictureRef] = ()) -> Options:
    """The options from which exactly this request is resolved, as long as the limits and the models stay the same.

    `sources` are the results that the request started from.
    """

    def stored(sha256: str) -> Upload | None:
        # Its real size does not matter, because the size of the request is given, and was made for it.
        return Upload(b"", request.width, request.height, sha256) if sha256 else None

    adapters = ", ".join(f"{name}:{weight:g}" for name, weight in request.loras)
    net = f"{request.controlnet}:{request.controlnet_conditioning_scale:g}" if request.controlnet else None
    return Options(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        images=request.num_images_per_prompt,
        aspect=f"{request.width}x{request.height}",
        steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        seed=request.seed,
        model=request.model,
        sampler=request.sampler,
        lora=adapters or None,
        image=stored(request.image),
        mask=stored(request.mask_image),
        blended=tuple(upload for sha256 in request.blended if (upload := stored(sha256))),
        strength=request.strength if request.image else None,
        controlnet=net,
        control=stored(request.control_image),
        draft=request.draft or None,
        morph=Morph(request.frames, request.end_prompt, request.end_seed)
        if request.operation is Operation.MORPH
        else None,
        film=request.frames if request.operation.is_film else None,
        edit=_edit(request, sources),
    )


def _edit(request: GenerationRequest, sources: Sequence[PictureRef]) -> Edit:
    """What a request does with its picture."""
    return Edit(tuple(sources), request.operation, request.region, request.margins, request.style_ref, request.kept)


def proper(request: GenerationRequest, model: ModelConfig) -> GenerationRequest:
    """A request without the preset for drafts: with the usual steps and guidance of its model, and without its LoRA.

    A request that is no draft stays as it is.
    """
    if not request.draft:
        return request
    return replace(
        request,
        num_inference_steps=model.steps,
        guidance_scale=model.guidance_scale,
        loras=tuple(lora for lora in request.loras if lora[0] != model.draft_lora),
        draft=False,
    )


def finish(request: GenerationRequest, picture: Picture, model: ModelConfig) -> Options:
    """One picture of a draft, painted properly from its seed."""
    return replace(options_of(proper(request, model)), images=1, seed=picture.seed, edit=_edit(request, (picture.ref,)))


def reworded(options: Options) -> Options:
    """The options of an edit with the flags that a person typed into its prompt.

    With --draft, the preset replaces the values of the picture, but not what other flags say.
    """
    read = with_flags(options)
    if not read.draft:
        return read
    return with_flags(replace(options, images=None, steps=None, guidance_scale=None))


def with_prompt(options: Options, prompt: str) -> Options:
    """The options with another prompt that a person typed; its flags count, also in an edit."""
    options = replace(options, prompt=prompt)
    return options if options.edit is None else reworded(options)


def again(request: GenerationRequest, sources: Sequence[PictureRef] = ()) -> Options:
    """The same request with a new seed; an animation between two seeds of one prompt gets two."""
    options = options_of(request, sources)
    if options.morph is not None and not options.morph.prompt:
        options = replace(options, morph=replace(options.morph, seed=None))
    return replace(options, seed=None)


def morph(request: GenerationRequest, picture: Picture, to: Morph) -> Options:
    """An animation from a picture to what its person says; flags among the words for its last frame count.

    Raises UserError for a picture that words alone do not paint, and what `with_flags` raises.
    """
    if request.operation is not Operation.TEXT2IMAGE or request.controlnet:
        raise UserError("An animation can start only from a picture that was painted from words alone.")
    edit = Edit((picture.ref,), Operation.MORPH, style=request.style_ref)
    options = replace(options_of(request), images=None, seed=picture.seed, morph=to, edit=edit)
    if not to.prompt:
        return options
    end = reworded(replace(options, prompt=to.prompt, seed=None))
    last = replace(to, prompt=end.prompt, seed=to.seed if end.seed is None else end.seed)
    return replace(end, prompt=options.prompt, seed=options.seed, morph=last)


def vary(request: GenerationRequest, picture: Picture, strength: float) -> Options:
    """New pictures that begin with this one, as many as the request had."""
    return _from_picture(request, picture, Operation.IMAGE2IMAGE, strength)


def remix(request: GenerationRequest, picture: Picture, prompt: str, negative_prompt: str) -> Options:
    """New pictures that begin with this one, from other words."""
    options = _from_picture(request, picture, Operation.IMAGE2IMAGE, None)
    return replace(options, prompt=prompt, negative_prompt=negative_prompt)


def enlarge(request: GenerationRequest, picture: Picture) -> Options:
    """The picture, enlarged by a network."""
    options = _from_picture(request, picture, Operation.UPSCALE, 1.0)
    return replace(options, images=1, seed=picture.seed)


def hires(request: GenerationRequest, picture: Picture, most: int) -> Options:
    """The picture, painted over at twice the size, with sides of at most `most` pixels.

    Raises UserError if it has that size already.
    """
    factor = min(HIRES_FACTOR, most / max(request.width, request.height))
    width, height = (int(factor * side) // 8 * 8 for side in (request.width, request.height))
    if width * height <= request.width * request.height:
        raise UserError("This picture is as large as the model {model} can paint.", model=request.model)
    options = _from_picture(request, picture, Operation.IMAGE2IMAGE, HIRES_STRENGTH)
    return replace(options, images=1, aspect=f"{width}x{height}", seed=picture.seed)


def extend(request: GenerationRequest, picture: Picture, margins: Margins, model: ModelConfig) -> Options:
    """The picture, continued beyond its edges. The model paints the whole canvas at the size that it paints best."""
    options = _from_picture(request, picture, Operation.OUTPAINT, model.outpaint_strength)
    guidance = model.outpaint_guidance_scale
    edit = _edit_of(request, picture, Operation.OUTPAINT, margins=margins)
    return replace(
        options,
        images=1,
        aspect=None,
        guidance_scale=options.guidance_scale if guidance is None else guidance,
        edit=edit,
    )


def repaint(request: GenerationRequest, picture: Picture, region: Sequence[int], prompt: str) -> Options:
    """The picture with some cells of the grid painted again from other words."""
    options = _from_picture(request, picture, Operation.INPAINT, None)
    edit = _edit_of(request, picture, Operation.INPAINT, region=tuple(sorted(region)))
    return replace(options, prompt=prompt, images=1, edit=edit)


def variant(request: GenerationRequest, picture: Picture, to: Variant) -> Options:
    """A variant of the thing in a picture of a result; flags among its words count."""
    edit = _edit_of(request, picture, to.operation, kept=to.kept)
    options = _from_picture(request, picture, to.operation, to.strength)
    return replace(reworded(replace(options, prompt=to.prompt, edit=edit)), images=1)


def variant_of_upload(to: Variant, model: str | None) -> Options:
    """A variant of the thing in a picture that is sent with the request; flags among its words count."""
    options = Options(to.prompt, model=model, strength=to.strength, edit=Edit((), to.operation, kept=to.kept))
    return replace(reworded(options), images=1)


def typed(request: GenerationRequest, seed: int, lacking: Collection[str] = ()) -> str:
    """The prompt with the flags that paint this picture again, as a person would type it.

    What no flag says of an animation and of a film are options of their commands, so for these it is the command.
    Options that the model is `lacking` have no flag.
    """
    flags = {
        "no": request.negative_prompt,
        "size": f"{request.width}x{request.height}",
        "steps": "" if "steps" in lacking else str(request.num_inference_steps),
        "guidance": "" if "guidance_scale" in lacking else f"{request.guidance_scale:g}",
        "seed": "" if "seed" in lacking else str(seed),
        "model": request.model,
        "sampler": request.sampler if request.sampler != "default" else "",
        "lora": ", ".join(f"{name}:{weight:g}" for name, weight in request.loras),
    }
    text = " ".join([request.prompt, *(f"--{name} {value}" for name, value in flags.items() if value)])
    if request.operation is Operation.MORPH:
        options = {"to": request.end_prompt, "frames": request.frames, "to_seed": request.end_seed}
    elif request.operation.is_film:
        options = {"frames": request.frames}
    else:
        return text
    command = "animate" if request.operation is Operation.MORPH else "film"
    named = [f"{name}:{value}" for name, value in options.items() if value not in ("", None)]
    return " ".join([f"/{command} prompt:{text}", *named])


def cell_name(cell: int) -> str:
    """The name of a cell of the grid: the row as a letter, the column as a number."""
    return f"{'ABCD'[cell // GRID]}{cell % GRID + 1}"


def _from_picture(
    request: GenerationRequest, picture: Picture, operation: Operation, strength: float | None
) -> Options:
    """The options of a request that starts from one of its pictures, with a new seed."""
    image = Upload(b"", picture.width, picture.height, picture.sha256)
    return replace(
        options_of(request),
        image=image,
        mask=None,
        blended=(),
        morph=None,
        film=None,
        # The picture follows its ControlNet already, and the control picture fits only the old canvas.
        controlnet=None,
        control=None,
        strength=strength,
        seed=None,
        edit=_edit_of(request, picture, operation),
    )


def _edit_of(
    request: GenerationRequest,
    picture: Picture,
    operation: Operation,
    *,
    region: tuple[int, ...] = (),
    margins: Margins = (0.0, 0.0, 0.0, 0.0),
    kept: Kept | None = None,
) -> Edit:
    """What is done with a picture of a request."""
    return Edit((picture.ref,), operation, region, margins, request.style_ref, kept, request.frames > 0)
