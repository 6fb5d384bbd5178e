"""Small Hugging Face folders to convert, and what is counted of them."""

import random

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("rich")

_TEXT = (
    "a the old new small big red blue cat dog house tree river road sat ran slept stood on under"
    " beside behind and then while because it he she they was were warm cold"
)
WORDS = _TEXT.split()
SPECIAL = ["[PAD]", "[UNK]", "[EOS]"]


def tokenizer(**options):
    from tokenizers import Tokenizer, models, pre_tokenizers

    numbers = {word: k for k, word in enumerate([*SPECIAL, *WORDS])}
    plain = Tokenizer(models.WordLevel(numbers, "[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    named = {"unk_token": "[UNK]", "eos_token": "[EOS]"} | options
    return transformers.PreTrainedTokenizerFast(tokenizer_object=plain, **named)


def bert():
    torch.manual_seed(1)
    config = transformers.BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
    )
    return transformers.BertForSequenceClassification(config)


def gpt2():
    torch.manual_seed(2)
    config = transformers.GPT2Config(
        vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=24, eos_token_id=2
    )
    return transformers.GPT2LMHeadModel(config)


def llama():
    torch.manual_seed(3)
    config = transformers.LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
    )
    return transformers.LlamaForCausalLM(config).to(torch.bfloat16)


MODELS = {"bert": bert, "gpt2": gpt2, "llama": llama}


def save(folder, name="bert", **options):
    """The folder of a model; only that of BERT has a token to pad with."""
    MODELS[name]().save_pretrained(folder)
    padding = {"pad_token": "[PAD]"} if name == "bert" else {}
    tokenizer(**padding | options).save_pretrained(folder)
    return folder


def sentences(count, seed=0):
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=chance.randint(3, 12))) for _ in range(count)]


def weights_of(folder):
    """All tensors in a folder's files, by name."""
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def is_transposable(weight, n, m):
    """Counted group by group, both ways."""
    rows, columns = weight.shape
    kept = weight != 0
    return all(
        kept[i, j : j + m].sum() <= n for i in range(rows) for j in range(0, columns, m)
    ) and all(kept[i : i + m, j].sum() <= n for i in range(0, rows, m) for j in range(columns))
