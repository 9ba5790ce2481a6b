"""Training: distillation, and fine-tuning under masks. The only stage besides the exporter that knows PyTorch."""
