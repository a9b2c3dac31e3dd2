"""Search by a picture, through the real processes: what looks alike is found, by those who may see it."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import PIL.Image
import PIL.ImageOps
import pytest
import torch
import transformers

from bot.errors import EngineError, UserError
from bot.jobs import Image, PictureLimits, PictureRef, Requester
from bot.search import sent, sight
from bot.search.client import Search
from bot.search.process import SearchProcess
from bot.search.queries import Query, like
from bot.search.sent import SentPictures
from bot.search.visibility import Scope
from bot.storage.picture_folder import PictureFolder
from bot.storage.sealing import seal_of
from bot.worker.likeness import phash
from bot.worker.nsfw import UPLOAD_BLOCKED
from tests.bot.search.conftest import READER, Library, open_library
from tests.bot.search.test_erasure import shadows
from tests.bot.storage.conftest import ADA, CHANNEL, GRACE, GUILD
from tests.bot.storage.test_forgetting import forgetting_of
from tests.bot.worker.test_likeness import scene
from tests.faults.invariants import left_of


def encoded(picture: PIL.Image.Image, kind: str = "PNG", **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


async def paint(library: Library, *pictures: PIL.Image.Image, user: int = ADA, **changes: object) -> int:
    """Deliver a result with these pictures."""
    job = await library.store.running(user, num_images_per_prompt=len(pictures), **changes)
    images = []
    for picture in pictures:
        png = encoded(picture)
        sha256 = hashlib.sha256(png).hexdigest()
        images.append(Image(png, 1, picture.width, picture.height, sha256, phash(picture)))
    assert await library.store.queue.render(job, images, "hash")
    await library.store.queue.posted(await library.store.now(job), None)
    return job.id


async def test_a_picture_finds_itself_first_however_it_was_changed_and_then_what_looks_alike(library: Library) -> None:
    ids = [await paint(library, scene(seed), prompt=f"thing {seed}") for seed in range(8)]
    both = await paint(library, scene(100), scene(3).rotate(3), prompt="two")
    assert await library.search.finish(looks=True) == 9
    pictures = SentPictures()
    small = await pictures.look(encoded(scene(3).resize((100, 100)), "JPEG", quality=70), None)
    answer = await library.search.find(Query(), READER, look=small)
    assert answer.unseen == 0
    assert answer.hits[0].job_id == ids[3]
    assert answer.hits[0].bits is not None
    assert answer.hits[0].likeness > 0.5
    assert (answer.hits[1].job_id, answer.hits[1].picture) == (both, 2), "the picture that was found, not the first"
    mirrored = await pictures.look(encoded(PIL.ImageOps.mirror(scene(5))), None)
    found = (await library.search.find(Query(), READER, look=mirrored)).hits[0]
    assert (found.job_id, found.bits) == (ids[5], None), "found by its vector"
    about = await library.search.find(Query(), READER, ids[3], picture=PictureRef(ids[3]))
    assert [hit.job_id for hit in about.hits][:1] == [both]
    words = await library.search.find(like("thing 6"), READER, look=small)
    assert {hit.job_id for hit in words.hits[:2]} == {ids[3], ids[6]}, "by words and by picture"


async def test_only_results_that_the_person_may_see_are_found_by_picture(library: Library) -> None:
    mine = await paint(library, scene(1))
    await paint(library, scene(1), guild=901)
    hidden = await paint(library, scene(1), user=GRACE, channel=1234)
    removed = await paint(library, scene(1), user=GRACE)
    await library.search.finish(looks=True)
    await library.store.removals.remove_own(Requester(GRACE, GUILD), removed)
    look = await SentPictures().look(encoded(scene(1)), None)
    for picture in ({"look": look}, {"picture": PictureRef(hidden)}):
        found = [hit.job_id for hit in (await library.search.find(Query(), READER, **picture)).hits]
        assert found == [mine]
    hers = replace(READER, user_id=GRACE, scope=Scope.MINE)
    assert [hit.job_id for hit in (await library.search.find(Query(), hers, look=look)).hits] == [hidden]
    assert await library.search.same(READER) == []
    moderator = replace(READER, scope=Scope.SERVER, is_moderator=True, readable=frozenset({CHANNEL, 1234}))
    assert await library.search.same(moderator) == [[PictureRef(mine, 1), PictureRef(hidden, 1)]]
    assert await library.search.same(replace(moderator, is_moderator=False)) == []


async def test_a_deletion_leaves_no_byte_of_how_pictures_look(library: Library) -> None:
    await paint(library, scene(1), scene(2))
    removed = await paint(library, scene(3), user=GRACE)
    kept = await paint(library, scene(4), user=GRACE)
    await library.search.finish(looks=True)
    rows = (await library.search.dump())["looks"]
    gone = [bytes.fromhex(row[4]) for row in rows if row[0] != kept]
    assert len(gone) == 3
    data = library.index.read_bytes() + Path(f"{library.index}-wal").read_bytes()
    assert all(vector in data for vector in gone)
    await library.store.removals.remove_own(Requester(GRACE, GUILD), removed)
    forgetting = forgetting_of(library.store)
    forgetting._erase_derived = library.search.erase
    await forgetting.forget(ADA)
    assert await forgetting.finish()
    assert [row[0] for row in (await library.search.dump())["looks"]] == [kept]
    assert await library.search.same(READER) == []
    await library.search.close()
    assert len([value for value in shadows(library.index)["looks"] if len(value) == 256]) == 1
    files = [path for path in library.store.folder.rglob("*") if path.is_file()]
    assert [vector for vector in gone if any(vector in path.read_bytes() for path in files)] == []
    assert left_of(["no such word"], library.store.folder) == []


async def test_vectors_are_kept_over_a_restart_and_what_is_new_is_looked_at(tmp_path: Path) -> None:
    async with open_library(tmp_path) as library:
        await paint(library, scene(1))
        await library.search.finish(looks=True)
        before = (await library.search.dump())["looks"]
    async with open_library(tmp_path) as library:
        again = await paint(library, scene(2))
        await library.search.finish()
        await library.store.database.execute("INSERT INTO tags VALUES (?, 'red', ?, '')", (again, ADA))
        await library.search.finish(looks=True)
        after = (await library.search.dump())["looks"]
        assert [row for row in after if row[0] != again] == before
        assert len(after) == 2


def test_encrypted_pictures_are_looked_at_too(tmp_path: Path) -> None:
    png = encoded(scene(1))
    name = hashlib.sha256(png).hexdigest()
    folder = PictureFolder(tmp_path, seal_of("a passphrase"), seals=True)
    folder.write({name: png})
    eye = sight.Sight(folder, "")
    eye.want_only([(1, 1, name), (2, 1, "0" * 64)])
    seen: list[sight.Seen] = []
    try:
        while eye.left:
            seen += eye.look()
    finally:
        eye.close()
    assert {number: vector is not None for number, _, _, vector in seen} == {1: True, 2: False}


async def test_what_cannot_be_looked_at_is_found_by_its_hash_and_not_tried_for_ever(library: Library) -> None:
    lost, other = await paint(library, scene(1)), await paint(library, scene(2))
    for path in (library.store.folder / "pictures").rglob("*"):
        if path.is_file() and path.read_bytes() == encoded(scene(1)):
            path.unlink()
    await library.search.finish(looks=True)
    vectors = {row[0]: row[4] for row in (await library.search.dump())["looks"]}
    assert vectors[lost] is None
    assert vectors[other] is not None
    look = await SentPictures().look(encoded(scene(1)), None)
    assert (await library.search.find(Query(), READER, look=look)).hits[0].job_id == lost


async def test_a_model_that_cannot_be_loaded_leaves_the_hashes(library: Library, tmp_path: Path) -> None:
    one = await paint(library, scene(1))
    await library.search.finish()
    (tmp_path / "no model").mkdir()
    process = SearchProcess(
        library.index, library.store.folder / "atelier.db", None, "discord", str(tmp_path / "no model")
    )
    try:
        process.answer({"kind": "finish", "looks": True})
        assert process.answer({"kind": "dump"})["unseen"] == 1
        assert process._sight.is_busy is False
        order = {"kind": "find", "query": {"text": "", "terms": [], "phrases": [], "without": [], "conditions": []}}
        order |= {"seer": READER.as_data(), "without": 0, "picture": [one, 1], "look": None}
        assert [hit["job_id"] for hit in process.answer(order)["hits"]] == [one]
    finally:
        process.close()


async def test_a_host_may_name_a_clip_model(library: Library, tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    torch.manual_seed(0)
    config = transformers.CLIPVisionConfig(
        hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, image_size=30, patch_size=6,
        projection_dim=24,
    )  # fmt: skip
    transformers.CLIPVisionModelWithProjection(config).save_pretrained(folder)
    size = {"shortest_edge": 30}
    transformers.CLIPImageProcessor(size=size, crop_size={"height": 30, "width": 30}).save_pretrained(folder)
    ids = [await paint(library, scene(seed)) for seed in range(3)]
    await library.search.finish(looks=True)
    usual = (await library.search.dump())["looks"]
    await library.search.close()
    search = Search(
        library.store.database, library.index, library.store.folder / "atelier.db", None, "discord", str(folder)
    )
    try:
        await search.finish(looks=True)
        made = (await search.dump())["looks"]
        assert [row[:3] for row in made] == [row[:3] for row in usual]
        assert {row[3] for row in made} == {search_model(folder)}
        assert not {row[4] for row in made} & {row[4] for row in usual}, "vectors of two models are never compared"
        mirrored = encoded(scene(1).resize((64, 64)))
        look = await SentPictures(str(folder)).look(mirrored, None)
        assert (await search.find(Query(), READER, look=look)).hits[0].job_id == ids[1]
    finally:
        await search.close()


def search_model(folder: Path) -> str:
    return sight.Viewer(str(folder)).model


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a picture"),
        (b"GIF89a", "not a picture"),
        (encoded(scene(1))[:400], "damaged"),
        (encoded(PIL.Image.new("L", (9000, 9000))), "too large"),
    ],
)
async def test_what_is_no_usable_picture_is_said(data: bytes, words: str) -> None:
    with pytest.raises(UserError, match=words):
        await SentPictures().look(data, PictureLimits(0.9))


async def test_a_picture_that_is_too_explicit_for_the_channel_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        await SentPictures().look(encoded(scene(1)), PictureLimits(0.000001))
    assert str(caught.value) == UPLOAD_BLOCKED


async def test_many_pictures_at_once_and_a_process_that_fails_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent, "MOST_WAITING", 0)
    with pytest.raises(UserError, match="Many people"):
        await SentPictures().look(encoded(scene(1)), None)
    monkeypatch.setattr(sent, "MOST_WAITING", 1)
    monkeypatch.setattr(sent, "SECONDS", 0.01)
    with pytest.raises(EngineError, match="could not be looked at"):
        await SentPictures().look(encoded(scene(1)), None)
