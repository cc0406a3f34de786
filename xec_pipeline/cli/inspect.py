"""`xec inspect`: what a checkpoint, shard folder, ROOT file, table or ONNX file holds."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from xec_pipeline.errors import CorruptFileError, DataError

Lines = Iterator[str]

_WIDTH: Final = 100


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "inspect",
        help="show what a file or folder holds",
        description="Show what a checkpoint (.pth), ROOT file, shard folder, prediction table "
        "(.csv) or exported model (.onnx) holds, or list the ROOT files of a folder.",
    )
    parser.add_argument("path", type=Path, help="file or folder")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit status."""
    for line in describe(args.path):
        sys.stdout.write(f"{line}\n")
    return 0


def describe(path: Path) -> Lines:
    """Return the lines that describe `path`.

    Raises
    ------
    XecError
        If there is no such path, it is damaged, or of no known kind.
    """
    from xec_pipeline.data.root_files import check_exists
    from xec_pipeline.data.shard_format import MANIFEST_NAME

    check_exists(path)
    if path.name == MANIFEST_NAME:
        path = path.parent
    if path.is_dir():
        return _shards(path) if (path / MANIFEST_NAME).is_file() else _folder(path)
    kinds: dict[str, Callable[[Path], Lines]] = {
        ".pth": _checkpoint,
        ".pt": _checkpoint,
        ".root": _root_file,
        ".csv": _csv,
        ".onnx": _onnx,
    }
    if path.suffix not in kinds:
        raise DataError(
            f"{path}: cannot tell what this is; expected a shard folder, a folder of ROOT files, "
            f"or a file ending in {', '.join(kinds)}"
        )
    return kinds[path.suffix](path)


def _pairs(title: str, values: Mapping[str, object]) -> Lines:
    """Yield a title and one line for each name and value."""
    yield title
    width = max(map(len, values), default=0)
    for name, value in values.items():
        text = _text(value)
        yield f"  {name:<{width}}  {text if len(text) <= _WIDTH else text[:_WIDTH] + ' ...'}"


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return " ".join(str(value).split())


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Lines:
    """Yield a title and aligned columns; the first column is text, numbers stand to the right."""
    yield ""
    yield title
    cells = [list(header)]
    cells += [[_text(cell) for cell in row] for row in rows]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]
    for row in cells:
        line = "  ".join(
            text.rjust(width) if _is_number(text) else text.ljust(width)
            for text, width in zip(row, widths, strict=True)
        )
        yield f"  {line}".rstrip()


def _is_number(text: str) -> bool:
    return text.replace(".", "").replace("-", "").replace("e", "").replace("+", "").isdigit()


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.3g} MB"


def _folder(path: Path) -> Lines:
    from xec_pipeline.data.root_files import find_root_files
    from xec_pipeline.data.root_io import open_tree

    rows = []
    for file in find_root_files(path):
        with open_tree(file) as tree:
            rows.append((file.name, int(tree.num_entries), len(tree.keys()), _size(file)))
    total = {"files": len(rows), "events": sum(row[1] for row in rows)}
    yield from _pairs(f"Folder of ROOT files {path}", total)
    yield from _table("Files", ("name", "events", "branches", "size"), rows)


def _root_file(path: Path) -> Lines:
    from xec_pipeline.data.requirements import possible_tasks
    from xec_pipeline.data.root_io import open_tree, read_provenance_tree
    from xec_pipeline.data.schema import BRANCHES, LIMIT_BRANCHES

    provenance = read_provenance_tree(path)
    with open_tree(path) as tree:
        facts = {
            "tree": tree.name,
            "events": int(tree.num_entries),
            "size": _size(path),
            "compression": tree.file.compression,
            "tasks possible": ", ".join(possible_tasks(path)) or "none",
            "toy detector": "yes" if provenance else "no record of a simulation",
        }
        rows = [(name, branch.typename) for name, branch in tree.items()]
    yield from _pairs(f"ROOT file {path}", facts)
    described = []
    for name, kind in rows:
        known = BRANCHES.get(name) or LIMIT_BRANCHES.get(name)
        meaning = (known.unit, known.meaning) if known else ("", "(not used)")
        described.append((name, kind, *meaning))
    yield from _table("Branches", ("name", "type", "unit", "meaning"), described)
    if provenance:
        yield ""
        yield from _pairs("Simulated with", provenance)


