"""Sparse autoencoders through SAELens: where a residual stream becomes activations of latents.

Loading and encoding are SAELens's own, so the numbers are those of its recommended path for a release. A
Gated, JumpReLU or standard SAE computes each latent alone, so asking for a few latents encodes with a slice
of the same SAE; in TopK and BatchTopK latents compete, so all are computed and the asked ones are taken.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from featureinterp.errors import SubjectError
from featureinterp.subject.embedded import EMBEDDED, sae_folder
from featureinterp.subject.model import hash_weights, resolve_device
from featureinterp.subject.names import layer_of, residual_point

if TYPE_CHECKING:
    from sae_lens import SAE

_INDEPENDENT = frozenset({"standard", "jumprelu", "gated"})
"""Architectures in which a latent's activation does not depend on the other latents."""

_SAE_HINT = "give 'embedded', a folder with cfg.json and sae_weights.safetensors, or a SAELens release and its SAE id"


class SparseAutoencoder:
    """One SAE and the point of the model that it reads."""

    def __init__(self, sae: SAE[Any], name: str) -> None:
        self.name = name
        self._sae = sae.eval()
        self._metadata: dict[str, Any] = sae.cfg.metadata.to_dict()
        residual_point(self.hook_name)  # only the residual stream is captured

    @property
    def hook_name(self) -> str:
        """TransformerLens's name of the point that the SAE reads."""
        hook = self._metadata.get("hook_name")
        if not hook:
            raise SubjectError(f"SAE {self.name!r} does not say which hook it reads", "its metadata needs hook_name")
        return hook

    @property
    def layer(self) -> int:
        """Number of the decoder block that the SAE reads."""
        return layer_of(self.hook_name)

    @property
    def n_latents(self) -> int:
        """Number of latents."""
        return self._sae.cfg.d_sae

    @property
    def width(self) -> int:
        """Width of the residual stream that the SAE reads."""
        return self._sae.cfg.d_in

    @property
    def prepend_bos(self) -> bool:
        """Whether the SAE expects sequences to begin with BOS; SAELens's default is that it does."""
        return self._metadata.get("prepend_bos") is not False

    @property
    def centres_residual(self) -> bool:
        """Whether it was trained on TransformerLens's centred residual stream."""
        return bool((self._metadata.get("model_from_pretrained_kwargs") or {}).get("center_writing_weights"))

    @torch.inference_mode()
    def encode(
        self, residual: Float[Tensor, "*batch width"], latents: Sequence[int] | None = None
    ) -> Float[Tensor, "*batch latents"]:
        """Return the activations of the asked latents in their order (None: of all), each at least 0.

        Raises:
            SubjectError: if a latent is not one of the SAE's.
        """
        residual = residual.to(self._sae.W_enc.device)
        if latents is None:
            return self._sae.encode(residual)
        self.check_latents(latents)
        index = torch.as_tensor(list(latents), dtype=torch.long, device=residual.device)
        if self._sae.cfg.architecture() in _INDEPENDENT:
            return _slice_of(self._sae, index).encode(residual)
        return self._sae.encode(residual)[..., index]

    @torch.inference_mode()
    def decode(self, activations: Float[Tensor, "*batch latents"]) -> Float[Tensor, "*batch width"]:
        """Return the residual stream that the activations of all latents stand for."""
        return self._sae.decode(activations)

    def check_latents(self, latents: Sequence[int]) -> None:
        """Raise SubjectError if a latent is not one of the SAE's."""
        for latent in latents:
            if not 0 <= latent < self.n_latents:
                raise SubjectError(
                    f"latent {latent} does not exist: the SAE on {self.hook_name} has latents 0 to {self.n_latents - 1}"
                )

    def fingerprint(self) -> str:
        """Return a hash of the configuration and of evenly spaced weights of every tensor."""
        config = {k: v for k, v in self._sae.cfg.to_dict().items() if k != "device"}
        return hash_weights(self._sae.state_dict(), json.dumps(config, default=str, sort_keys=True))


def load_sae(sae_name: str, sae_id_format: str, layer: int, device: str = "auto") -> SparseAutoencoder:
    """Load the SAE of one layer.

    Args:
        sae_name: `embedded`, a local folder (of one SAE, or of several below it), or a SAELens release.
        sae_id_format: The SAE's id, in which `{layer}` is replaced; below a local folder, the folder of the
            layer. Empty where the folder itself is the SAE.
        layer: Which layer's SAE.
        device: A torch device, or `auto`.

    Raises:
        SubjectError: if there is no such folder or release, or it holds no SAE.
    """
    where = resolve_device(device)
    sae_id = sae_id_format.format(layer=layer)
    if sae_name == EMBEDDED:
        return _from_folder(sae_folder(layer), where)
    if Path(sae_name).is_dir():
        return _from_folder(Path(sae_name) / sae_id, where)
    if sae_name.startswith((".", "/", "~")):
        raise SubjectError(f"SAE folder {sae_name!r} does not exist", _SAE_HINT)
    return _from_release(sae_name, sae_id, where)


def _from_folder(folder: Path, device: str) -> SparseAutoencoder:
    from sae_lens import SAE
    from safetensors import SafetensorError

    for name in ("cfg.json", "sae_weights.safetensors"):
        if not (folder / name).is_file():
            raise SubjectError(f"folder {str(folder)!r} is not a SAELens SAE: it holds no {name}", _SAE_HINT)
    try:
        sae = SAE.load_from_disk(folder, device=device)
    except (ValueError, KeyError, TypeError, RuntimeError, OSError, SafetensorError) as error:
        raise SubjectError(f"the SAE in {str(folder)!r} cannot be read: {error}", _SAE_HINT) from error
    return SparseAutoencoder(sae, str(folder))


def _from_release(release: str, sae_id: str, device: str) -> SparseAutoencoder:
    from sae_lens import SAE

    try:
        sae = SAE.from_pretrained(release, sae_id, device=device)
    except (ValueError, KeyError, OSError) as error:
        raise SubjectError(f"SAE {sae_id!r} of release {release!r} cannot be loaded: {error}", _SAE_HINT) from error
    return SparseAutoencoder(sae, f"{release}/{sae_id}")


def _slice_of(sae: SAE[Any], latents: Tensor) -> SAE[Any]:
    """Return an SAE of the same class with only these latents, sharing no computation with the rest."""
    config = copy.copy(sae.cfg)
    config.d_sae, config.device = len(latents), "meta"
    sliced = type(sae)(config)
    config.device = sae.cfg.device
    state = {}
    for name, tensor in sae.state_dict().items():
        axes = [axis for axis, size in enumerate(tensor.shape) if _is_latent_axis(name, axis, size, sae)]
        state[name] = tensor.index_select(axes[0], latents) if axes else tensor
    sliced.load_state_dict(state, assign=True)
    return sliced.eval()


def _is_latent_axis(name: str, axis: int, size: int, sae: SAE[Any]) -> bool:
    if name == "b_dec":
        return False
    if name == "W_enc":
        return axis == 1
    return axis == 0 and size == sae.cfg.d_sae
