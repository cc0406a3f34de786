import re

from matplotlib.figure import Figure

from xec_pipeline.evaluation.plots.choice import DEFAULT
from xec_pipeline.evaluation.plots.energy import relative_panel
from xec_pipeline_tests.evaluation.synthetic import prediction_table


def test_energy_fit_is_in_the_title():
    panel = relative_panel(prediction_table(6_000), DEFAULT)
    ax = Figure().add_subplot()
    panel.draw(ax)
    title, terms = ax.get_title().splitlines()
    assert title == "Relative resolution vs true E"
    assert re.fullmatch(r"a=[\d.]+%/√E, b=[\d.]+%, c=[\d.]+%/E", terms)
    assert f"b={100 * panel.fit['b']:.2f}%" in terms


def test_without_a_fit_the_title_is_one_line():
    ax = Figure().add_subplot()
    relative_panel(prediction_table(200, energy_mev=52.83), DEFAULT).draw(ax)
    assert ax.get_title() == "Relative resolution vs true E"
