"""Model specs made to work: encoders, BM25, rerankers, and their compositions."""
