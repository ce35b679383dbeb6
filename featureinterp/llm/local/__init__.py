"""Hugging Face language models in this process."""
