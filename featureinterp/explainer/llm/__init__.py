"""The proposer that asks a language model: prompts, requests, and parsing of answers."""
