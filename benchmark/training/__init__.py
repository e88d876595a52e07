"""Fine-tuning: from synthetic data to a folder of weights and a model spec."""
