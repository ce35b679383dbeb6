"""Delphi's results and latent caches."""
