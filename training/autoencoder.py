"""Step 3: train the autoencoder, 128 x 128 x 3 pictures to 32 x 32 x 4 latents and back.

Its first three channels start as a highway for the colours, from end to end (`open_highway`). Without it the network
needs hours to find out that the thumbnail of a picture is most of the picture. Going down by four instead of eight
keeps the eyes of a small fox; see `training/README.md` for what both cost.
"""

import copy
import math
import time
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F  # noqa: N812
import typer
from diffusers import AutoencoderTiny
from diffusers.models.autoencoders.vae import AutoencoderTinyBlock
from rich.progress import Progress
from torch import Tensor, nn

from training.compose import Composer
from training.sources import SIZE

CHANNELS = 4
#: How many times wider and higher a picture is than its latents.
FACTOR = 4
#: Channels of every layer.
WIDTH = 64
#: Blocks at 128, 64 and 32 pixels of the encoder, and at 32, 64 and 128 pixels of the decoder.
ENCODER, DECODER = (0, 1, 2), (4, 2, 0)
#: The greatest standard deviation of the noise on latents while training: the denoiser's results are never exact.
NOISE = 0.12


def build(
    width: int = WIDTH, encoder: tuple[int, ...] = ENCODER, decoder: tuple[int, ...] = DECODER
) -> AutoencoderTiny:
    """Return a fresh autoencoder with an open highway."""
    model = AutoencoderTiny(
        encoder_block_out_channels=(width,) * len(encoder),
        decoder_block_out_channels=(width,) * len(decoder),
        num_encoder_blocks=encoder,
        num_decoder_blocks=decoder,
        latent_channels=CHANNELS,
    )
    open_highway(model)
    return model


@torch.no_grad()
def open_highway(model: AutoencoderTiny) -> None:
    """Initialise so that channels 0-2 carry red, green and blue through, and the blocks add almost nothing yet."""
    inside: set[nn.Module] = set()
    for block in model.modules():
        if isinstance(block, AutoencoderTinyBlock):
            layers = [layer for layer in block.conv if isinstance(layer, nn.Conv2d)]
            for layer in layers:
                inside.add(layer)
                nn.init.kaiming_normal_(layer.weight)
                layer.bias.zero_()
            layers[-1].weight.mul_(0.2)
            layers[-1].weight[:3] = 0
    for part in (model.encoder, model.decoder):
        outside = [layer for layer in part.modules() if isinstance(layer, nn.Conv2d) and layer not in inside]
        for layer in outside:
            layer.weight.normal_(0, layer.weight[0].numel() ** -0.5)
            if layer.bias is not None:
                layer.bias.zero_()
            layer.weight[:3] = 0
            for channel in range(3):
                if layer.stride[0] == 2:
                    layer.weight[channel, channel, 1:3, 1:3] = 0.25
                else:
                    layer.weight[channel, channel, 1, 1] = 1.0
        # Latents spread over about [-1.2, 1.2]; diffusers' decoder gives [-1, 1] for sums in [0, 1].
        if part is model.encoder:
            outside[-1].weight[:3] *= 2.4
            outside[-1].bias[:3] = -1.2
        else:
            outside[0].weight[:3] /= 2.4
            outside[0].bias[:3] = 0.5


def difference(made: Tensor, real: Tensor) -> Tensor:
    """Return the loss of pictures [n, 3, h, w]: values, edges, and colours of 4 x 4 areas."""
    loss = (made - real).abs().mean() + (made - real).pow(2).mean()
    for axis in (-1, -2):
        loss = loss + 0.7 * (made.diff(dim=axis) - real.diff(dim=axis)).abs().mean()
    return loss + 0.5 * (F.avg_pool2d(made, 4) - F.avg_pool2d(real, 4)).abs().mean()


def crops(pictures: Tensor, side: int) -> Tensor:
    """Return a random square of each picture: [n, 3, side, side]."""
    corners = torch.randint(0, SIZE - side + 1, (len(pictures), 2)).tolist()
    return torch.stack(
        [picture[:, y : y + side, x : x + side] for picture, (y, x) in zip(pictures, corners, strict=True)]
    )


def half_pays(device: str) -> bool:
    """Return whether a convolution is faster in bfloat16 here: on GPUs, and on processors that have it in silicon."""
    if torch.device(device).type != "cpu":
        return True
    layer, picture = nn.Conv2d(64, 64, 3, padding=1), torch.randn(8, 64, 32, 32)

    def pace(dtype: torch.dtype) -> float:
        half, seen = copy.deepcopy(layer).to(dtype), picture.to(dtype)
        times = []
        for _ in range(6):
            started = time.perf_counter()
            half(seen)
            times.append(time.perf_counter() - started)
        return min(times)

    with torch.inference_mode():
        return pace(torch.bfloat16) < pace(torch.float32)


