"""
Fetch the converter that belongs to the installed llama.cpp, once, on demand, and checked.

llama-cpp-python's wheel holds no converter; its source archive holds the one of the very same commit. Only
``modelgate-train fetch-converter`` downloads anything, and nothing of the archive is run before its hash was compared.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath

from ..errors import ConfigError, StageError

KNOWN_ARCHIVES = {"0.3.36": "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"}
"""SHA-256 of llama-cpp-python's source archives, by version."""

_WANTED = ("convert_hf_to_gguf.py", "convert_lora_to_gguf.py", "conversion", "gguf-py", "LICENSE")
_MODELS = "models"  # chat templates, and vocabularies with texts and their tokens: 80 MB that only tests need
_MARK = "fetched.json"  # written last: its presence means that everything else is there

# pip asks an archive's build backend for its name and version before it saves it. This one answers in the true backend's
# place: pip needs no compiler and no further download, and runs no code of an archive that was not checked yet.
_BACKEND = """
import pathlib, re
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    text = pathlib.Path("PKG-INFO").read_text(encoding="utf-8")
    version = re.search(r"^Version: (.+)$", text, re.M).group(1).strip()
    name = f"llama_cpp_python-{version}.dist-info"
    (pathlib.Path(folder) / name).mkdir(parents=True)
    (pathlib.Path(folder) / name / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: llama-cpp-python\\nVersion: {version}\\n")
    return name
"""


def installed_version() -> str:
    """Return the version of the installed llama-cpp-python."""
    try:
        return version("llama-cpp-python")
    except PackageNotFoundError:
        raise ConfigError("llama-cpp-python is not installed: pip install 'pytest-modelgate[train]'") from None


def converter_folder() -> Path:
    """Return where the converter of the installed version is kept."""
    root = os.environ.get("MODELGATE_CACHE")
    if root is None:
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        root = str(Path(cache) / "modelgate")
    return Path(root) / f"converter-{installed_version()}"


def find_converter() -> Path:
    """Return the fetched converter's folder, or raise what to do."""
    folder = converter_folder()
    if not (folder / _MARK).is_file():
        raise StageError(
            f"the converter of llama-cpp-python {installed_version()} is not in {folder.parent}; "
            f"fetch it once: modelgate-train fetch-converter"
        )
    return folder


def find_models() -> Path:
    """Return the folder of llama.cpp's chat templates and vocabularies, or raise what to do."""
    folder = converter_folder() / _MODELS
    if not folder.is_dir():
        raise StageError(
            f"the chat templates and vocabularies of llama-cpp-python {installed_version()} are not in {folder.parent}; "
            f"fetch them once: modelgate-train fetch-converter --models"
        )
    return folder


def converter_sha256() -> str:
    """Return the hash of the archive that the fetched converter came from."""
    return str(json.loads((find_converter() / _MARK).read_text(encoding="utf-8"))["sha256"])


def run_converter(script: str, target: Path, arguments: Sequence[str], *, own_tokenizer: bool = False) -> None:
    """
    Let a script of the fetched converter write ``target``; raise StageError with its last word where it does not.

    Nothing is downloaded meanwhile. What is written is whole, but not looked at.
    """
    command = [
        *(sys.executable, str(Path(__file__).with_name("convert_entry.py")), str(find_converter()), script),
        *(["--own-tokenizer"] if own_tokenizer else []),
        *(*arguments, "--outfile", str(target)),
    ]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=offline)
    if done.returncode or not target.is_file():
        raise StageError(f"{arguments[0]}: the converter failed: {_last_line(done.stderr)}")


def fetch_converter(archive: Path | None, sha256: str | None, *, force: bool, models: bool = False) -> Path:
    """
    Download (or take) the source archive, check it, and keep the converter of it.

    ``models``: keep its chat templates and vocabularies too.
    """
    folder, wanted = converter_folder(), installed_version()
    expected = sha256 or KNOWN_ARCHIVES.get(wanted)
    if expected is None:
        raise ConfigError(
            f"no hash is known for the source archive of llama-cpp-python {wanted} (known: "
            f"{', '.join(KNOWN_ARCHIVES)}); vouch for one with --sha256"
        )
    has_models = (folder / _MODELS).is_dir()
    if (folder / _MARK).is_file() and not force and (has_models or not models):
        print(f"fetch-converter: already in {folder}")
        return folder
    with tempfile.TemporaryDirectory(prefix="modelgate-") as scratch:
        path = archive or download(wanted, Path(scratch))
        found = _sha256(path)
        if found != expected:
            raise StageError(f"{path.name} has sha256 {found}, expected {expected}: not used")
        _unpack(path, folder, (*_WANTED, _MODELS) if models or has_models else _WANTED)
    (folder / _MARK).write_text(json.dumps({"version": wanted, "sha256": found}) + "\n", encoding="utf-8")
    print(f"fetch-converter: {folder}")
    return folder


def download(wanted: str, scratch: Path) -> Path:
    """Let pip fetch the archive, from wherever pip is configured to look."""
    backend = scratch / "backend" / "scikit_build_core"
    backend.mkdir(parents=True)
    (backend / "__init__.py").touch()
    (backend / "build.py").write_text(_BACKEND, encoding="utf-8")
    print(f"fetch-converter: downloading the source archive of llama-cpp-python {wanted} (about 75 MB)")
    command = [
        *(sys.executable, "-m", "pip", "download", f"llama-cpp-python=={wanted}"),
        *("--no-deps", "--no-binary", "llama-cpp-python", "--no-build-isolation", "--dest", str(scratch)),
    ]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(backend.parent)}
    )
    found = list(scratch.glob("llama_cpp_python-*.tar.gz"))
    if done.returncode or not found:
        reason = (done.stderr.strip() or done.stdout.strip() or "no file").splitlines()[-1]
        raise StageError(f"pip could not download it: {reason}; or fetch the .tar.gz yourself and pass --archive FILE")
    return found[0]


def _unpack(path: Path, folder: Path, wanted: Sequence[str]) -> None:
    """Extract what is wanted of llama.cpp next to ``folder``, then move it there in one step."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                parts = PurePosixPath(member.name).parts[3:]  # after NAME-VERSION/vendor/llama.cpp/
                if member.isfile() and "/vendor/llama.cpp/" in member.name and parts[:1] and parts[0] in wanted:
                    member.name = "/".join(parts)
                    archive.extract(member, fresh, filter="data")
        if not (fresh / _WANTED[0]).is_file():
            raise StageError(f"{path.name} holds no vendor/llama.cpp/{_WANTED[0]}")
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _last_line(text: str) -> str:
    """Return what a failed program said last."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "without a word"


def _sha256(path: Path) -> str:
    """Return a file's digest."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
