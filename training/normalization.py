"""Group normalization that suits pictures whose channels lie last in memory.

PyTorch gathers the few channels of a group from places far apart, which costs more than the convolutions between. Here
each channel is summed by itself and the sums are joined by groups: the same numbers, and memory is read in order.
"""

import torch
from torch import Tensor, nn


class ChannelwiseGroupNorm(nn.GroupNorm):
    """`nn.GroupNorm` of pictures [n, c, h, w], computed channel by channel in single precision."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalized pictures, in the dtype they came in."""
        values = input.float()
        means, squares = values.mean((2, 3)), values.square().mean((2, 3))
        groups = (len(input), self.num_groups, -1)
        mean = means.view(groups).mean(2, keepdim=True)
        spread = (squares.view(groups).mean(2, keepdim=True) - mean.square()).clamp(min=0)
        gain = self.weight.float().view(1, self.num_groups, -1) * torch.rsqrt(spread + self.eps)
        shift = self.bias.float().view(1, self.num_groups, -1) - mean * gain
        made = values * gain.flatten(1)[:, :, None, None] + shift.flatten(1)[:, :, None, None]
        return made.to(input.dtype)


def normalize_by_channel(model: nn.Module) -> None:
    """Let every group normalization of a model work channel by channel; its weights stay the same."""
    for part in model.modules():
        if type(part) is nn.GroupNorm:
            part.__class__ = ChannelwiseGroupNorm
