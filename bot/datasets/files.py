"""The files of a data set: pictures and rows as Parquet, and a description for machines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.datasets.rows import Picture
from bot.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

LICENSE = "CC0-1.0"
"""The terms to which people agree name the same."""
_LICENSE_PAGE = "https://creativecommons.org/publicdomain/zero/1.0/"
TEST_SHARE = 10
"""One of so many families of pictures is in the split for evaluation."""
GROUP_ROWS = 50
"""Rows that are written at once: so many pictures are in memory."""
SPLITS = ("train", "test")

# The type of each column in Arrow, in the features of Hugging Face, and in Croissant, and what it holds.
COLUMNS: Mapping[str, tuple[str, str, str, str]] = {
    "id": ("string", "string", "sc:Text", "The name of the row, the same in every version."),
    "sha256": ("string", "string", "sc:Text", "SHA-256 of the picture's file."),
    "synthetic": ("bool", "bool", "sc:Boolean", "Always true: a model made this picture."),
    "prompt": ("string", "string", "sc:Text", "The words that the model got, with those of a style."),
    "negative_prompt": ("string", "string", "sc:Text", "What the model was to leave out."),
    "model": ("string", "string", "sc:Text", "The name of the model on its host."),
    "model_sha256": ("string", "string", "sc:Text", "Hash of the model's files; empty if it is not known."),
    "sampler": ("string", "string", "sc:Text", "The sampler."),
    "steps": ("int32", "int32", "sc:Integer", "Denoising steps."),
    "guidance_scale": ("float64", "float64", "sc:Float", "How closely the prompt was followed."),
    "seed": ("int64", "int64", "sc:Integer", "The seed of this picture."),
    "width": ("int32", "int32", "sc:Integer", "Pixels."),
    "height": ("int32", "int32", "sc:Integer", "Pixels."),
    "loras": ("string", "string", "sc:Text", "LoRAs with their weights."),
    "style": ("string", "string", "sc:Text", "The style of the server, if one was used."),
    "style_version": ("int32", "int32", "sc:Integer", "The version of that style."),
    "draft": ("bool", "bool", "sc:Boolean", "Whether it is a quick draft."),
    "person": ("string", "string", "sc:Text", "A random name of the person who asked."),
    "server": ("string", "string", "sc:Text", "A random name of the server."),
    "asked_on": ("string", "string", "sc:Date", "The day of the request, in UTC."),
    "nsfw": ("float64", "float64", "sc:Float", "How explicit a check found it, from 0 to 1; empty if unchecked."),
    "likes": ("int32", "int32", "sc:Integer", "People who like it; empty if fewer than ten people said anything."),
    "dislikes": ("int32", "int32", "sc:Integer", "People who do not; empty in the same case."),
}


def arrow() -> Any:
    """pyarrow, which only data sets need. Raises ConfigError where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError("Data sets need pyarrow: pip install 'atelier-bot[datasets]'.") from error
    return pyarrow


def split_of(picture: Picture) -> str:
    """The split of a row: the same for all pictures of a prompt, a series and a family.

    The prompt of the first picture of a family decides, so that later ones move nothing.
    """
    digest = hashlib.sha256(picture.family.encode()).digest()
    return "test" if int.from_bytes(digest[:8], "big") % TEST_SHARE == 0 else "train"


def schema() -> pa.Schema:
    """The columns, with the description by which `datasets` of Hugging Face reads the pictures as pictures."""
    pa = arrow()
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    kinds = {name: getattr(pa, "bool_" if kind == "bool" else kind)() for name, (kind, *_) in COLUMNS.items()}
    features = {"image": {"_type": "Image"}} | {
        name: {"dtype": kinds[1], "_type": "Value"} for name, kinds in COLUMNS.items()
    }
    described = json.dumps({"info": {"features": features}})
    return pa.schema([("image", image), *kinds.items()], metadata={"huggingface": described})


def write_parquet(path: Path, pictures: Sequence[Picture]) -> None:
    """Write rows with their pictures. The same rows give the same bytes."""
    pa = arrow()
    columns = schema()
    # PNG does not get smaller.
    with pa.parquet.ParquetWriter(path, columns, compression="none", store_schema=True) as writer:
        for start in range(0, len(pictures), GROUP_ROWS):
            rows = [
                {"image": {"bytes": each.plain(), "path": f"{each.values['id']}.png"}, **each.values}
                for each in pictures[start : start + GROUP_ROWS]
            ]
            writer.write_table(pa.Table.from_pylist(rows, schema=columns))


def rows_of(folder: Path) -> dict[str, str]:
    """The rows of a version by their names, each with the hash of its values and its picture."""
    pa = arrow()
    found = {}
    for split in SPLITS:
        table = pa.parquet.read_table(folder / "data" / f"{split}.parquet", columns=list(COLUMNS))
        for row in table.to_pylist():
            found[row["id"]] = hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()
    return found


def days_of(folder: Path) -> list[str]:
    """The days on which the rows of a version were asked for."""
    pa = arrow()
    tables = [pa.parquet.read_table(folder / "data" / f"{split}.parquet", columns=["asked_on"]) for split in SPLITS]
    return [day for table in tables for day in table["asked_on"].to_pylist()]


def croissant(name: str, version: int, digests: Mapping[str, str], sizes: Mapping[str, int], published: str) -> str:
    """croissant.json: the same for machines, in the format of MLCommons. `digests` are those of the files."""
    distribution = [
        {
            "@type": "cr:FileObject",
            "@id": f"{split}.parquet",
            "name": f"{split}.parquet",
            "description": f"The split {split}, {sizes[split]} rows.",
            "contentUrl": f"data/{split}.parquet",
            "encodingFormat": "application/x-parquet",
            "sha256": digests[f"data/{split}.parquet"],
        }
        for split in SPLITS
    ]
    sets = []
    for split in SPLITS:
        columns = {"image": ("sc:ImageObject", "The picture.")}
        columns |= {column: (kinds[2], kinds[3]) for column, kinds in COLUMNS.items()}
        fields = [_field(split, column, kind, words) for column, (kind, words) in columns.items()]
        words = f"Rows of the split {split}."
        sets.append({"@type": "cr:RecordSet", "@id": split, "name": split, "description": words, "field": fields})
    described = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": "Synthetic pictures with their prompts and settings, painted by Atelier for people who agreed.",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": _LICENSE_PAGE,
        "url": "https://example.org/",
        "citeAs": f"{name}, version {version}",
        "datePublished": published,
        "version": f"{version}.0.0",
        "distribution": distribution,
        "recordSet": sets,
    }
    return json.dumps(described, indent=2, ensure_ascii=False) + "\n"


def _field(split: str, column: str, kind: str, words: str) -> dict[str, Any]:
    source: dict[str, Any] = {"fileObject": {"@id": f"{split}.parquet"}, "extract": {"column": column}}
    if column == "image":
        source["transform"] = {"jsonPath": "bytes"}
    return {
        "@type": "cr:Field",
        "@id": f"{split}/{column}",
        "name": f"{split}/{column}",
        "description": words,
        "dataType": kind,
        "source": source,
    }


_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "equivalentProperty": "cr:equivalentProperty",
    "samplingRate": "cr:samplingRate",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
