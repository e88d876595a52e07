"""Synthetic training data: questions by a language model, pseudo-queries cut from the text, filters, negatives."""
