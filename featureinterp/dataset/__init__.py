"""From a corpus and a subject to one record per latent: windows, activations, similar sentences."""
