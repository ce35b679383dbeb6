"""No code of a model's folder runs, and nobody is asked whether it may: each folder here would leave a mark."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import tomli
import torch
from safetensors.torch import load_file

from featureinterp.complexity import ComplexityAnalyzer
from featureinterp.errors import SubjectError
from featureinterp.llm.embedding import MINILM, minilm_folder, open_embedder
from featureinterp.llm.local.model import LocalModel, LocalModelParams
from featureinterp.subject.loading import open_tokenizer, read_config
from featureinterp.subject.model import SubjectModel
from tests.models.tiny_llms import language_model, tokenizer
from tests.programs import run_program

OPENERS = {
    "subject": lambda folder: SubjectModel.load(folder, device="cpu"),
    "simulator": lambda folder: LocalModel.load(folder, LocalModelParams(device="cpu")),
    "judge": lambda folder: ComplexityAnalyzer(f"hf:{folder}", device="cpu"),
}


class Untouchable(io.StringIO):
    """A terminal that says yes, and remembers being asked."""

    asked = False

    def readline(self, *_):
        Untouchable.asked = True
        return "y\n"

    read = readline


@pytest.fixture
def mark(tmp_path, monkeypatch):
    """A file that the code of a folder makes; neither it nor a look at the terminal may be there in the end."""
    made = tmp_path / "the code was run"
    monkeypatch.setattr(sys, "stdin", Untouchable("y\n" * 20))
    monkeypatch.setattr(Untouchable, "asked", False)
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    yield made
    assert not made.exists()
    assert not Untouchable.asked
    assert "evil" not in sys.modules


def code(mark: Path) -> str:
    """A module that can stand for a configuration, a model, a tokenizer, a module of an embedder, a generator."""
    return (
        f"open({str(mark)!r}, 'w').close()\nimport torch\n"
        "from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast\n"
        "class Config(LlamaConfig): model_type = 'evil'\nclass Model(LlamaForCausalLM): config_class = Config\n"
        "class Tokenizer(PreTrainedTokenizerFast): pass\nclass Evil(torch.nn.Module): pass\n"
        "def generate(*a, **k): pass\n"
    )


def edit(path: Path, **values: object) -> None:
    found = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**found, **values}))


@pytest.fixture
def llama(tmp_path) -> Path:
    folder = tmp_path / "llama"
    language_model("llama3").save_pretrained(folder)
    tokenizer("gpt4", "llama3").save_pretrained(folder)
    return folder


AUTO = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model", "AutoModel": "evil.Model"}
TOLD = "needs code of its own, and a model's code is never run"


@pytest.mark.parametrize("opener", OPENERS)
def test_the_code_of_an_unknown_model_is_not_run(llama, mark, opener):
    (llama / "evil.py").write_text(code(mark))
    edit(llama / "config.json", model_type="evil", architectures=["Model"], auto_map=AUTO)
    with pytest.raises(SubjectError, match=f"model '{llama}' {TOLD}"):
        OPENERS[opener](str(llama))
    with pytest.raises(SubjectError, match=TOLD):
        read_config(str(llama))


@pytest.mark.parametrize("opener", OPENERS)
def test_the_code_of_a_tokenizer_is_not_run(llama, mark, opener):
    (llama / "evil.py").write_text(code(mark))
    auto = {"AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]}
    edit(llama / "tokenizer_config.json", tokenizer_class="EvilTokenizer", auto_map=auto)
    edit(llama / "config.json", model_type="evil", auto_map={**AUTO, **auto})
    with pytest.raises(SubjectError, match=TOLD):
        OPENERS[opener](str(llama))
    with pytest.raises(SubjectError, match=TOLD):
        open_tokenizer(str(llama))


@pytest.mark.parametrize("opener", OPENERS)
def test_code_beside_a_known_model_is_passed_over(llama, mark, opener):
    (llama / "evil.py").write_text(code(mark))
    (llama / "custom_generate").mkdir()
    (llama / "custom_generate" / "generate.py").write_text(code(mark))
    edit(llama / "config.json", auto_map=AUTO)
    edit(llama / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Tokenizer", "evil.Tokenizer"]})
    OPENERS[opener](str(llama))


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self):
        return open, (self.mark, "w")


def pickled(folder: Path, mark: Path) -> None:
    """Replace a folder's weights by a pickle that opens the mark for writing."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({**weights, "bomb": Bomb(mark)}, folder / "pytorch_model.bin")


