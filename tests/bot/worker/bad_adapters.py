"""LoRAs and ControlNets that cannot be used, and what is said of each."""

from __future__ import annotations

from tests.bot.worker.damage import (
    AGAIN,
    ATTENTION,
    DOTTED,
    FIRST_STAGE,
    KIND,
    LFS,
    LOG_IN,
    PAGE,
    PLAIN,
    PULL,
    WIDTH,
    file,
    folder,
    lora,
    only,
    safetensors,
    whole,
)

KOHYA = f"lora_unet_{ATTENTION}"

LORAS = [
    file(
        "dora",
        safetensors({**lora(), f"{KOHYA}.dora_scale": (16, 1)}),
        "@ is a DoRA (weight-decomposed LoRA), whose scale cannot be worn row by row.",
        PLAIN,
    ),
    file(
        "peft dora",
        safetensors(
            {
                f"unet.{DOTTED}.lora_A.weight": (2, WIDTH),
                f"unet.{DOTTED}.lora_B.weight": (16, 2),
                f"unet.{DOTTED}.lora_magnitude_vector": (16,),
            }
        ),
        "@ is a DoRA (weight-decomposed LoRA), whose scale cannot be worn row by row.",
        PLAIN,
    ),
    file(
        "loha",
        safetensors({f"{KOHYA}.hada_w{n}_{half}": (2, 2) for n in (1, 2) for half in "ab"}),
        "@ is a LoHa (LyCORIS), which cannot be worn row by row.",
        PLAIN,
    ),
    file(
        "lokr",
        safetensors({f"{KOHYA}.lokr_w1": (2, 2), f"{KOHYA}.lokr_w2_a": (2, 2), f"{KOHYA}.lokr_w2_b": (2, 2)}),
        "@ is a LoKr (LyCORIS), which cannot be worn row by row.",
        PLAIN,
    ),
    file(
        "oft",
        safetensors({f"{KOHYA}.oft_blocks": (2, 2, 2), f"{KOHYA}.alpha": ()}),
        "@ is an OFT adapter, which cannot be worn row by row.",
        PLAIN,
    ),
    file(
        "glora",
        safetensors({f"{KOHYA}.{part}.weight": (2, 2) for part in ("a1", "a2", "b1", "b2")}),
        "@ is a GLoRA (LyCORIS), which cannot be worn row by row.",
        PLAIN,
    ),
    file(
        "tucker",
        safetensors({**lora(), f"{KOHYA}.lora_mid.weight": (2, 2, 3, 3)}),
        "@ is a LoCon with a middle matrix (LyCORIS, Tucker decomposition), which cannot be worn row by row.",
        PLAIN,
    ),
    file(
        "full differences",
        safetensors({f"{KOHYA}.diff": (16, WIDTH)}),
        "@ is an adapter of full differences (LyCORIS), which cannot be worn row by row.",
        PLAIN,
    ),
    file(
        "lora of sdxl",
        safetensors(lora(2048, 640)),
        "@ is made for another kind of model: its layers go from 2,048 to 640 numbers, and this model's from 32 to 16. "
        "It is probably made for Stable Diffusion XL.",
        KIND,
    ),
    file(
        "lora of sdxl by other names",
        safetensors(lora(2048, 640, layer="input_blocks_4_1_transformer_blocks_0_attn2_to_k")),
        "@ is made for another kind of model: its layers go from 2,048 to 640 numbers, and this model's from 32 to "
        "640. It is probably made for Stable Diffusion XL.",
        KIND,
    ),
    file(
        "lora of another width",
        safetensors(lora(WIDTH, 24)),
        "@ is made for another kind of model: its layers go from 32 to 24 numbers, and this model's from 32 to 16.",
        KIND,
    ),
    file(
        "lora of another text encoder",
        safetensors(
            {
                "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight": (2, 768),
                "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight": (768, 2),
            }
        ),
        "@ is made for another kind of model: its layers go from 768 to 768 numbers, and this model's from 32 to 32. "
        "It is probably made for Stable Diffusion 1.",
        KIND,
    ),
    file(
        "lora of flux",
        safetensors(
            {
                "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": (2, 3072),
                "transformer.single_transformer_blocks.0.attn.to_q.lora_B.weight": (3072, 2),
            }
        ),
        "@ fits no layer of this model: it is made for another kind.",
        KIND,
    ),
    file(
        "two ranks",
        safetensors({**lora(), f"{KOHYA}.lora_up.weight": (16, 3)}),
        f"the matrices of @ do not fit each other (unet_{ATTENTION}).",
        AGAIN,
    ),
    file(
        "half a lora",
        safetensors({f"{KOHYA}.lora_down.weight": (2, WIDTH)}),
        "@ is damaged: none of its matrices has its counterpart.",
        AGAIN,
    ),
    file(
        "a1111 embedding",
        safetensors({"emb_params": (3, 768)}),
        "@ is a textual inversion (an embedding), which Atelier cannot use.",
        "Take a LoRA instead.",
    ),
    file(
        "sdxl embedding",
        safetensors({"clip_l": (3, 768), "clip_g": (3, 1280)}),
        "@ is a textual inversion (an embedding), which Atelier cannot use.",
        "Take a LoRA instead.",
    ),
    file(
        "diffusers embedding",
        safetensors({"<cat-toy>": (768,)}),
        "@ is a textual inversion (an embedding), which Atelier cannot use.",
        "Take a LoRA instead.",
    ),
    file("lfs lora", LFS, "@ is a Git LFS pointer: the file itself was not downloaded.", PULL),
    file("page as lora", PAGE, "@ is a web page (HTML), not the file itself.", LOG_IN),
    file(
        "cut lora",
        safetensors(lora())[:-4],
        "@ is cut short: it lacks at least 4 bytes of what its header says.",
        f"{AGAIN} The disk may have been full.",
    ),
    file("padded lora", safetensors(lora()) + b"\0", "@ is too long: it has 1 byte more than its header says.", AGAIN),
    file(
        "model as lora",
        whole,
        "@ is a whole model, not a LoRA.",
        "Name it as the source of a model instead.",
    ),
    file("vae as lora", safetensors(FIRST_STAGE), "@ is a VAE, not a LoRA.", "Name the LoRA's own file."),
    folder(
        "two loras in a folder",
        only(("a.safetensors", safetensors(lora())), ("b.safetensors", safetensors(lora()))),
        "the folder has 2 .safetensors files, and none of the name pytorch_lora_weights.safetensors.",
        "Name the file itself, such as a.safetensors.",
    ),
    folder(
        "pickled lora",
        only(("pytorch_lora_weights.bin", b"PK\3\4")),
        "the folder has only pickled weights, and pickles can run code when loaded.",
        "Take its .safetensors version.",
    ),
]

