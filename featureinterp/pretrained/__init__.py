"""Models, tokenizers and configurations of Hugging Face: opened in one place, checked, and asked for facts."""
