"""The lexical proposer: rules mined from train records, without a language model."""