@torch.no_grad()
def measure(model: AutoencoderTiny, composer: Composer, pictures: int = 192) -> tuple[float, Tensor]:
    """Return the reconstruction's PSNR in dB over whole pictures, and their latents."""
    errors, latents = [], []
    for _ in range(pictures // 32):
        real = composer.render(composer.scenes(32))
        latent = model.encode(real * 2 - 1).latents
        made = (model.decode(latent).sample / 2 + 0.5).clamp(0, 1)
        errors.append((made - real).pow(2).mean())
        latents.append(latent)
    return -10 * math.log10(float(torch.stack(errors).mean())), torch.cat(latents)


def train(
    model: AutoencoderTiny,
    composer: Composer,
    minutes: float,
    *,
    batch: int,
    crop: int,
    learning_rate: float,
    most: int | None = None,
) -> int:
    """Train a model on a composer's pictures, for some minutes or `most` steps; return how many steps were done.

    The learning rate falls to nothing along a cosine.
    """
    device = torch.device(composer.device)
    model.to(device, memory_format=torch.channels_last).train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, betas=(0.9, 0.99), weight_decay=0, fused=True)
    half = half_pays(device.type)
    started, step, shown = time.monotonic(), 0, 0.0
    with Progress() as progress:
        task = progress.add_task("autoencoder", total=1.0)
        while (done := max((time.monotonic() - started) / (60 * minutes), step / most if most else 0.0)) < 1:
            for group in optimizer.param_groups:
                group["lr"] = (
                    learning_rate * min(1, (step + 1) / 50) * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)
                )
            real = composer.render(composer.scenes(batch)) * 2 - 1
            real = (crops(real, crop) if crop < SIZE else real).contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                latent = model.encode(real).latents
                noise = NOISE * torch.rand(len(real), 1, 1, 1, device=device) * torch.randn_like(latent)
                made = model.decode(latent + noise).sample
            spread = F.relu(latent.float().pow(2).mean() - 1)
            loss = difference(made.float(), real) + (1e-3 + 0.05 * max(0.0, 1 - step / 100)) * spread
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            if step % 20 == 0:
                value = float(loss.detach())
                shown = value if not shown else 0.8 * shown + 0.2 * value
                progress.update(task, completed=done, description=f"autoencoder, step {step}, loss {shown:.3f}")
    return step


def finish(
    model: AutoencoderTiny, composer: Composer, folder: Path, *, rescale: bool = True, pictures: int = 192
) -> str:
    """Write a trained model, with the factor that gives its latents unit variance; return its figures in words."""
    decibel, latents = measure(model.eval(), composer, pictures)
    if rescale:
        model.register_to_config(scaling_factor=float(1 / latents.std()))
    model.save_pretrained(folder)
    return f"PSNR {decibel:.2f} dB, latents' spread {float(latents.std()):.3f}"


def main(
    work: Annotated[Path, typer.Option(help="Folder for everything the training makes.")] = Path("training/work"),
    minutes: Annotated[float, typer.Option(help="How long to train.")] = 25,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    batch: Annotated[int, typer.Option(help="Pictures at a time.")] = 16,
    crop: Annotated[int, typer.Option(help="Pixels on a side of the squares it learns from.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="At the start; it falls to nothing along a cosine.")] = 2e-3,
    threads: Annotated[int, typer.Option(help="Threads of torch.")] = 1,
    go_on: Annotated[bool, typer.Option("--go-on", help="Go on with WORK/autoencoder.")] = False,
    decoder_only: Annotated[
        bool, typer.Option("--decoder-only", help="The same, but latents stay as they are: the denoiser stays right.")
    ] = False,
) -> None:
    """Train into WORK/autoencoder, a diffusers folder with the scaling factor that gives latents unit variance."""
    torch.set_num_threads(threads)
    torch.manual_seed(time.time_ns() % 2**31)
    folder = work / "autoencoder"
    old = go_on or decoder_only
    model = AutoencoderTiny.from_pretrained(folder, torch_dtype=torch.float32) if old else build()
    if decoder_only:
        model.encoder.requires_grad_(False)
    composer = Composer(work, device, seed=time.time_ns() % 2**31)
    steps = train(model, composer, minutes, batch=batch, crop=crop, learning_rate=learning_rate)
    typer.echo(f"{steps} steps, {finish(model, composer, folder, rescale=not decoder_only)}, in {folder}")


if __name__ == "__main__":
    typer.run(main)
