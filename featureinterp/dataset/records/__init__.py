"""Records of one latent: which windows are selected, and the records made of them."""
