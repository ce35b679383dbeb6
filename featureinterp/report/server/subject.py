"""Subject model and SAEs of a run, loaded at the first sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featureinterp.errors import DataFolderError, FeatureInterpError, InputError
from featureinterp.report.server.limits import RefusalError

if TYPE_CHECKING:
    from featureinterp.dataset.manifest import Manifest
    from featureinterp.subject.subject import Subject


class RunSubject:
    """Computes activations of latents on typed sentences; to be used from one thread."""

    def __init__(
        self, folder: Path | None, configuration: Mapping[str, Any], layers: frozenset[int], device: str
    ) -> None:
        """Store the paths and settings; opens nothing.

        Args:
            folder: data folder of the run; None if unknown.
            configuration: configuration of the run.
            layers: layers of the SAEs to open.
            device: a torch device, or `auto`.
        """
        self._folder = folder
        self._configuration = configuration
        self._layers = layers
        self._device = device
        self._subject: Subject | None = None

    def check(self) -> Manifest:
        """Return the data folder's manifest, without opening anything large.

        Raises:
            DataFolderError: if the data folder does not exist, or the run was made from another.
        """
        from featureinterp.experiment.run_folder import check_data_folder

        remedy = "name the data folder of the run: featureinterp serve RUN --data FOLDER"
        return check_data_folder(self._folder, self._configuration, remedy)

    def missing(self) -> str:
        """Return why sentences cannot be processed, and the remedy; empty if nothing is missing."""
        try:
            self.check()
        except DataFolderError as error:
            return str(error)
        return ""

    def tokenize(self, text: str) -> tuple[list[int], tuple[str, ...]]:
        """Return a sentence's token ids, and the text of each token as in records.

        Raises:
            RefusalError: 422, if there is no token, or there are more than the model's context; 409, if the subject
                cannot be opened.
        """
        subject = self._opened()
        [ids] = subject.model.tokenize([text])
        if not ids:
            raise RefusalError(422, "the sentence is empty", "type at least one word")
        most = subject.most_tokens
        if most is not None and len(ids) > most:
            told = f"the sentence has {len(ids):,} tokens; the model's context is {most:,}"
            raise RefusalError(422, told, "shorten it")
        return ids, tuple(subject.model.token_strings(ids))

    def activations(self, ids: list[int], latents: Mapping[str, list[int]]) -> dict[str, NDArray[np.float64]]:
        """Return activations of latents on a sentence.

        Args:
            ids: token ids, without BOS.
            latents: latents by hook name.

        Returns:
            By hook name, in the SAE's units, float64 [tokens, latents].

        Raises:
            RefusalError: 409, if the subject cannot be opened, or an activation is NaN or infinite.
        """
        import torch

        subject = self._opened()
        missing = [hook for hook in latents if hook not in subject.saes]
        if missing:
            raise RefusalError(409, f"the data folder's subject has no SAE on {missing[0]}", "make the run again")
        bos = [subject.model.bos_token_id] if subject.prepend_bos else []
        streams = subject.model.streams(torch.tensor([[*bos, *ids]]), list(latents))
        found = {}
        for hook, own in latents.items():
            values = subject.saes[hook].encode(streams[hook][0, len(bos) :], own)
            found[hook] = values.double().cpu().numpy()
            if not np.isfinite(found[hook]).all():
                raise RefusalError(409, f"an activation on {hook} is NaN or infinite", "check the weights")
        return found

    def _opened(self) -> Subject:
        if self._subject is None:
            try:
                self._subject = self._open()
            except FeatureInterpError as error:
                raise RefusalError(409, error.problem, error.hint) from error
        return self._subject

    def _open(self) -> Subject:
        from featureinterp.dataset.prepare import subject_of

        manifest = self.check()
        layers = ",".join(map(str, sorted(self._layers)))
        subject = subject_of(replace(manifest.spec, layers=layers), self._device)
        made = self._configuration["data"].get("model", subject.model.fingerprint())
        others = [
            hook
            for hook, sae in subject.saes.items()
            if hook in manifest.hooks and manifest.hooks[hook].fingerprint != sae.fingerprint()
        ]
        if made != subject.model.fingerprint() or others:
            what = f"SAE on {others[0]}" if others else f"model {manifest.spec.model_name!r}"
            raise InputError(f"the weights of the {what} have changed since the run was made", "make the run again")
        return subject
