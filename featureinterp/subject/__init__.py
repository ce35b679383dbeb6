"""The subject of study: a language model and the sparse autoencoders that read what it computes."""
