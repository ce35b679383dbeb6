"""Records of a latent: selection of windows and construction."""
