"""Step 4: train the UNet and the text encoder on latents of the finished autoencoder.

v-prediction with a schedule that ends in almost pure noise, so that backgrounds can be black or white; an exponential
moving average of the weights is what ships. The state lies in WORK/denoiser/state.pt: calling again goes on, and the
learning rate follows the minutes spent of the total. `--start` begins with the weights of an exported folder, for a
second stretch when the state is gone: with the optimizer and the learning rate from the start, and with its words.

Two findings decide whether the text is obeyed at all. The text encoder learns at a twentieth of the UNet's rate: at the
full rate it collapses to one vector for every prompt. And padding is an empty vector: the END token repeated would
drown the words. `obedience` measures it; a run where it stays below 0.1 after the first minutes is not worth going on
with.
"""

import contextlib
import copy
import json
import math
import multiprocessing
import os
import shutil
import time
from pathlib import Path
from queue import Empty, Full
from typing import Annotated, Any

import numpy as np
import torch
import typer
from diffusers import AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from rich.progress import Progress
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from bot.requests.vocabulary import FILE
from training.compose import Composer, Mix
from training.sources import core
from training.words import LENGTH

#: How much slower than the UNet the text encoder learns.
TEXT_RATE = 0.05
#: Part of the captions replaced by nothing, for classifier-free guidance.
DROPPED = 0.1
#: How often each emoji set is drawn: one style learned well is worth more than four half learned.
VENDORS = {"fluent": 0.9, "noto": 0.1}
#: Pictures made at a time.
CHUNK = 32
#: How often a picture may be seen, roughly, before fresh ones are wanted: making one costs as much as learning from it.
REUSE = 3
#: Pictures to begin with when helper processes make them.
FIRST = 2048

Batch = tuple[Tensor, Tensor]
"""Latents, float16 [n, 4, 16, 16] of unit variance, and token ids, int32 [n, LENGTH]."""


