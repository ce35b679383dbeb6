"""Sparse autoencoders, loaded with SAELens.

Loading and encoding are those of SAELens, so the numbers are those of its recommended path for a release. In most
architectures each latent is independent, so a few latents are encoded with a slice of the same SAE; in TopK
and matching pursuit the latents compete, so all are computed and the requested ones selected.

Trap: SAEDashboard folds the norms of the decoder into the displayed activations, and SAELens's loading path
does not. So its activations are those here times the norm of the latent's decoder row, and its output tokens are those
of the row at length 1, which `directions` returns.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from featureinterp.errors import SubjectError
from featureinterp.pretrained.hub import existing_folder, first_words
from featureinterp.pretrained.smollm2 import SMOLLM2
from featureinterp.subject import smollm2
from featureinterp.subject.embedded import EMBEDDED, sae_folder
from featureinterp.subject.fingerprint import hash_weights
from featureinterp.subject.loading_requirements import LoadingRequirements, loading_requirements
from featureinterp.subject.names import RESIDUAL_KINDS, hook_point
from featureinterp.subject.precision import resolve_device
from featureinterp.subject.releases import load_from_release, quiet_saelens
from featureinterp.subject.sae_values import SAE_FAULTS, check_values

if TYPE_CHECKING:
    from sae_lens import SAE

_INDEPENDENT = frozenset({
    "standard", "gated", "jumprelu", "transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder"
})  # fmt: skip
"""Architectures in which a latent's activation does not depend on the other latents."""

_COMPETING = frozenset({"topk", "matching_pursuit"})
"""Architectures in which a latent's activation depends on the other latents."""

_REFUSED = {
    "abstopk": "whose latents have negative activations",
    "temporal": "which looks at the tokens before as well",
}
"""Reasons why architectures are not supported."""

_SHORTEST = 1e-8
"""Minimum norm of a decoder row in its normalisation, as in SAELens."""

_LATENT_AXIS = {"W_enc": 1, "W_dec": 0, "b_enc": 0, "threshold": 0, "b_gate": 0, "b_mag": 0, "r_mag": 0}
"""Latent axis of each tensor; other tensors are shared by all latents."""

_SAE_HINT = (
    "give 'embedded', 'smollm2', a folder with cfg.json and sae_weights.safetensors, or a SAELens release and SAE id"
)

_CONFIG_HINT = "its cfg.json does not fit its weights: use the one that was saved with them"


