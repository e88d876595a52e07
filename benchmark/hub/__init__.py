"""The Hugging Face Hub from a project's side: finding models, adding them, publishing what was made."""
