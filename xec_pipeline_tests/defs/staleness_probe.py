"""`python staleness_probe.py PACKAGE FOLDER...`: what is stale in each folder, as lines of JSON.

Every folder has its own registry, data and instance; the package is that in the folder PACKAGE.
Each is asked in a process of its own, forked from this one, which has imported the libraries and
read the package's sources already. The file `probe.json` of a folder says what happens before the
question: {"code": {"evaluation/plots/energy": "ADDED = 1"}, "make": [["mae/encoder", "demo"]],
"versions": {"train_mae": "new"}}; edits of the code are taken back afterwards.
"""

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg


def main(package: Path, folders: list[str]) -> None:
    sys.path.insert(0, str(package))
    warm_up()
    for folder in folders:
        asked = json.loads((Path(folder) / "probe.json").read_text())
        with edited(package / "xec_pipeline", asked["code"]):
            sys.stdout.flush()
            child = os.fork()
            if child == 0:
                answer(Path(folder), asked)
            _, ended = os.waitpid(child, 0)
        if ended != 0:
            sys.exit(f"{folder}: no answer")


def warm_up() -> None:
    """Import what no change concerns; assets and partitions are for the children."""
    import xec_pipeline.evaluation.side_by_side
    from xec_pipeline.defs import code

    assert xec_pipeline.evaluation.side_by_side.__file__.startswith(sys.path[0])
    for found in vars(code).values():
        if isinstance(found, code.Code):
            found.version()
    with dg.instance_for_test():
        pass


@contextlib.contextmanager
def edited(package: Path, code: Mapping[str, str]) -> Iterator[None]:
    """Append lines to modules until the block ends."""
    before = {package / f"{module}.py": line for module, line in code.items()}
    texts = {path: path.read_text() for path in before}
    for path, line in before.items():
        path.write_text(f"{texts[path]}\n{line}\n")
    try:
        yield
    finally:
        for path, text in texts.items():
            path.write_text(text)


def answer(folder: Path, asked: Mapping[str, object]) -> None:
    """Write the answer and leave this process."""
    status = 1
    try:
        look(folder, asked)
        status = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def look(folder: Path, asked) -> None:
    os.chdir(folder)
    os.environ["DAGSTER_HOME"] = str(folder)
    os.environ["FAKE_VERSIONS"] = json.dumps(asked["versions"])
    fake_chain = importlib.import_module("fake_chain")  # beside this file, whatever the folder
    with dg.DagsterInstance.get() as instance:
        if asked["make"]:
            make = fake_chain.fake_make(instance, [])
            for key, partition in asked["make"]:
                make([(dg.AssetKey.from_user_string(key), partition)])
        found = fake_chain.look(instance)
    sys.stdout.write(f"\n{json.dumps({'folder': str(folder), 'status': found})}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