class SparseAutoencoder:
    """One SAE or transcoder and its hook point."""

    def __init__(self, sae: SAE[Any], name: str) -> None:
        self.name = name
        self._sae = sae.eval()
        self._sae.turn_off_forward_pass_hook_z_reshaping()  # the heads' outputs are already concatenated
        self._metadata: dict[str, Any] = sae.cfg.metadata.to_dict()
        self._sliced: tuple[tuple[int, ...], SAE[Any]] | None = None
        _check_architecture(name, sae.cfg.architecture())
        _check_normalisation(name, sae.cfg.normalize_activations)
        check_values(sae, name)
        self.requirements: LoadingRequirements = loading_requirements(
            self._metadata.get("model_from_pretrained_kwargs") or {}, hook_point(self.hook_name), name
        )
        if self._metadata.get("prepend_bos") not in (None, True, False):
            raise SubjectError(f"SAE {name!r} has prepend_bos {self._metadata['prepend_bos']!r}", "give true or false")
        self.head: int | None = _checked_head(self._metadata.get("hook_head_index"), self.hook_name, name)
        """Attention head that the SAE reads; None if it reads the whole hook point."""
        self._try_out()

    @property
    def hook_name(self) -> str:
        """TransformerLens name of the hook point."""
        hook = self._metadata.get("hook_name")
        if not isinstance(hook, str) or not hook:
            raise SubjectError(f"SAE {self.name!r} does not name its hook", "add hook_name to its metadata")
        if hook.endswith("hook_mlp_in") and str(self._metadata.get("hf_hook_name")).endswith("layernorm.output"):
            # In Gemma Scope 2 the second name shows that transcoders read the norm's output, not its input.
            return hook.replace("hook_mlp_in", "mlp.hook_in")
        return hook

    @property
    def layer(self) -> int:
        """Number of the decoder block that the SAE reads."""
        return hook_point(self.hook_name).layer

    @property
    def model_name(self) -> str | None:
        """Name of the model the SAE was trained on; None if not in the metadata."""
        name = self._metadata.get("model_name")
        return name if isinstance(name, str) else None

    @property
    def n_latents(self) -> int:
        """Number of latents."""
        return self._sae.cfg.d_sae

    @property
    def width(self) -> int:
        """Input width."""
        return self._sae.cfg.d_in

    @property
    def width_out(self) -> int:
        """Output width."""
        return self._sae.W_dec.shape[1]

    @property
    def writes_residual(self) -> bool:
        """Whether the decoder writes to the residual stream (possible for any other module too)."""
        is_transcoder = "transcoder" in self._sae.cfg.architecture()
        return is_transcoder or hook_point(self.hook_name).kind in (None, *RESIDUAL_KINDS)

    def directions(self, latents: Sequence[int]) -> Float[Tensor, "latents width_out"]:
        """Return the unit decoder directions of latents, as in SAEDashboard.

        Raises:
            SubjectError: if the SAE has no such latent.
        """
        self.check_latents(latents)
        rows = self._sae.W_dec[list(latents)].detach()
        return rows / rows.norm(dim=1, keepdim=True).clamp(min=_SHORTEST)

    @property
    def prepend_bos(self) -> bool:
        """Whether the SAE expects a BOS token (SAELens's default: yes)."""
        return self._metadata.get("prepend_bos") is not False

    def part(self, stream: Float[Tensor, "*batch point"]) -> Float[Tensor, "*batch width"]:
        """Return the SAE's input from its hook point: all of it, or one head's output."""
        if self.head is None:
            return stream
        return stream[..., self.head * self.width : (self.head + 1) * self.width]

    @torch.inference_mode()
    def encode(
        self, stream: Float[Tensor, "*batch point"], latents: Sequence[int] | None = None
    ) -> Float[Tensor, "*batch latents"]:
        """Return the activations of the given latents in order (None: all), each at least 0.

        They are on the SAE's device and in its dtype, independent of the stream's.

        Raises:
            SubjectError: if the SAE has no such latent.
        """
        stream = self.part(stream).to(self._sae.W_enc.device)
        if latents is None:
            return self._sae.encode(stream)
        self.check_latents(latents)
        if self._sae.cfg.architecture() in _INDEPENDENT:
            return self._slice(tuple(latents)).encode(stream)
        return self._sae.encode(stream)[..., list(latents)]

    @torch.inference_mode()
    def decode(self, activations: Float[Tensor, "*batch latents"]) -> Float[Tensor, "*batch width_out"]:
        """Decode the activations of all latents: a reconstruction, or a transcoder's prediction."""
        return self._sae.decode(activations)

    def check_latents(self, latents: Sequence[int]) -> None:
        """Raise SubjectError if a latent is not one of the SAE's."""
        for latent in latents:
            if not 0 <= latent < self.n_latents:
                raise SubjectError(
                    f"latent {latent} does not exist: the SAE on {self.hook_name} has latents 0 to {self.n_latents - 1}"
                )

    def _try_out(self) -> None:
        """Encode a zero vector to detect inconsistent settings early."""
        try:
            with torch.inference_mode():
                found = self._sae.encode(torch.zeros(1, self.width, device=self._sae.W_dec.device))
                fits = found.shape == (1, self.n_latents) == (1, len(self._sae.W_dec))
        except SAE_FAULTS as error:
            raise SubjectError(f"SAE {self.name!r} cannot encode: {first_words(error)}", _CONFIG_HINT) from error
        if not fits:
            raise SubjectError(
                f"SAE {self.name!r} declares {self.n_latents} latents and has another number", _CONFIG_HINT
            )

    def fingerprint(self) -> str:
        """Return a hash of the configuration and of evenly spaced weights of every tensor."""
        config = {k: v for k, v in self._sae.cfg.to_dict().items() if k != "device"}
        return hash_weights(self._sae.state_dict(), json.dumps(config, default=str, sort_keys=True))

    def _slice(self, latents: tuple[int, ...]) -> SAE[Any]:
        """Return the SAE restricted to these latents; the last result is cached."""
        if self._sliced is None or self._sliced[0] != latents:
            self._sliced = (latents, _slice_of(self._sae, latents))
        return self._sliced[1]


