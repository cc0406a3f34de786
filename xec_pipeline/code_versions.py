"""Versions of code: which modules take part in something, and what those mean.

Code is identified by the syntax trees of the modules that take part: comments, docstrings and
layout do not count, nor do modules that are not imported. Nothing is imported to find out. What a
source means is remembered beside the compiled modules, since parsing all takes seconds.
"""

import ast
import functools
import hashlib
import json
import os
import sys
from collections.abc import Collection, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final, NamedTuple

from xec_pipeline.atomic import replacing
from xec_pipeline.versioning import content_hash, read_cache

PACKAGE_DIR: Final = Path(__file__).parent
_CACHE_NAME: Final = f"code_versions.{sys.implementation.cache_tag}.json"
_WITH_DOCSTRING: Final = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class _Module(NamedTuple):
    """A source file as it was: what it imports of its own package, the hash of what it means."""

    stamp: str
    imports: tuple[str, ...]
    meaning: str


def code_version_of(
    *entries: str,
    without: Collection[str] = (),
    libraries: Collection[str] = (),
    resources: Collection[str] = (),
    package_dir: Path = PACKAGE_DIR,
) -> str:
    """Return the version of the code that is reached from some modules of this package.

    Parameters
    ----------
    entries
        Modules to start from, for example `xec_pipeline.workers.figures`. Everything of the package
        that they import, directly or not, also inside functions, takes part.
    without
        Modules and packages that do not take part, nor what only they import.
    libraries
        Installed distributions whose minor version takes part, because it can change numbers.
    resources
        Patterns of files of the package that are no modules, such as templates.
    package_dir
        Folder of the package.

    Returns
    -------
    str
        Twelve hexadecimal digits.

    Raises
    ------
    ModuleNotFoundError
        If an entry does not exist.
    """
    digest = hashlib.sha256()
    modules = _modules(package_dir)
    for name in _reached(modules, entries, without):
        digest.update(f"{name}\0{modules[name].meaning}\n".encode())
    for name in sorted(libraries):
        minor = ".".join(metadata.version(name).split(".")[:2])
        digest.update(f"{name} {minor}\n".encode())
    for pattern in sorted(resources):
        for path in sorted(package_dir.glob(pattern)):
            name = path.relative_to(package_dir).as_posix()
            digest.update(f"{name}\0{content_hash(path)}\n".encode())
    return digest.hexdigest()[:12]


def modules_reached(
    *entries: str, without: Collection[str] = (), package_dir: Path = PACKAGE_DIR
) -> list[str]:
    """Return the modules of the package that `entries` import, themselves included, sorted.

    Raises
    ------
    ModuleNotFoundError
        If an entry does not exist.
    """
    return _reached(_modules(package_dir), entries, without)


def _reached(
    modules: Mapping[str, _Module], entries: Collection[str], without: Collection[str]
) -> list[str]:
    reached: set[str] = set()
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        if name in reached or _is_within(name, without):
            continue
        if name not in modules:
            raise ModuleNotFoundError(f"there is no module '{name}'", name=name)
        reached.add(name)
        found = (_existing(imported, modules) for imported in modules[name].imports)
        waiting += [imported for imported in found if imported]
    return sorted(reached)


def _is_within(module: str, packages: Collection[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in packages)


def _existing(name: str, modules: Mapping[str, _Module]) -> str:
    # "from package.module import thing" names package.module.thing; the thing may be a module.
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def _modules(package_dir: Path) -> dict[str, _Module]:
    """Return the modules of a package by name."""
    paths = sorted(package_dir.rglob("*.py"))
    return _read_modules(package_dir, tuple((path, _stamp(path)) for path in paths))


@functools.lru_cache(maxsize=8)
def _read_modules(package_dir: Path, sources: tuple[tuple[Path, str], ...]) -> dict[str, _Module]:
    cache = package_dir / "__pycache__" / _CACHE_NAME
    known = _remembered(cache)
    modules = {}
    for path, stamp in sources:
        name = _name(path, package_dir)
        module = known.get(name)
        if module is None or module.stamp != stamp:
            module = _read_module(path, stamp, package_dir.name)
        modules[name] = module
    if modules != known and os.access(package_dir, os.W_OK):
        _remember(cache, modules)
    return modules


def _name(path: Path, package_dir: Path) -> str:
    parts = path.relative_to(package_dir.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _read_module(path: Path, stamp: str, package: str) -> _Module:
    tree = ast.parse(path.read_text())
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, _WITH_DOCSTRING) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    own = (name for name in names if _is_within(name, (package,)))
    meaning = hashlib.sha256(ast.dump(tree).encode()).hexdigest()
    return _Module(stamp, tuple(dict.fromkeys(own)), meaning)


def _remembered(cache: Path) -> dict[str, _Module]:
    """Return what an earlier process left, unless this module made something else of sources."""
    content = read_cache(cache)
    if content.get("reader") != _stamp(Path(__file__)):
        return {}
    modules: Mapping[str, Any] = content["modules"]
    return {
        name: _Module(stamp, tuple(imports), meaning)
        for name, (stamp, imports, meaning) in modules.items()
    }


def _remember(cache: Path, modules: Mapping[str, _Module]) -> None:
    cache.parent.mkdir(exist_ok=True)
    with replacing(cache) as partial:
        partial.write_text(json.dumps({"reader": _stamp(Path(__file__)), "modules": modules}))


def _stamp(path: Path) -> str:
    """Return what tells that a source is the same, also after a copy that keeps the time stamps."""
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns}"
