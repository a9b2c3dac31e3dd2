"""How results are linked, as a graph in JSON or GraphML: requests, what they come from, prompts, models and styles.

It is for the host, who can read the database anyway: it has prompts, but no person.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from bot.charts import network
from bot.errors import StorageError, UserError
from bot.storage import sqlite

ENDINGS = (".graphml", ".json")
MOST_DRAWN = 400
"""Nodes of a drawing; more could not be told apart."""

# Results whose pictures were deleted stay as links between others; forgotten ones have no words and are left out.
REQUESTS = """
SELECT id, guild_id, model, prompt, asked_at, status, request ->> '$.style' AS style,
  request ->> '$.style_version' AS version, request ->> '$.operation' AS operation
FROM jobs WHERE surface = 'discord' AND status = 'delivered' AND forgotten_at IS NULL
  AND (?1 IS NULL OR guild_id = ?1)
ORDER BY id
"""
LINKS = "SELECT source_id, job_id, number FROM sources ORDER BY job_id, source_id, number"


@dataclass(slots=True)
class Graph:
    """Nodes by their names, with what they say; edges as pairs of names, with what they say."""

    nodes: dict[str, dict[str, str]] = field(default_factory=dict)
    edges: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)


def read(database: Path, key: str | None, server: int | None = None) -> Graph:
    """The graph of one server, or of all. Raises StorageError."""
    graph = Graph()
    try:
        with closing(sqlite.connect(database, key, readonly=True)) as connection:
            connection.execute("BEGIN")
            for row in connection.execute(REQUESTS, (server,)):
                request, place = f"request {row['id']}", f"server {row['guild_id']}"
                facts = {"kind": "request", "asked_at": row["asked_at"], "operation": row["operation"] or "text2image"}
                graph.nodes[request] = facts
                graph.nodes[place] = {"kind": "server"}
                graph.edges.append((request, place, {"kind": "on"}))
                graph.nodes[f"model {row['model']}"] = {"kind": "model"}
                graph.edges.append((request, f"model {row['model']}", {"kind": "by"}))
                if row["prompt"]:
                    prompt = f"prompt {hashlib.sha256(row['prompt'].encode()).hexdigest()[:16]}"
                    graph.nodes[prompt] = {"kind": "prompt", "text": row["prompt"]}
                    graph.edges.append((request, prompt, {"kind": "of"}))
                if row["style"]:
                    style = f"style {row['style']}, version {row['version']}, server {row['guild_id']}"
                    graph.nodes[style] = {"kind": "style"}
                    graph.edges.append((request, style, {"kind": "with"}))
            for row in connection.execute(LINKS):
                parent, child = f"request {row['source_id']}", f"request {row['job_id']}"
                if parent in graph.nodes and child in graph.nodes:
                    facts = {"kind": "became", "picture": str(row["number"])}
                    graph.edges.append((parent, child, facts))
    except sqlite.Error as error:
        raise sqlite.in_words(error) or StorageError(f"{database} cannot be read: {error}.") from error
    return graph


def check_endings(file: Path, drawing: Path | None) -> None:
    """Raise UserError unless the names of the files say formats that can be written."""
    if file.suffix not in ENDINGS:
        raise UserError("The name of the file says its format: it ends with {endings}.", endings=" or ".join(ENDINGS))
    if drawing is not None and drawing.suffix.removeprefix(".") not in network.FORMATS:
        endings = " or ".join(f".{form}" for form in network.FORMATS)
        raise UserError("The name of the drawing says its format: it ends with {endings}.", endings=endings)


def write(graph: Graph, file: Path) -> None:
    """Write a graph in the format of the file's ending; nothing half-made stays. Raises UserError or StorageError."""
    check_endings(file, None)
    _put_down(as_json(graph) if file.suffix == ".json" else as_graphml(graph), file)


async def draw(graph: Graph, file: Path) -> int:
    """Draw the newest part of a graph in the format of the file's ending; returns how many nodes are shown.

    Nothing half-made stays. Raises PlotError or StorageError.
    """
    shown = newest(graph, MOST_DRAWN)
    _put_down(await network.draw(as_values(shown), file.suffix.removeprefix(".")), file)
    return len(shown.nodes)


def newest(graph: Graph, most: int) -> Graph:
    """The newest requests of a graph with all that they are linked with, at most about `most` nodes.

    The server is left out if there is only one, because every request would be linked with it.
    """
    servers = [name for name, facts in graph.nodes.items() if facts["kind"] == "server"]
    hidden = set(servers) if len(servers) == 1 else set()
    linked: dict[str, set[str]] = {}
    for source, target, _ in graph.edges:
        linked.setdefault(source, set()).add(target)
    shown: set[str] = set()
    for name in reversed([name for name, facts in graph.nodes.items() if facts["kind"] == "request"]):
        more = {name} | {target for target in linked.get(name, ()) if graph.nodes[target]["kind"] != "request"}
        if shown and len(shown | more - hidden) > most:
            break
        shown |= more - hidden
    nodes = {name: facts for name, facts in graph.nodes.items() if name in shown}
    return Graph(nodes, [edge for edge in graph.edges if edge[0] in shown and edge[1] in shown])


def _put_down(data: bytes, file: Path) -> None:
    """Write a file wholly or not at all. Raises StorageError."""
    aside = file.with_name(f".{file.name}.partial")
    try:
        with aside.open("wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
        aside.rename(file)
    except OSError as error:
        raise StorageError(f"{file} cannot be written: {error.strerror}.") from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def as_json(graph: Graph) -> bytes:
    """The graph as networkx's `node_link_graph(…, edges="edges")` reads it."""
    return json.dumps(as_values(graph), ensure_ascii=False, indent=1).encode() + b"\n"


def as_values(graph: Graph) -> dict[str, Any]:
    """The graph as JSON has it."""
    nodes = [{"id": name, **facts} for name, facts in graph.nodes.items()]
    edges = [{"source": source, "target": target, **facts} for source, target, facts in graph.edges]
    return {"directed": True, "multigraph": True, "graph": {}, "nodes": nodes, "edges": edges}


def as_graphml(graph: Graph) -> bytes:
    """The graph as GraphML, which Gephi, yEd and networkx read."""
    root = ElementTree.Element("graphml", xmlns="http://graphml.graphdrawing.org/xmlns")
    for of, names in (("node", _facts(graph.nodes.values())), ("edge", _facts(edge[2] for edge in graph.edges))):
        for name in names:
            keys = {"id": f"{of}-{name}", "for": of, "attr.name": name, "attr.type": "string"}
            ElementTree.SubElement(root, "key", keys)
    inside = ElementTree.SubElement(root, "graph", edgedefault="directed")
    for name, facts in graph.nodes.items():
        _put(ElementTree.SubElement(inside, "node", id=name), "node", facts)
    for source, target, facts in graph.edges:
        _put(ElementTree.SubElement(inside, "edge", source=source, target=target), "edge", facts)
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _facts(of: Iterable[dict[str, str]]) -> list[str]:
    names: dict[str, None] = {}
    for facts in of:
        names |= dict.fromkeys(facts)
    return list(names)


def _put(element: ElementTree.Element, of: str, facts: dict[str, str]) -> None:
    for name, value in facts.items():
        # XML has no place for control characters; prompts of early versions may have some.
        text = "".join(each for each in value if each >= " " or each in "\t\n")
        ElementTree.SubElement(element, "data", key=f"{of}-{name}").text = text
