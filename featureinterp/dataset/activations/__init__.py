"""Activations of a hook's latents: capture, storage, causes, and statistics of each latent."""
