"""A subject model and its SAEs, loaded together and checked for consistency."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from featureinterp.errors import InputError, SubjectError
from featureinterp.subject.loading import count_layers
from featureinterp.subject.loading_requirements import LoadingRequirements
from featureinterp.subject.model import SubjectModel
from featureinterp.subject.names import hook_point, select_layers
from featureinterp.subject.precision import Precision, resolve_device
from featureinterp.subject.sae import SparseAutoencoder, load_sae


@dataclass(frozen=True)
class Subject:
    """A subject model and its SAEs."""

    model: SubjectModel
    saes: Mapping[str, SparseAutoencoder]
    """SAEs by hook name, in the order of their layers."""

    def __post_init__(self) -> None:
        for hook, sae in self.saes.items():
            if sae.layer >= self.model.n_layers:
                raise SubjectError(
                    f"an SAE reads {hook}, model {self.model.name!r} has layers 0 to {self.model.n_layers - 1}",
                    "use the SAE that was trained on this model",
                )
            self._check_width(hook, sae)
        if len({self._wants_bos(sae) for sae in self.saes.values()}) > 1:
            raise SubjectError(
                "some of the SAEs need a BOS token in front of each window and others do not", "open them separately"
            )
        if self.prepend_bos and self.model.bos_token_id is None:
            raise SubjectError(
                f"the SAE needs a BOS token in front of each window, and the tokenizer of model {self.model.name!r} "
                "has no BOS, no EOS and no '<|endoftext|>'",
                "name the token as bos_token in the model's tokenizer_config.json, or set prepend_bos to false in the "
                "SAE's cfg.json if it was trained without",
            )

    def _check_width(self, hook: str, sae: SparseAutoencoder) -> None:
        there, heads = self.model.width_at(hook), self.model.n_heads
        by_heads = f"model {self.model.name!r} has {heads} heads of {there // heads}" if heads else ""
        if sae.head is not None:
            if not heads or sae.head >= heads or sae.width * heads != there:
                raise SubjectError(
                    f"the SAE reads head {sae.head} of {hook} and has width {sae.width}, and "
                    f"{by_heads or 'the number of heads of the model is unknown'}",
                    f"heads count from 0; this SAE was trained on {sae.model_name or 'a model that it does not name'}",
                )
        elif sae.width != there:
            one_head = heads and there == sae.width * heads and hook.endswith("hook_z")
            raise SubjectError(
                f"the SAE on {hook} has width {sae.width} and model {self.model.name!r} has {there} there",
                f"{by_heads}: if the SAE reads one of them, its cfg.json needs hook_head_index"
                if one_head
                else f"use the SAE trained on this model; this one was trained on {sae.model_name or 'another'}",
            )

    def _wants_bos(self, sae: SparseAutoencoder) -> bool:
        """Return whether an SAE's windows begin with BOS.

        SAELens trains an SAE that names a module on the bare model, without a first token if the tokenizer has
        no BOS. TransformerLens uses the EOS instead.
        """
        return sae.prepend_bos and (self.model.has_own_bos or hook_point(sae.hook_name).kind is not None)

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers of the SAEs, in the order of `saes`."""
        return tuple(sae.layer for sae in self.saes.values())

    @property
    def prepend_bos(self) -> bool:
        """Whether sequences begin with BOS."""
        return any(self._wants_bos(sae) for sae in self.saes.values())

    def sae(self, layer: int) -> SparseAutoencoder:
        """Return the SAE of a layer.

        Raises:
            InputError: if no SAE reads that layer.
        """
        for sae in self.saes.values():
            if sae.layer == layer:
                return sae
        raise InputError(f"there is no SAE on layer {layer}", f"layers {', '.join(map(str, self.layers))} have one")

    @property
    def most_tokens(self) -> int | None:
        """Longest window in tokens, without BOS; None if the model has no limit."""
        longest = self.model.max_length
        return None if longest is None else longest - self.prepend_bos

    def check_length(self, n_tokens: int) -> None:
        """Raise InputError if windows of this length, plus BOS if used, exceed the context."""
        most = self.most_tokens
        if most is not None and n_tokens > most:
            raise InputError(
                f"windows of {n_tokens} tokens exceed the context of model {self.model.name!r}, {most} tokens",
                "cut the corpus into shorter windows",
            )

    def fingerprint(self) -> str:
        """Return a hash that changes with the model, its tokenizer, or any of the SAEs."""
        parts = [self.model.fingerprint(), *(f"{hook}:{sae.fingerprint()}" for hook, sae in self.saes.items())]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def open_subject(
    model_name: str,
    sae_name: str,
    sae_id_format: str = "",
    layers: str = "all",
    device: str = "auto",
    precision: Precision | None = None,
) -> Subject:
    """Load a model and its SAEs (SAEs first, so that most errors occur early).

    An SAE that names another model causes a warning, not an error: the same model has many names.

    Args:
        model_name: `embedded`, `smollm2`, a folder, a GGUF file, or a name on the Hugging Face hub.
        sae_name: `embedded`, `smollm2`, a folder, or a SAELens release.
        sae_id_format: SAE id, with `{layer}` for the layer.
        layers: `all`, `even`, `odd`, or numbers such as `1,2`.
        device: a torch device, or `auto`.
        precision: dtype and quantization of the model; by default the dtype required by the SAEs, or float32.

    Raises:
        InputError: if the layers cannot be selected, or the device is not available.
        SubjectError: if the model or an SAE cannot be loaded, or they do not match.
    """
    where = resolve_device(device)
    n_layers = count_layers(model_name)
    selected = [_sae_of(layer, sae_name, sae_id_format, where) for layer in select_layers(layers, n_layers)]
    _tell_other_model(model_name, selected[0])
    requirements = _common_requirements(selected)
    model = SubjectModel.load(
        model_name,
        device=where,
        precision=(precision or Precision()).resolved(requirements.dtype),
        centre_residual=requirements.centred,
        revision=requirements.revision,
    )
    return Subject(model, {sae.hook_name: sae for sae in selected})


