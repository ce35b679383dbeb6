"""Figure 4: one bar of it, chosen by the flags, into results/; scripts/bash/explainer_comparison.sh makes all eight."""

from __future__ import annotations

import argparse

from featureinterp.cli.commands.experiment import program_parser, run_experiment_program
from featureinterp.experiment.paper.explainers import explainer_variant


def parse() -> tuple[argparse.Namespace, list[str]]:
    parser = program_parser("explainers", __doc__)
    parser.add_argument("--explainer_type", "--explainer-type", choices=("one-shot", "tree"), default="one-shot")
    for name, told in (
        ("structured_explanations", "rules with strengths instead of one sentence"),
        ("include_holistic_expressions", "also from the tokens that cause activations"),
        ("include_train_negatives", "also from similar sentences on which the feature is silent"),
    ):
        parser.add_argument(f"--{name}", f"--{name.replace('_', '-')}", action="store_true", help=told)
    return parser.parse_known_args()


def main() -> None:
    options, others = parse()
    switched_on = (
        options.structured_explanations,
        options.include_train_negatives,
        options.include_holistic_expressions,
    )
    variant = explainer_variant(options.explainer_type, *switched_on)
    run_experiment_program("explainers", options.model, ["--variants", variant.name, *others])


if __name__ == "__main__":
    main()
