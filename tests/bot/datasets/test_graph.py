"""The graph of results: what is linked with what, in formats that other tools read."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bot.datasets import graph
from bot.errors import StorageError, UserError
from bot.jobs import Surface, UserId
from bot.storage.forgetting import Forgetting
from tests.bot.storage.conftest import ADA, GRACE, Store, open_store

SPACE = "{http://graphml.graphdrawing.org/xmlns}"


async def linked(store: Store) -> None:
    parent = await store.delivered(ADA, prompt='a <fox> & "fog"', style="ink", style_version=2)
    child = await store.delivered(ADA, prompt="a wolf")
    await store.delivered(GRACE, prompt="a wolf", guild=901)
    await store.failed(ADA, prompt="a failure")
    await store.database.execute("INSERT INTO sources VALUES (?, ?, 1)", (child.id, parent.id))


async def test_requests_are_linked_with_what_they_come_from_and_what_made_them(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await linked(store)
        found = graph.read(tmp_path / "atelier.db", None)
        assert {facts["kind"] for facts in found.nodes.values()} == {"request", "server", "model", "prompt", "style"}
        assert ("request 1", "request 2", {"kind": "became", "picture": "1"}) in found.edges
        of = [target for source, target, facts in found.edges if facts["kind"] == "of" and source != "request 1"]
        assert len(of) == 2
        assert len(set(of)) == 1, "two requests of one prompt share its node"
        assert "a failure" not in str(found)
        assert not any("901" in name for name in graph.read(tmp_path / "atelier.db", None, 900).nodes)
        path = tmp_path / "atelier.db"
        await Forgetting(store.database, store.pictures, path, None, Surface.DISCORD, store.clock).forget(UserId(ADA))
        assert "fox" not in str(graph.read(path, None))


async def test_both_formats_say_the_same(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await linked(store)
    found = graph.read(tmp_path / "atelier.db", None)
    for ending in graph.ENDINGS:
        graph.write(found, tmp_path / f"links{ending}")
    told = json.loads((tmp_path / "links.json").read_text(encoding="utf-8"))
    root = ElementTree.parse(tmp_path / "links.graphml").getroot()
    names = {key.get("id"): key.get("attr.name") for key in root.iter(f"{SPACE}key")}
    nodes = {node.get("id"): {names[data.get("key")]: data.text for data in node} for node in root.iter(f"{SPACE}node")}
    assert nodes == {node.pop("id"): node for node in told["nodes"]} == found.nodes
    edges = [(edge.get("source"), edge.get("target")) for edge in root.iter(f"{SPACE}edge")]
    assert edges == [(edge["source"], edge["target"]) for edge in told["edges"]]
    assert 'a <fox> & "fog"' in [facts.get("text") for facts in nodes.values()]


def test_a_file_of_another_format_or_in_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ends with \.graphml or \.json"):
        graph.write(graph.Graph(), tmp_path / "links.dot")
    with pytest.raises(StorageError, match="cannot be written"):
        graph.write(graph.Graph(), tmp_path / "gone" / "links.json")
    assert list(tmp_path.iterdir()) == []


async def drawn(folder: Path, requests: int, name: str) -> tuple[int, bytes]:
    """A drawing of as many requests, each with a prompt of its own; every second one came from the one before."""
    found = graph.Graph()
    for number in range(1, requests + 1):
        found.nodes[f"request {number}"] = {"kind": "request"}
        found.nodes |= {"server 9": {"kind": "server"}, "model emoji": {"kind": "model"}}
        found.nodes[f"prompt {number}"] = {"kind": "prompt", "text": f"$5 & \\frac{{<fox> {number}"}
        links = (("server 9", "on"), ("model emoji", "by"), (f"prompt {number}", "of"))
        found.edges += [(f"request {number}", target, {"kind": kind}) for target, kind in links]
        if number % 2 == 0:
            found.edges.append((f"request {number - 1}", f"request {number}", {"kind": "became", "picture": "1"}))
    count = await graph.draw(found, folder / name)
    return count, (folder / name).read_bytes()


async def test_a_graph_is_drawn_the_same_each_time(tmp_path: Path) -> None:
    count, svg = await drawn(tmp_path, 50, "a.svg")
    assert count == 101, "the only server is left out"
    text = svg.decode()
    assert "emoji" in text
    assert "fox" in text
    assert "<fox>" not in text
    assert (await drawn(tmp_path, 50, "b.svg"))[1] == svg
    count, png = await drawn(tmp_path, 3, "c.png")
    assert (count, png[:4]) == (7, b"\x89PNG")


def test_of_a_large_graph_the_newest_requests_are_drawn() -> None:
    found = graph.Graph()
    for number in range(1000):
        found.nodes[f"request {number}"] = {"kind": "request"}
        found.nodes["model emoji"] = {"kind": "model"}
        found.edges.append((f"request {number}", "model emoji", {"kind": "by"}))
    shown = graph.newest(found, 100)
    assert len(shown.nodes) == 100
    assert {"request 999", "model emoji"} <= set(shown.nodes)
    assert "request 0" not in shown.nodes
    assert len(shown.edges) == 99


def test_the_name_of_a_drawing_says_its_format(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ends with \.svg or \.png"):
        graph.check_endings(tmp_path / "a.json", tmp_path / "a.jpg")


async def test_a_disk_that_fills_up_leaves_no_drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        await drawn(tmp_path, 2, "a.svg")
    assert list(tmp_path.iterdir()) == []
