"""Explain one feature and test the explanation: `python examples/explain_a_feature.py RECORD.json`.

RECORD.json is a latent's record as `featureinterp records` (or the original) writes it, such as
`data/python-docs_embedded/records/blocks.3.hook_resid_post/17.json`. No model is loaded: the record is all it takes.
"""

import argparse
import asyncio
from pathlib import Path

from featureinterp.codec import decode_index_record
from featureinterp.experiment.run import why_none
from featureinterp.explainer import TreeExplainer, TreeExplainerParams
from featureinterp.record import ComplementaryRecordSource, SplitParams
from featureinterp.scoring import simulate_and_score
from featureinterp.simulator import LexicalSimulatorFactory


async def explain(path: Path) -> None:
    record = decode_index_record(path.read_bytes(), str(path))

    # Each split holds sentences the feature fires on and similar ones on which it is silent.
    similar = (ComplementaryRecordSource.SIMILAR_NEGATIVE,)
    splits = record.splits(SplitParams(train_sources=similar, valid_sources=similar, test_sources=similar))

    # The explainer proposes from train, revises from its errors there, and chooses on valid.
    simulator_factory = LexicalSimulatorFactory()
    explainer = TreeExplainer("lexical", simulator_factory, TreeExplainerParams(depth=2, rule_cap=5))
    found = await explainer.generate_explanations(splits.train, splits.valid)
    if not found.explanations:
        print(why_none(found.trace))
        return
    best = found.explanations[0]
    print(f"{best}\n\nbest of {len(found.trace)} attempts")

    # The simulator says what the words predict on sentences that nobody has looked at yet.
    scored = await simulate_and_score(simulator_factory(best), splits.test)
    print(f"correlation on {scored.scores.n_sentences} test sentences: {scored.scores.correlation}")
    print(f"false positives per silent sentence: {scored.scores.false_positives_per_sentence}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("record", type=Path, help="a latent's record, JSON")
    asyncio.run(explain(parser.parse_args().record))
