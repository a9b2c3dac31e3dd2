"""The wheel has all that Atelier needs: installed into an empty environment, it paints, examines and serves its page.

Its dependencies are those of the environment that tests, which are not downloaded again.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the wheel and the source distribution, built from a copy of what git tracks or would track."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = (
        "from setuptools.build_meta import build_sdist, build_wheel; import sys; "
        "folder = sys.argv[1]; build_wheel(folder); sys.argv = sys.argv[:1]; build_sdist(folder)"
    )
    done = subprocess.run([sys.executable, "-c", build, str(folder)], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def run(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("DISCORD_", "ATELIER_", "PY"))}
    return subprocess.run(
        list(map(str, command)),
        cwd=folder,
        capture_output=True,
        text=True,
        env={**environ, "COLUMNS": "200"},
        timeout=150,
    )


@pytest.fixture(scope="module")
def installed(built: Path) -> Path:
    """The command `atelier` of an environment with nothing but the wheel, which finds its dependencies elsewhere."""
    environment = built / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (wheel,) = built.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", environment / "bin" / "python", "install"]
    done = run([*pip, "-q", "--no-deps", "--no-index", wheel], built)
    assert done.returncode == 0, done.stderr
    packages = environment / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    found = run([environment / "bin" / "python", "-c", "import bot, cogs; print(bot.__file__, cogs.__file__)"], built)
    assert found.stdout.count(str(environment)) == 2, "it is the installed one"
    return environment / "bin" / "atelier"


def test_what_is_built_has_the_licence_and_the_metadata(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "training/", "benchmarks/", "docs/"))]
    assert "Classifier: Framework :: AsyncIO" in metadata
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "bot/__main__.py"} <= inside


def test_the_installed_one_paints_examines_and_says_its_version(installed: Path, tmp_path: Path) -> None:
    assert re.fullmatch(r"atelier \d+\.\d+\.\d+\n", run([installed, "--version"], tmp_path).stdout)
    painted = run([installed, "imagine", "a red apple", "-o", "apple.png", "--steps", "2"], tmp_path)
    assert painted.returncode == 0, painted.stderr
    with Image.open(tmp_path / "apple.png") as picture:
        assert picture.size == (512, 512)
    examined = run([installed, "doctor"], tmp_path)
    assert examined.returncode == 0, examined.stdout
    assert examined.stdout.endswith("Ready.\n")


def test_the_installed_one_serves_its_page(installed: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [installed, "try", "--no-browser"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        try:
            lines: list[str] = []
            for line in process.stdout:
                lines.append(line)
                if "http://127.0.0.1:" in line:
                    break
            assert "http://127.0.0.1:" in "".join(lines[-1:]), lines
        finally:
            process.terminate()
