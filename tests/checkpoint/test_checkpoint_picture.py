"""The picture of a report: readable with many layers, and saved."""

import itertools

import pytest
from safetensors_files import floats, write_raw

from nmflow.checkpoint import (
    prune_checkpoint,
)
from nmflow.checkpoint.picture import draw_report, save_picture, short_labels


@pytest.fixture
def many(tmp_path):
    """A report with more layers than labels fit."""
    names = [
        f"model.layers.{i}.self_attention.some_very_long_projection.weight" for i in range(120)
    ]
    tensors = {name: floats("F32", (16, 8)) for name in names}
    source = write_raw(tmp_path / "in.safetensors", tensors)
    return prune_checkpoint(source, tmp_path / "out.safetensors", 4, 8)


def test_the_picture_is_readable(many):
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = draw_report(many)
    FigureCanvasAgg(figure).draw()
    for axes in (a for half in figure.subfigs for a in half.axes):
        assert axes.get_xlabel()
        for axis, low, high in ((axes.xaxis, "x0", "x1"), (axes.yaxis, "y0", "y1")):
            first, last = sorted(axis.get_view_interval())
            shown = [
                tick.label1 for tick in axis.get_major_ticks() if first <= tick.get_loc() <= last
            ]
            boxes = sorted((x.get_window_extent() for x in shown), key=lambda box: box.x0 + box.y0)
            assert len(boxes) >= 2
            assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
            for one, other in itertools.pairwise(boxes):
                assert getattr(one, high) <= getattr(other, low) + 1
    (legend,) = figure.subfigs[0].legends
    words = " ".join(text.get_text() for text in legend.get_texts())
    assert all(name in words for name in ("unstructured", "rows", "transposable"))
    left = figure.subfigs[0]
    assert legend.get_window_extent().x1 <= left.bbox.x1
    assert legend.get_window_extent().y1 <= left.axes[0].xaxis.label.get_window_extent().y0
    for half in figure.subfigs:
        title = half.texts[0].get_window_extent()
        assert half.bbox.x0 <= title.x0
        assert title.x1 <= half.bbox.x1
        assert all(title.y0 >= axes.title.get_window_extent().y1 - 1 for axes in half.axes)
    assert "4:8" in figure.subfigs[1].get_suptitle()


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_the_picture_is_saved(many, tmp_path, suffix):
    pytest.importorskip("matplotlib")
    path = tmp_path / "pictures" / f"p{suffix}"
    path.parent.mkdir()
    save_picture(many, path)
    starts = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
    assert path.read_bytes().startswith(starts[suffix])
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_labels_lose_what_they_share(many):
    labels = short_labels(many.layers)
    assert labels[3] == "3"
    mixed = [many.layers[0], many.layers[0]]
    assert short_labels(mixed) == ["weight", "weight"]
