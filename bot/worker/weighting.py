"""Weights on embeddings, and texts longer than a text encoder reads at once: the same numbers as compel's.

A text is cut into chunks that the encoder can read. A weight moves the embeddings of its tokens away from those of an
empty text (above 1) or towards them. For a weight below 1 the text is also encoded with these tokens hidden, and the
result lies between the two: https://github.com/damian0815/compel. Imported in the engine process only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bot.engine.weights import Part

_ROWS = 16
"""How many chunks one forward of a text encoder has at most."""

_LEAST = 1e-5
"""The least weight below which nothing changes any more: at 0 the tangent would be infinite."""

# Where a long text is cut, the best place first. `</w>` ends a word in CLIP's vocabulary.
_SENTENCES = (".</w>",)
_PHRASES = (".</w>", ",</w>", ";</w>", ":</w>")


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text for one text encoder: rows of `length` token ids with their weights. Row 0 is the empty text."""

    length: int
    ids: tuple[tuple[int, ...], ...]
    weights: tuple[tuple[float, ...], ...]
    weak: tuple[tuple[float, int, int], ...]
    """Parts with a weight below 1: the weight, and their first and last token, counted over all rows but row 0."""

    @property
    def chunks(self) -> int:
        """How many rows the text itself has."""
        return len(self.ids) - 1


def tokenize(tokenizer: Any, parts: Sequence[Part]) -> Tokens:
    """Cut a text into the chunks that `tokenizer.model_max_length` allows. It does not use the device."""
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    stop = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    length = int(tokenizer.model_max_length)
    room = length - len(start) - len(stop)
    found = tokenizer([part.text for part in parts], add_special_tokens=False, truncation=False, verbose=False)
    ids: list[int] = []
    weights: list[float] = []
    spans: list[tuple[float, int, int]] = []
    for part, its_ids in zip(parts, found.input_ids, strict=True):
        if part.weight < 1 and its_ids:
            spans.append((part.weight, len(ids), len(ids) + len(its_ids) - 1))
        ids += its_ids
        weights += [part.weight] * len(its_ids)
    rows, row_weights = [[*start, *stop]], [[1.0] * length]
    places: list[int] = []
    texts = tokenizer.convert_ids_to_tokens(ids)
    for first, last in _chunks(texts, room):
        places += range((len(rows) - 1) * length + len(start), (len(rows) - 1) * length + len(start) + last - first)
        rows.append([*start, *ids[first:last], *stop])
        row_weights.append([1.0] * len(start) + weights[first:last] + [1.0] * (length - len(start) - last + first))
    return Tokens(
        length,
        tuple((*row, *[tokenizer.pad_token_id] * (length - len(row))) for row in rows),
        tuple(map(tuple, row_weights)),
        tuple((weight, places[first], places[last]) for weight, first, last in spans),
    )


def encode(text_encoder: Any, tokens: Tokens, *, penultimate: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The weighted embeddings of a text, (1, chunks · length, width), and those of an empty one, (1, length, width).

    They are the encoder's last hidden states, or with `penultimate` those of the layer before, as SDXL needs them.
    """
    length, weak = tokens.length, tokens.weak
    hidden = [(index, row) for index, (_, *span) in enumerate(weak) for row in _rows(span, length)]
    ids = torch.tensor([*tokens.ids, *(tokens.ids[row + 1] for _, row in hidden)])
    mask = torch.ones_like(ids)
    for number, (index, row) in enumerate(hidden, start=len(tokens.ids)):
        first, last = (place - row * length for place in weak[index][1:])
        mask[number, max(first, 0) : last + 1] = 0
        # The marks of a chunk's start and end stay.
        mask[number, 0] = mask[number, -1] = 1
    states = torch.cat(list(_forwards(text_encoder, ids, mask, penultimate=penultimate)))
    empty = states[:1]
    weights = torch.tensor([*tokens.weights, *(tokens.weights[row + 1] for _, row in hidden)])
    weights = weights.to(states.device).unsqueeze(-1)
    states = torch.where(weights == 1, states, empty + (states - empty) * weights)
    whole, without = states[1 : len(tokens.ids)], states[len(tokens.ids) :]
    shares = [math.tan((1 - max(weight, _LEAST)) * math.pi / 2) for weight, *_ in weak]
    result = whole.clone()
    for (index, row), state in zip(hidden, without, strict=True):
        result[row] += (state - whole[row]) * (shares[index] / (1 + sum(shares)))
    dtype = text_encoder.dtype
    return result.flatten(0, 1).unsqueeze(0).to(dtype), empty.to(dtype)


def _forwards(text_encoder: Any, ids: torch.Tensor, mask: torch.Tensor, *, penultimate: bool) -> Iterator[torch.Tensor]:
    """The states of each row, in forwards of a bounded size, and in single precision at least."""
    device = text_encoder.device
    for at in range(0, len(ids), _ROWS):
        some, shown = (tensor[at : at + _ROWS].to(device) for tensor in (ids, mask))
        output = text_encoder(some, shown, output_hidden_states=penultimate, return_dict=True)
        states = output.hidden_states[-2] if penultimate else output.last_hidden_state
        yield states if states.dtype == torch.float64 else states.float()


def _rows(span: Sequence[int], length: int) -> range:
    """The rows in which a part has tokens."""
    first, last = span
    return range(first // length, last // length + 1)


def _chunks(texts: Sequence[str], room: int) -> Iterator[tuple[int, int]]:
    """Where each chunk of at most `room` tokens begins and ends: after a sentence, else a phrase, else a word."""
    first = 0
    while True:
        last = min(first + room, len(texts))
        if last < len(texts):
            last = _cut(texts, first, last)
        yield first, last
        if last == len(texts):
            return
        first = last


def _cut(texts: Sequence[str], first: int, last: int) -> int:
    for ends in (_SENTENCES, _PHRASES):
        for index in range(last - 1, first - 1, -1):
            if texts[index] in ends:
                return index + 1
    return next((index + 1 for index in range(last - 1, first - 1, -1) if texts[index].endswith("</w>")), last)