CONTROLNETS = [
    file("lfs controlnet", LFS, "@ is a Git LFS pointer: the file itself was not downloaded.", PULL),
    file("lora as controlnet", safetensors(lora()), "@ is a LoRA, not a ControlNet.", "Name the file of a ControlNet."),
    file(
        "controlnet of sdxl",
        safetensors(
            {
                "controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3),
                f"{DOTTED}.weight": (16, 2048),
            }
        ),
        "it is made for another kind of model (Stable Diffusion XL): it reads words of 2,048 numbers, and this model's "
        "have 32.",
        KIND,
    ),
    folder(
        "unet as controlnet",
        only(("config.json", b'{"_class_name": "UNet2DConditionModel"}')),
        "it is a UNet2DConditionModel, which is no ControlNet that can be used.",
        "Name the folder of a ControlNet.",
    ),
    folder(
        "controlnet without weights",
        only(("config.json", b'{"_class_name": "ControlNetModel"}')),
        "the folder has no weights.",
        "Take its .safetensors version.",
    ),
    folder(
        "pickled controlnet",
        only(("config.json", b'{"_class_name": "ControlNetModel"}'), ("diffusion_pytorch_model.bin", b"PK\3\4")),
        "the folder has only pickled weights, and pickles can run code when loaded.",
        "Take its .safetensors version.",
    ),
]