def load_sae(sae_name: str, sae_id_format: str, layer: int, device: str = "auto") -> SparseAutoencoder:
    """Load the SAE of one layer.

    Args:
        sae_name: `embedded`, `smollm2`, a local folder (of one SAE, or of several below it), or a SAELens release.
        sae_id_format: SAE id, in which `{layer}` is replaced; for a local folder, the subfolder of the
            layer. Empty if the folder itself is the SAE.
        layer: layer of the SAE.
        device: a torch device, or `auto`.

    Raises:
        InputError: if the device is not available.
        SubjectError: if the folder or release does not exist, or holds no usable SAE.
    """
    where = resolve_device(device)
    sae_id = sae_id_format.replace("{layer}", str(layer))
    if "{" in sae_id or "}" in sae_id:
        raise SubjectError(f"SAE id {sae_id_format!r} cannot be filled in", "write {layer} for the layer")
    if sae_name == EMBEDDED:
        return _from_folder(sae_folder(layer), where)
    if sae_name == SMOLLM2:
        return _from_folder(smollm2.sae_folder(layer), where)
    if (folder := existing_folder(sae_name)) is not None:
        return _from_folder(folder / sae_id, where)
    if sae_name.startswith((".", "/", "~")):
        raise SubjectError(f"SAE folder {sae_name!r} does not exist", _SAE_HINT)
    return SparseAutoencoder(load_from_release(sae_name, sae_id, where), f"{sae_name}/{sae_id}")


def _from_folder(folder: Path, device: str) -> SparseAutoencoder:
    from sae_lens import SAE
    from sae_lens.registry import SAE_TRAINING_CLASS_REGISTRY

    try:
        for name in ("cfg.json", "sae_weights.safetensors"):
            if not (folder / name).is_file():
                raise SubjectError(f"folder {str(folder)!r} is not a SAELens SAE: it holds no {name}", _SAE_HINT)
        with quiet_saelens():
            sae = SAE.load_from_disk(folder, device=device)
    except SAE_FAULTS as error:
        if isinstance(error, KeyError) and str(error.args[0]) in SAE_TRAINING_CLASS_REGISTRY:
            raise SubjectError(
                f"the SAE in {str(folder)!r} is saved for training ({error.args[0]})",
                "load it in SAELens and save it with save_inference_model",
            ) from error
        raise SubjectError(f"the SAE in {str(folder)!r} cannot be read: {first_words(error)}", _SAE_HINT) from error
    return SparseAutoencoder(sae, str(folder))


def _check_architecture(name: str, architecture: str) -> None:
    if architecture in _INDEPENDENT | _COMPETING:
        return
    why = _REFUSED.get(architecture, "which is not known here")
    known = ", ".join(sorted(_INDEPENDENT | _COMPETING))
    raise SubjectError(f"SAE {name!r} has the architecture {architecture!r}, {why}", f"{known} are supported")


def _check_normalisation(name: str, normalisation: str) -> None:
    """Reject, or warn about, a training-time scale that is not saved with the SAE."""
    if normalisation == "covariance_whitening":
        raise SubjectError(
            f"SAE {name!r} was trained on whitened activations, and the whitening is not folded into its weights",
            "save it again after fold_activation_whitening, as SAELens does at the end of training",
        )
    if normalisation == "expected_average_only_in":
        logging.getLogger(__name__).warning(
            "SAE %r was trained on scaled activations (expected_average_only_in) and its scale is not known; it is "
            "used without one, as in SAELens; fold_activation_norm_scaling_factor puts it into the weights",
            name,
        )


def _checked_head(head: object, hook_name: str, name: str) -> int | None:
    if head is None:
        return None
    if hook_point(hook_name).kind != "attn.hook_z":
        raise SubjectError(
            f"SAE {name!r} reads head {head!r} of {hook_name}, and only attn.hook_z can be read by heads",
            "remove hook_head_index from its cfg.json if it reads the whole point",
        )
    if isinstance(head, bool) or not isinstance(head, int) or head < 0:
        raise SubjectError(f"SAE {name!r} has hook_head_index {head!r}", "give the number of a head, from 0")
    return head


def _slice_of(sae: SAE[Any], latents: Sequence[int]) -> SAE[Any]:
    """Return an SAE of the same class with only these latents."""
    index = torch.as_tensor(latents, dtype=torch.long, device=sae.W_enc.device)
    config = copy.copy(sae.cfg)
    config.d_sae, config.device = len(latents), "meta"
    with quiet_saelens():
        sliced = type(sae)(config)
    sliced.turn_off_forward_pass_hook_z_reshaping()
    state = {
        name: tensor.index_select(_LATENT_AXIS[name], index) if name in _LATENT_AXIS else tensor
        for name, tensor in sae.state_dict().items()
    }
    sliced.load_state_dict(state, assign=True)
    return sliced.eval()
