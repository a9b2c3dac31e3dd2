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

import copy
import json
import math
import multiprocessing
import os
import shutil
import time
from pathlib import Path
from queue import Full
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
import typer
from diffusers import AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from rich.progress import Progress
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from bot.requests.vocabulary import FILE
from training.autoencoder import CHANNELS, FACTOR, half_pays
from training.compose import Composer, Mix, Packed, pack
from training.sources import SIZE
from training.words import LENGTH

#: Pixels on a side of the latents.
SIDE = SIZE // FACTOR
#: Channels of the UNet's levels, at 32, 16, 8 and 4 pixels.
WIDTHS = (64, 128, 192, 192)
#: How much slower than the UNet the text encoder learns.
TEXT_RATE = 0.05
#: Part of the captions replaced by nothing, for classifier-free guidance.
DROPPED = 0.1
#: Pictures made at a time.
CHUNK = 64
#: How often a picture may be seen, roughly, before fresh ones are wanted: making one costs as much as learning from it.
REUSE = 3
#: Pictures made before the first step.
FIRST = 1024
#: The slowest that the average of the weights follows them.
AVERAGE = 0.9995

Batch = tuple[Tensor, Tensor]
"""Latents, float16 [n, 4, SIDE, SIDE] of unit variance, and token ids, int32 [n, LENGTH]."""


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


