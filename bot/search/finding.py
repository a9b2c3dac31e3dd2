"""One search: rankings by words, by parts of words and by meaning, fused, and why each result is there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bot.search.fusion import fuse
from bot.search.index import CANDIDATES, Index
from bot.search.looks import Likeness, Look, Looks
from bot.search.queries import Query, folded, words_of
from bot.search.vectors import Embedder, Vectors, Vocabulary
from bot.search.visibility import Seer
from bot.search.wire import Hit

WEIGHTS = {"every word": 1.0, "related words": 1.0, "meaning": 1.0, "words": 0.02, "parts": 0.02, "look": 1.0}
"""What the places of each ranking count. What a person looks for has every word, or words related to every word, or the
meaning. What has some of the words, or parts of them, often is something else, and comes after those. The numbers were
chosen on another corpus than that of benchmarks/results/search-quality.md."""

MOST_GROUPS = 8
"""Words of a query to which related ones are looked up; no prompt has something like every word of a long text."""

LEAST_ALIKE = 0.3
"""The least cosine, of meanings or of looks, of a result that is shown as similar to another one."""

MOST_HITS = 100
"""Results of one search, twenty pages."""


@dataclass(frozen=True, slots=True)
class Known:
    """Everything that is searched; without an embedder only words and looks."""

    index: Index
    vectors: Vectors
    vocabulary: Vocabulary
    looks: Looks
    embedder: Embedder | None


def find(known: Known, query: Query, seer: Seer, without: int = 0, look: Look | None = None) -> list[Hit]:
    """The results that a person may find, the best first, at most MOST_HITS.

    `without` is a job to leave out. With a look, results whose pictures look like it are found, too.
    """
    groups: list[list[str]] = []
    terms: dict[str, int] = {}
    cosines: dict[int, float] = {}
    index, embedder = known.index, known.embedder
    allowed = index.entries.allowed(query, seer)
    rankings: list[tuple[list[int], float]] = []
    alike: dict[int, Likeness] = {}
    if look is not None:
        alike = {each.job_id: each for each in known.looks.nearest(look, allowed, CANDIDATES)}
        rankings.append((list(alike), WEIGHTS["look"]))
    elif not query.has_words:
        rankings.append((index.entries.newest(allowed, CANDIDATES), 1.0))
    if query.has_words:
        terms = index.telling(query.terms)
        whole = [term for term in terms if not term.endswith("*")]
        if embedder is not None:
            meaning, *meanings = embedder.embed([query.text, *whole])
            if 0 < len(whole) <= MOST_GROUPS:
                groups = known.vocabulary.related(whole, meanings)
            cosines = dict(known.vectors.nearest(meaning, allowed, CANDIDATES))
        rankings += [
            (index.by_words(terms, query, allowed, every=True), WEIGHTS["every word"]),
            (index.by_related_words(groups, query, allowed) if groups else [], WEIGHTS["related words"]),
            (index.by_words(terms, query, allowed), WEIGHTS["words"]),
            # A word that fills all places by itself needs no words that it is a part of.
            (index.by_parts((term for term in terms if terms[term] < CANDIDATES), query, allowed), WEIGHTS["parts"]),
            (list(cosines), WEIGHTS["meaning"]),
        ]
    telling = terms if without else query.terms
    order = [name for name in fuse(rankings) if name != without]
    hits: list[Hit] = []
    for at in range(0, len(order), MOST_HITS):
        some = order[at : at + MOST_HITS]
        entries = index.matching(some, query, seer)
        found = [
            _hit(entries[name], query, telling, groups, cosines.get(name, 0.0), alike.get(name))
            for name in some
            if name in entries
        ]
        hits += [hit for hit in found if not without or _is_alike(hit)]
        if len(hits) >= MOST_HITS:
            break
    return hits[:MOST_HITS]


def _is_alike(hit: Hit) -> bool:
    """Whether a result has enough in common with another one to be shown beside it."""
    shares = hit.words or hit.parts or hit.related or hit.bits is not None
    return bool(shares) or max(hit.meaning, hit.likeness) >= LEAST_ALIKE


def _hit(
    entry: Any, query: Query, terms: Iterable[str], groups: list[list[str]], cosine: float, likeness: Likeness | None
) -> Hit:
    text = f"{entry['prompt']} {entry['tags']}"
    there, whole = set(words_of(text)), folded(text)
    words, parts = [], []
    for term in terms:
        plain = term.rstrip("*")
        if plain in there or (term.endswith("*") and any(word.startswith(plain) for word in there)):
            words.append(plain)
        elif plain in whole:
            parts.append(plain)
    related = [
        next(word for word in group if word in there)
        for group in groups
        if group[0] not in there and any(word in there for word in group)
    ]
    words += [phrase for phrase in query.phrases if phrase not in words]
    return Hit(
        entry["id"],
        tuple(words),
        tuple(parts),
        tuple(related),
        max(round(cosine, 3), 0.0),
        entry["likes"],
        entry["dislikes"],
        *(() if likeness is None else (likeness.number, likeness.bits, max(round(likeness.cosine, 3), 0.0))),
    )
