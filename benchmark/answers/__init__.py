"""A language model's answers with the passages of each pipeline, and what can be said of them."""
