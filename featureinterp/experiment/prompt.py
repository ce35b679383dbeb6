"""Exact proposer prompts for a feature of a data folder."""

from __future__ import annotations

from featureinterp.core import Attempt
from featureinterp.dataset.folder import DataFolder
from featureinterp.errors import InputError
from featureinterp.experiment.result import FeatureResult
from featureinterp.experiment.run import FeatureRunParams
from featureinterp.explainer.llm.prompts import as_text, proposal_messages, revision_messages
from featureinterp.explainer.params import OneShotExplainerParams
from featureinterp.record import SAEIndexRecord


def prompt_text(
    record: SAEIndexRecord, records: FeatureRunParams, params: OneShotExplainerParams, revised: Attempt | None = None
) -> str:
    """Return the prompt for a first explanation, or for a revision of an attempt.

    Args:
        record: records of the latent.
        records: size and sources of the splits.
        params: structured or not, the rule cap, and whether activation-causing tokens are shown.
        revised: a revised attempt of a run.

    Raises:
        InputError: if the attempt was never revised, or activation-causing tokens were not measured.
    """
    train = record.splits(records).train
    if revised is None:
        return as_text(proposal_messages(train, params))
    if revised.explanation is None or revised.feedback is None:
        raise InputError(f"attempt {revised.number} was not revised in this run", "name one that has children")
    return as_text(revision_messages(train, revised.explanation, revised.feedback, params))


def find_record(folder: DataFolder, layer: int, latent: int) -> SAEIndexRecord:
    """Return the records of a latent of a layer.

    Raises:
        InputError: if the folder has no such layer, or the latent is dead or rare.
        DataFolderError: if it has no records.
    """
    return folder.index_record(folder.hook_of(layer), latent)


def find_attempt(result: FeatureResult, number: int) -> Attempt:
    """Return an attempt of a feature's search.

    Raises:
        InputError: if there is no attempt of that number.
    """
    if not 0 <= number < len(result.attempts):
        last = len(result.attempts) - 1
        raise InputError(f"the feature has no attempt {number}", f"they are numbered from 0 to {last}")
    return result.attempts[number]
