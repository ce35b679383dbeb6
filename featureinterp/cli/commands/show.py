"""The command `show`."""

from __future__ import annotations

from featureinterp.cli import options
from featureinterp.cli.console import open_console
from featureinterp.experiment.store import RunStore
from featureinterp.report.terminal import feature_view


def show(run: options.RunArgument, layer: options.LayerArgument, latent: options.LatentArgument) -> None:
    """Show one feature: rules, scores, baselines, and sentences token by token."""
    with RunStore.open(run) as store:
        open_console().print(feature_view(store.find(layer, latent)))
