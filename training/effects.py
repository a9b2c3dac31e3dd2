"""Style words as operations on pictures: float [n, 3, h, w] in [0, 1] to the same, on any device, at any size."""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from training.sources import SIZE

_LUMA = (0.299, 0.587, 0.114)


def _grey(pictures: Tensor) -> Tensor:
    """Return the lightness [n, 1, h, w]."""
    weights = torch.tensor(_LUMA, device=pictures.device, dtype=pictures.dtype)
    return (pictures * weights[:, None, None]).sum(1, keepdim=True)


def _blur(pictures: Tensor, radius: float) -> Tensor:
    """Return pictures averaged over squares; `radius` counts pixels of a picture of the usual size."""
    reach = max(1, round(radius * pictures.shape[-1] / SIZE))
    return F.avg_pool2d(F.pad(pictures, (reach,) * 4, mode="replicate"), 2 * reach + 1, 1)


def _edges(pictures: Tensor) -> Tensor:
    """Return how strongly the lightness changes, about [0, 1], [n, 1, h, w]."""
    grey = _blur(_grey(pictures), 1)
    across = F.pad((grey[..., :, 2:] - grey[..., :, :-2]).abs(), (1, 1, 0, 0))
    down = F.pad((grey[..., 2:, :] - grey[..., :-2, :]).abs(), (0, 0, 1, 1))
    return ((across + down) * pictures.shape[-1] / SIZE).clamp(0, 1)


def _pixel_art(pictures: Tensor) -> Tensor:
    side = pictures.shape[-1]
    small = F.interpolate(pictures, (SIZE // 4, SIZE // 4), mode="area")
    return F.interpolate((small * 6).round() / 6, (side, side), mode="nearest")


def _watercolor(pictures: Tensor) -> Tensor:
    soft = _kuwahara(pictures, 3)
    down = torch.linspace(0, 1, SIZE, device=pictures.device)
    paper = (torch.sin(57 * down)[:, None] * torch.sin(43 * down + 1)[None] + torch.sin(91 * down)[None]) * 0.5
    paper = F.interpolate(paper[None, None], pictures.shape[-2:], mode="bilinear")
    wash = 1 - (1 - soft) * (0.72 + 0.13 * paper)
    return (wash - 0.25 * _edges(soft)).clamp(0, 1)


def _sketch(pictures: Tensor) -> Tensor:
    grey = _grey(pictures)
    dodged = grey / (_blur(_blur(grey, 4), 4) + 0.02)
    shade = 0.86 + 0.14 * grey
    return (dodged.clamp(0, 1) * shade - 0.9 * _edges(pictures)).clamp(0, 1).expand(-1, 3, -1, -1)


def _neon(pictures: Tensor) -> Tensor:
    lines = _edges(pictures)
    vivid = _blur(pictures, 2)
    low, high = vivid.amin(1, keepdim=True), vivid.amax(1, keepdim=True)
    hue = 0.25 + 0.75 * (vivid - low) / (high - low + 0.08)
    glow = _blur(_blur(lines, 3), 3)
    dark = torch.tensor((0.03, 0.01, 0.08), device=pictures.device)[:, None, None]
    return (dark + hue * (2.2 * lines + 1.6 * glow)).clamp(0, 1)


def _black_and_white(pictures: Tensor) -> Tensor:
    return ((_grey(pictures) - 0.5) * 1.15 + 0.5).clamp(0, 1).expand(-1, 3, -1, -1)


def _vintage(pictures: Tensor) -> Tensor:
    tint = torch.tensor((1.0, 0.86, 0.64), device=pictures.device)[:, None, None]
    return (0.08 + 0.87 * (0.75 * _grey(pictures) + 0.25 * pictures)) * tint


def _kuwahara(pictures: Tensor, radius: int) -> Tensor:
    """Return each pixel as the mean of the calmest of four squares that meet there (Kuwahara 1976): paint strokes."""
    reach = max(1, round(radius * pictures.shape[-1] / SIZE))
    padded = F.pad(pictures, (reach,) * 4, mode="replicate")
    mean = F.avg_pool2d(padded, reach + 1, 1)
    unrest = (F.avg_pool2d(padded.square(), reach + 1, 1) - mean.square()).sum(1, keepdim=True)
    height, width = pictures.shape[-2:]
    corners = [(y, x) for y in (0, reach) for x in (0, reach)]
    means = torch.stack([mean[..., y : y + height, x : x + width] for y, x in corners])
    calmest = torch.stack([unrest[..., y : y + height, x : x + width] for y, x in corners]).argmin(0, keepdim=True)
    return means.gather(0, calmest.expand(-1, -1, 3, -1, -1))[0]


def _oil_painting(pictures: Tensor) -> Tensor:
    painted = _kuwahara(_kuwahara(pictures, 3), 2)
    return ((painted - 0.5) * 1.1 + 0.48).clamp(0, 1)


def _comic(pictures: Tensor) -> Tensor:
    flat = (_kuwahara(pictures, 2) * 4).round() / 4
    lines = ((_edges(pictures) - 0.18) * 5).clamp(0, 1)
    return flat * (1 - lines)


#: Each effect by the name that `phrases.EFFECTS` has words for.
EFFECTS: dict[str, Callable[[Tensor], Tensor]] = {
    "pixel art": _pixel_art,
    "watercolor": _watercolor,
    "sketch": _sketch,
    "neon": _neon,
    "black and white": _black_and_white,
    "vintage": _vintage,
    "oil painting": _oil_painting,
    "comic": _comic,
}
