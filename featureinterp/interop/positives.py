"""The windows of a result that its feature fires on: what other tools show of a feature."""

from __future__ import annotations

from featureinterp.experiment.result import FeatureResult
from featureinterp.record import ActivationRecord


def positives_of(result: FeatureResult) -> list[ActivationRecord]:
    """Return a feature's positives of train and test, each window once, the most active first.

    Complementary windows are left out even where the feature fires on them: they were chosen for another reason.
    """
    test = [sequence.record for sequence in result.test_sequences if sequence.record.source is None]
    unique = {record.dataset_index: record for record in (*test, *result.train_positives) if record.is_active}
    return sorted(unique.values(), key=lambda record: (-max(record.expressions), record.dataset_index))
