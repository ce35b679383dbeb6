"""Subjects that many tests share; loading them takes seconds, so each is loaded once."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of torch, here and in the programs that tests start

import numpy as np
import pytest
import torch
from hypothesis import settings

settings.register_profile("suite", deadline=None)  # how long a call takes depends on what else the machine does
settings.load_profile("suite")

GOLDEN_DATA = Path(__file__).parent / "golden" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with slow tests first: begun last, each would run alone while other processes have nothing left."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tiny tensors are slower on several threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """No test finds the embeddings of another session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("featureinterp.dataset.retrieval.embeddings.CACHE", tmp_path_factory.mktemp("cache"))
        yield


@pytest.fixture(scope="session")
def golden_data():
    """Folder of reference numbers, models and SAEs."""
    return GOLDEN_DATA


@pytest.fixture(scope="session")
def golden_activations(golden_data):
    """`tokens` int32 [512, 33] with BOS, and the original's activations of latents 0..19 of `tiny_subject`."""
    return dict(np.load(golden_data / "activations_layer1.npz"))


@pytest.fixture(scope="session")
def tiny_subject():
    """GPT-2 architecture (4 layers, width 128) with random weights, and a standard SAE of 2048 latents after layer 1.

    The residual stream is centred: the reference activations were computed so.
    """
    from featureinterp.subject.model import SubjectModel
    from featureinterp.subject.sae import load_sae
    from featureinterp.subject.subject import Subject

    model = SubjectModel.load(str(GOLDEN_DATA / "gpt2-tiny"), device="cpu", centre_residual=True)
    sae = load_sae(str(GOLDEN_DATA / "sae"), "layer_{layer}", 1, device="cpu")
    return Subject(model, {sae.hook_name: sae})


@pytest.fixture(scope="session")
def embedded_subject():
    """The model and SAEs that ship with the package."""
    from featureinterp.subject.subject import open_subject

    return open_subject("embedded", "embedded", device="cpu")
