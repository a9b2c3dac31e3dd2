"""Files of models that cannot be loaded, and what is said of each."""

from __future__ import annotations

import gzip
import pickle

from tests.bot.worker.damage import (
    AGAIN,
    CLIP,
    DOTTED,
    FIRST_STAGE,
    LFS,
    LOG_IN,
    PAGE,
    PULL,
    SAFE,
    TEXT,
    UNET,
    UNET_OF_COMFY,
    VAE,
    WHOLE,
    WHOLE_MODEL,
    WIDTH,
    XET,
    XL,
    file,
    lora,
    raw,
    safetensors,
    torch_saved,
    whole,
)

FILES = [
    file("lfs pointer", LFS, "@ is a Git LFS pointer: the file itself was not downloaded.", PULL),
    file("xet pointer", XET, "@ is a Git LFS pointer: the file itself was not downloaded.", PULL),
    file("web page", PAGE, "@ is a web page (HTML), not the file itself.", LOG_IN),
    file("empty", b"", "@ is empty.", AGAIN),
    file("text", b"Invalid username or password.", "@ is a text and holds no weights.", AGAIN),
    file(
        "torch pickle",
        torch_saved,
        "@ is pickled (a .ckpt, .pt or .bin file by its contents), and pickles can run code when loaded.",
        SAFE,
    ),
    file(
        "bare pickle",
        pickle.dumps({"weight": [1.0]}),
        "@ is pickled (a .ckpt, .pt or .bin file by its contents), and pickles can run code when loaded.",
        SAFE,
    ),
    file(
        "gguf",
        b"GGUF\3\0\0\0" + bytes(64),
        "@ is a GGUF file and does not hold a denoiser but nothing: it has no tensors.",
        "Take the GGUF version of the U-Net or the transformer.",
    ),
    file(
        "archive",
        gzip.compress(bytes(100)),
        "@ is a packed archive.",
        "Unpack it, and name the .safetensors file in it.",
    ),
    file("picture", b"\x89PNG\r\n\x1a\n" + bytes(99), "@ is a picture and holds no weights.", AGAIN),
    file("noise", bytes(range(255, 0, -1)), "@ is no .safetensors file, whatever its name says.", AGAIN),
    file(
        "cut in its data",
        lambda tiny: whole(tiny)[:-1000],
        "@ is cut short: it lacks at least 1,000 bytes of what its header says.",
        f"{AGAIN} The disk may have been full.",
    ),
    file(
        "cut in its header",
        raw(b"{" + b" " * 999)[:500],
        "@ is cut short: it lacks at least 508 bytes of what its header says.",
        f"{AGAIN} The disk may have been full.",
    ),
    file(
        "padded",
        lambda tiny: whole(tiny) + bytes(512),
        "@ is too long: it has 512 bytes more than its header says.",
        AGAIN,
    ),
    file("damaged header", raw(b'{"a": {"dtype": "F16", "shape": [2'), "the header of @ is damaged.", AGAIN),
    file(
        "overlapping tensors",
        raw({name: {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]} for name in "ab"}, bytes(8)),
        "the header of @ is damaged.",
        AGAIN,
    ),
    file("no tensors", safetensors({}), "@ is nothing: it has no tensors, not a model.", "Take a whole model."),
    file(
        "vae",
        lambda tiny: (tiny / VAE).read_bytes(),
        "@ is a VAE, not a model.",
        "Take a whole model.",
    ),
    file("stability vae", safetensors(FIRST_STAGE), "@ is a VAE, not a model.", "Take a whole model."),
    file("lora", safetensors(lora()), "@ is a LoRA, not a model.", "Name it under [[models.loras]] of a model."),
    file(
        "diffusers lora",
        safetensors({f"unet.{DOTTED}.lora_A.weight": (2, WIDTH), f"unet.{DOTTED}.lora_B.weight": (16, 2)}),
        "@ is a LoRA, not a model.",
        "Name it under [[models.loras]] of a model.",
    ),
    file(
        "embedding",
        safetensors({"emb_params": (3, 768)}),
        "@ is a textual inversion (an embedding), not a model.",
        "Take a whole model.",
    ),
    file(
        "controlnet",
        safetensors({"control_model.input_blocks.0.0.weight": (16, 4, 3, 3)}),
        "@ is a ControlNet, not a model.",
        "Name it under [[models.controlnets]] of a model.",
    ),
    file(
        "text encoder",
        lambda tiny: (tiny / TEXT).read_bytes(),
        "@ is a text encoder, not a model.",
        "Take a whole model.",
    ),
    file(
        "language model",
        safetensors({"model.layers.0.self_attn.q_proj.weight": (8, 8), "lm_head.weight": (9, 8)}),
        "@ is a language model, not a model.",
        "Take a whole model.",
    ),
    file(
        "enlarger",
        safetensors({"model.0.weight": (8, 3, 3, 3), "model.1.sub.0.RDB1.conv1.0.weight": (8, 8, 3, 3)}),
        "@ is a network that enlarges pictures, not a model.",
        "Take a whole model.",
    ),
    file(
        "diffusers unet",
        lambda tiny: (tiny / UNET).read_bytes(),
        "@ is a denoiser (U-Net or transformer) without a text encoder and a VAE.",
        WHOLE_MODEL,
    ),
    file(
        "stability unet",
        safetensors(UNET_OF_COMFY),
        "@ is incomplete: it has no text encoder and no VAE.",
        WHOLE_MODEL,
    ),
    file(
        "without a vae",
        safetensors({**UNET_OF_COMFY, **CLIP}),
        "@ is incomplete: it has no VAE.",
        WHOLE_MODEL,
    ),
    file(
        "without a text encoder",
        safetensors({**UNET_OF_COMFY, **FIRST_STAGE}),
        "@ is incomplete: it has no text encoder.",
        WHOLE_MODEL,
    ),
    file(
        "flux without t5",
        safetensors(
            {
                "model.diffusion_model.double_blocks.0.img_attn.norm.key_norm.scale": (8,),
                "text_encoders.clip_l.transformer.text_model.embeddings.position_embedding.weight": (77, 8),
                "vae.decoder.conv_in.weight": (8, 4, 3, 3),
            }
        ),
        "@ is incomplete: it has no text encoder t5xxl.",
        WHOLE_MODEL,
        configured=False,
    ),
    file(
        "refiner",
        safetensors({**XL, "conditioner.embedders.0.model.transformer.resblocks.9.mlp.c_proj.bias": (8,)}),
        "@ is the refiner of Stable Diffusion XL, which cannot be loaded from one file.",
        "Choose a model that paints pictures from words.",
    ),
    file(
        "eight channels",
        safetensors({**WHOLE, "model.diffusion_model.input_blocks.0.0.weight": (16, 8, 3, 3)}),
        "@ is a model that needs a picture beside the words (its denoiser takes 8 channels).",
        "Choose a model that paints pictures from words.",
    ),
    file(
        "flux 2",
        safetensors({**CLIP, **FIRST_STAGE, "model.diffusion_model.single_stream_modulation.lin.weight": (8, 8)}),
        "@ is a model of the kind FLUX.2.",
        "Take it as a diffusers folder.",
        configured=False,
    ),
    file(
        "another kind than its config",
        safetensors(XL),
        "@ is a Stable Diffusion XL, and its `config` is for another kind of model (StableDiffusionPipeline).",
        "Set `config` to a diffusers folder of the same kind, or leave it out.",
    ),
    file(
        "continuous noise",
        safetensors({**WHOLE, "edm_vpred.sigma_max": (), "edm_vpred.sigma_min": ()}),
        "@ predicts v for continuous noise (EDM, as CosXL), and its configuration is for other noise.",
        "Set `config` to a diffusers folder whose scheduler has timestep_type = continuous.",
    ),
    file(
        "no config offline",
        whole,
        "@ needs the configuration of its kind, and stable-diffusion-v1-5/stable-diffusion-v1-5 cannot be fetched from "
        "the hub (HF_HUB_OFFLINE is set).",
        "Check this machine's network. Or set `config` to a diffusers folder of the same kind.",
        configured=False,
    ),
]
