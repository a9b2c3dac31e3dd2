"""Which calls of a module fit into one forward, how they are put together, and how its output is cut apart.

The running requests are in `batching.py`.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from typing import Any

import torch
from torch.utils.weak import WeakIdKeyDictionary

from bot.jobs import Adapters
from bot.language import mark

ApplyLoras = Callable[[Sequence[Adapters]], AbstractContextManager[None]]
"""Applies LoRAs, one entry for each row, to the forwards that run within the context."""

Run = Callable[["Parked", Sequence[Any], Sequence[Adapters]], Any]
"""Runs the function of a call with other leaves, given the LoRAs of each row; returns its output."""

CONTEXT_LIMIT = 1024
"""Tokens. Beyond this, repeating prompts to a common length costs more than a separate forward."""

NOT_NUMBERS = mark("The model produced an invalid picture (not a number). Try another sampler or fewer steps.")
"""The reason of a request whose rows or pixels are not finite numbers."""

_POSITIONS = ("img_ids", "txt_ids")
"""Arguments with positions instead of rows: one is used for the whole batch, so it must be equal in all calls."""
_PLAIN_BLOCKS = frozenset({"DownBlock2D", "CrossAttnDownBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"})
_PLAIN_MIDDLES = frozenset({None, "UNetMidBlock2D", "UNetMidBlock2DCrossAttn"})
_PLAIN_ADDITIONS = frozenset({None, "text_time"})

_digests: WeakIdKeyDictionary = WeakIdKeyDictionary()


class _Role(Enum):
    """How a leaf of the arguments goes into a batch."""

    ROWS = "concatenated"
    STEP = "one value, repeated for each row"
    CONTEXT = "repeated to a common length, then concatenated"
    SAME = "equal in all calls of the batch, by its key"


class Parked:
    """A call of a heavy module that waits for its forward. Calls with equal `key` fit together.

    `single` calls share no forward and are not split. `rows` is the batch dimension. `length` is the number of context
    tokens if these may be repeated, otherwise 1. `work` is the number of latent elements, to which the cost is
    proportional. `part` is the name under which the call is timed. `since` orders calls by age.
    """

    def __init__(
        self,
        module: Any,
        method: str,
        tree: tuple[tuple[Any, ...], dict[str, Any]],
        *,
        call_id: Hashable = None,
        owner: Hashable = None,
        adapters: Adapters = (),
        since: int = 0,
        part: str = "",
        single: bool = False,
    ) -> None:
        self.part = part
        self.call_id, self.owner, self.since, self.single = call_id, owner, since, single
        self.adapters = adapters
        self.module = module
        self.function: Callable[..., Any] = getattr(module, method)
        self.tree = tree
        paths = list(_leaves(tree))
        self.paths = tuple(path for path, _ in paths)
        self.leaves = [leaf for _, leaf in paths]
        self.sample = sample = next(leaf for leaf in self.leaves if isinstance(leaf, torch.Tensor) and leaf.ndim > 1)
        self.rows, self.work, self.device, self.length = sample.shape[0], sample.numel(), sample.device, 1
        masked = any(path[-1] == "encoder_attention_mask" and leaf is not None for path, leaf in paths)
        self._repeats = not masked and _repeats_exactly(module)
        signature = [(path, *self._role(path, leaf)) for path, leaf in paths]
        self.roles = [role for _, role, _ in signature]
        self.key: Hashable = (id(module), method, tuple(signature))

    def _role(self, path: tuple[Any, ...], leaf: Any) -> tuple[_Role, Hashable]:
        """How a leaf is batched, and the key that must be equal in all calls of the batch."""
        if not isinstance(leaf, torch.Tensor):
            plain = isinstance(leaf, int | float | str | torch.dtype | None)
            return _Role.SAME, (type(leaf), leaf if plain else id(leaf))
        if path[-1] in _POSITIONS:
            return _Role.SAME, _contents(leaf)
        if leaf.ndim == 0 or (leaf.shape == (1,) and self.rows > 1):
            return _Role.STEP, None
        if leaf.shape[0] != self.rows:
            return _Role.SAME, id(leaf)
        if path[1:] == ("encoder_hidden_states",) and self._repeats:
            self.length = leaf.shape[1]
            return _Role.CONTEXT, (leaf.shape[2:], leaf.dtype, leaf.device)
        return _Role.ROWS, (leaf.shape[1:], leaf.dtype, leaf.device)


def no_loras(_rows: Sequence[Adapters]) -> AbstractContextManager[None]:
    """Apply no LoRAs."""
    return nullcontext()


def fair_order(line: Sequence[Parked], served: Mapping[Hashable, float]) -> list[Parked]:
    """Order calls: the owner who was served least first, then the oldest; an owner's first call counts for the next."""
    ahead = dict(served)
    ranked = []
    for parked in sorted(line, key=lambda parked: parked.since):
        before = ahead.get(parked.owner, 0.0)
        ranked.append((before, parked.since, parked))
        ahead[parked.owner] = before + parked.work
    return [parked for *_, parked in sorted(ranked, key=lambda rank: rank[:2])]


