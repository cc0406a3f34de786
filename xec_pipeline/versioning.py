"""Versions that change when, and only when, something that matters changed.

Data are identified by their content. Code is identified by the syntax trees of the modules that
take part: comments, docstrings and layout do not count, nor do modules that are not imported.
"""

import ast
import functools
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from importlib import metadata
from pathlib import Path

import xxhash

from xec_pipeline.atomic import replacing
from xec_pipeline.errors import DataError

PACKAGE_DIR = Path(__file__).parent
_BLOCK_BYTES = 1 << 22
_WITH_DOCSTRING = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def content_hash(path: Path) -> str:
    """Return the hash of a file's bytes, 32 hexadecimal digits.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    digest = xxhash.xxh3_128()
    try:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


class ContentHashes:
    """Content hashes of large files, remembered by size, time stamp and inode.

    Parameters
    ----------
    cache
        JSON file of what is remembered; it may be deleted at any time.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._known: dict[str, list[str]] = _read_json(cache)

    def of(self, path: Path) -> str:
        """Return the content hash of `path`; the file is read only if it looks different."""
        name, stamp = str(path.absolute()), _stamp(path)
        known = self._known.get(name)
        if known is None or known[0] != stamp:
            self._known[name] = known = [stamp, content_hash(path)]
            with replacing(self._cache) as partial:
                partial.write_text(json.dumps(self._known, indent=0))
        return known[1]

    def remembers(self, path: Path) -> bool:
        """Tell whether the hash of `path` is known without reading the file."""
        known = self._known.get(str(path.absolute()))
        return known is not None and known[0] == _stamp(path)

    def of_all(self, paths: Iterable[Path]) -> str:
        """Return one hash for a set of files: their names and contents, in the order of names."""
        digest = xxhash.xxh3_128()
        for path in sorted(paths):
            digest.update(f"{path.name}\0{self.of(path)}\n".encode())
        return digest.hexdigest()


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
        that they import, directly or not, also inside functions, takes part. Nothing is imported.
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
    for module in modules_reached(*entries, without=without, package_dir=package_dir):
        path = _source(module, package_dir)
        _, meaning = _read_module(path, _stamp(path))
        digest.update(f"{module}\0{meaning}\n".encode())
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
    """Return the modules of the package that `entries` import, themselves included, sorted."""
    reached: set[str] = set()
    waiting = list(entries)
    while waiting:
        module = waiting.pop()
        if module in reached or _is_within(module, without):
            continue
        reached.add(module)
        waiting += _imports(module, package_dir)
    return sorted(reached)


def _is_within(module: str, packages: Collection[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in packages)


def _source(module: str, package_dir: Path) -> Path:
    path = package_dir.parent.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    raise ModuleNotFoundError(f"no module '{module}' in {package_dir}", name=module)


def _imports(module: str, package_dir: Path) -> Iterator[str]:
    """Yield what `module` imports of its own package."""
    path = _source(module, package_dir)
    names, _ = _read_module(path, _stamp(path))
    for name in names:
        if _is_within(name, (package_dir.name,)):
            yield from _existing(name, package_dir)


def _existing(name: str, package_dir: Path) -> Iterator[str]:
    # "from package.module import thing" names package.module.thing; the thing may be a module.
    while name:
        try:
            _source(name, package_dir)
        except ModuleNotFoundError:
            name = name.rpartition(".")[0]
        else:
            yield name
            return


@functools.lru_cache(maxsize=1024)
def _read_module(path: Path, _stamp_of_path: str) -> tuple[tuple[str, ...], str]:
    """Return the names that a module imports, and the hash of its meaning."""
    tree = ast.parse(path.read_text())
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, _WITH_DOCSTRING) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tuple(names), hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def _read_json(path: Path) -> dict[str, list[str]]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
