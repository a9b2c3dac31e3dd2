"""README.md of a data set: what it is, how it was made and from what, for people and for Hugging Face."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from bot.datasets.files import COLUMNS, LICENSE
from bot.datasets.rows import NEAR_BITS, Selection

_SIZES = ((1000, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**12, "1M<n<10M"))


def card(name: str, version: int, chosen: Selection, sizes: Mapping[str, int]) -> str:
    """README.md: what it is, how it was made and from what."""
    counts, pictures = chosen.counts, chosen.pictures
    days = sorted(picture.values["asked_on"] for picture in pictures)
    models = Counter((picture.values["model"], picture.values["model_sha256"]) for picture in pictures)
    total = sum(sizes.values())
    category = next(words for most, words in _SIZES if total < most)
    made_with = "\n".join(
        f"| {_cell(model)} | {_cell(digest) or 'not known'} | {count:,} |"
        for (model, digest), count in sorted(models.items())
    )
    about = (
        "**This version has no pictures**: nobody's pictures may be in it any more. `CHANGELOG.md` names the rows to\n"
        "delete from copies of earlier versions."
    )
    if days:
        about = (
            f"Pictures: {total:,}, **all of them synthetic**. Models painted them from words that people wrote who\n"
            f"agreed that they go into data sets: {counts.people:,} so far, from {days[0]} to {days[-1]}.\n"
            f"{sizes['train']:,} are for training and {sizes['test']:,} for evaluation; all pictures of a prompt, and\n"
            "all that were asked for together or made from each other, are in the same split."
        )
    return f"""---
license: {LICENSE.lower()}
task_categories:
- text-to-image
size_categories:
- {category}
tags:
- synthetic
- image
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train.parquet
  - split: test
    path: data/test.parquet
---
# {name}, version {version}

{about}

## How it was made

Atelier painted the pictures on Discord servers whose moderators allowed it for the channel, after the person had joined
by a command. People are random names, dates have no time, and mentions are taken out of prompts. Pictures that people
sent are in no row, and neither is anything that starts from a picture.

| | pictures |
| --- | --- |
| of people who joined, in allowed channels | {counts.found:,} |
| left out: started from a picture | {counts.from_pictures:,} |
| left out: an animation or a film | {counts.moving:,} |
| left out: painted by a provider | {counts.remote:,} |
| left out: has words of a request of somebody who did not join | {counts.borrowed:,} |
| left out: the file is gone | {counts.missing:,} |
| left out: equal to another one | {counts.equal:,} |
| left out: looks like another one (up to {NEAR_BITS} of 64 bits of a perceptual hash differ) | {counts.near:,} |
| **kept** | **{counts.kept:,}** |

## Models

| model | hash of its files | pictures |
| --- | --- | --- |
{made_with}

The licences of these models may restrict what may be done with their pictures.

## Columns

| column | meaning |
| --- | --- |
| image | The picture: `bytes` of a PNG, and a name as `path`. |
{"".join(f"| {column} | {kinds[3]} |" + chr(10) for column, kinds in COLUMNS.items())}
## Licence, and people who left

{LICENSE}. `CHANGELOG.md` names the rows that later versions must not have any more: delete them from copies of earlier
versions. `SHA256SUMS` has the hash of every file.

## Limits

The prompts are in the words of few people, and the pictures show what the models make of them, mistakes included. A
prompt may still name a person. Few pictures are rated, and by people of the same servers.
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
