import threading
from pathlib import Path

from xec_pipeline.atomic import replacing


def test_threads_that_write_the_same_file_do_not_disturb_each_other(tmp_path: Path):
    path = tmp_path / "cache.json"
    together = threading.Barrier(2, timeout=10)
    errors: list[OSError] = []

    def write(text: str) -> None:
        try:
            with replacing(path) as partial:
                partial.write_text(text)
                together.wait()
            together.wait()
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(text,)) for text in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert path.read_text() in {"one", "two"}
    assert list(tmp_path.iterdir()) == [path]
