"""What other tools show of a feature: the windows that it fires on, and its explanation as one line."""

from __future__ import annotations

from featureinterp.core import StructuredExplanation
from featureinterp.experiment.result import FeatureResult
from featureinterp.record import ActivationRecord


def positives_of(result: FeatureResult) -> list[ActivationRecord]:
    """Return a feature's positives of train and test, each window once, the most active first.

    Complementary windows are left out even where the feature fires on them: they were chosen for another reason.
    """
    test = [sequence.record for sequence in result.test_sequences if sequence.record.source is None]
    unique = {record.dataset_index: record for record in (*test, *result.train_positives) if record.is_active}
    return sorted(unique.values(), key=lambda record: (-max(record.expressions), record.dataset_index))


def one_sentence(explanation: StructuredExplanation) -> str:
    """Return an explanation in one line, each rule with its strength where there are several."""
    if len(explanation.rules) == 1:
        return explanation.rules[0].activates_on
    return "; ".join(f"{rule.activates_on} ({rule.strength} of 5)" for rule in explanation.rules)
