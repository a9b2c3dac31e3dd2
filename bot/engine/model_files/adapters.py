"""LoRAs and ControlNets: what their files are, and whether they fit a model, before they are loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from bot.engine.model_files.contents import LORA_DOWN, LORA_UP, Contents, contents_of
from bot.engine.model_files.header import Header, read_header
from bot.engine.model_files.settings import is_in_diffusers, read_settings
from bot.errors import UnusableFiles

Layers = Mapping[str, tuple[int, ...]]
"""The shapes of a model's layers by their flat names: `unet`, `text_encoder` or `text_encoder_2`, and the rest with
underscores, as `unet_mid_block_attentions_0_proj_in`."""

_DENOISER_PREFIXES = (
    "lora_unet_",
    "lora_transformer_",
    "unet.",
    "transformer.",
    "diffusion_model.",
    "model.diffusion_model.",
)
_TEXT_PREFIXES = (
    ("text_encoder_2", ("lora_te2_", "text_encoder_2.")),
    ("text_encoder", ("lora_te_", "lora_te1_", "text_encoder.")),
)

_PARTS = (
    ("unet", ("unet.", "transformer.", "model.diffusion_model.")),
    ("text_encoder_2", ("text_encoder_2.",)),
    ("text_encoder", ("text_encoder.", "cond_stage_model.transformer.", "conditioner.embedders.0.transformer.")),
)
_FIRST_CROSS = re.compile(r"attn2_to_[kv]$")
_NAMINGS = {
    "diffusers": ("unet_down_blocks", "unet_up_blocks", "unet_mid_block"),
    "Stability": ("unet_input_blocks", "unet_output_blocks", "unet_middle_block"),
}
_FAMILIES = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 2048: "Stable Diffusion XL"}
_DROPPED = (".diff", ".diff_b", ".w_norm", ".b_norm", ".set_weight", ".reshape_weight")
"""How the names of tensors end that diffusers drops from a LoRA without a word."""

_PLAIN_LORA = "Take a plain LoRA instead."


def flat_layers(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """A model's layers by their flat names, from its tensors' names with their part before them.

    `unet.mid_block.attentions.0.proj_in.weight` is `unet_mid_block_attentions_0_proj_in`.
    """
    layers = {}
    for name, shape in shapes.items():
        if not name.endswith(".weight") or len(shape) < 2:
            continue
        for part, beginnings in _PARTS:
            if name.startswith(beginnings):
                rest = name[max(len(start) for start in beginnings if name.startswith(start)) : -len(".weight")]
                layers[_flat(part, rest)] = shape
                break
    return layers


def _flat(part: str, name: str) -> str:
    """A layer's flat name. Versions of transformers write `text_model.` before a text encoder's layers, or do not."""
    flat = name.replace(".", "_").replace("_processor_", "_").replace("_base_layer", "")
    return f"{part}_{flat.removeprefix('text_model_') if part != 'unet' else flat}"


def lora_file(source: Path) -> Path:
    """The file that is loaded of a LoRA's folder, as diffusers chooses it, or the file itself.

    Raises UnusableFiles for a folder without one.
    """
    if not source.is_dir():
        return source
    files = sorted(
        file
        for file in source.glob("*.safetensors")
        if not any(word in file.name for word in ("scheduler", "optimizer", "checkpoint"))
    )
    usual = [file for file in files if file.name == "pytorch_lora_weights.safetensors"]
    if len(usual or files) == 1:
        return (usual or files)[0]
    if files:
        raise UnusableFiles(
            f"the folder has {len(files)} .safetensors files, and none of the name pytorch_lora_weights.safetensors.",
            f"Name the file itself, such as {files[0].name}.",
        )
    if any(source.glob("*.bin")) or any(source.glob("*.pt")):
        raise UnusableFiles(
            "the folder has only pickled weights, and pickles can run code when loaded.",
            "Take its .safetensors version.",
        )
    raise UnusableFiles("the folder has no .safetensors file.", "Name the LoRA's own file.")


def check_lora(header: Header, layers: Layers, shown: str) -> None:
    """Raise UnusableFiles unless a file is a LoRA that can be worn, and fits the model with these layers.

    Without any layers, whether it fits is not looked at.
    """
    contents = contents_of(header)
    if contents is Contents.DORA:
        raise UnusableFiles(
            f"{shown} is a DoRA (weight-decomposed LoRA), whose scale cannot be worn row by row.", _PLAIN_LORA
        )
    if contents.is_adapter and contents is not Contents.LORA:
        raise UnusableFiles(f"{shown} is {contents}, which cannot be worn row by row.", _PLAIN_LORA)
    if contents is Contents.EMBEDDING:
        raise UnusableFiles(f"{shown} is {contents}, which Atelier cannot use.", "Take a LoRA instead.")
    if contents is Contents.CONTROLNET:
        raise UnusableFiles(f"{shown} is a ControlNet, not a LoRA.", "Name it under [[models.controlnets]] instead.")
    if contents in (Contents.CHECKPOINT, Contents.DENOISER):
        raise UnusableFiles(f"{shown} is {contents}, not a LoRA.", "Name it as the source of a model instead.")
    if contents is not Contents.LORA:
        raise UnusableFiles(f"{shown} is {contents}, not a LoRA.", "Name the LoRA's own file.")
    for name in header.tensors:
        if name.endswith(_DROPPED):
            values = header.values(name)
            if not values or any(values):
                raise UnusableFiles(
                    f"{shown} has more than a LoRA's matrices ({name.rpartition('.')[2]}), which cannot be worn.",
                    _PLAIN_LORA,
                )
    _check_fit(header, layers, shown)


def _check_fit(header: Header, layers: Layers, shown: str) -> None:
    cross = {shape[1] for name, shape in layers.items() if name.startswith("unet_") and _FIRST_CROSS.search(name)}
    found = total = 0
    for name, down, up in _matrices(header):
        total += 1
        if len(down) < 2 or len(up) < 2 or down[0] != up[1]:
            raise UnusableFiles(f"the matrices of {shown} do not fit each other ({name}).", "Download the file again.")
        wide = layers.get(name)
        if wide is not None:
            found += 1
            if (down[1], up[0]) != (wide[1], wide[0]):
                raise _unfit(shown, (down[1], up[0]), (wide[1], wide[0]))
        elif name.startswith("unet_") and _FIRST_CROSS.search(name) and cross and down[1] not in cross:
            raise _unfit(shown, (down[1], up[0]), (min(cross), up[0]))
    names = [name for name, _, _ in _matrices(header)]
    if layers and total and not found and _clearly_strange(names, layers):
        raise UnusableFiles(
            f"{shown} fits no layer of this model: it is made for another kind.",
            "Name it under a model of the kind that it was trained on.",
        )
    if not total:
        raise UnusableFiles(
            f"{shown} is damaged: none of its matrices has its counterpart.", "Download the file again."
        )


def _clearly_strange(names: Iterable[str], layers: Iterable[str]) -> bool:
    """Whether a LoRA of whose layers none is among a model's by name cannot be its LoRA under other names either."""
    names = list(names)
    if any(name.startswith("text_encoder") for name in names):
        return False
    own, the_models = _naming(names), _naming(layers)
    return own == the_models if own and the_models else bool(own or the_models)


