"""Hugging Face models, tokenizers and configurations: loading, checks, facts."""
