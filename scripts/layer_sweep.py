"""The layer sweep: all attempts of the tree with train, valid and test scores and complexities, into results/."""

from __future__ import annotations

from featureinterp.cli.commands.experiment import program_parser, run_experiment_program

EXPERIMENT = "layers"


def main() -> None:
    options, others = program_parser(EXPERIMENT, __doc__).parse_known_args()
    run_experiment_program(EXPERIMENT, options.model, others)


if __name__ == "__main__":
    main()
