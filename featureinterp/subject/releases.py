"""SAELens releases: lookup, suggestions and loading."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from featureinterp.errors import SubjectError
from featureinterp.pretrained.hub import first_words, hub_access

if TYPE_CHECKING:
    from sae_lens import SAE

_LOCAL_HINT = (
    "with access to the hub, SAE.from_pretrained(RELEASE, SAE_ID).save_model(FOLDER) writes a folder; use its path"
)


def load_from_release(release: str, sae_id: str, device: str) -> SAE[Any]:
    """Load an SAE of a release, or of a repository `owner/name` on the hub, as SAELens does.

    Raises:
        SubjectError: if the release or SAE does not exist, or the hub does not provide it.
    """
    check_release(release, sae_id)
    from sae_lens import SAE

    what = f"SAE {sae_id!r} of {release!r}"
    try:
        with hub_access(what, _LOCAL_HINT), quiet_saelens():
            return SAE.from_pretrained(release, sae_id, device=device)
    except (RuntimeError, TypeError, AttributeError) as error:  # weights that do not fit the configuration
        raise SubjectError(f"{what} cannot be loaded: {first_words(error)}", _LOCAL_HINT) from error


def check_release(release: str, sae_id: str) -> None:
    """Look up a release and an SAE id in SAELens's list, without network access.

    A name with a slash that is not a release is treated as a repository and not checked.

    Raises:
        SubjectError: if one of them does not exist, with the nearest names.
    """
    from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory

    directory = get_pretrained_saes_directory()
    if release in directory:
        ids = directory[release].saes_map
        if sae_id not in ids:
            raise SubjectError(f"release {release!r} has no SAE {sae_id!r}", _nearest(sae_id, ids))
    elif "/" not in release:
        raise SubjectError(f"there is no SAELens release {release!r}", _nearest(release, directory))


@contextmanager
def quiet_saelens() -> Iterator[None]:
    """Suppress SAELens's warnings about manual model loading, which is handled here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _nearest(name: str, names: Collection[str]) -> str:
    near = get_close_matches(name, names, n=3, cutoff=0.5) or sorted(names)[:3]
    return f"near are {', '.join(map(repr, near))}"
