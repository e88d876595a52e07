"""From a person's documents and questions to chunks and a test set."""
