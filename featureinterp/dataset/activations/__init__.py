"""Activations of a hook's latents: capture, storage, holistic activations, latent statistics."""
