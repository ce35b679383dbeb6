"""Records of a data folder drawn again with another seed, from its windows, activations and embeddings.

Nothing is computed by the subject model and nothing is written: a folder has one set of records, and these are others
that it might have had. With the folder's own seed they are its own, without causes of activations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from featureinterp.dataset.corpus.windows import Windows
from featureinterp.dataset.folder import DataFolder
from featureinterp.dataset.layout import Layout
from featureinterp.dataset.manifest import IMPORTED
from featureinterp.dataset.records.hook_records import HookData
from featureinterp.dataset.retrieval.approximate import ApproximateRanker
from featureinterp.dataset.retrieval.embeddings import load_embeddings
from featureinterp.dataset.retrieval.exact import ExactRanker
from featureinterp.dataset.retrieval.window_index import WindowIndex
from featureinterp.errors import InputError
from featureinterp.record import SAEIndexRecord


class RedrawnRecords:
    """Records of a data folder's live latents under another seed.

    Args:
        folder: has tokens, activations, embeddings and the texts of its tokens.
        seed: decides which windows are drawn.

    Raises:
        InputError: if the folder was imported, or does not store the texts of its tokens.
        DataFolderError: if a file is missing or damaged.
    """

    def __init__(self, folder: DataFolder, seed: int) -> None:
        check_can_redraw(folder)
        self._folder = folder
        self._layout = Layout(folder.path)
        self._spec = replace(folder.manifest.spec, seed=seed)
        self._texts = self._layout.read_token_texts()
        self._windows: Windows = folder.windows()
        self._index = WindowIndex.of(self._windows, self._strings)
        self._hooks: dict[str, HookData] = {}

    def record(self, hook_name: str, latent: int) -> SAEIndexRecord:
        """Return the records of one latent, without causes of activations.

        Raises:
            InputError: if the latent is dead or rare.
            DataFolderError: if the activations or the embeddings are missing or damaged.
        """
        data = self._hook_data(hook_name)
        [(_, plan)] = data.plans([latent], self._spec)
        if plan.selection is None:
            raise InputError(f"latent {latent} of {hook_name} is {plan.report.status}: {plan.report.reason}")
        return data.record(latent, plan.selection, None)

    def _hook_data(self, hook_name: str) -> HookData:
        if hook_name not in self._hooks:
            layout, spec = self._layout, self._spec
            embeddings = load_embeddings(layout.centred_embeddings if spec.centre else layout.embeddings)
            exact = ExactRanker(embeddings, spec.max_memory)
            self._hooks[hook_name] = HookData(
                hook_name=hook_name,
                layer=self._folder.manifest.hooks[hook_name].layer,
                windows=self._windows,
                embeddings=embeddings,
                ranker=ApproximateRanker.open(layout.index(spec.centre), embeddings) if spec.faiss else exact,
                index=self._index,
                activations=self._folder.activations(hook_name),
                token_strings=self._strings,
            )
        return self._hooks[hook_name]

    def _strings(self, ids: Sequence[int]) -> list[str]:
        return [self._texts[each] for each in ids]


def check_can_redraw(folder: DataFolder) -> None:
    """Check that a folder has what records are drawn from.

    Raises:
        InputError: if it was imported, or does not store the texts of its tokens.
        DataFolderError: if the texts are damaged.
    """
    made = folder.manifest.stages.get("records")
    if made is None or IMPORTED in made.settings or not Layout(folder.path).read_token_texts():
        raise InputError(
            f"the records of {folder.path} cannot be drawn again",
            "`featureinterp records` makes a folder with all that they are drawn from",
        )