def is_light(head: Parked, line: Sequence[Parked], cap: int) -> bool:
    """Whether the head's owner asks for little while another owner asks for very much.

    That is: at most a quarter of the other owner's waiting work, if that work alone fills half a forward of `cap` rows.
    If all owners ask for little, smaller forwards would only be slower.
    """
    asked: Counter[Hashable] = Counter()
    rows: Counter[Hashable] = Counter()
    for parked in line:
        asked[parked.owner] += parked.work
        rows[parked.owner] += parked.rows
    return any(4 * asked[head.owner] <= asked[owner] and 2 * rows[owner] >= cap for owner in asked)


def fill_batch(line: Sequence[Parked], cap: int) -> list[Parked]:
    """The first of the calls, and the others that fit into its forward of `cap` rows."""
    head, *others = line
    group, rows, length = [head], head.rows, head.length
    for parked in () if head.single else others:
        common = math.lcm(length, parked.length)
        if parked.key == head.key and rows + parked.rows <= cap and common <= max(CONTEXT_LIMIT, length):
            group.append(parked)
            rows, length = rows + parked.rows, common
    return group


def run_eagerly(parked: Parked, leaves: Sequence[Any], _adapters: Sequence[Adapters]) -> Any:
    """Run the function without a graph; a call that is alone gets its own arguments unchanged."""
    args, kwargs = parked.tree if leaves is parked.leaves else rebuild(parked.tree, leaves)
    return parked.function(*args, **kwargs)


def forward(group: Sequence[Parked], cap: int, apply_loras: ApplyLoras = no_loras, run: Run = run_eagerly) -> list[Any]:
    """Run one module for the whole group, at most `cap` rows at a time; returns each call's own output."""
    head = group[0]
    adapters = [parked.adapters for parked in group for _ in range(parked.rows)]
    rows = len(adapters)
    if len(group) == 1 and (rows <= cap or head.single):
        with apply_loras(adapters):
            return [run(head, head.leaves, adapters)]
    merged = list(zip(head.roles, _merge(group), strict=True))
    parts = []
    for start in range(0, rows, cap):
        leaves = [leaf if role is _Role.SAME else leaf[start : start + cap] for role, leaf in merged]
        with apply_loras(adapters[start : start + cap]):
            parts.append(run(head, leaves, adapters[start : start + cap]))
    return _cut(join(parts), [parked.rows for parked in group])


def pad(parked: Parked, leaves: Sequence[Any], rows: int, size: int) -> list[Any]:
    """The leaves of `rows` rows for `size` rows, on the device: the last row again and again, and a step for each."""
    padded = []
    for role, leaf in zip(parked.roles, leaves, strict=True):
        if role is _Role.SAME:
            padded.append(leaf)
            continue
        whole = leaf.reshape(-1).expand(rows) if role is _Role.STEP else leaf
        more = whole[-1:].expand(size - rows, *whole.shape[1:])
        padded.append(torch.cat([whole, more]).to(parked.device))
    return padded


def one_row(parked: Parked, padded: Sequence[Any]) -> list[Any]:
    """A copy of the first row of what `pad` gives, for `pad` again."""
    return [leaf if role is _Role.SAME else leaf[:1].clone() for role, leaf in zip(parked.roles, padded, strict=True)]


def first_rows(output: Any, rows: int, size: int) -> Any:
    """A copy of the first rows of an output that has `size`."""
    output = _cut(output, [rows, size - rows])[0]
    return rebuild(output, [leaf.clone() if isinstance(leaf, torch.Tensor) else leaf for _, leaf in _leaves(output)])


