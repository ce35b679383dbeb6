"""Retrieval: embeddings of windows, and rankings by similarity, exact or approximate."""
