"""Language models behind one interface: an OpenAI-compatible endpoint or a local model, every answer journalled."""
