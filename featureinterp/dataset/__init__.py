"""Data pipeline: from a corpus and a subject model to the records of each latent."""
