"""Run with output on the screen: a line for each finished feature, then the cost. Shared by `explain` and `demo`."""

from __future__ import annotations

from pathlib import Path

from featureinterp.chat import Usage
from featureinterp.cli.console import open_console
from featureinterp.cli.options import command_line
from featureinterp.cli.progress import quiet_libraries
from featureinterp.cli.screen import tell
from featureinterp.dataset.folder import DataFolder
from featureinterp.experiment.explain import FeatureChoice, RunSpec, explain_folder
from featureinterp.experiment.result import FeatureResult, method_words
from featureinterp.report.number_format import usage_words
from featureinterp.report.terminal import feature_line


def run_and_print(folder: DataFolder, out: Path, choice: FeatureChoice, spec: RunSpec) -> Usage:
    """Explain features in a new or resumed run, print a line for each, and return the spending so far."""

    def print_feature(result: FeatureResult, done: int, total: int) -> None:
        console.print(feature_line(result, done, total))

    tell(f"{out}: explained by {method_words(spec.method.name, spec.method.simulator_name)}")
    quiet_libraries()
    console = open_console()
    spent = explain_folder(folder, out, choice, spec, command_line(), print_feature)
    if spent != spec.access.spent:
        console.print(f"Paid for: {usage_words(spent)}", highlight=False)
    return spent
