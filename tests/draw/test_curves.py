"""The curves of a run as they stand on the axes, and the files they come to."""

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from isnas.draw.curves import MOST_MARKED, draw_panel, styles_of
from isnas.draw.training_curves import course, draw_course, overlay


def training(epochs, last_error=2.6):
    """The rows of a training whose training error falls to nothing, and whose test error does not."""
    return [
        {"epoch": e, "train/acc": 100.0 - 60.0 * math.exp(-e / 6), "test/acc": 100.0 - last_error - 50 * 0.9**e}
        | {"train/loss": 1.0 / (e + 1), "test/loss": 1.0}
        for e in range(epochs)
    ]


def on_axes(panel):
    """The axes on which the panel is drawn, in data coordinates."""
    axes = Figure().add_subplot()
    draw_panel(axes, panel, styles_of([series.label for series in panel.series]))
    return axes


def lines_of(axes):
    """The curves by their labels in the legend."""
    handles, labels = axes.get_legend_handles_labels()
    return {label: handle.lines[0] for handle, label in zip(handles, labels, strict=True)}


@pytest.mark.parametrize("epochs", [MOST_MARKED, MOST_MARKED + 1, 600])
def test_points_are_marked_while_they_are_few_and_every_line_has_a_name_and_a_label(epochs):
    panels = course(training(epochs))
    assert [panel.title for panel in panels] == ["accuracy", "error", "loss"]
    for panel in panels:
        axes = on_axes(panel)
        lines = lines_of(axes)
        assert list(lines) == ["train", "test"] and axes.get_ylabel() and axes.get_xlabel() == "epoch"
        marked = {line.get_marker() not in ("", "None", None) for line in lines.values()}
        assert marked == {epochs <= MOST_MARKED}
        assert [list(line.get_xdata()) for line in lines.values()] == [list(range(epochs))] * 2


def test_the_last_percent_of_the_test_error_shows():
    axes = on_axes(course(training(600))[1])
    assert axes.get_yscale() == "log"
    low, high = np.log(axes.get_ylim())
    percent = (math.log(3.6) - math.log(2.6)) / (high - low)
    assert percent > 0.05  # of the height; on a linear axis of 0 to 60 it is 0.016
    assert lines_of(axes)["test"].get_ydata()[-1] == pytest.approx(2.6)
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert {"2", "5", "10"} <= set(labels)


def test_no_error_at_all_lies_on_the_lower_edge():
    rows = [{"epoch": e, "test/acc": acc} for e, acc in enumerate([90.0, 100.0, 98.0])]
    axes = on_axes(course(rows)[1])
    assert list(lines_of(axes)["test"].get_ydata()) == [10.0, 1.0, 2.0] and axes.get_ylim()[0] == 1.0


def test_what_a_run_has_decides_on_its_panels(tmp_path):
    search = [{"epoch": 0, "valid/acc": 40.0, "arch/distance": None}, {"epoch": 1, "valid/acc": 50.0}]
    search[1]["arch/distance"] = 1e-3
    assert [panel.title for panel in course(search)] == ["accuracy", "error", "distance between recoveries"]
    fixed = [{"epoch": e, "test/acc": 40.0, "searching": float(e < 2)} for e in range(4)]
    assert {panel.mark for panel in course(fixed)} == {1.5}
    language = [{"epoch": 0, "valid/perplexity": None}, {"epoch": 1, "valid/perplexity": 90.0}]
    assert [panel.title for panel in course(language)] == ["perplexity"]
    assert draw_course([{"epoch": 0, "lr": 0.1}], tmp_path) == [] and list(tmp_path.iterdir()) == []


def test_runs_of_unequal_length_lie_over_one_another(tmp_path):
    runs = {"a": training(5), "b": training(3, 4.0), "a search": [{"epoch": 0, "valid/acc": 40.0}]}
    errors, losses = overlay(runs)
    assert (errors.title, losses.title) == ("test error", "training loss")
    assert [series.label for series in errors.series] == ["a", "b"] and list(errors.x) == [0, 1, 2, 3, 4]
    shorter = errors.series[1].y
    assert shorter[:3] == pytest.approx([4.0 + 50 * 0.9**e for e in range(3)]) and all(map(math.isnan, shorter[3:]))
    looks = [tuple(look) for look in styles_of([str(n) for n in range(18)]).values()]
    assert len(set(looks)) == 18
