"""Complexity of explanations: 0 for the name of a token, 5 for an abstract idea.

A judge rates a rule: a language model after worked examples, or an estimate from the rule's form (`lexical`). An
explanation's complexity is the mean over its rules.
"""

from featureinterp.complexity.analyzer import ComplexityAnalyzer
from featureinterp.complexity.chat import ChatJudge

__all__ = ["ChatJudge", "ComplexityAnalyzer"]
