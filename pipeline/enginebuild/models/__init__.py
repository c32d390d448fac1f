"""What can be known of a model without its weights."""

from enginebuild.models.facts import ModelFacts, facts_of

__all__ = ["ModelFacts", "facts_of"]
