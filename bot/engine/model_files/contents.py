"""What the tensors of a .safetensors file are, by their names and shapes.

The names are those that the tools write which people use: Stability's and Black Forest Labs' own layouts, diffusers,
kohya-ss/sd-scripts, LyCORIS, PEFT and AUTOMATIC1111's web UI.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum

from bot.engine.model_files.header import Header


class Contents(StrEnum):
    """What a file holds; the value says it in words, after "is" or "holds"."""

    CHECKPOINT = "a whole model"
    DENOISER = "a denoiser (U-Net or transformer) without a text encoder and a VAE"
    VAE = "a VAE"
    TEXT_ENCODER = "a text encoder"
    LANGUAGE_MODEL = "a language model"
    LORA = "a LoRA"
    DORA = "a DoRA (weight-decomposed LoRA)"
    LOHA = "a LoHa (LyCORIS)"
    LOKR = "a LoKr (LyCORIS)"
    OFT = "an OFT adapter"
    GLORA = "a GLoRA (LyCORIS)"
    LOCON = "a LoCon with a middle matrix (LyCORIS, Tucker decomposition)"
    DIFFERENCE = "an adapter of full differences (LyCORIS)"
    IA3 = "an (IA)³ adapter (LyCORIS)"
    EMBEDDING = "a textual inversion (an embedding)"
    CONTROLNET = "a ControlNet"
    T2I_ADAPTER = "a T2I-Adapter"
    IP_ADAPTER = "an IP-Adapter"
    MOTION = "a motion module of AnimateDiff"
    IMAGE_UPSCALER = "a network that enlarges pictures"
    SAFETY_CHECKER = "a safety checker"
    QUANTISED = "a model with weights in 4 bits (bitsandbytes)"
    UNKNOWN = "something that Atelier does not know"
    NOTHING = "nothing: it has no tensors"

    @property
    def is_adapter(self) -> bool:
        """Whether it is something that is added to a model as a LoRA is."""
        return self in _ADAPTERS


_ADAPTERS = {
    Contents.LORA,
    Contents.DORA,
    Contents.LOHA,
    Contents.LOKR,
    Contents.OFT,
    Contents.GLORA,
    Contents.LOCON,
    Contents.DIFFERENCE,
    Contents.IA3,
}

LORA_DOWN = (
    ".lora_down.weight",
    "_lora.down.weight",
    ".lora.down.weight",
    ".lora_linear_layer.down.weight",
    ".lora_A.weight",
    ".lora_A.default.weight",
    ".lora_A",
)
"""How the names of a LoRA's first matrices end: (rank, input)."""
LORA_UP = (
    ".lora_up.weight",
    "_lora.up.weight",
    ".lora.up.weight",
    ".lora_linear_layer.up.weight",
    ".lora_B.weight",
    ".lora_B.default.weight",
    ".lora_B",
)
"""How the names of the second ones end: (output, rank), in the same order."""

DENOISER = "model.diffusion_model."
"""How the denoiser's tensors begin in Stability's and in ComfyUI's layout."""
TEXT_ENCODERS = ("cond_stage_model.", "conditioner.embedders.", "text_encoders.")
VAES = ("first_stage_model.", "vae.")

_KOHYA = ("lora_unet_", "lora_te_", "lora_te1_", "lora_te2_", "lora_transformer_", "lycoris_")


def _ends(*endings: str) -> Callable[[Header], bool]:
    return lambda header: any(name.endswith(endings) for name in header.tensors)


def _begins(*beginnings: str) -> Callable[[Header], bool]:
    return lambda header: header.has(*beginnings)


def _matches(pattern: str) -> Callable[[Header], bool]:
    expression = re.compile(pattern)
    return lambda header: any(expression.search(name) for name in header.tensors)


def _is_embedding(header: Header) -> bool:
    """A1111's `emb_params`, SDXL's `clip_l` and `clip_g`, and diffusers' one tensor by the name of its word."""
    if header.tensors.keys() & {"emb_params", "clip_l", "clip_g"} and len(header.tensors) <= 3:
        return True
    (first, *others) = header.tensors.items()
    return not others and len(first[1].shape) <= 2 and "." not in first[0]


