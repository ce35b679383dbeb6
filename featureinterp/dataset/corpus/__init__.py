"""Corpora: documents from any source, and the token windows they are cut into."""
