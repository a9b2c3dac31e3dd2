"""What Atelier is made of: dependencies are audited and listed, and the container may write as little as possible."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def audit() -> Any:
    loader = importlib.machinery.SourceFileLoader("audit", str(ROOT / ".ci" / "audit"))
    spec = importlib.util.spec_from_loader("audit", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def dependency(name: str, *ids: str) -> dict[str, Any]:
    return {
        "name": name,
        "version": "1.0",
        "vulns": [{"id": each, "fix_versions": ["1.1"], "aliases": [f"CVE-{each}"]} for each in ids],
    }


def test_a_vulnerability_fails_and_names_the_version_that_mends_it(audit: Any) -> None:
    status, lines = audit.judged({"dependencies": [dependency("safe"), dependency("torn", "PYSEC-1")]})
    assert status == 1
    assert lines == [
        "audited 2 of 2 dependencies: 1 vulnerabilities",
        "torn 1.0: PYSEC-1, fixed in 1.1",
    ]


@pytest.mark.parametrize("accepted", ["PYSEC-1", "CVE-PYSEC-1"])
def test_one_that_does_not_concern_atelier_is_accepted_by_its_id(
    audit: Any, accepted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "ACCEPTED", {accepted: "a reason"})
    assert audit.judged({"dependencies": [dependency("torn", "PYSEC-1")]})[0] == 0
    assert audit.judged({"dependencies": [dependency("torn", "PYSEC-1", "PYSEC-2")]})[0] == 1


@pytest.mark.parametrize("report", [None, {"dependencies": [{"name": "safe", "skip_reason": "not found"}]}])
def test_without_a_network_the_audit_says_that_it_was_skipped(audit: Any, report: Any) -> None:
    status, lines = audit.judged(report)
    assert (status, "skipped" in lines[0]) == (0, True)


def test_what_the_database_does_not_know_is_named(audit: Any) -> None:
    _, lines = audit.judged({"dependencies": [dependency("safe"), {"name": "own", "skip_reason": "not found"}]})
    assert lines == ["audited 1 of 2 dependencies: 0 vulnerabilities", "not found in the database: own"]


@pytest.mark.parametrize(
    ("stderr", "skipped"),
    [
        ("requests.exceptions.ProxyError: HTTPSConnectionPool(host='pypi.org', port=443): Max retries", True),
        ("requests.exceptions.ConnectionError: Name or service not known", True),
        ("Could not connect to PyPI's vulnerability feed", True),
        ("pip_audit: error: unrecognized arguments: --no-deps", False),
    ],
)
def test_an_audit_that_fails_for_another_reason_is_not_skipped(
    audit: Any, stderr: str, skipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = subprocess.CompletedProcess([], 1, "", stderr)
    monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: ran)
    if skipped:
        assert audit.report() is None
        return
    with pytest.raises(SystemExit, match="pip-audit failed"):
        audit.report()


def test_the_bill_of_materials_has_what_the_bot_needs(tmp_path: Path) -> None:
    pytest.importorskip("cyclonedx_py")
    file = tmp_path / "sbom.json"
    program = (
        f"import importlib.machinery as m; a = m.SourceFileLoader('audit', {str(ROOT / '.ci' / 'audit')!r})"
        ".load_module(); a.report = lambda: None; raise SystemExit(a.main())"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, str(file)], check=True, capture_output=True)
    bill = json.loads(file.read_text())
    named = {component["name"].lower() for component in bill["components"]}
    assert bill["bomFormat"] == "CycloneDX"
    assert {"torch", "diffusers", "discord.py", "cryptography", "sqlcipher3"} <= named
    assert str(ROOT) not in file.read_text(), "no path of this machine"


def test_every_dependency_is_pinned() -> None:
    text = (ROOT / "constraints.txt").read_text().lower().replace("_", "-")
    pinned = set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE))
    text = (ROOT / "pyproject.toml").read_text()
    section = text.partition("dependencies = [")[2].partition("[project.scripts]")[0]
    named = {name.lower() for name in re.findall(r'"([A-Za-z][\w.-]*)(?:\[[^]]*\])?[><=]', section)}
    assert named - pinned == set()


def test_the_container_runs_as_nobody_special_and_writes_only_where_it_must() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^USER (.+)$", dockerfile, re.MULTILINE) == ["1000"]
    assert re.search(r'^HEALTHCHECK .* CMD \["atelier", "health"\]$', dockerfile, re.MULTILINE)
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["atelier"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    volumes = {volume.partition(":")[2] for volume in service["volumes"]}
    written = set(re.findall(r"^VOLUME (.+)$", dockerfile, re.MULTILINE))
    assert {json.dumps(sorted(volumes))} == written
    # What libraries write beside the data goes to /tmp or into a volume.
    for name in ("HF_HOME", "MPLCONFIGDIR", "TRITON_CACHE_DIR", "ATELIER_DATABASE_KEY_FILE", "ATELIER_DATA"):
        (place,) = re.findall(rf"{name}=(\S+)", dockerfile)
        assert place.startswith((*volumes, *service["tmpfs"])), name
