"""Step 5: train the upscaler, 128 x 128 pictures to 512 x 512.

What it is shown is half the time what the autoencoder makes of a picture, so that it also mends what the decoder
blurs. The vector sets are drawn at 512 pixels, but Fluent's 3D pictures are files of 256, and enlarged ones would teach
blur: where such a sprite is shown larger than its file, the result is compared at 256 pixels, and what lies beyond is
learnt from the others.
"""

import math
import time
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F  # noqa: N812
import typer
from diffusers import AutoencoderTiny
from rich.progress import Progress
from torch import Tensor, nn

from bot.worker.upscaling import FACTOR, FOLDER, Upscaler, save
from training import sources
from training.autoencoder import difference
from training.compose import Composer, Mix, Scene

#: Pixels on a side of the pictures it makes, and of Fluent's files.
LARGE, NATIVE = 512, 256
#: Pixels on a side of the crops it learns from, and how many of each picture.
CROP, CROPS = 48, 4
#: Highest standard deviation of the noise on latents: the denoiser's results are never exact.
NOISE = 0.1
#: How often each emoji set is shown: Fluent is what is mostly painted, the others teach edges.
WEIGHTS = {"fluent": 0.5, "noto": 0.2, "flat": 0.2, "twemoji": 0.1}


class Pairs:
    """Pictures at both sizes."""

    def __init__(self, work: Path, device: str, seed: int) -> None:
        """Read the sprites and WORK/autoencoder."""
        self._composer = Composer(work, device, seed, WEIGHTS, large=LARGE, mix=Mix(effects=0.0))
        self._fluent = {sprite for (_, vendor), sprite in self._composer.sprite.items() if vendor == "fluent"}
        autoencoder = AutoencoderTiny.from_pretrained(work / "autoencoder", torch_dtype=torch.float32)
        self._autoencoder = autoencoder.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)

    def draw(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return `count` pictures at both sizes: [n, 3, 128, 128] and [n, 3, 512, 512] in [0, 1].

        The second half of the small ones went through the autoencoder. The third tensor says which of the large ones
        are true at 512 pixels: bool [n].
        """
        scenes = self._composer.scenes(count)
        small, large = self._composer.render(scenes), self._composer.render(scenes, LARGE)
        small[count // 2 :] = self.decoded(small[count // 2 :])
        return small, large, torch.tensor([self._is_sharp(scene) for scene in scenes], device=large.device)

    @torch.no_grad()
    def decoded(self, pictures: Tensor) -> Tensor:
        """Return what the autoencoder makes of pictures [n, 3, h, w] in [0, 1], of latents somewhat off."""
        pictures = (pictures * 2 - 1).contiguous(memory_format=torch.channels_last)
        with torch.autocast(pictures.device.type, torch.bfloat16):
            latents = self._autoencoder.encode(pictures).latents
            strength = NOISE * torch.rand(len(latents), 1, 1, 1, device=latents.device)
            made = self._autoencoder.decode(latents + strength * torch.randn_like(latents)).sample
        return (made.float() / 2 + 0.5).clamp(0, 1)

    def _is_sharp(self, scene: Scene) -> bool:
        shown = [placement.side for placement in scene.placements if placement.sprite in self._fluent]
        return max(shown, default=0) * LARGE <= NATIVE * 1.05


def crops(small: Tensor, large: Tensor) -> tuple[Tensor, Tensor]:
    """Return CROPS random crops of each picture, at both sizes, those of one picture in sequence."""
    corners = torch.randint(0, small.shape[-1] - CROP + 1, (len(small), CROPS, 2)).tolist()
    places = [(row, y, x) for row, four in enumerate(corners) for y, x in four]
    side = FACTOR * CROP
    return (
        torch.stack([small[row, :, y : y + CROP, x : x + CROP] for row, y, x in places]),
        torch.stack([large[row, :, FACTOR * y :, FACTOR * x :][:, :side, :side] for row, y, x in places]),
    )


def loss_of(made: Tensor, real: Tensor, sharp: Tensor) -> Tensor:
    """Return the loss of enlarged pictures [n, 3, h, w]; those not `sharp` [n] are compared at half the size."""
    loss = made.new_zeros(())
    if sharp.any():
        loss = loss + difference(made[sharp], real[sharp]) * sharp.float().mean()
    if not sharp.all():
        halves = F.avg_pool2d(made[~sharp], 2), F.avg_pool2d(real[~sharp], 2)
        loss = loss + difference(*halves) * (~sharp).float().mean()
    return loss


@torch.no_grad()
def measure(network: Upscaler, pairs: Pairs, pictures: int = 64) -> dict[str, float]:
    """Return the PSNR in dB where the truth has 512 pixels, plain and decoded, and that of bicubic resizing."""
    errors: dict[str, list[Tensor]] = {}
    for _ in range(pictures // 8):
        small, large, sharp = pairs.draw(8)
        bicubic = F.interpolate(small, scale_factor=FACTOR, mode="bicubic", align_corners=False)
        for how, made in (("network", network(small)), ("bicubic", bicubic)):
            error = (made.clamp(0, 1) - large).pow(2).mean((1, 2, 3))
            errors.setdefault(f"{how}, plain", []).append(error[:4][sharp[:4]])
            errors.setdefault(f"{how}, decoded", []).append(error[4:][sharp[4:]])
    return {name: -10 * math.log10(float(torch.cat(parts).mean())) for name, parts in errors.items()}


def main(
    work: Annotated[Path, typer.Option(help="Folder for everything the training makes.")] = Path("training/work"),
    minutes: Annotated[float, typer.Option(help="How long to train.")] = 15,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    batch: Annotated[int, typer.Option(help="Pictures at a time, even; four crops of each.")] = 4,
    channels: Annotated[int, typer.Option(help="Channels of every layer.")] = 48,
    layers: Annotated[int, typer.Option(help="Layers between the first and the last.")] = 8,
    learning_rate: Annotated[float, typer.Option(help="At the start; it falls to nothing along a cosine.")] = 1e-3,
) -> None:
    """Train into WORK/upscaler, on the autoencoder that lies in WORK/autoencoder."""
    torch.manual_seed(0)
    if not sources.sprite_file(work, LARGE).exists():
        sources.main(work, LARGE)
    pairs = Pairs(work, device, seed=5)
    network = Upscaler(channels, layers).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, betas=(0.9, 0.99), weight_decay=0, fused=True)
    started, step, shown = time.monotonic(), 0, 0.0
    with Progress() as progress:
        task = progress.add_task("upscaler", total=1.0)
        while (done := (time.monotonic() - started) / (60 * minutes)) < 1:
            for group in optimizer.param_groups:
                group["lr"] = (
                    learning_rate * min(1, (step + 1) / 50) * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)
                )
            small, large, sharp = pairs.draw(batch)
            small, large = crops(small, large)
            with torch.autocast(torch.device(device).type, torch.bfloat16):
                made = network(small.contiguous(memory_format=torch.channels_last))
            loss = loss_of(made.float(), large, sharp.repeat_interleave(CROPS))
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            value = float(loss.detach())
            shown = value if step == 1 else 0.98 * shown + 0.02 * value
            progress.update(task, completed=done, description=f"upscaler, step {step}, loss {shown:.4f}")
    save(network, work / FOLDER)
    decibels = measure(network.eval(), pairs)
    typer.echo(
        f"{step} steps, in {work / FOLDER}; PSNR in dB: {', '.join(f'{k} {v:.2f}' for k, v in decibels.items())}"
    )


if __name__ == "__main__":
    typer.run(main)