def build_unet(width: int, channels: tuple[int, ...] = WIDTHS) -> UNet2DConditionModel:
    """Return a fresh UNet: at the two finest levels the text comes in by its sum alone, below by attention, too."""
    fine = len(channels) - 2
    return UNet2DConditionModel(
        sample_size=SIDE,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        down_block_types=("DownBlock2D",) * fine + ("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2 + ("UpBlock2D",) * fine,
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


def load_autoencoder(work: Path) -> AutoencoderTiny:
    """Return the finished autoencoder of WORK, frozen."""
    model = AutoencoderTiny.from_pretrained(work / "autoencoder", torch_dtype=torch.float32)
    return model.eval().requires_grad_(False)


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Return token ids, int32 [n, LENGTH]."""
    ids = tokenizer(captions, padding="max_length", max_length=LENGTH, truncation=True).input_ids
    return torch.tensor(ids, dtype=torch.int32)


class Author:
    """Thinks of pictures: scenes as arrays, and the token ids of their captions."""

    def __init__(self, work: Path, composer: Composer) -> None:
        self._composer = composer
        self._tokenizer = CLIPTokenizer.from_pretrained(work / "words")

    def write(self, count: int) -> tuple[Packed, np.ndarray[Any, Any]]:
        """Return `count` fresh pictures, not painted yet."""
        scenes = self._composer.scenes(count)
        return pack(scenes), tokenize(self._tokenizer, [scene.caption for scene in scenes]).numpy()


def write_for_others(work: Path, seed: int, mix: Mix, count: int, queue: Any) -> None:
    """Fill a queue with fresh pictures as long as the parent lives; the work of a helper process."""
    torch.set_num_threads(1)
    os.nice(5)
    queue.cancel_join_thread()  # a parent that was killed reads no more
    author = Author(work, Composer(work, seed=seed, mix=mix))
    parent = multiprocessing.parent_process()
    while parent is not None and parent.is_alive():
        written = author.write(count)
        while parent.is_alive():
            try:
                queue.put(written, timeout=5)
            except Full:
                continue
            break


def start_authors(work: Path, seed: int, mix: Mix, count: int, workers: int) -> Any:
    """Return a queue that processes keep filling with `count` pictures at a time, not painted yet."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue(64)
    for number in range(workers):
        arguments = (work, seed + number, mix, count, queue)
        context.Process(target=write_for_others, args=arguments, daemon=True).start()
    return queue


class Source:
    """Makes training pictures as the denoiser sees them: latents and token ids."""

    def __init__(
        self,
        work: Path,
        device: str,
        seed: int,
        mix: Mix | None = None,
        chunk: int = CHUNK,
        queue: Any = None,
        pixels: int = SIZE,
    ) -> None:
        """Paint `chunk` pictures at a time, which are thought of here, or come by the queue of `start_authors`."""
        self._chunk, self._pixels = chunk, pixels
        self.device, self._half = device, half_pays(device)
        self._composer = Composer(work, device, seed=seed, mix=mix)
        self._autoencoder = load_autoencoder(work).to(device, memory_format=torch.channels_last)
        self._author = Author(work, self._composer)
        self._queue = queue

    @torch.no_grad()
    def make(self) -> Batch:
        """Return fresh pictures."""
        scenes, ids = self._queue.get() if self._queue is not None else self._author.write(self._chunk)
        pictures = self._composer.paint(scenes)
        if self._pixels != SIZE:
            pictures = F.interpolate(pictures, (self._pixels, self._pixels), mode="area")
        pictures = pictures.contiguous(memory_format=torch.channels_last) * 2 - 1
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self._half):
            latents = self._autoencoder.encode(pictures).latents
        scaled = latents.float() * self._autoencoder.config.scaling_factor
        return scaled.half(), torch.from_numpy(ids).to(self.device)


class Bank:
    """The pictures to learn from: new ones push the oldest out."""

    def __init__(self, size: int, device: str, side: int = SIDE) -> None:
        self._latents = torch.empty(size, CHANNELS, side, side, dtype=torch.float16, device=device)
        self._ids = torch.empty(size, LENGTH, dtype=torch.int32, device=device)
        self.size, self.made = size, 0

    def add(self, batch: Batch) -> None:
        """Take pictures in."""
        latents, ids = batch
        places = torch.arange(self.made, self.made + len(ids), device=self._ids.device) % len(self._ids)
        self._latents[places], self._ids[places] = latents.to(self._latents.device), ids.to(self._ids.device)
        self.made += len(ids)

    def draw(self, count: int) -> Batch:
        """Return a random batch: latents float32, ids int64."""
        rows = torch.randint(0, min(self.made, len(self._ids)), (count,), device=self._ids.device)
        return self._latents[rows].float(), self._ids[rows].long()


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


@torch.no_grad()
def obedience(unet: UNet2DConditionModel, text: CLIPTextModel, tokenizer: CLIPTokenizer) -> float:
    """Return how much the prediction depends on the words: its change, apple to banana, at noise level 800."""
    device = unet.device
    ids = tokenize(tokenizer, ["an apple", "a banana"]).long().to(device)
    noise = torch.randn(1, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    made = unet(noise.expand(2, -1, -1, -1).to(device), torch.tensor(800, device=device), text(ids)[0]).sample
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


class Predictor(nn.Module):
    """Both networks as one, so that they are compiled together."""

    def __init__(self, unet: UNet2DConditionModel, text: CLIPTextModel) -> None:
        super().__init__()
        self._unet, self._text = unet, text

    def forward(self, noisy: Tensor, level: Tensor, ids: Tensor) -> Tensor:
        """Return v for latents [n, 4, SIDE, SIDE], noise levels [n] and token ids [n, LENGTH]."""
        made: Tensor = self._unet(noisy, level, self._text(ids)[0]).sample
        return made


class Training:
    """The UNet and the text encoder while they learn, with the average of their weights."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        device: str,
        average: float = AVERAGE,
    ) -> None:
        """Take over networks in single precision; `average` is how much of the average a step keeps at most."""
        self._keep = average
        self.unet = unet.to(device, memory_format=torch.channels_last).train()
        self.text = text.to(device).train()
        self.tokenizer = tokenizer
        self.step, self.seen, self.minutes = 0, 0, 0.0
        self._device, self._half = torch.device(device), half_pays(device)
        self._alphas = build_scheduler().alphas_cumprod.to(device)
        self._nothing = tokenize(tokenizer, [""])[0].long().to(device)
        parts = [list(unet.parameters()), [p for p in text.parameters() if p.requires_grad]]
        self._parameters = [p for part in parts for p in part]
        self._optimizer = torch.optim.AdamW(
            [{"params": part, "rate": rate} for part, rate in zip(parts, (1.0, TEXT_RATE), strict=True)],
            lr=0.0,
            betas=(0.9, 0.99),
            weight_decay=0.01,
            fused=True,
        )
        self._average = [p.detach().clone() for p in self._parameters]
        self._predict: Any = Predictor(self.unet, self.text)

    def compile(self, mode: str = "default") -> None:
        """Compile both networks: a minute to start, faster then. `mode` is one of `torch.compile`."""
        self._predict = torch.compile(Predictor(self.unet, self.text), mode=mode)

    def learn(self, clean: Tensor, ids: Tensor, rate: float) -> Tensor:
        """Take one step on latents [n, 4, SIDE, SIDE] and ids [n, LENGTH]; return the loss, a scalar on the device."""
        batch, device = len(ids), self._device
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["rate"] * min(1.0, (self.step + 1) / 200)
        dropped = torch.rand(batch, 1, device=device) < DROPPED
        ids = torch.where(dropped, self._nothing, ids)
        # Stratified noise levels: every batch sees all of them.
        level = ((torch.arange(batch, device=device) + torch.rand(batch, device=device)) / batch * 1000).long()
        noise = torch.randn_like(clean)
        signal, spread = (part.sqrt()[:, None, None, None] for part in (self._alphas[level], 1 - self._alphas[level]))
        noisy = (signal * clean + spread * noise).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=self._half):
            made = self._predict(noisy, level, ids)
        loss = (made.float() - (signal * noise - spread * clean)).pow(2).mean()
        loss.backward()
        size = nn.utils.clip_grad_norm_(self._parameters, 1.0)
        # The optimizer leaves out a step whose gradients overflowed: it would make every weight NaN, and the average.
        self._optimizer.found_inf = (~torch.isfinite(size)).float()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.step, self.seen = self.step + 1, self.seen + batch
        keep = min(self._keep, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self._average, [p.detach() for p in self._parameters], 1 - keep)
        return loss.detach()

    @torch.no_grad()
    def export(self, folder: Path, vae: AutoencoderTiny) -> float:
        """Write the average as a diffusers folder; return its obedience. ValueError, and nothing written, for NaN."""
        now = [p.detach().clone() for p in self._parameters]
        torch._foreach_copy_(self._parameters, self._average)
        try:
            obeyed = obedience(self.unet, self.text, self.tokenizer)
            if not math.isfinite(obeyed):
                message = "the weights are not finite any more"
                raise ValueError(message)
            export(folder, self.unet, self.text, self.tokenizer, vae)
        finally:
            torch._foreach_copy_(self._parameters, now)
        return obeyed

    @torch.no_grad()
    def recover(self) -> None:
        """Go back to the average of the weights and forget what the optimizer knows: the loss has become NaN."""
        torch._foreach_copy_(self._parameters, self._average)
        self._optimizer.state.clear()

    def save(self, file: Path) -> None:
        """Write everything that going on needs."""
        partial = file.with_suffix(".partial")
        torch.save(
            {
                "now": [p.detach() for p in self._parameters],
                "average": self._average,
                "optimizer": self._optimizer.state_dict(),
                "step": self.step,
                "seen": self.seen,
                "minutes": self.minutes,
            },
            partial,
        )
        partial.replace(file)

    @torch.no_grad()
    def load(self, file: Path) -> None:
        """Take up what `save` wrote."""
        stored = torch.load(file, map_location=self._device, weights_only=True)
        torch._foreach_copy_(self._parameters, stored["now"])
        torch._foreach_copy_(self._average, stored["average"])
        self._optimizer.load_state_dict(stored["optimizer"])
        self.step, self.seen, self.minutes = stored["step"], stored["seen"], stored["minutes"]


def fresh(work: Path, device: str, channels: tuple[int, ...] | None = None, average: float = AVERAGE) -> Training:
    """Return a training from nothing over the words of WORK; `channels` are WIDTHS by default."""
    tokenizer = CLIPTokenizer.from_pretrained(work / "words")
    table = torch.from_numpy(np.load(work / "words" / "table.npy")).float()
    text = build_text_encoder(table, tokenizer)
    return Training(build_unet(table.shape[1], channels or WIDTHS), text, tokenizer, device, average)


def falling(rate: float, done: float) -> float:
    """Return the learning rate when a part `done` of the training is over: along a cosine to a fiftieth."""
    return rate * (0.02 + 0.98 * (1 + math.cos(math.pi * min(done, 1.0))) / 2)


def main(
    work: Annotated[Path, typer.Option(help="Folder for everything the training makes.")] = Path("training/work"),
    minutes: Annotated[float, typer.Option(help="How long to train in this call.")] = 600,
    total: Annotated[
        float, typer.Option(help="Minutes over all calls; the learning rate ends at nothing there.")
    ] = 600,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    batch: Annotated[int, typer.Option(help="Pictures at a time.")] = 32,
    channels: Annotated[str, typer.Option(help="Channels of the UNet's levels.")] = ",".join(map(str, WIDTHS)),
    learning_rate: Annotated[float, typer.Option(help="The highest; it falls along a cosine.")] = 1e-3,
    bank: Annotated[int, typer.Option(help="Pictures kept to draw from.")] = 60_000,
    workers: Annotated[int, typer.Option(help="Processes that think of pictures; 0 thinks of them here.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of torch.")] = 1,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the UNet: minutes to start, faster then.")
    ] = False,
    pixels: Annotated[
        int, typer.Option(help="Pixels on a side: 64 for a first stretch, which takes a third of the time a picture.")
    ] = SIZE,
    start: Annotated[
        Path | None, typer.Option(help="Begin with an exported folder, its words and its autoencoder; not to resume.")
    ] = None,
    pairs: Annotated[float, typer.Option(help="Part of the pictures that show two different things.")] = Mix.pairs,
    several: Annotated[float, typer.Option(help="Part that shows two to five of a thing.")] = Mix.several,
    relations: Annotated[float, typer.Option(help="Part that shows two things in a relation.")] = Mix.relations,
    snapshots: Annotated[float, typer.Option(help="Minutes between exports to WORK/denoiser/NNN; 0 for none.")] = 15,
) -> None:
    """Train into WORK/denoiser, and export the average of the weights to WORK/model."""
    torch.set_num_threads(threads)
    seed = time.time_ns() % 2**31
    torch.manual_seed(seed)
    folder = work / "denoiser"
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "state.pt"
    if start is not None and state.exists():
        raise typer.BadParameter(f"{state} is of a training begun before: leave out --start, or move it away")
    if start is not None:
        networks = adopt(start, work)
        training = Training(*networks, CLIPTokenizer.from_pretrained(work / "words"), device)
    else:
        training = fresh(work, device, tuple(map(int, channels.split(","))))
    if state.exists():
        training.load(state)
    if compiled:
        training.compile()
    vae = load_autoencoder(work)

    def save(target: Path) -> None:
        obeyed = training.export(target, vae)
        typer.echo(f"{training.minutes:.1f} min, {training.seen} pictures seen, obedience {obeyed:.3f}: {target}")
        training.save(state)

    mix = Mix(pairs, several, relations)
    queue = start_authors(work, seed + 1, mix, CHUNK, workers) if workers else None
    source = Source(work, device, seed, mix, queue=queue, pixels=pixels)
    store = Bank(bank, device, pixels // FACTOR)
    while store.made < min(FIRST, bank):
        store.add(source.make())
    started, before, saved, shown = time.monotonic(), training.minutes, training.minutes, 0.0
    already = training.seen
    with Progress() as progress:
        task = progress.add_task("denoiser", total=total)
        while training.minutes < min(total, before + minutes):
            while store.made < FIRST + (training.seen - already) / REUSE:
                store.add(source.make())
            loss = training.learn(*store.draw(batch), falling(learning_rate, training.minutes / total))
            training.minutes = before + (time.monotonic() - started) / 60
            if training.step % 20 == 0:
                if not math.isfinite(float(loss)):
                    typer.echo(f"step {training.step}: the loss is not finite; going back to the average")
                    training.recover()
                    continue
                shown = float(loss) if not shown else 0.95 * shown + 0.05 * float(loss)
                words = f"seen {training.seen}, made {store.made}, loss {shown:.3f}"
                progress.update(task, completed=training.minutes, description=words)
            if snapshots and training.minutes - saved >= snapshots:
                saved = training.minutes
                save(folder / f"{round(saved):03d}")
    save(work / "model")


if __name__ == "__main__":
    typer.run(main)
