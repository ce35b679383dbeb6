"""A model and the SAEs that read it, loaded together and checked against each other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from featureinterp.errors import InputError, SubjectError
from featureinterp.subject.model import SubjectModel
from featureinterp.subject.names import select_layers
from featureinterp.subject.sae import SparseAutoencoder, load_sae


@dataclass(frozen=True)
class Subject:
    """What is explained: the latents of the SAEs of one model."""

    model: SubjectModel
    saes: Mapping[str, SparseAutoencoder]
    """By hook name, in the order of their layers."""

    def __post_init__(self) -> None:
        for hook, sae in self.saes.items():
            if sae.width != self.model.width:
                raise SubjectError(
                    f"the SAE on {hook} has width {sae.width} and model {self.model.name!r} has {self.model.width}",
                    "take the SAE that was trained on this model",
                )
            if sae.layer >= self.model.n_layers:
                raise SubjectError(
                    f"an SAE reads {hook}, model {self.model.name!r} has layers 0 to {self.model.n_layers - 1}",
                    "take the SAE that was trained on this model",
                )

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that SAEs read, in the order of `saes`."""
        return tuple(sae.layer for sae in self.saes.values())

    @property
    def prepend_bos(self) -> bool:
        """Whether sequences begin with BOS."""
        return any(sae.prepend_bos for sae in self.saes.values())

    def sae(self, layer: int) -> SparseAutoencoder:
        """Return the SAE of a layer.

        Raises:
            InputError: if none of the SAEs reads that layer.
        """
        for sae in self.saes.values():
            if sae.layer == layer:
                return sae
        raise InputError(f"there is no SAE on layer {layer}", f"layers {', '.join(map(str, self.layers))} have one")

    def fingerprint(self) -> str:
        """Return a hash that changes with the model, its tokenizer, or any of the SAEs."""
        parts = [self.model.fingerprint(), *(f"{hook}:{sae.fingerprint()}" for hook, sae in self.saes.items())]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def open_subject(
    model_name: str, sae_name: str, sae_id_format: str = "", layers: str = "all", device: str = "auto"
) -> Subject:
    """Load a model and its SAEs.

    Args:
        model_name: `embedded`, a folder, or a name on the Hugging Face hub.
        sae_name: `embedded`, a folder, or a SAELens release.
        sae_id_format: The id of a layer's SAE in it, with `{layer}` for the layer.
        layers: `all`, `even`, `odd`, or numbers such as `1,2`.
        device: A torch device, or `auto`.

    Raises:
        InputError: if the layers cannot be selected.
        SubjectError: if the model or an SAE cannot be loaded, or they do not belong together.
    """
    model = SubjectModel.load(model_name, device=device)
    selected = []
    for layer in select_layers(layers, model.n_layers):
        sae = load_sae(sae_name, sae_id_format, layer, device)
        if sae.layer != layer:
            raise SubjectError(
                f"the SAE that was loaded for layer {layer} reads layer {sae.layer}",
                "put {layer} where its number stands in the SAE's id, or select only the layer it reads",
            )
        selected.append(sae)
    centred = {sae.centres_residual for sae in selected}
    if len(centred) > 1:
        raise SubjectError("some SAEs expect the centred residual stream and others do not", "open them separately")
    if centred == {True}:
        model = model.centred()
    return Subject(model, {sae.hook_name: sae for sae in selected})
