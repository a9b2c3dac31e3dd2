"""One search: rankings by words, by parts of words and by meaning, fused, and why each result is there."""

from __future__ import annotations

from typing import Any

from bot.search.fusion import fuse
from bot.search.index import CANDIDATES, Index
from bot.search.queries import Query, folded, words_of
from bot.search.vectors import Embedder, Vectors
from bot.search.visibility import Seer
from bot.search.wire import Hit

WEIGHTS = {"words": 1.0, "parts": 0.3, "meaning": 1.0}
"""What the places of each ranking count. Parts of words mostly repeat the words."""

MOST_HITS = 100
"""Results of one search, twenty pages."""


def find(
    index: Index, vectors: Vectors, embedder: Embedder | None, query: Query, seer: Seer, without: int = 0
) -> list[Hit]:
    """The results that a person may find, the best first, at most MOST_HITS; `without` is a job to leave out."""
    if not query.has_words:
        rankings: list[tuple[list[int], float]] = [(index.newest(query, seer), 1.0)]
        cosines: dict[int, float] = {}
    else:
        near = []
        if embedder is not None and len(vectors):
            near = vectors.nearest(embedder.embed([query.text])[0], index.visible(query, seer), CANDIDATES)
        cosines = dict(near)
        rankings = [
            (index.by_words(query, seer), WEIGHTS["words"]),
            (index.by_parts(query, seer), WEIGHTS["parts"]),
            ([name for name, _ in near], WEIGHTS["meaning"]),
        ]
    order = [name for name in fuse(rankings) if name != without]
    entries = index.matching(order, query, seer)
    return [_hit(entries[name], query, cosines.get(name, 0.0)) for name in order if name in entries][:MOST_HITS]


def _hit(entry: Any, query: Query, cosine: float) -> Hit:
    text = f"{entry['prompt']} {entry['tags']}"
    there, whole = set(words_of(text)), folded(text)
    words, parts = [], []
    for term in query.terms:
        plain = term.rstrip("*")
        if plain in there or (term.endswith("*") and any(word.startswith(plain) for word in there)):
            words.append(plain)
        elif plain in whole:
            parts.append(plain)
    words += [phrase for phrase in query.phrases if phrase not in words]
    return Hit(entry["id"], tuple(words), tuple(parts), max(round(cosine, 3), 0.0), entry["likes"], entry["dislikes"])
