"""The layer sweep: all attempts of the tree with train, valid and test scores and complexities, into results/."""

from __future__ import annotations

import argparse

from featureinterp.cli.experiment import MODELS, run_experiment


def parse() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="Other options go to `featureinterp experiment layers`, whose --help lists them."
    )
    parser.add_argument("--model", choices=MODELS, default="embedded", help="whose features (default: embedded)")
    return parser.parse_known_args()


def main() -> None:
    options, others = parse()
    run_experiment("layers", options.model, others)


if __name__ == "__main__":
    main()
