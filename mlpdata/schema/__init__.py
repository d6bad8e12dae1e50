"""The nouns as frozen pydantic models; units and shapes are data in the fields."""
