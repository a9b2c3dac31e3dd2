"""Prompts as people copy them from other tools, and what Atelier makes of them with the built-in model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Pasted:
    """A prompt as it is typed."""

    typed: str
    prompt: str = ""
    """What is painted; empty if that is what was typed."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Values of the request."""
    notes: tuple[str, ...] = ()
    """Words of the note; none if there is none."""


SETTINGS = (
    "a red fox, (snow:1.2) Negative prompt: blurry, text Steps: 28, Sampler: Euler a, CFG scale: 6.5, Seed: 1234, "
    "Size: 512x768, Model hash: 6ce0161689, Model: sd15, Clip skip: 2, ENSD: 31337, Version: v1.9.4"
)
NEGATIVE = (
    "lowres, bad anatomy, bad hands, text, error, missing fingers, extra digit, fewer digits, cropped, worst quality, "
    "low quality, normal quality, jpeg artifacts, signature, watermark, username, blurry"
)
ADDRESS = "links in a prompt are not opened; to start from a picture, attach it as {option image}"
JAPANESE = ("雪の中の赤い狐、油絵。" * 400)[:4000]
NONE = "no effect here"
PLAIN = "read as plain words"

PROMPTS = (
    # Midjourney
    Pasted(
        "a red fox in the snow --ar 16:9 --v 6.1", "a red fox in the snow", {"width": 168, "height": 96}, ("--v has",)
    ),
    Pasted(
        "a cat, cinematic --ar 3:2 --style raw --stylize 250 --v 6",
        "a cat, cinematic",
        {"width": 160},
        ("--style, --stylize and --v have no effect here",),
    ),
    Pasted("a castle at night --s 750 --c 20 --q 2 --w 300", "a castle at night", {}, ("--s, --c, --q and --w have",)),
    Pasted("a robot --chaos 40 --weird 250 --quality .5 --seed 99", "a robot", {"seed": 99}, ("--quality",)),
    Pasted("a fox, anime style --niji 6", "a fox, anime style", {}, ("--niji has",)),
    Pasted("seamless pattern of lemons --tile --v 5.2", "seamless pattern of lemons", {}, ("--tile and --v have",)),
    Pasted("https://s.mj.run/aB3xYz a cat in a hat --iw 2", "a cat in a hat", {}, ("--iw has", ADDRESS)),
    Pasted(
        "<https://s.mj.run/aB3xYz> <https://s.mj.run/cD4> two cats --v 5",
        "two cats",
        {},
        ("--v has", ADDRESS),
    ),
    Pasted("a lion --sref random --sw 300", "a lion", {}, ("--sref and --sw have",)),
    Pasted("a lion --sref 3799554500 2213253170::2 --ar 2:3", "a lion", {"height": 160}, ("--sref has",)),
    Pasted("a lion --sref https://example.com/a.png https://example.com/b.png", "a lion", {}, ("--sref has", ADDRESS)),
    Pasted("a girl --cref https://i.imgur.com/x.png --cw 0", "a girl", {}, ("--cref and --cw", ADDRESS)),
    Pasted("a dog --oref https://cdn.midjourney.com/1/0_0.png --ow 400", "a dog", {}, ("--oref and --ow", ADDRESS)),
    Pasted("a dog on the moon --p m7310542837489860637", "a dog on the moon", {}, ("--p has",)),
    Pasted("a dog on the moon --profile rb5ot2e abc1def --hd", "a dog on the moon", {}, ("--profile and --hd have",)),
    Pasted("a dog on the moon --p --fast", "a dog on the moon", {}, ("--p and --fast have",)),
    Pasted("a ship, oil painting --draft --turbo", "a ship, oil painting", {"draft": True}, ("--turbo has",)),
    Pasted("make it night --edit https://example.com/day.png", "make it night", {}, ("--edit has", ADDRESS)),
    Pasted("a pizza --no olives, onions --v 7 --raw", "a pizza", {"negative_prompt": "olives, onions"}, ("--raw",)),
    Pasted("a pizza --repeat 3 --relax", "a pizza", {"num_images_per_prompt": 3}, ("--relax has",)),
    Pasted("a pizza --r 2 --stop 80", "a pizza", {"num_images_per_prompt": 2}, ("--stop has",)),
    Pasted("a pizza --aspect 1:1 --version 4 --upbeta", "a pizza", {"width": 128}, ("--version and --upbeta have",)),
    Pasted("waves --video --motion high --loop --end https://example.com/e.png", "waves", {}, ("--motion", ADDRESS)),
    Pasted("a tree --exp 20 --bs 1 --sv 4 --vary", "a tree", {}, ("--exp, --bs, --sv and --vary have",)),
    Pasted("a tree --ar 16:9, --v 6.0, --s 250", "a tree", {"width": 168}, ("--v and --s have",)),
    Pasted("a tree --ar16:9 --v5.1 --s200", "a tree", {"width": 168}, ("--v and --s have",)),
    Pasted("a tree —v 6 —ar 9:16 —tile", "a tree", {"height": 168}, ("--v and --tile have",)),
    Pasted("/imagine prompt: a bee on a rose --v 6", "a bee on a rose", {}, ("--v has",)),
    Pasted("**a bee on a rose --ar 2:3 --v 6** - <@123456789012345678> (fast)", "a bee on a rose", {}, ("--v has",)),
    Pasted("a whale --ar 3:2 under the stars --v 6", "a whale under the stars", {"width": 160}, ("--v has",)),
    # Midjourney's weights and permutations
    Pasted("cat::2 dog::1", "", {}, (PLAIN, "“cat::2”, “dog::1”")),
    Pasted("space:: ship", "", {}, (PLAIN, "“space::”")),
    Pasted("still life gouache:: fruit::-0.5 --v 6", "still life gouache:: fruit::-0.5", {}, (PLAIN, "--v has")),
    Pasted("a {red, green, blue} bird --ar 1:1", "a {red, green, blue} bird", {}, (PLAIN, "“{red, green, blue}”")),
    Pasted(
        "a {red, blue} bird --chaos {5, 10} --ar {1:1, 3:2}", "a {red, blue} bird", {}, (PLAIN, "--chaos and --ar have")
    ),
    # AUTOMATIC1111's web UI and its relatives
    Pasted("(masterpiece:1.2), (best quality), a [red] apple"),
    Pasted("((a cute cat)), (((fluffy))), [[blurry]], 8k uhd"),
    Pasted("masterpiece, 1girl, solo, (smile:1.1), looking at viewer, miku_\\(vocaloid\\)"),
    Pasted("<lora:epi_noiseoffset2:1> a castle BREAK a forest", "", {}, (PLAIN, "“BREAK”", "--lora")),
    Pasted("[a cat:a dog:0.5] in a garden", "", {}, (PLAIN, "“[a cat:a dog:0.5]”")),
    Pasted("a [cat|dog] with {red|blue} eyes", "", {}, (PLAIN, "“[cat|dog]”")),
    Pasted(f"a knight Negative prompt: {NEGATIVE}", "a knight", {"negative_prompt": NEGATIVE}),
    Pasted(
        SETTINGS,
        "a red fox, (snow:1.2)",
        {"seed": 1234, "num_inference_steps": 28, "height": 256, "sampler": "euler a"},
        ("Model hash, Model, Clip skip, ENSD and Version have", "512×768 became 168×256"),
    ),
    Pasted(
        '--prompt "a blue bird" --negative_prompt "text, frame" --steps 12 --cfg_scale 5 --sampler_name "Euler a"',
        "a blue bird",
        {"negative_prompt": "text, frame", "num_inference_steps": 12, "guidance_scale": 5.0, "sampler": "euler a"},
    ),
    Pasted("a bird --width 160 --height 96 --batch_size 2", "a bird", {"width": 160, "num_images_per_prompt": 2}),
    Pasted("a bird --steps 20 --denoising_strength 0.4 --clip_skip 2", "a bird", {}, ("--clip_skip have",)),
    Pasted("a beautiful++ sunset over (calm)+ water--"),
    Pasted("(cat:25), {{{masterpiece}}}", "", {}, ("the weight 25 became 10",)),
    # long ones
    Pasted(f"a portrait of an astronaut --no {NEGATIVE}", "a portrait of an astronaut", {"negative_prompt": NEGATIVE}),
    Pasted(f"a lighthouse --no {', '.join([NEGATIVE] * 15)} --v 6", "a lighthouse", {}, ("--v has",)),
    Pasted(", ".join(["a quiet village by the sea"] * 142)),
    Pasted(JAPANESE),
    # languages
    Pasted("ein roter Fuchs im Schnee, Ölgemälde --ar 3:2 --v 6", "ein roter Fuchs im Schnee, Ölgemälde", {}, ("--v",)),
    Pasted("un château médiéval près d’un lac, à l’aube"),
    Pasted("рыжая лиса в снегу --no люди --stylize 500", "рыжая лиса в снегу", {"negative_prompt": "люди"}, (NONE,)),
    Pasted("قطة حمراء تحت القمر --ar 16:9 --v 6", "قطة حمراء تحت القمر", {"width": 168}, ("--v has",)),
    Pasted("חתול אדום בשלג, ציור שמן --s 100", "חתול אדום בשלג, ציור שמן", {}, ("--s has",)),
    Pasted(
        "雪地里的红狐狸，油画 --ar 16:9 --niji 5",
        "雪地里的红狐狸，油画",
        {"width": 168},
        (NONE,),
    ),
    Pasted("雪の中の赤い狐、油絵 --q 2", "雪の中の赤い狐、油絵", {}, ("--q has",)),
    Pasted("눈 속의 붉은 여우, 유화 --chaos 10", "눈 속의 붉은 여우, 유화", {}, ("--chaos has",)),
    Pasted("หมาจิ้งจอกสีแดงในหิมะ"),
    Pasted("बर्फ में लाल लोमड़ी, तैल चित्र --tile", "बर्फ में लाल लोमड़ी, तैल चित्र", {}, ("--tile has",)),
    # emoji and Discord
    Pasted("🦊❄️🌲 --v 6", "🦊❄️🌲", {}, ("--v has",)),
    Pasted("a 👩‍🚀 riding a 🦄, vaporwave 🌈✨"),
    Pasted("<:pepe_happy:123456789012345678> on a boat", "pepe happy on a boat"),
    Pasted("<@123456789012345678> as a knight", "as a knight", {}, ("mentions are left out",)),
    # flags of no bot
    Pasted("a cat --glow neon --dreamy 5 --vibes", "a cat", {}, ("--glow “neon”, --dreamy “5” and --vibes have",)),
)
"""What Atelier makes of them with the built-in model, which paints 128×128 pixels."""
