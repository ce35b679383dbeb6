"""Language models as tools: sentence embedders and chat."""
