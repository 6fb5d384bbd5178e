"""The callback of transformers puts masks on in time, counts steps, and resumes."""

import shutil

import pytest

torch = pytest.importorskip("torch")
lightning = pytest.importorskip("lightning.pytorch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")


from callbacks import certified, same, steps  # noqa: E402

import nmflow  # noqa: E402
import nmflow.torch  # noqa: E402
from nmflow.torch.integrations.transformers import Sparsify as Trained  # noqa: E402


def bert(trial=None, seed=1):
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=32,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=8,
    )
    return transformers.BertForSequenceClassification(config)


def sentences():
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(0, 32, (32, 8), generator=generator)
    return [{"input_ids": row, "labels": row[0] % 2} for row in tokens]


def hf_trainer(folder, *callbacks, model=None, model_init=None, **options):
    arguments = transformers.TrainingArguments(
        str(folder),
        **({"save_strategy": "no", "max_steps": 8, "learning_rate": 0.01} | options),
        per_device_train_batch_size=4,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
    )
    return transformers.Trainer(
        model,
        arguments,
        train_dataset=sentences(),
        callbacks=list(callbacks),
        model_init=model_init,
    )


def logits(model):
    with torch.no_grad():
        return model.eval()(torch.stack([each["input_ids"] for each in sentences()])).logits


def test_transformers_resumes(tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 4}
    expected, undisturbed = bert(), Trained(2, 4, refresh=3)
    hf_trainer(tmp_path / "a", undisturbed, model=expected, **saving).train()
    checkpoint = tmp_path / "a" / "checkpoint-4"
    elsewhere = shutil.copytree(checkpoint, tmp_path / "copy")
    named = {"resume_from_checkpoint": str(elsewhere)}
    for folder, resumed_from, options in (("a", checkpoint, {}), ("b", elsewhere, named)):
        model, resumed = bert(seed=2), Trained(2, 4, refresh=3)
        run = hf_trainer(tmp_path / folder, resumed, model=model, **options)
        run.train(resume_from_checkpoint=str(resumed_from))
        assert steps(undisturbed) == [0, 3, 6]
        assert steps(resumed) == [0, 6]
        assert same(model.state_dict(), expected.state_dict())
    (elsewhere / "nmflow.pt").unlink()
    run = hf_trainer(tmp_path / "b", Trained(2, 4), model=bert(), **named)
    with pytest.raises(nmflow.NmflowError, match=r"no nmflow.pt in .*copy or .*checkpoint-4"):
        run.train(resume_from_checkpoint=str(elsewhere))


def test_transformers_exports(tmp_path):
    model, callback = bert(), Trained(2, 4, refresh=2, bake_at_end=True)
    run = hf_trainer(tmp_path, callback, model=model)
    state = callback.handle.sparse_state_dict()
    expected = logits(model)
    model.save_pretrained(tmp_path / "early", state_dict=state)
    load = transformers.BertForSequenceClassification.from_pretrained
    assert torch.equal(logits(load(tmp_path / "early")), expected)
    run.train()
    run.save_model(tmp_path / "late")
    late = load(tmp_path / "late")
    assert torch.equal(logits(late), logits(model))
    kept = late.bert.encoder.layer[0].intermediate.dense.weight.reshape(8, 4, 4, 4) != 0
    assert (kept.sum(1) == 2).all()
    assert (kept.sum(3) == 2).all()


def test_transformers_counts_steps_of_the_optimizer(tmp_path):
    callback = Trained(2, 4, refresh=1)
    options = {"max_steps": 3, "gradient_accumulation_steps": 2}
    hf_trainer(tmp_path, callback, model=bert(), **options).train()
    assert steps(callback) == [0, 1, 2, 3]
    assert certified(callback)


def test_transformers_new_models(tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 4, "max_steps": 4}
    callback = Trained(2, 4, refresh=2)

    def fresh():
        return bert()

    run = hf_trainer(tmp_path, callback, model_init=fresh, **saving)
    first = callback.handle
    run.train()
    assert callback.handle is not first
    assert steps(callback) == [0, 2, 4]
    with pytest.raises(nmflow.NmflowError, match="a model in place of model_init"):
        run.train(resume_from_checkpoint=True)
    model, late = bert(), Trained(2, 4, refresh=2)
    run = hf_trainer(tmp_path, model=model, max_steps=4)
    run.add_callback(late)
    run.train()
    assert steps(late) == [0, 2, 4]
