"""Figure 5: rule caps from 1 to 5, into results/; one layer with --layer_index, else 8 evenly spaced ones."""

from __future__ import annotations

import argparse

from featureinterp.cli.commands.experiment import program_parser, run_experiment_program


def parse() -> tuple[argparse.Namespace, list[str]]:
    parser = program_parser("polysemanticity", __doc__)
    parser.add_argument("--layer_index", "--layer-index", type=int, help="this layer only")
    return parser.parse_known_args()


def main() -> None:
    options, others = parse()
    layer = [] if options.layer_index is None else ["--layers", str(options.layer_index)]
    run_experiment_program("polysemanticity", options.model, [*layer, *others])


if __name__ == "__main__":
    main()