def are_numbers(tree: Any) -> bool:
    """Whether all floats in a tree are finite; waits for the device once."""
    floats = [leaf for leaf in tensors(tree) if leaf.is_floating_point()]
    return not floats or bool(torch.stack([leaf.isfinite().all() for leaf in floats]).all())


def tensors(tree: Any, of: type = torch.Tensor) -> list[Any]:
    """The leaves of a tree that are of a type."""
    return [leaf for _, leaf in _leaves(tree) if isinstance(leaf, of)]


def join(parts: Sequence[Any]) -> Any:
    """One output from those of consecutive rows."""
    if len(parts) == 1:
        return parts[0]
    columns = zip(*([leaf for _, leaf in _leaves(part)] for part in parts), strict=True)
    return rebuild(parts[0], [torch.cat(c) if isinstance(c[0], torch.Tensor) else c[0] for c in columns])


def _cut(output: Any, sizes: Sequence[int]) -> list[Any]:
    """Each call's rows of an output."""
    columns = []
    for _, leaf in _leaves(output):
        batched = isinstance(leaf, torch.Tensor) and leaf.ndim > 0 and leaf.shape[0] == sum(sizes)
        columns.append(leaf.split(list(sizes)) if batched else [leaf] * len(sizes))
    return [rebuild(output, leaves) for leaves in zip(*columns, strict=True)]


def _merge(group: Sequence[Parked]) -> list[Any]:
    """The leaves of one call that has the rows of all calls of the group."""
    head = group[0]
    length = math.lcm(*(parked.length for parked in group))
    merged = []
    for number, role in enumerate(head.roles):
        column = [parked.leaves[number] for parked in group]
        if role is _Role.SAME:
            merged.append(column[0])
            continue
        if role is _Role.STEP:
            # Samplers give integers or floats; `cat` finds a dtype for both.
            home = column[0].device
            column = [leaf.reshape(1).to(home).expand(p.rows) for leaf, p in zip(column, group, strict=True)]
        elif role is _Role.CONTEXT:
            column = [leaf.repeat(1, length // leaf.shape[1], 1) for leaf in column]
        merged.append(torch.cat(column).to(head.device))
    return merged


def _repeats_exactly(module: Any) -> bool:
    """Whether repeating the whole context leaves the result unchanged, as in plain cross-attention, a mean over tokens.

    It does not if the tokens are pooled together with others (the text embedding of DeepFloyd's and of the built-in
    model), or if attention reads them together with pixels (Flux).
    """
    config = getattr(module, "config", None) or {}
    blocks = {*config.get("down_block_types", ()), *config.get("up_block_types", ())}
    return (
        bool(blocks)
        and blocks <= _PLAIN_BLOCKS
        and config.get("mid_block_type") in _PLAIN_MIDDLES
        and config.get("addition_embed_type") in _PLAIN_ADDITIONS
        and config.get("encoder_hid_dim_type") is None
    )


def _contents(tensor: torch.Tensor) -> Hashable:
    """A hash of a tensor's content; it is calculated once per tensor, because reading waits for the device."""
    if tensor not in _digests:
        numbers = tensor.detach().cpu().contiguous().view(torch.uint8).numpy()
        _digests[tensor] = (tensor.shape, tensor.dtype, hashlib.sha256(numbers.tobytes()).digest())
    known: Hashable = _digests[tensor]
    return known


def _leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every leaf with its path."""
    if isinstance(tree, dict):
        for name, branch in tree.items():
            yield from _leaves(branch, (*path, name))
    elif isinstance(tree, (list, tuple)):
        for number, branch in enumerate(tree):
            yield from _leaves(branch, (*path, number))
    else:
        yield path, tree


def rebuild(tree: Any, leaves: Iterable[Any]) -> Any:
    """The same tree with other leaves, in order."""
    supply = iter(leaves)

    def build(tree: Any) -> Any:
        if isinstance(tree, dict):
            # diffusers' outputs are dicts that are built from keywords.
            return type(tree)(**{name: build(branch) for name, branch in tree.items()})
        if isinstance(tree, (list, tuple)):
            return type(tree)([build(branch) for branch in tree])
        return next(supply)

    return build(tree)


def mapped(tree: Any, function: Callable[[Any], Any]) -> Any:
    """The same tree with what a function makes of each leaf."""
    return rebuild(tree, [function(leaf) for _, leaf in _leaves(tree)])