def _shards(path: Path) -> Lines:
    from xec_pipeline.data.shard_set import open_shards

    shards = open_shards(path)
    manifest, error = shards.manifest, shards.manifest.quantization
    yield from _pairs(
        f"Shards {path}",
        {
            "events": manifest.n_events,
            "data version": manifest.data_version,
            "dead sensor values": f"{100 * manifest.dead_fraction:.3f} %",
            "NaN or infinite values": manifest.n_nonfinite,
            "toy detector": "yes" if manifest.toy else "no",
            "16-bit error of photons": f"{100 * error.npho_rms_relative:.3f} % RMS",
            "16-bit error of times": f"{error.time_rms_ps:.2f} ps RMS",
            "settings": manifest.settings.model_dump(),
            "made by revision": manifest.git_revision,
        },
    )
    sources = [
        (part.source, part.n_events, f"{part.size / 1e6:.3g} MB", part.source_hash[:12])
        for part in manifest.sources
    ]
    yield from _table("Sources", ("file", "events", "size", "content"), sources)
    names = dict.fromkeys(name for part in manifest.sources for name in part.n_measured)
    counts = [
        (name, sum(part.n_measured.get(name, 0) for part in manifest.sources)) for name in names
    ]
    yield from _table("Columns", ("name", "events with a value"), counts)


def _checkpoint(path: Path) -> Lines:
    from xec_pipeline.training.checkpoint import read_content
    from xec_pipeline.training.weight_count import n_weights

    content = read_content(path)
    config = content.get("config") or {}
    tasks = config.get("tasks") or {}
    shown = ("kind", "epoch", "global_step", "best_val", "layout", "git_revision", "mlflow_run_id")
    facts: dict[str, object] = {"size": _size(path)}
    facts |= {name: content[name] for name in shown if name in content}
    facts["tasks"] = ", ".join(name for name, task in tasks.items() if task.get("enabled"))
    weights = content["model_state_dict"]
    facts["parameters"] = f"{n_weights(weights):,}"
    facts["averaged weights"] = "yes" if content.get("ema_state_dict") else "no"
    facts["optimizer state"] = "yes" if content.get("optimizer_state_dict") else "no"
    yield from _pairs(f"Checkpoint {path}", facts)
    for title, name in (
        ("Normalization", "normalization"),
        ("Target statistics", "target_statistics"),
        ("Data versions", "data"),
        ("Model", "config.model"),
    ):
        values = config.get("model") if name == "config.model" else content.get(name)
        if values:
            yield ""
            yield from _pairs(title, values)
    yield from _table("Weights", ("part", "tensors", "parameters"), _weights_by_part(weights))


def _weights_by_part(weights: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    parts: dict[str, list[int]] = {}
    for name, tensor in weights.items():
        parts.setdefault(".".join(name.split(".")[:2]), []).append(tensor.numel())
    return [(part, len(sizes), f"{sum(sizes):,}") for part, sizes in parts.items()]


def _csv(path: Path) -> Lines:
    import pandas as pd

    try:
        table = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"{path}: not a table of comma-separated values: {error}") from None
    numbers = table.select_dtypes("number")
    yield from _pairs(f"Table {path}", {"rows": len(table), "columns": len(table.columns)})
    rows = [
        (
            name,
            int(values.count()),
            *(float(x) for x in (values.min(), values.mean(), values.max())),
        )
        for name, values in numbers.items()
    ]
    yield from _table("Columns", ("name", "values", "smallest", "mean", "largest"), rows)
    residuals = [
        (name.removeprefix("pred_"), table[name] - table[f"true_{name.removeprefix('pred_')}"])
        for name in table.columns
        if name.startswith("pred_") and f"true_{name.removeprefix('pred_')}" in table.columns
    ]
    if residuals:
        spread = [(name, float(r.mean()), float(r.std())) for name, r in residuals]
        yield from _table("Predicted - true", ("name", "mean", "standard deviation"), spread)


def _onnx(path: Path) -> Lines:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # has no stubs

    try:
        model = onnx.load(path)
    except DecodeError as error:
        raise CorruptFileError(f"{path}: not an ONNX file: {error}") from None
    weights = model.graph.initializer
    facts: dict[str, object] = {
        "size": _size(path),
        "operator set": ", ".join(str(item.version) for item in model.opset_import),
        "nodes": len(model.graph.node),
        "parameters": f"{sum(_count(item.dims) for item in weights):,}",
        "producer": f"{model.producer_name} {model.producer_version}",
    }
    yield from _pairs(f"ONNX file {path}", facts)
    ends = [("input", item) for item in model.graph.input]
    ends += [("output", item) for item in model.graph.output]
    rows = [(side, item.name, *_tensor_type(onnx, item)) for side, item in ends]
    yield from _table("Inputs and outputs", ("side", "name", "type", "shape"), rows)
    metadata = {item.key: item.value for item in model.metadata_props}
    if metadata:
        yield ""
        yield from _pairs("Metadata", metadata)


def _count(dims: Iterable[int]) -> int:
    product = 1
    for size in dims:
        product *= size
    return product


def _tensor_type(onnx: Any, item: Any) -> tuple[str, str]:
    tensor = item.type.tensor_type
    shape = ", ".join(dim.dim_param or str(dim.dim_value) for dim in tensor.shape.dim)
    return onnx.TensorProto.DataType.Name(tensor.elem_type).lower(), f"({shape})"
