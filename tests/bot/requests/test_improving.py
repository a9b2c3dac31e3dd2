"""What is offered for a prompt: what ten people use and ten people like, and nothing of fewer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.requests import improving
from bot.requests.improving import PEOPLE, Addition, Example, Reception
from bot.requests.options import Options


def examples(
    prompt: str, authors: Iterable[int], raters: Iterable[int] = range(100, 112), *, likes: bool = True, steps: int = 20
) -> list[Example]:
    """A result of each author in words of their own, all of which the same people rated."""
    opinions, settings = dict.fromkeys(raters, likes), {"steps": steps, "sampler": "default"}
    return [Example(author, author, prompt.replace(",", f" {author},", 1), settings, opinions) for author in authors]


@pytest.mark.parametrize(
    ("prompt", "phrases"),
    [
        ("a fox, golden hour, Soft Light.", ["golden hour", "soft light"]),
        ("golden hour", []),
        (
            "a fox, <@123456789>, call 555-1234, me@example.org, (glow:1.2), four words are fine",
            ["four words are fine"],
        ),
        ("a fox, five words are too many, soft light, soft  light", ["soft light"]),
        ("狐, 黄昏, l'heure bleue", ["黄昏", "l'heure bleue"]),
        ("a fox,,, ,", []),
    ],
)
def test_a_phrase_is_what_stands_between_commas_after_the_first(prompt: str, phrases: list[str]) -> None:
    assert improving.phrases_of(prompt) == phrases


def test_a_phrase_is_offered_if_ten_people_use_it_and_ten_rated_it_well() -> None:
    prompt = "a fox, golden hour"
    found = improving.words("golden hour", examples(prompt, range(10)))
    assert found is not None
    assert (found.text, found.reception.people, found.reception.share) == ("golden hour", 12, 1.0)
    assert improving.words("golden hour", examples(prompt, range(9))) is None, "nine people wrote it"
    assert improving.words("golden hour", [*examples(prompt, range(9)), *examples(prompt, [8] * 50)]) is None
    assert improving.words("golden hour", examples(prompt, range(10), range(100, 109))) is None, "nine people rated it"
    assert improving.words("golden hour", examples(prompt, range(10), likes=False)) is None
    assert improving.words("golden", examples(prompt, range(10))) is None, "a part of a phrase is none"


def test_who_asks_for_words_of_others_again_or_uses_a_style_has_not_written_them() -> None:
    ten = examples("a fox, glow", range(10))
    assert improving.words("glow", ten) is not None
    again = [replace(each, prompt="A fox,  glow" if each.job_id else "a fox, glow") for each in ten]
    assert improving.writers(again) == {0}, "the first one wrote it"
    assert improving.words("glow", again) is None
    assert improving.words("glow", [replace(each, is_typed=False) for each in ten]) is None


def test_one_person_who_likes_everything_counts_once() -> None:
    crowd = examples("a fox, glow", range(10), range(100, 110), likes=False)
    fan = examples("a fox, glow", range(200), [500])
    assert improving.words("glow", [*crowd, *fan]) is None


def test_what_the_prompt_has_is_no_candidate_and_the_most_used_come_first() -> None:
    liked = [
        *examples("a fox, golden hour, soft light", range(12)),
        *examples("an owl, soft light", range(12, 15)),
        *examples("an owl, a, b, c, d, e", [99]),
    ]
    assert improving.candidates("a wolf in Golden Hour", liked)[0] == "soft light"
    assert "golden hour" not in improving.candidates("a wolf in Golden Hour", liked)
    assert len(improving.candidates("a wolf", liked)) == improving.MOST_CANDIDATES


def test_a_setting_is_offered_if_it_is_liked_better_than_the_others() -> None:
    more, fewer = examples("a fox", range(12), steps=40), examples("a fox", range(20, 32), likes=False)
    found = improving.settings({"steps": 20}, (), [*more, *fewer])
    assert [addition.text for addition in found] == ["--steps 40"]
    assert improving.settings({"steps": 40}, (), [*more, *fewer]) == [], "it is there already"
    assert improving.settings({"steps": 20}, ("steps",), [*more, *fewer]) == [], "the person chose it"
    assert improving.settings({"steps": 20}, (), more) == [], "there is nothing to compare it with"
    equal = [*more, *examples("a fox", range(20, 32))]
    assert improving.settings({"steps": 30}, (), equal) == [], "both are liked equally"


def test_the_offer_is_the_prompt_with_words_and_flags_as_a_person_types_them() -> None:
    reception = Reception(12, 0.9)
    additions = [Addition("prompt", "soft light", reception), Addition("guidance_scale", 4.5, reception)]
    assert improving.improved(Options("a fox, "), additions) == "a fox, soft light --guidance 4.5"


def test_few_things_are_offered_at_once_the_surest_first() -> None:
    words = [Addition("prompt", f"word {share}", Reception(20, share / 10)) for share in range(10)]
    settings = [Addition(name, 1, Reception(20, 1.0)) for name in improving.SETTINGS]
    offered = improving.best([*settings, *words])
    assert [addition.text for addition in offered[:3]] == ["word 9", "word 8", "word 7"]
    assert len(offered) == improving.MOST_PHRASES + improving.MOST_SETTINGS


@given(
    st.lists(
        st.tuples(
            st.integers(0, 14),
            st.lists(st.sampled_from(["glow", "soft light", "secret name", "fog"]), max_size=3),
            st.dictionaries(st.integers(0, 14), st.booleans(), max_size=15),
            st.sampled_from([10, 20]),
        ),
        max_size=40,
    )
)
def test_nothing_is_offered_that_fewer_than_ten_people_wrote_or_rated(
    results: list[tuple[int, list[str], dict[int, bool], int]],
) -> None:
    known = [
        Example(at, author, ", ".join([f"a fox of {author}", *phrases]), {"steps": steps}, opinions)
        for at, (author, phrases, opinions, steps) in enumerate(results)
    ]
    offered = [improving.words(phrase, known) for phrase in improving.candidates("an owl", known)]
    for addition in [*filter(None, offered), *improving.settings({}, (), known)]:
        having = [
            each
            for each in known
            if addition.value
            in (improving.phrases_of(each.prompt) if addition.option == "prompt" else each.settings.values())
        ]
        assert len({each.user_id for each in having}) >= PEOPLE
        assert len({rater for each in having for rater in each.opinions}) >= PEOPLE
