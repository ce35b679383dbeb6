"""The command `serve`."""

from __future__ import annotations

from featureinterp.cli.progress import quiet_libraries
from featureinterp.cli.screen import tell
from featureinterp.report.server.spec import ServeSpec


def serve(spec: ServeSpec) -> None:
    """Serve a run's report with a bench: run sentences through its features, edit explanations.

    The bench uses the model and the SAEs of the run's data folder, and the run's own simulator. A simulator behind a
    language model endpoint sends new requests only with --max-cost or --max-tokens; otherwise it uses cached answers.
    """
    from featureinterp.report.server.serving import serve as serve_run

    quiet_libraries()
    serve_run(spec, tell)