def _naming(layers: Iterable[str]) -> str:
    """By whose names a U-Net's layers are called; empty if they are no U-Net's."""
    layers = list(layers)
    return next((naming for naming, starts in _NAMINGS.items() if any(name.startswith(starts) for name in layers)), "")


def _unfit(shown: str, its: tuple[int, int], the_models: tuple[int, int]) -> UnusableFiles:
    made = _FAMILIES.get(its[0])
    likely = f" It is probably made for {made}." if made and made != _FAMILIES.get(the_models[0]) else ""
    return UnusableFiles(
        f"{shown} is made for another kind of model: its layers go from {its[0]:,} to {its[1]:,} numbers, and this "
        f"model's from {the_models[0]:,} to {the_models[1]:,}.{likely}",
        "Name it under a model of the kind that it was trained on.",
    )


def _matrices(header: Header) -> Iterator[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """Each layer that a LoRA changes, by its flat name, with the shapes of both of its matrices."""
    for name, tensor in header.tensors.items():
        for down, up in zip(LORA_DOWN, LORA_UP, strict=True):
            if name.endswith(down):
                layer = name.removesuffix(down)
                other = header.tensors.get(layer + up)
                if other is not None:
                    yield _lora_layer(layer), tensor.shape, other.shape
                break


def _lora_layer(name: str) -> str:
    for part, beginnings in _TEXT_PREFIXES:
        for start in beginnings:
            if name.startswith(start):
                return _flat(part, name.removeprefix(start))
    for start in _DENOISER_PREFIXES:
        if name.startswith(start):
            name = name.removeprefix(start)
            break
    return _flat("unet", name)


def check_controlnet(source: Path, layers: Layers) -> None:
    """Raise UnusableFiles unless a file or folder is a ControlNet, and fits the model with these layers."""
    if source.is_dir():
        settings = read_settings(source / "config.json", "config.json")
        kind = settings.get("_class_name")
        if not isinstance(kind, str) or not kind.endswith("ControlNetModel") or not is_in_diffusers(kind):
            raise UnusableFiles(
                f"it is a {kind}, which is no ControlNet that can be used." if kind else "config.json names no class.",
                "Name the folder of a ControlNet.",
            )
        files = sorted(source.glob("*.safetensors"))
        if not files:
            pickled = any(source.glob("*.bin"))
            raise UnusableFiles(
                "the folder has only pickled weights, and pickles can run code when loaded."
                if pickled
                else "the folder has no weights.",
                "Take its .safetensors version.",
            )
        for file in files:
            read_header(file)
        width = settings.get("cross_attention_dim")
    else:
        header = read_header(source)
        contents = contents_of(header)
        if contents is not Contents.CONTROLNET:
            raise UnusableFiles(f"{source.name} is {contents}, not a ControlNet.", "Name the file of a ControlNet.")
        width = next((t.shape[1] for name, t in header.tensors.items() if name.endswith("attn2.to_k.weight")), None)
    widths = {shape[1] for name, shape in layers.items() if name.startswith("unet_") and _FIRST_CROSS.search(name)}
    if isinstance(width, int) and widths and width not in widths:
        made = f" ({_FAMILIES[width]})" if width in _FAMILIES else ""
        raise UnusableFiles(
            f"it is made for another kind of model{made}: it reads words of {width:,} numbers, and this model's have "
            f"{min(widths):,}.",
            "Name it under a model of the kind that it was trained on.",
        )
