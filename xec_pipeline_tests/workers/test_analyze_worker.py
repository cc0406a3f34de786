import subprocess
import sys

import pytest

from xec_pipeline.__main__ import main as xec
from xec_pipeline.errors import ConfigError
from xec_pipeline.evaluation.masked_flags import labelled
from xec_pipeline.evaluation.masked_table import write_masked_table
from xec_pipeline.workers import analyze
from xec_pipeline.workers.pipes import Report
from xec_pipeline_tests.evaluation.synthetic_masked import masked_metadata, masked_rows


class Told(Report):
    """A report that keeps what it is told."""

    def __init__(self):
        super().__init__(rank=0)
        self.results = []

    def result(self, metadata, data_version):
        self.results.append((metadata, data_version))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rows = masked_rows(40, 40)
    path = tmp_path_factory.mktemp("masked") / "predictions.root"
    return write_masked_table(path, [rows], masked_metadata(rows))


def test_the_worker_reports_main_numbers_and_a_version(table, tmp_path, capsys):
    versions = []
    for folder in ("first", "second"):
        told = Told()
        arguments = [str(table), "--output", str(tmp_path / folder), "--no-plots"]
        analyze.work(analyze.build_parser().parse_args(arguments), told)
        ((metadata, version),) = told.results
        versions.append(version)
        assert metadata["model_vs_mean_100_to_300_photons_percent"] == pytest.approx(5, abs=0.7)
        assert metadata["recovery"]["raw_value"].startswith("### Relative error on the inner")
        assert metadata["n_files"] == 8
    assert versions[0] == versions[1]
    assert "toy detector" in capsys.readouterr().out


def test_the_command_prints_the_table_and_the_files(table, tmp_path, capsys):
    arguments = ["analyze", f"run={table}", "--output_dir", str(tmp_path), "--no_plots"]
    assert xec([*arguments, "--min_photons", "500"]) == 0
    out = capsys.readouterr().out
    assert "500 - 1000" in out
    assert "100 - 300" not in out
    assert str(tmp_path / "recovery_table_wide.txt") in out


def test_failure_is_one_line_and_a_status(table, tmp_path, capsys):
    missing = table.with_name("prediction.root")
    assert xec(["analyze", str(missing), "--output", str(tmp_path)]) == 2
    assert "did you mean 'predictions.root'?" in capsys.readouterr().err
    assert analyze.main([str(missing), "--output", str(tmp_path)]) == 2
    with pytest.raises(SystemExit):
        xec(["analyze", str(table), "--output", str(tmp_path), "--min_photons", "-1"])
    assert "-1 is not a number above zero" in capsys.readouterr().err


def test_files_have_labels(tmp_path):
    odd = tmp_path / "a=b.root"
    odd.write_bytes(b"")
    first, second = tmp_path / "x" / "p.root", tmp_path / "y" / "p.root"
    assert labelled([f"one={first}", str(second)]) == {"one": first, "p": second}
    assert labelled([str(first), str(second)]) == {"p": first, "y": second}
    with pytest.raises(ConfigError, match="label 'a=b' may hold letters"):
        labelled([str(odd)])
    assert labelled([f"c={odd}"]) == {"c": odd}
    with pytest.raises(ConfigError, match="label 'one' stands for"):
        labelled([f"one={first}", f"one={second}"])


def test_the_analysis_never_imports_torch():
    code = (
        "import sys, xec_pipeline.workers.analyze; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'onnxruntime', 'dagster')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
