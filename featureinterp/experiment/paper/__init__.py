"""The paper's experiments, their runs and presets."""
