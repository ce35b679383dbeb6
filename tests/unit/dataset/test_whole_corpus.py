"""The corpus as a whole: texts of its tokens, and exact scores beside estimated ones."""

from __future__ import annotations

import asyncio
import shutil

import numpy as np
import pytest

from featureinterp.core import CorpusTokens, Rule, StructuredExplanation
from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.layout import Layout
from featureinterp.errors import DataFolderError
from featureinterp.experiment.result import FeatureKey
from featureinterp.experiment.scores.corpus import NO_SAMPLE, Contest, WholeCorpus, corpus_scores
from featureinterp.record import SAEIndexRecord
from featureinterp.scoring import score_sequences, simulate_records
from featureinterp.scoring.baselines import best_table, fit_tables
from featureinterp.simulator.lexical import EmbeddingMemory, LexicalSimulatorFactory
from featureinterp.subject.subject import Subject

EMBEDDINGS = EmbeddingMemory()
WORDS = StructuredExplanation((Rule("any token right after punctuation", 5), Rule("the words 'the', 'of'", 2)))
FREE_TEXT = StructuredExplanation.from_text("words about geology")


def texts_of(folder: DataFolder) -> list[tuple[str, ...]]:
    corpus = folder.corpus_tokens()
    assert corpus is not None
    return [tuple(corpus.strings[int(i)] for i in row) for row in corpus.ids]


def contest_of(record: SAEIndexRecord, explanation: StructuredExplanation) -> Contest:
    splits = record.splits()
    simulator = LexicalSimulatorFactory(EMBEDDINGS)(explanation)
    best = asyncio.run(best_table(splits.train, splits.valid, explanation))
    return Contest(explanation, simulator, fit_tables([*splits.train, *splits.valid], explanation), best)


def features(folder: DataFolder) -> list[tuple[FeatureKey, SAEIndexRecord]]:
    layers = dict(zip(folder.hook_names, folder.layers, strict=True))
    return [
        (FeatureKey(hook, layers[hook], latent), folder.index_record(hook, latent))
        for hook in folder.hook_names
        for latent, report in folder.latent_report(hook).items()
        if report.status == "ok"
    ]


def test_the_corpus_is_read_as_the_strings_of_its_tokens(folder: DataFolder, two_layers: Subject):
    rows = folder.windows().text_tokens
    assert texts_of(folder) == [tuple(two_layers.model.token_strings(row)) for row in rows]
    assert isinstance(folder.corpus_tokens(), CorpusTokens)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"ids": [1], "texts": []}', b'{"ids": [1], "texts": ["a"]}'])
def test_texts_that_are_damaged_or_of_another_corpus_are_refused(folder: DataFolder, tmp_path, content):
    copy = shutil.copytree(folder.path, tmp_path / "copy")
    Layout(copy).token_texts.write_bytes(content)
    with pytest.raises(DataFolderError, match="token_texts.json"):
        DataFolder.open(copy).corpus_tokens()
    Layout(copy).token_texts.unlink()
    assert DataFolder.open(copy).corpus_tokens() is None


def test_exact_scores_are_those_of_every_window_as_a_record(folder: DataFolder):
    corpus, texts = WholeCorpus(folder, EMBEDDINGS), texts_of(folder)
    key, record = features(folder)[0]
    contest = contest_of(record, WORDS)
    found = asyncio.run(corpus_scores(record, key, contest, corpus))
    windows = folder.activation_records(key.hook_name, key.latent, range(len(texts)), lambda ids: list(map(str, ids)))
    known = [
        type(one)(text, one.expressions, (), one.dataset_index, one.max_expression, source=one.source)
        for one, text in zip(windows, texts, strict=True)
    ]
    ours = score_sequences(asyncio.run(simulate_records(contest.simulator, known)), intervals=False).scores
    assert found.is_exact
    for name in ("correlation", "precision", "recall", "f1", "iou", "auroc", "average_precision"):
        assert float(getattr(found.scores, name)) == pytest.approx(float(getattr(ours, name)), rel=1e-6), name
    assert float(found.scores.false_positives_per_sentence) == pytest.approx(float(ours.false_positives_per_sentence))
    for name, table in contest.tables.items():
        theirs = score_sequences(asyncio.run(simulate_records(table, known)), intervals=False).scores.correlation
        assert float(found.tables[name]) == pytest.approx(float(theirs), rel=1e-6), name
    assert float(found.margin) == pytest.approx(float(ours.correlation) - float(found.tables[contest.best]), abs=1e-6)


def test_estimates_from_drawn_windows_agree_with_the_exact_scores(folder: DataFolder):
    corpus = WholeCorpus(folder, EMBEDDINGS)
    covered: list[bool] = []
    for key, record in features(folder):
        contest = contest_of(record, WORDS)
        exact = asyncio.run(corpus_scores(record, key, contest, corpus)).scores.correlation
        drawn = asyncio.run(corpus_scores(record, key, contest, None))
        estimate = drawn.scores.correlation
        assert not drawn.is_exact
        if exact.value is not None and estimate.ci_low is not None and estimate.ci_high is not None:
            covered.append(estimate.ci_low <= exact.value <= estimate.ci_high)
    assert len(covered) >= 8 and np.mean(covered) >= 0.8


def test_free_text_is_scored_on_drawn_windows(folder: DataFolder):
    key, record = features(folder)[0]
    found = asyncio.run(corpus_scores(record, key, contest_of(record, FREE_TEXT), WholeCorpus(folder, EMBEDDINGS)))
    assert not found.is_exact and found.scores.n_sentences > 0


def test_records_without_a_sample_say_so(folder: DataFolder):
    key, record = features(folder)[0]
    older = SAEIndexRecord(
        record.id, record.max_expression, record.max_holistic_expression, record.most_act_records,
        record.random_records, record.random_no_act_records, record.similar_records, record.similar_no_act_records,
    )  # fmt: skip
    found = asyncio.run(corpus_scores(older, key, contest_of(older, WORDS), None))
    assert found.margin.reason == found.scores.correlation.reason == NO_SAMPLE
