"""Figure 5: how many rules features need, from results of `scripts/polysemanticity_sweep.py`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from featureinterp.errors import FeatureInterpError
from featureinterp.report.figures.files import draw_experiment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument(
        "--results", type=Path, default=Path("results/polysemanticity"), help="folder of the experiment"
    )
    parser.add_argument("--out", type=Path, help="folder of figures and tables; that of the experiment unless given")
    parser.add_argument("--latex", action="store_true", help="set the text with LaTeX, which has to be installed")
    options = parser.parse_args()
    out = options.out or options.results
    try:
        drawn = draw_experiment(options.results, out / "figures", out / "tables", options.latex)
    except FeatureInterpError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(*(figure.path.with_suffix(".pdf") for figure in drawn.figures), *drawn.tables, sep="\n")
    for message in drawn.missing:
        print(f"missing: {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
