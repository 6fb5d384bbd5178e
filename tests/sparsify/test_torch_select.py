"""Which weights of a live model are masked: classes, names, wishes, where values are."""

import pytest

torch = pytest.importorskip("torch")

from selecting import Net, P, chosen, linear, notes  # noqa: E402
from torch import nn  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402
from nmflow.problem.pattern import Pattern  # noqa: E402
from nmflow.torch.selecting.select import choose_weights  # noqa: E402
from nmflow.training.report import LayerReport, Report  # noqa: E402


def test_plain_models_are_masked_as_they_were():
    assert chosen(linear()) == ["weight"]
    assert chosen(nn.Sequential(linear(), nn.ReLU(), linear())) == ["0.weight", "2.weight"]
    model = Net(fc1=linear(), fc2=linear(), out=linear())
    assert chosen(model) == ["fc1.weight", "fc2.weight", "out.weight"]


@pytest.mark.parametrize("name", ["fc", "head", "classifier"])
def test_the_error_says_how_to_include_a_lone_head(name):
    model = Net(**{name: linear()})
    with pytest.raises(nmflow.NmflowError, match=f"include='{name}.weight' masks it"):
        choose_weights(model, P)
    assert chosen(model, name) == [f"{name}.weight"]


def test_roles_by_name_through_wrappers():
    inner = Net(
        embed_tokens=nn.Embedding(16, 8),
        up=linear(),
        router=linear(),
        lora_A=linear(),
        patch_embed=Net(proj=nn.Conv2d(8, 8, 2)),
        lm_head=linear(16),
    )
    model = Net(module=Net(_orig_mod=inner))
    assert chosen(model) == ["module._orig_mod.up.weight"]
    short = {name.split(".")[2]: note.split(" (")[0] for name, note in notes(model).items()}
    assert short == {
        "embed_tokens": "embedding",
        "router": "router",
        "lora_A": "adapter",
        "patch_embed": "stem",
        "lm_head": "head",
    }
    everything = chosen(model, [nn.Linear, nn.Conv2d, "*embed_tokens"])
    assert len(everything) == 6


def test_weights_tied_to_an_embedding():
    model = Net(words=nn.Embedding(16, 8), up=linear(), reader=linear(16))
    model.reader.weight = model.words.weight
    assert chosen(model) == ["up.weight"]
    assert notes(model) == {"reader.weight": "tied to the embedding words.weight (dense unless"
        " included)"}  # fmt: skip
    (weight,), report = choose_weights(model, P, "reader")
    assert [site.name for site in weight.sites] == ["words.weight", "reader.weight"]
    assert "shared with words.weight" in str(report)
    assert chosen(model, "words") == ["reader.weight"]
    # Another parameter over the same memory.
    model.reader.weight = nn.Parameter(model.words.weight.data)
    assert chosen(model) == ["up.weight"]
    model.reader.weight = nn.Parameter(model.words.weight.data.clone())
    assert chosen(model) == ["up.weight", "reader.weight"]


def test_heads_that_a_model_names_itself():
    class Named(Net):
        def get_output_embeddings(self):
            return self.reader

    class Silent(Net):
        def get_output_embeddings(self):
            raise NotImplementedError

    assert chosen(Net(inner=Named(up=linear(), reader=linear()))) == ["inner.up.weight"]
    assert chosen(Silent(up=linear())) == ["up.weight"]


