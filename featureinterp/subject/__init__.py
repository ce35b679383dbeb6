"""Subject model: a language model and its sparse autoencoders."""
