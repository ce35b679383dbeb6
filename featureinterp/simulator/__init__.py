"""Simulators: predicted activations of an explanation.

`SIMULATORS` is the registry: names for the command line and the places of their factories.
"""

from featureinterp.simulator.lexical import LexicalSimulatorFactory
from featureinterp.simulator.llm import LLMSimulatorFactory
from featureinterp.simulator.registry import SIMULATORS, make_simulator_factory
from featureinterp.simulator.rules import RuleSimulator

__all__ = ["SIMULATORS", "LLMSimulatorFactory", "LexicalSimulatorFactory", "RuleSimulator", "make_simulator_factory"]