def test_what_include_and_exclude_take():
    model = Net(conv=nn.Conv1d(8, 8, 3), up=linear(), attention=nn.MultiheadAttention(8, 2))
    assert chosen(model, nn.Conv1d) == ["conv.weight"]
    assert chosen(model, "attention.in_proj_weight") == ["attention.in_proj_weight"]
    assert chosen(model, ["up", nn.Conv1d]) == ["conv.weight", "up.weight"]
    mixed = (nn.MultiheadAttention, "u*", lambda name, module: name.endswith("out_proj"))
    assert chosen(model, None, mixed) == ["conv.weight"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"include": nn.Conv2d}, "include class Conv2d matches no module.*; there are Linear"),
        ({"exclude": "u.weight"}, "exclude pattern 'u.weight' matches no module.*'up.weight'"),
        ({"exclude": [3]}, "exclude takes globs, classes of modules and functions .* got 3"),
        ({"include": "*experts*"}, "include pattern '[*]experts[*]' matches no weight that can be"
            " masked: experts.w1 a stack of experts of which the shapes"),
    ],
)  # fmt: skip
def test_wishes_that_match_nothing(options, message):
    model = Net(up=linear(), experts=nn.Module())
    model.experts.w1 = nn.Parameter(torch.randn(4, 8, 8))
    with pytest.raises(nmflow.NmflowError, match=message):
        choose_weights(model, P, **options)


def test_patterns_by_name():
    model = Net(a=linear(16), b=linear(16), c=linear(16))
    rows = Pattern(4, 8, "rows")
    weights, report = choose_weights(model, {"a": P, "[ab].weight": rows})
    assert [(weight.name, weight.pattern) for weight in weights] == [
        ("a.weight", P),
        ("b.weight", rows),
    ]
    assert report.skipped[0].note == "no pattern is given for it"
    assert str(report).startswith("2:4 transposable, 4:8 rows: 2 sparsified, 1 SKIPPED\n")
    assert "sparsified 4:8 rows" in str(report)
    with pytest.raises(nmflow.NmflowError, match=r"pattern 'd' matches no module .*'a'"):
        choose_weights(model, {"a": P, "d": P})


class Hook:
    """As accelerate's, in what is asked of it."""

    def __init__(self, offload, hooks=()):
        self.offload = offload
        self.hooks = hooks


def test_weights_on_the_meta_device_wait_and_offloaded_ones_are_left():
    model = Net(here=linear(), there=linear().to("meta"), away=Net(up=linear().to("meta")))
    model.there._hf_hook = Hook(False)
    model.away._hf_hook = Hook(False, [Hook(True)])
    report = nmflow.torch.sparsify(model, 2, 4).report
    assert [line.name for line in report.sparsified] == ["here.weight"]
    assert [line.name for line in report.waiting] == ["there.weight"]
    assert [line.name for line in report.skipped] == ["away.up.weight"]
    assert report.skipped[0].note.startswith("offloaded: its values are not here")
    assert str(report).endswith("64 of 216 parameters are masked (30 %); 64 wait for their values")
    assert "WAITING: its values are on the meta device" in str(report)


def test_the_report_counts_parameters():
    lines = [
        LayerReport("a.weight", (4096, 2595), "sparsified", "", 10_629_120, P),
        LayerReport("b.weight", (8, 2), "skipped", "head", 16),
    ]
    report = Report(tuple(lines), 22_713_216)
    assert str(report).splitlines()[-1] == "10.6 M of 22.7 M parameters are masked (47 %)"
    waiting = report.with_statuses({"a.weight": ("waiting", "not solved so far")})
    assert [line.status for line in waiting.layers] == ["waiting", "skipped"]
    assert waiting.waiting[0].note == "not solved so far"
    assert not waiting.sparsified
    assert str(waiting).splitlines()[-1] == (
        "0 of 22.7 M parameters are masked (0 %); 10.6 M wait for their values"
    )
    assert report.sparsified == (lines[0],)


def test_adapters_of_peft_are_left():
    peft = pytest.importorskip("peft")
    model = Net(q_proj=linear(16, 16), out=linear(16, 16))
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=8, target_modules=["q_proj"]))
    assert chosen(wrapped) == [
        "base_model.model.q_proj.base_layer.weight",
        "base_model.model.out.weight",
    ]
    assert {note.split(" (")[0] for note in notes(wrapped).values()} == {"adapter"}
