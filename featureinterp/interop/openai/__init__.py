"""OpenAI's NeuronRecords and scored explanations."""
