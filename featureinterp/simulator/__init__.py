"""Simulators: what an explanation in words predicts the feature to do."""

from featureinterp.simulator.lexical import LexicalSimulatorFactory
from featureinterp.simulator.rules import RuleSimulator

__all__ = ["LexicalSimulatorFactory", "RuleSimulator"]
