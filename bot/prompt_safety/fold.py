"""Undoes the ways in which people spell a word so that a list does not find it.

A text gets several readings, each a sequence of words: as it is written, with the punctuation inside of words removed
or read as letters, and with words put together again that were written in pieces. A term counts if any of them has it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from confusable_homoglyphs import utils

_LATIN = re.compile(
    r"LATIN (?:CAPITAL |SMALL )?LETTER (?:SMALL CAPITAL |TURNED |REVERSED |INVERTED )*([A-Z])(?: WITH .*)?"
)
_BOXED = re.compile(
    r"(?:NEGATIVE (?:CIRCLED|SQUARED)|REGIONAL INDICATOR SYMBOL|CROSSED NEGATIVE SQUARED).* LETTER ([A-Z])"
)

_PICTURED = {"👶": " baby ", "🧒": " child ", "👧": " child ", "👦": " child ", "🍼": " baby ", "🔞": " nsfw "}
"""Emoji that say a word of the hard block."""
_ALIKE = dict(zip("пктвняшщьєэлмηυτμωκπσεθδρνιχβγλ", "nktbhrwwbeejmnutuwknseodpvixbya", strict=True))
"""Letters that people use for others although Unicode's table does not list them, or lists them for capitals only."""
_BLANKS = {"\u2800": " ", "\u3164": "", "\u115f": "", "\u1160": "", "\uffa0": ""}
"""Characters that Unicode does not count as blanks, although they look like one or like nothing."""

_DIGITS = str.maketrans("0134578926", "oieastbgzg")
_SYMBOLS = str.maketrans({"@": "a", "$": "s", "€": "e", "!": "i", "|": "i", "¡": "i", "¢": "c", "£": "l"})
"""Letters as they are written with digits and signs."""

_WORD = re.compile(r"[^\W_]+")
_PIECE = re.compile(r"[^\W_]+|[@$!|]")
_SINGLES = re.compile(r"(?<![^\W_])[^\W_](?![^\W_])")
_LETTER = re.compile(r"[^\W\d_]")
_MIXED = re.compile(r"(?=\w*\d)(?=\w*[^\W\d_])\w+")
_INNER = re.compile(r"[^\W_][^\w\s]|_")
_NOT_IN_WORD = re.compile(r"[^\w*]|_")
_EDGE = re.compile(r"(?<!\S)[!|]+[\w@$]|[\w@$][!|]+(?!\S)")
_WEIGHT = re.compile(r":\s*-?\d*\.?\d+\s*(?=[)\]])")
"""The number of a weight, as in (word:1.2): it must not stand between the parts of a word."""
_ENDS = "\"'`.,;:?!()[]{}<>~-–—…*_#/\\|+=&^“”‘’«»"

UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
"""Letters of scripts that put no blanks between words, or that add endings to them, such as Japanese and Korean."""

_SHORTEST_RUN = 3
"""So many letters that stand alone, one after the other, are read as a word that was spaced out."""
_LONGEST_RUN = 200
_LONGEST_WORD = 16
"""Letters of a run that is divided into words, and of each of the words."""
_LONGEST_PIECE = 9
_MOST_PIECES = 5
_SHORTEST_JOINED = 4
"""Words of at least four letters are put together again from up to five pieces of up to nine letters."""


def _homoglyphs() -> dict[str, str]:
    """The ASCII letter or digit that each other character looks like, from Unicode's table of confusables.

    The library's module `confusables` would keep the whole table in memory, so this reads its file.
    """
    found: dict[str, str] = {}
    table: dict[str, list[dict[str, str]]] = utils.load("confusables.json")
    for char, alike in table.items():
        if len(char) == 1 and not char.isascii():
            plain = [entry["c"] for entry in alike if len(entry["c"]) == 1 and entry["c"].isascii()]
            letters = [each for each in plain if each.isalpha()] or [each for each in plain if each.isdigit()]
            if letters:
                found[char] = letters[0]
    return found