def build_text_encoder(table: Tensor, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Return a CLIPTextModel of two layers over the frozen word table."""
    tokens, width = table.shape
    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=tokens,
            hidden_size=width,
            intermediate_size=3 * width,
            projection_dim=width,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
            hidden_act="gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("out_proj.weight", "fc2.weight")):
                parameter.mul_(0.1)
    words = model.get_input_embeddings()
    words.weight.data.copy_(table)
    words.weight.requires_grad_(False)
    return model


def build_unet(width: int, channels: tuple[int, ...]) -> UNet2DConditionModel:
    """Return a fresh UNet: at 16 x 16 and 8 x 8 the text comes in by its sum alone, at 4 x 4 by attention, too."""
    inner = len(channels) - 1
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D",) * inner + ("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",) + ("UpBlock2D",) * inner,
        block_out_channels=channels,
        layers_per_block=1,
        cross_attention_dim=width,
        attention_head_dim=4,
        norm_num_groups=16,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        resnet_time_scale_shift="scale_shift",
    )


def build_scheduler() -> DDIMScheduler:
    """Return the noise schedule: scaled linear betas to 0.02, which leaves 0.02 % of the signal at the end."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.02,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


class Source:
    """Makes training pictures as the denoiser sees them: latents and token ids."""

    def __init__(self, work: Path, device: str, seed: int, everything: bool, mix: Mix) -> None:
        subjects = None if everything else core()
        self._composer = Composer(work, device, seed=seed, vendors=VENDORS, subjects=subjects, mix=mix)
        self._tokenizer = CLIPTokenizer.from_pretrained(work / "words")
        self._autoencoder = load_autoencoder(work).to(device, memory_format=torch.channels_last)
        self._device = device

    @torch.no_grad()
    def make(self, count: int) -> Batch:
        """Return `count` fresh pictures."""
        scenes = self._composer.scenes(count)
        pictures = self._composer.render(scenes).contiguous(memory_format=torch.channels_last) * 2 - 1
        with torch.autocast(torch.device(self._device).type, torch.bfloat16):
            latents = self._autoencoder.encode(pictures).latents
        scaled = latents.float() * self._autoencoder.config.scaling_factor
        return scaled.half(), tokenize(self._tokenizer, [scene.caption for scene in scenes]).to(self._device)


def adopt(start: Path, work: Path) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """Return the networks of an exported folder; its words and its autoencoder take the place of those in WORK.

    The networks are worth nothing with any others. Raises BadParameter when it is no such folder.
    """
    if not (start / "model_index.json").is_file():
        raise typer.BadParameter(f"{start} is no exported model: it has no model_index.json")
    unet = UNet2DConditionModel.from_pretrained(start / "unet", torch_dtype=torch.float32)
    text = CLIPTextModel.from_pretrained(start / "text_encoder", dtype=torch.float32)
    words = text.get_input_embeddings()
    words.weight.requires_grad_(False)
    shutil.copytree(start / "tokenizer", work / "words", dirs_exist_ok=True)
    np.save(work / "words" / "table.npy", words.weight.numpy())
    if (start / FILE).is_file():
        shutil.copy(start / FILE, work / "words")
    shutil.copytree(start / "vae", work / "autoencoder", dirs_exist_ok=True)
    return unet.train(), text.train()


def load_autoencoder(work: Path) -> AutoencoderTiny:
    """Return the finished autoencoder of WORK, frozen."""
    model = AutoencoderTiny.from_pretrained(work / "autoencoder", torch_dtype=torch.float32)
    return model.eval().requires_grad_(False)


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Return token ids, int32 [n, LENGTH]."""
    ids = tokenizer(captions, padding="max_length", max_length=LENGTH, truncation=True).input_ids
    return torch.tensor(ids, dtype=torch.int32)


def produce(work: Path, seed: int, everything: bool, mix: Mix, queue: Any) -> None:
    """Fill a queue with fresh pictures as long as the parent lives; the work of a helper process."""
    torch.set_num_threads(1)
    os.nice(5)
    source = Source(work, "cpu", seed, everything, mix)
    parent = multiprocessing.parent_process()
    while parent is not None and parent.is_alive():
        latents, ids = source.make(CHUNK)
        with contextlib.suppress(Full):  # the parent has enough for now: look again whether it lives
            queue.put((latents.numpy(), ids.numpy()), timeout=10)


class Bank:
    """The newest pictures, to draw batches from; each is drawn several times before it is replaced."""

    def __init__(self, capacity: int, device: str) -> None:
        self._latents = torch.empty(capacity, 4, 16, 16, dtype=torch.float16, device=device)
        self._ids = torch.empty(capacity, LENGTH, dtype=torch.int32, device=device)
        self.made = 0

    def add(self, batch: Batch) -> None:
        """Take in fresh pictures in place of the oldest."""
        latents, ids = batch
        places = torch.arange(self.made, self.made + len(ids), device=self._ids.device) % len(self._ids)
        self._latents[places], self._ids[places] = latents.to(self._ids.device), ids.to(self._ids.device)
        self.made += len(ids)

    def refill(self, queue: Any, enough: int) -> None:
        """Take in what helper processes have ready, up to `enough` pictures in all."""
        while self.made < enough:
            try:
                latents, ids = queue.get_nowait()
            except Empty:
                return
            self.add((torch.from_numpy(latents), torch.from_numpy(ids)))

    def draw(self, count: int) -> Batch:
        """Return a random batch: latents float32, ids int64."""
        rows = torch.randint(0, min(self.made, len(self._ids)), (count,), device=self._ids.device)
        return self._latents[rows].float(), self._ids[rows].long()


@torch.no_grad()
def obedience(unet: UNet2DConditionModel, text: CLIPTextModel, tokenizer: CLIPTokenizer) -> float:
    """Return how much the prediction depends on the words: its change, apple to banana, at noise level 800."""
    device = unet.device
    ids = tokenize(tokenizer, ["an apple", "a banana"]).long().to(device)
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0)).expand(2, -1, -1, -1).to(device)
    made = unet(noise, torch.tensor(800, device=device), text(ids)[0]).sample
    return float((made[0] - made[1]).std())


def export(
    folder: Path, unet: UNet2DConditionModel, text: CLIPTextModel, tokenizer: CLIPTokenizer, vae: AutoencoderTiny
) -> None:
    """Write a diffusers folder of float16 weights that an unmodified StableDiffusionPipeline loads."""
    parts = {
        name: copy.deepcopy(part).to("cpu", torch.float16, memory_format=torch.contiguous_format)
        for name, part in (("unet", unet), ("text_encoder", text), ("vae", vae))
    }
    pipeline = StableDiffusionPipeline(
        **parts,
        tokenizer=tokenizer,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    # transformers loads in the dtype written here, diffusers in float32: let both agree when nobody says.
    config = folder / "text_encoder" / "config.json"
    config.write_text(
        json.dumps(json.loads(config.read_text()) | {"dtype": "float32"}, indent=2, sort_keys=True) + "\n"
    )


def main(
    work: Annotated[Path, typer.Option(help="Folder for everything the training makes.")] = Path("training/work"),
    minutes: Annotated[float, typer.Option(help="How long to train in this call.")] = 90,
    total: Annotated[float, typer.Option(help="Minutes over all calls; the learning rate ends at nothing there.")] = 90,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    everything: Annotated[
        bool, typer.Option("--everything", help="All of concepts.txt instead of the core: what a GPU has the time for.")
    ] = False,
    batch: Annotated[int, typer.Option(help="Pictures at a time.")] = 32,
    channels: Annotated[str, typer.Option(help="Channels of the UNet's levels.")] = "48,96,192",
    learning_rate: Annotated[float, typer.Option(help="The highest; it falls along a cosine.")] = 1e-3,
    bank: Annotated[int, typer.Option(help="Pictures kept to draw from.")] = 60_000,
    workers: Annotated[int, typer.Option(help="Processes that make pictures; 0 makes them here, as a GPU should.")] = 1,
    threads: Annotated[int, typer.Option(help="Threads of torch.")] = 1,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the UNet: minutes to start, faster then.")
    ] = False,
    start: Annotated[
        Path | None, typer.Option(help="Begin with an exported folder, its words and its autoencoder; not to resume.")
    ] = None,
    pairs: Annotated[float, typer.Option(help="Part of the pictures that show two different things.")] = Mix.pairs,
    several: Annotated[
        float, typer.Option(help="Part of the pictures that show two or three of a thing.")
    ] = Mix.several,
    snapshots: Annotated[float, typer.Option(help="Minutes between exports to WORK/denoiser/NNN; 0 for none.")] = 15,
) -> None:
    """Train into WORK/denoiser, and export the average of the weights to WORK/model."""
    torch.set_num_threads(threads)
    torch.manual_seed(time.time_ns() % 2**31)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    kind = torch.device(device).type
    folder = work / "denoiser"
    folder.mkdir(parents=True, exist_ok=True)
    mix = Mix(pairs, several)
    state = folder / "state.pt"
    if start is not None and state.exists():
        raise typer.BadParameter(f"{state} is of a training begun before: leave out --start, or move it away")
    if start is not None:
        unet, text = adopt(start, work)
        tokenizer = CLIPTokenizer.from_pretrained(work / "words")
    else:
        tokenizer = CLIPTokenizer.from_pretrained(work / "words")
        table = torch.from_numpy(np.load(work / "words" / "table.npy"))
        text = build_text_encoder(table, tokenizer)
        unet = build_unet(table.shape[1], tuple(map(int, channels.split(","))))
    unet, text = unet.to(device), text.to(device)
    alphas = build_scheduler().alphas_cumprod.to(device)
    autoencoder = load_autoencoder(work)

    parts = {"unet": list(unet.parameters()), "text": [p for p in text.parameters() if p.requires_grad]}
    parameters = [*parts["unet"], *parts["text"]]
    optimizer = torch.optim.AdamW(
        [{"params": parts["unet"], "rate": 1.0}, {"params": parts["text"], "rate": TEXT_RATE}],
        lr=learning_rate,
        betas=(0.9, 0.99),
        weight_decay=0.01,
        fused=True,
    )
    average = [p.detach().clone() for p in parameters]
    step, seen, spent = 0, 0, 0.0
    if state.exists():
        stored = torch.load(state, map_location=device, weights_only=True)
        for parameter, mean, now, then in zip(parameters, average, stored["now"], stored["average"], strict=True):
            parameter.data.copy_(now)
            mean.copy_(then)
        optimizer.load_state_dict(stored["optimizer"])
        step, seen, spent = stored["step"], stored["seen"], stored["minutes"]

    def save(target: Path) -> None:
        now = [p.detach().clone() for p in parameters]
        for parameter, mean in zip(parameters, average, strict=True):
            parameter.data.copy_(mean)
        export(target, unet, text, tokenizer, autoencoder)
        typer.echo(f"{spent:.1f} min, {seen} pictures seen, obedience {obedience(unet, text, tokenizer):.3f}: {target}")
        for parameter, value in zip(parameters, now, strict=True):
            parameter.data.copy_(value)
        partial = state.with_suffix(".partial")
        torch.save(
            {
                "now": now,
                "average": average,
                "optimizer": optimizer.state_dict(),
                "step": step,
                "seen": seen,
                "minutes": spent,
            },
            partial,
        )
        partial.replace(state)

    store = Bank(bank, device)
    queue: Any = None
    if workers:
        context = multiprocessing.get_context("spawn")
        queue = context.Queue(64)
        for number in range(workers):
            seed = time.time_ns() % 2**31 + number
            context.Process(target=produce, args=(work, seed, everything, mix, queue), daemon=True).start()
        for _ in range(FIRST // CHUNK):
            latents, ids = queue.get()
            store.add((torch.from_numpy(latents), torch.from_numpy(ids)))
    else:
        source = Source(work, device, time.time_ns() % 2**31, everything, mix)
        store.add(source.make(max(batch, CHUNK)))

    forward = torch.compile(unet) if compiled else unet
    nothing = tokenize(tokenizer, [""])[0].long().to(device)
    started, before, shown, saved = time.monotonic(), spent, 0.0, spent
    with Progress() as progress:
        task = progress.add_task("denoiser", total=total)
        while spent < min(total, before + minutes):
            rate = (
                learning_rate * min(1.0, (step + 1) / 200) * (0.02 + 0.98 * (1 + math.cos(math.pi * spent / total)) / 2)
            )
            for group in optimizer.param_groups:
                group["lr"] = rate * group["rate"]
            if queue is None:
                store.add(source.make(batch // 2))
            else:
                store.refill(queue, enough=seen // REUSE)
            clean, ids = store.draw(batch)
            dropped = torch.rand(batch, 1, device=device) < DROPPED
            ids = torch.where(dropped, nothing, ids)
            # Stratified noise levels: every batch sees all of them.
            level = ((torch.arange(batch, device=device) + torch.rand(batch, device=device)) / batch * 1000).long()
            noise = torch.randn_like(clean)
            signal, spread = (part.sqrt()[:, None, None, None] for part in (alphas[level], 1 - alphas[level]))
            with torch.autocast(kind, torch.bfloat16):
                made = forward(signal * clean + spread * noise, level, text(ids)[0]).sample
            loss = (made.float() - (signal * noise - spread * clean)).pow(2).mean()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step, seen = step + 1, seen + batch
            keep = min(0.9995, (1 + step) / (10 + step))
            torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - keep)
            spent = before + (time.monotonic() - started) / 60
            if step % 20 == 0:
                value = float(loss.detach())
                shown = value if shown == 0 else 0.95 * shown + 0.05 * value
                progress.update(task, completed=spent, description=f"seen {seen}, made {store.made}, loss {shown:.3f}")
            if snapshots and spent - saved >= snapshots:
                saved = spent
                save(folder / f"{round(spent):03d}")
    save(work / "model")


if __name__ == "__main__":
    typer.run(main)