@pytest.mark.parametrize("opener", OPENERS)
def test_a_pickle_that_runs_code_is_refused_and_one_of_weights_alone_opens(llama, mark, opener):
    weights = load_file(llama / "model.safetensors")
    pickled(llama, mark)
    with pytest.raises(SubjectError, match="cannot be loaded: Weights only load failed"):
        OPENERS[opener](str(llama))
    (llama / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(SubjectError, match="cannot be loaded"):
        OPENERS[opener](str(llama))
    torch.save(weights, llama / "pytorch_model.bin")
    OPENERS[opener](str(llama))


@pytest.fixture
def embedder(tmp_path) -> Path:
    folder = tmp_path / "embedder"
    shutil.copytree(minilm_folder(), folder)
    return folder


def test_a_module_of_an_embedders_folder_is_not_imported(embedder, mark, monkeypatch):
    (embedder / "evil.py").write_text(code(mark))
    listed = json.loads((embedder / "modules.json").read_text())
    monkeypatch.syspath_prepend(str(embedder))
    monkeypatch.chdir(embedder)
    for number in range(len(listed)):
        changed = [{**each, "type": "evil.Evil"} if i == number else each for i, each in enumerate(listed)]
        (embedder / "modules.json").write_text(json.dumps(changed))
        with pytest.raises(SubjectError, match=f"sentence embedder '{embedder}' {TOLD}"):
            open_embedder(str(embedder), device="cpu")


def test_the_code_of_an_embedders_model_is_not_run(embedder, mark):
    (embedder / "evil.py").write_text(code(mark))
    edit(embedder / "sentence_bert_config.json", model_args={"trust_remote_code": True}, config_args={})
    edit(embedder / "config.json", model_type="evil", auto_map=AUTO)
    with pytest.raises(SubjectError, match=TOLD):
        open_embedder(str(embedder), device="cpu")
    edit(embedder / "config.json", model_type="bert")
    made, wanted = (open_embedder(name, device="cpu").embed(["a text"]) for name in (str(embedder), MINILM))
    np.testing.assert_array_equal(made, wanted)


def test_the_activation_of_an_embedders_dense_layer_is_not_imported(embedder, mark, monkeypatch):
    from sentence_transformers.sentence_transformer.modules import Dense

    (embedder / "evil.py").write_text(code(mark))
    monkeypatch.syspath_prepend(str(embedder))
    (embedder / "3_Dense").mkdir()
    Dense(384, 8).save(str(embedder / "3_Dense"))
    edit(embedder / "3_Dense" / "config.json", activation_function="evil.Evil")
    listed = json.loads((embedder / "modules.json").read_text())
    place = f"{Dense.__module__}.{Dense.__name__}"
    (embedder / "modules.json").write_text(
        json.dumps([*listed, {"idx": 3, "name": "3", "path": "3_Dense", "type": place}])
    )
    with pytest.raises(SubjectError, match=TOLD):
        open_embedder(str(embedder), device="cpu")


def test_an_embedders_pickle_that_runs_code_is_refused(embedder, mark):
    pickled(embedder, mark)
    with pytest.raises(SubjectError, match="cannot be loaded: Weights only load failed"):
        open_embedder(str(embedder), device="cpu")


def test_the_command_line_neither_asks_nor_runs(llama, tmp_path, mark):
    (llama / "evil.py").write_text(code(mark))
    edit(llama / "config.json", model_type="evil", auto_map=AUTO)
    (tmp_path / "corpus.txt").write_text("a text of some words\n" * 9)
    for what in (["--model-name", llama, "--sae-name", "embedded"], ["--embedder", llama]):
        words = ("records", "--dataset-name", "corpus.txt", *what, "--max-dataset-size", 5, "--max-seq-length", 4)
        ran = run_program("-m", "featureinterp.cli", *words, "--out", "data", folder=tmp_path, given="y\n" * 20)
        assert ran.returncode == 2, ran.stderr
        assert TOLD in " ".join(ran.stderr.split()) and "Traceback" not in ran.stderr
        assert "y/N" not in ran.stdout + ran.stderr


@pytest.mark.parametrize(("library", "least"), [("sentence-transformers", 6), ("datasets", 4), ("transformers", 5)])
def test_the_libraries_are_ones_that_run_no_code_of_a_folder(library, least):
    """Before 6.0 sentence-transformers trusted local folders; before 4.0 datasets ran loading scripts."""
    declared = tomli.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["dependencies"]
    [bound] = [each.partition(">=")[2] for each in declared if each.partition(">=")[0] == library]
    assert int(bound.split(".")[0]) >= least