class _Letters(dict[int, str]):
    """For `str.translate`: what each character is read as, with its case. Characters are looked up once."""

    def __init__(self) -> None:
        super().__init__((code, chr(code)) for code in range(128))
        self._alike = _homoglyphs()

    def __missing__(self, code: int) -> str:
        self[code] = read = self._read(chr(code))
        return read

    def _read(self, char: str) -> str:
        if char in _PICTURED or char in _BLANKS:
            return _PICTURED.get(char) or _BLANKS.get(char, "")
        category = unicodedata.category(char)
        if category in ("Mn", "Me", "Cf", "Cc", "Cn"):
            return ""
        if category in ("Zs", "Zl", "Zp"):
            return " "
        if (digit := unicodedata.digit(char, None)) is not None:
            return str(digit)
        # A letter with marks is the letter. Characters of Korean and Japanese are no letters with marks.
        base = char if UNSPACED.match(char) else unicodedata.normalize("NFKD", char)[0]
        if base.isascii():
            return base
        named = _LATIN.fullmatch(unicodedata.name(base, "")) or _BOXED.match(unicodedata.name(base, ""))
        for each in (base, base.lower(), base.upper()):
            if alike := _ALIKE.get(each) or self._alike.get(each):
                return alike.upper() if char.isupper() else alike.lower()
        if named:
            return named[1] if char.isupper() else named[1].lower()
        return base


@cache
def _table() -> _Letters:
    return _Letters()


@dataclass(frozen=True)
class Folded:
    """A text without spelling tricks, in its readings."""

    text: str
    """The text in plain letters with their case, its digits and punctuation as they are."""
    words: tuple[str, ...]
    """Its words, separated by everything that is no letter and no digit."""
    joined: tuple[str, ...]
    """Its words, separated by blanks only; empty if that makes no difference."""
    signed: tuple[str, ...]
    """The same, with signs as letters where they may also be punctuation: at the beginning and the end of words."""
    runs: tuple[str, ...]
    """Words whose letters were spaced out. What comes before and after may have been spaced out too."""

    @cached_property
    def unspaced(self) -> str:
        """The letters of scripts without blanks between words, without what stands between them."""
        return "".join(_WORD.findall(self.text.casefold())) if UNSPACED.search(self.text) else ""


