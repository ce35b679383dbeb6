"""SAEs that learn with sparse gradients: autograd's numbers, SAELens's format, and runs that can be killed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

from featureinterp.errors import InputError
from featureinterp.subject.embedded import is_held_out
from featureinterp.subject.sae import load_sae
from training.export_smollm2 import write
from training.sae_learner import HeldOut, LayerLearner, LearningSpec, batch_windows, cut
from training.splicing import loss_after, rebuilt, spliced_loss
from training.topk_learning import TopKSae, fresh_sae, geometric_median, in_own_units, learn
from training.train_smollm2_saes import Run, export, open_windows, streams, train

SPEC = LearningSpec(
    layers=(0, 2), n_latents=64, k=4, window=8, windows_per_step=4, warmup_steps=2, silent_after=2, k_aux=8
)  # fmt: skip
STEPS = 8


def random_sae(n_latents=40, width=12, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    shapes = ((n_latents, width), (n_latents,), (n_latents, width), (width,))
    return TopKSae(*(torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes))


def dense_top(pre, k):
    """All but the k largest of each row as 0, and none below 0."""
    values, places = pre.topk(k)
    return torch.zeros_like(pre).scatter(1, places, values.relu())


@pytest.mark.parametrize("n_silent", [0, 3, 20])
def test_gradients_are_those_of_autograd_on_the_dense_formula(n_silent):
    sae, x = random_sae(), torch.randn(30, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    silent = torch.arange(40) < n_silent
    w_enc, b_enc, w_dec, b_dec = (tensor.clone().requires_grad_() for tensor in sae.tensors().values())

    pre = (x - b_dec) @ w_enc.T + b_enc
    error = dense_top(pre, 5) @ w_dec + b_dec - x
    loss = error.square().sum() / len(x)
    if n_silent:
        # What is missing is a constant; the decoder's bias learns here only by the encoder's input.
        missing = dense_top(pre[:, silent], min(6, n_silent)) @ w_dec[silent] + error.detach()
        loss = loss + 0.25 * missing.square().sum() / len(x)
    loss.backward()

    made = learn(sae, x, k=5, silent=silent, k_aux=6, aux_share=0.25).gradients
    for name, wanted in zip(made.tensors(), (w_enc, b_enc, w_dec, b_dec), strict=True):
        torch.testing.assert_close(getattr(made, name), wanted.grad, msg=lambda told, n=name: f"{n}: {told}")


def test_the_geometric_median_is_the_point_of_least_distance():
    points = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).double()
    points[0] += 1000

    def distance(point):
        return float((points - point).norm(dim=1).sum())

    median = geometric_median(points)
    steps = torch.randn(200, 3, generator=torch.Generator().manual_seed(1)).double()
    assert all(distance(median) <= distance(median + size * step) for step in steps for size in (0.1, 0.01, 1e-3))


def test_the_learning_rate_rises_stays_and_falls_to_zero():
    spec = LearningSpec(lr=1.0, warmup_steps=10, decay_fraction=0.2)
    rates = [spec.learning_rate(step, 100) for step in range(101)]
    assert rates[:3] == [0.1, 0.2, pytest.approx(0.3)]
    assert set(rates[9:81]) == {1.0}
    assert rates[81:] == pytest.approx([(100 - step) / 20 for step in range(81, 101)])


def test_an_epoch_takes_every_window_once_and_another_epoch_another_order():
    windows = torch.arange(13)[:, None]
    epochs = [torch.cat([batch_windows(3 * epoch + i, windows, SPEC) for i in range(3)]) for epoch in range(2)]
    assert all(len(set(epoch.flatten().tolist())) == 12 for epoch in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()


def test_windows_stay_in_documents_and_hold_no_special_token():
    found = cut([[5, 6, 7, 8, 9], [1], [3, 2, 4, 4, 4]], length=2, bos=0, special=frozenset({2}))
    assert found.tolist() == [[0, 5, 6], [0, 7, 8], [0, 4, 4]]


@pytest.fixture(scope="module")
def stream():
    """Residual stream [6, 9, 12] with BOS in front and one token of massive norm."""
    made = torch.randn(6, 9, 12, generator=torch.Generator().manual_seed(5)) + 2
    made[:, 0] *= 1000
    made[2, 4] *= 100
    return made


@pytest.fixture
def learner(stream):
    return LayerLearner.fresh(stream, 0, replace(SPEC, n_latents=40))


def test_held_out_figures_are_those_of_each_token_without_bos_and_massive_ones(stream, learner):
    sums = HeldOut()
    sums.add(learner, stream[:2], k=3)
    sums.add(learner, stream[2:], k=3)

    sae, active, missed, rows, fired = learner.exported(), 0, 0.0, [], set()
    for x in stream[:, 1:].flatten(0, 1):
        if x.norm() > 100:
            continue
        pre = (sae.w_enc @ (x - sae.b_dec) + sae.b_enc).tolist()
        best = [j for j in sorted(range(40), key=lambda j: -pre[j])[:3] if pre[j] > 0]
        made = sae.b_dec + sum((pre[j] * sae.w_dec[j] for j in best), torch.zeros(12))
        active, missed, fired = active + len(best), missed + float((x - made).square().sum()), fired | set(best)
        rows.append(x)
    kept = torch.stack(rows)
    figures = sums.figures()
    assert figures["tokens"] == len(rows) == 6 * 8 - 1
    assert figures["l0"] == pytest.approx(active / len(rows))
    explained = 1 - missed / float((kept - kept.mean(dim=0)).square().sum())
    assert figures["variance_explained"] == pytest.approx(explained, abs=1e-5)
    assert figures["silent"] == pytest.approx(1 - len(fired) / 40)


def test_own_units_rebuild_what_the_scaled_sae_rebuilds(stream, learner, tmp_path):
    export({3: learner}, tmp_path, replace(SPEC, n_latents=40))
    sae = load_sae(str(tmp_path), "layer_{layer}", 3, device="cpu")
    assert (sae.hook_name, sae.prepend_bos) == ("blocks.3.hook_resid_post", True)
    wanted = rebuilt(learner, stream, SPEC.k)
    torch.testing.assert_close(sae.decode(sae.encode(stream))[0, 1:], wanted[0, 1:], rtol=1e-4, atol=1e-4)
    assert (wanted[:, 0] == stream[:, 0]).all()
    assert (wanted[2, 4] == stream[2, 4]).all()
    norms = in_own_units(learner.sae, learner.scale).w_dec.norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(40))


def test_silent_latents_come_back(stream):
    spec = replace(SPEC, n_latents=40, silent_after=2, aux_share=1.0)
    learner = LayerLearner.fresh(stream, 0, spec)
    with torch.no_grad():
        learner.sae.w_enc[:20] *= 0.01  # never among the strongest
    learner.step(stream, 1e-3, spec)
    learner.step(stream, 1e-3, spec)
    assert learner.dead(spec) >= 0.5
    for _ in range(300):
        learner.step(stream, 1e-2, spec)
    assert learner.dead(spec) < 0.25


@pytest.fixture
def folder(tmp_path: Path, tiny_subject):
    """Run folder with gathered documents."""
    (tmp_path / "text").mkdir()
    documents = [
        f"Document {n} says that {n} times {n + 1} is {n * (n + 1)}, and no more than that." for n in range(150)
    ]
    (tmp_path / "text" / "documents.json").write_text(json.dumps(documents))
    return tmp_path


def test_held_out_windows_come_from_held_out_documents(folder, tiny_subject):
    documents = json.loads((folder / "text" / "documents.json").read_text())
    model = tiny_subject.model
    windows = open_windows(folder, model, SPEC)
    for name, held_out in (("train", False), ("held_out", True)):
        texts = [text for text in documents if is_held_out(text) == held_out]
        wanted = cut(model.tokenize(texts), SPEC.window, model.bos_token_id, model.special_token_ids)
        assert len(wanted)
        assert windows[name].tolist() == wanted.tolist()


def test_a_killed_run_ends_with_the_numbers_of_one_that_was_not(folder, tiny_subject, tmp_path_factory):
    model = tiny_subject.model
    whole = Run(model, folder, SPEC)
    train(whole, STEPS, checkpoint_seconds=1e9)
    wanted = load_file(folder / "checkpoint.safetensors")

    other = tmp_path_factory.mktemp("killed")
    (other / "windows.safetensors").write_bytes((folder / "windows.safetensors").read_bytes())
    killed = Run(model, other, SPEC)
    for _ in range(3):
        killed.advance(STEPS)
    killed.keep()
    killed.advance(STEPS)  # lost: no checkpoint follows
    again = Run(model, other, SPEC)
    assert again.step == 3
    train(again, STEPS, checkpoint_seconds=1e9)
    made = load_file(other / "checkpoint.safetensors")
    assert made.keys() == wanted.keys()
    assert all(torch.equal(made[name], wanted[name]) for name in wanted)


def test_a_checkpoint_of_another_run_is_refused(folder, tiny_subject):
    run = Run(tiny_subject.model, folder, SPEC)
    run.keep()
    with pytest.raises(InputError, match="is of another run"):
        Run(tiny_subject.model, folder, replace(SPEC, k=5))


def test_the_spliced_loss_is_that_of_the_changed_stream(folder, tiny_subject):
    model, last = tiny_subject.model, tiny_subject.model.n_layers - 1
    spec = replace(SPEC, layers=(last,))
    windows = open_windows(folder, model, spec)["train"][:5]
    (stream,) = streams(model, windows, spec).values()
    learner = LayerLearner.fresh(stream.clone(), last, spec)
    language_model = model.language_model

    def loss(changed):
        logits = language_model.lm_head(language_model.transformer.ln_f(changed))
        return float(cross_entropy(logits[:, :-1].flatten(0, 1), windows[:, 1:].long().flatten()))

    with torch.no_grad():
        plain = language_model.transformer.h[last]
        caught = []
        handle = plain.register_forward_hook(
            lambda _, __, out: caught.append(out[0] if isinstance(out, tuple) else out)
        )
        language_model(input_ids=windows.long())
        handle.remove()
        found = spliced_loss(model, learner, last, windows, spec.k)
        silent = caught[0].clone()
        silent[:, 1:] = 0
        assert found.clean == pytest.approx(loss(caught[0]), abs=1e-5)
        assert found.spliced == pytest.approx(loss(rebuilt(learner, caught[0], spec.k)), abs=1e-5)
        assert found.zeroed == pytest.approx(loss(silent), abs=1e-5)
    assert loss_after(model, windows, last, lambda x: x, batch=2) == pytest.approx(found.clean, abs=1e-5)


def test_a_fresh_sae_begins_with_unit_rows_and_equal_matrices():
    sae = fresh_sae(torch.randn(20, 6), 30, torch.Generator().manual_seed(0))
    torch.testing.assert_close(sae.w_dec.norm(dim=1), torch.ones(30))
    assert torch.equal(sae.w_enc, sae.w_dec)
    assert sae.w_enc.data_ptr() != sae.w_dec.data_ptr()


def test_an_export_holds_float16_weights_and_a_card_of_their_figures(folder, tiny_subject, tmp_path):
    model = tiny_subject.model
    (folder / "text" / "sources.json").write_text(json.dumps([{"package": "tales"}]))
    run = Run(model, folder, SPEC)
    train(run, STEPS, checkpoint_seconds=1e9)
    write(run, tmp_path / "package")
    card = json.loads((tmp_path / "package" / "card.json").read_text())
    assert card["sources"] == [{"package": "tales"}]
    assert card["training_tokens"] == STEPS * 4 * 8
    for layer in SPEC.layers:
        weights = load_file(tmp_path / "package" / "saes" / f"layer_{layer}" / "sae_weights.safetensors")
        assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
        sae = load_sae(str(tmp_path / "package" / "saes"), "layer_{layer}", layer, device="cpu")
        kept = streams(model, run.held_out, SPEC)[layer][:, 1:].flatten(0, 1)
        kept = kept[kept.norm(dim=1) <= run.learners[layer].norm_limit]
        missed = float((sae.decode(sae.encode(kept)) - kept).square().sum())
        explained = 1 - missed / float((kept - kept.mean(dim=0)).square().sum())
        figures = card["held_out"][f"layer_{layer}"]
        assert figures["variance_explained"] == pytest.approx(explained, abs=1e-4)
        assert figures["tokens"] == len(kept)