def _sae_of(layer: int, sae_name: str, sae_id_format: str, device: str) -> SparseAutoencoder:
    sae = load_sae(sae_name, sae_id_format, layer, device)
    if sae.layer != layer:
        raise SubjectError(
            f"the SAE that was loaded for layer {layer} reads layer {sae.layer}",
            "write {layer} for the number in the SAE's id, or select only the layer it reads",
        )
    return sae


def _common_requirements(saes: Sequence[SparseAutoencoder]) -> LoadingRequirements:
    different = {sae.requirements for sae in saes}
    if len(different) > 1:
        told = " and ".join(sorted(map(str, different)))
        raise SubjectError(f"the SAEs need the model loaded in different ways: {told}", "open them separately")
    return different.pop()


def _tell_other_model(model_name: str, sae: SparseAutoencoder) -> None:
    if sae.model_name is not None and not same_model(model_name, sae.model_name):
        logging.getLogger(__name__).warning(
            "SAE %r was trained on model %r, and the model given is %r; if they are not the same model under two "
            "names, the activations mean nothing",
            *(sae.name, sae.model_name, model_name),
        )


def same_model(one: str, other: str) -> bool:
    """Return whether two names mean the same model, ignoring owner, case and known aliases.

    >>> same_model("openai-community/gpt2", "gpt2-small"), same_model("models/gemma-2-9b", "google/gemma-2-9b")
    (True, True)
    >>> same_model("google/gemma-2-9b", "gemma-2-9b-it")
    False
    """
    return _plain_name(one) == _plain_name(other)


def _plain_name(name: str) -> str:
    last = PurePath(name).name.lower().removeprefix("meta-")
    return {"gpt2-small": "gpt2", "mistral-7b": "mistral-7b-v0.1", "smollm2": "smollm2-135m-instruct"}.get(last, last)
