import difflib

from xec_pipeline_tests.defs.snapshot import FILE, RENEW, text


def test_graph_is_the_one_that_was_looked_at():
    kept, present = FILE.read_text(), text()
    difference = difflib.unified_diff(
        kept.splitlines(), present.splitlines(), FILE.name, "present", lineterm="", n=2
    )
    assert kept == present, "\n".join([f"if this is what you want: {RENEW}", *difference])