_RULES: tuple[tuple[Contents, Callable[[Header], bool]], ...] = (
    (Contents.DORA, _ends(".dora_scale", ".lora_magnitude_vector", ".lora_magnitude_vector.weight")),
    (Contents.LOHA, _ends(".hada_w1_a", ".hada_w2_a")),
    (Contents.LOKR, _matches(r"\.lokr_w[12](_[ab])?$|\.lokr_t2$")),
    (Contents.OFT, _ends(".oft_blocks", ".oft_diag", ".oft_R", ".oft_R.weight")),
    (Contents.LOCON, _ends(".lora_mid.weight")),
    (Contents.GLORA, _ends(".a1.weight", ".b1.weight")),
    (Contents.LORA, _ends(*LORA_DOWN, *LORA_UP)),
    (Contents.IA3, _ends(".on_input")),
    (Contents.DIFFERENCE, _ends(".diff", ".diff_b")),
    (Contents.LORA, _begins(*_KOHYA)),
    (Contents.EMBEDDING, _is_embedding),
    (Contents.QUANTISED, _matches(r"\.quant_state\.bitsandbytes__|\.weight\.absmax$")),
    (Contents.IP_ADAPTER, _begins("image_proj.", "ip_adapter.")),
    (Contents.MOTION, _matches(r"(^|\.)motion_modules\.")),
    (
        Contents.CONTROLNET,
        _matches(r"^control_model\.|controlnet_cond_embedding\.|controlnet_down_blocks\.|controlnet_blocks\."),
    ),
    (Contents.CONTROLNET, _matches(r"^(controlnet_x_embedder|input_hint_block|zero_convs|control_all_x_embedder)\.")),
    (Contents.T2I_ADAPTER, _matches(r"^(adapter\.)?body\.\d+\.(resnets|in_conv|block1)")),
    (Contents.SAFETY_CHECKER, _matches(r"^(concept_embeds|special_care_embeds)")),
    (Contents.CHECKPOINT, lambda header: header.has(DENOISER) and header.has(*TEXT_ENCODERS, *VAES)),
    (Contents.DENOISER, _begins(DENOISER)),
    (
        Contents.DENOISER,
        _matches(
            r"^(model\.)?(down_blocks|up_blocks|input_blocks|output_blocks|transformer_blocks|single_transformer_blocks"
            r"|joint_blocks|double_blocks|single_blocks|double_layers|single_layers)\.\d"
            r"|^(unet|transformer)\.(conv_in|down_blocks|transformer_blocks)"
            r"|^(time_embedding|time_text_embed|x_embedder|pos_embed|context_embedder|cap_embedder|patch_embed"
            r"|adaln_single|caption_projection)\."
        ),
    ),
    (
        Contents.VAE,
        _matches(
            r"^(first_stage_model\.|vae\.)?(encoder|decoder)\.(down\.|up\.|mid\.|down_blocks|up_blocks|mid_block|conv_in)"
            r"|^(first_stage_model\.|vae\.)?(post_)?quant_conv\.|^(encoder|decoder)\.layers\.\d+\.(weight|bias|conv)"
        ),
    ),
    (
        Contents.TEXT_ENCODER,
        _matches(
            r"(^|\.)text_model\.(encoder|embeddings)|^encoder\.block\.\d+\.layer\.|transformer\.resblocks\."
            r"|^(cond_stage_model|conditioner|text_encoders)\.|^encoder\.layers?\.\d+\.(self_attn|attention|layer_norm|mlp)"
            r"|^embeddings\.(word|token|position)"
        ),
    ),
    (Contents.LANGUAGE_MODEL, _matches(r"^(model\.)?(language_model\.)?(model\.)?layers\.\d+\.(self_attn|mlp)\.")),
    (Contents.IMAGE_UPSCALER, _matches(r"^(params(_ema)?\.)?(conv_first|body\.\d+\.rdb1|model\.\d+\.)|RDB\d")),
)
"""The first that is true says what a file holds: adapters come first, because they name the layers of a model."""


def contents_of(header: Header) -> Contents:
    """What a file with this header holds."""
    if not header.tensors:
        return Contents.NOTHING
    return next((contents for contents, fits in _RULES if fits(header)), Contents.UNKNOWN)
