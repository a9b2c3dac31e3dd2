"""What the doctor asks the hosts of a Ray cluster, where one of them is stuck. Ray itself is in test_cluster.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("ray")

from ray.exceptions import GetTimeoutError

from bot.engine.cluster import host, survey

VERSIONS = host.versions()


@dataclass
class Asked:
    """A question and its answer; None is one that never comes."""

    answer: Any

    def remote(self, *_: Any) -> Asked:
        return self


class Actor:
    """One who answers on a host."""

    def __init__(self, name: str, *, stuck: bool = False, lacks: dict[str, str] | None = None) -> None:
        self.about = Asked(None if stuck else (name, VERSIONS))
        self.missing = Asked(lacks or {})


class Hosts:
    """A Ray whose waits take all of the time where an answer does not come."""

    def __init__(self, *actors: Actor) -> None:
        self.actors = {str(number): actor for number, actor in enumerate(actors)}
        self.killed: list[Actor] = []

    def nodes(self) -> list[dict[str, Any]]:
        node = {"Alive": True, "NodeManagerAddress": "here", "Resources": {"GPU": 1.0}}
        return [node | {"NodeID": number, "NodeManagerHostname": f"host {number}"} for number in self.actors]

    def wait(self, asked: list[Asked], *, num_returns: int, timeout: float) -> None:
        assert num_returns == len(asked)
        assert timeout >= 60

    def get(self, asked: Asked, *, timeout: float) -> Any:
        if asked.answer is None:
            raise GetTimeoutError
        assert timeout > 0, "an answer that is there takes a moment, too"
        return asked.answer

    def kill(self, actor: Actor) -> None:
        self.killed.append(actor)


def test_a_host_that_is_stuck_takes_no_time_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = {"lost": "The host host 2 lacks files."}
    found = Hosts(Actor("host 0", stuck=True), Actor("host 1"), Actor("host 2", lacks=lost))
    monkeypatch.setattr(survey, "ray", found)
    monkeypatch.setattr(survey, "reach", lambda _: None)
    monkeypatch.setattr(survey, "_actor", found.actors.__getitem__)
    stuck, well, lacking = survey.survey("here", [])["hosts"]
    assert stuck["troubles"] == ["The host host 0 cannot run the engine (GetTimeoutError)."]
    assert (well["troubles"], well["versions"]) == ([], VERSIONS)
    assert lacking["troubles"] == list(lost.values())
    assert found.killed == list(found.actors.values())