def fold(text: str) -> Folded:
    """Read a text as a person would read it."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_PICTURED_TABLE)).translate(_table())
    text = _WEIGHT.sub("", text)
    lower = text.casefold()
    words = _each(letters, _WORD.findall(lower))
    joined = _each(_joined, lower.split()) if _INNER.search(lower) else []
    signed = _each(_signed, lower.split()) if _EDGE.search(lower) else []
    runs = _runs(lower) if _SINGLES.search(lower) else []
    return Folded(text, tuple(words), tuple(filter(None, joined)), tuple(filter(None, signed)), tuple(runs))


_PICTURED_TABLE = str.maketrans(_PICTURED)


def _each(read: Callable[[str], str], words: Sequence[str]) -> list[str]:
    """Words, each read by a function, which is called once for words that are equal."""
    known = {word: read(word) for word in set(words)}
    return [known[word] for word in words]


def letters(word: str) -> str:
    """A word in lower case with its digits read as letters, if it has letters."""
    return word.translate(_DIGITS) if not word.isalpha() and _MIXED.fullmatch(word) else word


def merged(word: str) -> str:
    """A word with `l` as `i`, because both are written as 1, ! and |."""
    return word.replace("l", "i")


def _joined(chunk: str) -> str:
    """A chunk between blanks as one word: signs in it are letters, and other punctuation is removed.

    An asterisk stays, for it may stand for any letter.
    """
    return letters(_NOT_IN_WORD.sub("", chunk.strip(_ENDS).translate(_SYMBOLS)))


def _signed(chunk: str) -> str:
    """A chunk between blanks as one word, in which the signs at both ends are letters, too."""
    return letters(_NOT_IN_WORD.sub("", chunk.translate(_SYMBOLS)))


def _runs(lower: str) -> list[str]:
    """The words that are written as single letters with something between them."""
    found: list[str] = []
    run: list[str] = []
    for piece in [*_PIECE.findall(lower), "end"]:
        if len(piece) == 1 and not UNSPACED.match(piece):
            run.append(piece)
            continue
        if len(run) >= _SHORTEST_RUN and sum(map(bool, map(_LETTER.match, run))) >= 2:
            found.append(letters("".join(run).translate(_SYMBOLS)))
        run = []
    return found


def pieces(words: Sequence[str], known: Collection[str], beginnings: Collection[str]) -> list[str]:
    """Merged words, with those put together that were written in pieces and are `known`; empty if there are none.

    `beginnings` has every piece with which a known word may begin.
    """
    made: list[str] = []
    at, changed = 0, False
    while at < len(words):
        length = _pieces_at(words[at : at + _MOST_PIECES], known) if words[at] in beginnings else 1
        changed |= length > 1
        made.append("".join(words[at : at + length]))
        at += length
    return made if changed else []


def segments(run: str, known: Collection[str]) -> list[str]:
    """The words of which a run of merged letters consists, if all of it are known or ordinary words; else none."""
    if len(run) > _LONGEST_RUN:
        return []
    # For each place, where the longest word that ends there begins.
    begins: dict[int, int] = {0: 0}
    for end in range(1, len(run) + 1):
        for start in range(max(end - _LONGEST_WORD, 0), end):
            if start in begins and ((word := run[start:end]) in known or word in _ORDINARY):
                begins[end] = start
                break
    made: list[str] = []
    end = len(run)
    while end and end in begins:
        made.insert(0, run[begins[end] : end])
        end = begins[end]
    return made


def beginnings_of(words: Iterable[str]) -> frozenset[str]:
    """The pieces with which words may begin."""
    return frozenset(word[:length] for word in words for length in range(1, min(_LONGEST_PIECE + 1, len(word))))


def _pieces_at(words: Sequence[str], known: Collection[str]) -> int:
    """How many of the words, from the first one on, are the pieces of one known word."""
    text, best = words[0], 1
    for count, word in enumerate(words[1:], 2):
        if len(word) > _LONGEST_PIECE:
            break
        text += word
        # Single letters are a run. Ordinary words that happen to spell another one stay what they are: "to get her".
        is_word = len(text) >= _SHORTEST_JOINED and text in known
        if is_word and count < len(text) and not _ORDINARY.issuperset(words[:count]):
            best = count
    return best


_ORDINARY = frozenset(
    merged(word)
    for word in """
    a i o s t 2 3 an am as at be by do go he hi if in is it me my no of oh ok on or so to up us we ad al am ex id la de
    le el un en es di da du et ou au al ah all and any are art bad bag bar bat bed big bit boy but can car cat
    cow cup cut day did dog eat end far few fit fix for fun gas get got gun had has hat her him his hit hot how ice its
    jar job key kid lab law lay led leg let lie lip log lol lot low man map may men mix mom mud net new nor not now
    nut off oil old one our out own pad pan pay pen per pet pie pig pin pit pop pot put ran rap red rib rid rim rip row
    run sad sat saw say sea see set she sit six sky son sun tan tax tea ten the tie tin tip toe too top toy try two
    use van war was way web wet who why win yes yet you able also area away back ball band bank base bear been best
    bird blue boat body book both call came card care case city cold come cool corn dark data days deal deep does door
    down draw each east easy edge else even ever eyes face fact fall farm fast feel feet fell felt file fill film find
    fine fire fish five flat food foot form four free from full game gave girl give glad goal goes gold gone good gray
    grew grow hair half hall hand hang hard have head hear heat held help here high hill hold home hope hour huge idea
    into iron item just keep kept kids kind king knew know lady lake land last late lead left less life lift like line
    list live long look lord lost love made mail main make male many mark mass meal mean meet mile milk mind miss mode
    moon more most move much must name near neck need news next nice nine none noon nose note once only onto open oval
    over pack page paid pain pair park part pass past path pick pink plan play poor pose post pure rain rare read real
    rest rice rich ride ring rise rising road rock role roof room root rose rule safe sail salt same sand save seat seed
    seem seen self sell send sent ship shop show side sign sing site size skin slow snow soft soil sold some song soon
    sort soul star stay step stop such suit sure take tale talk tall team tell tent test text than that them then they
    thin this thus time tiny told tone took tree trip true turn type unit upon used vast very view wait walk wall want
    warm wash wave wear week well went were west what when whom wide wife wild will wind wine wing wire wise wish with
    wood word work yard year your zero
    """.split()  # noqa: SIM905 - a list of words reads better without quotes
)
"""Short words of ordinary sentences."""
