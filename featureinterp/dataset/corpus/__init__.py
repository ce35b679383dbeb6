"""Corpora: documents and token windows."""
