"""Method of a run: settings, language models, and the prompts that they are sent."""
