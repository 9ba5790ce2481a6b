"""PyTorch models to verified ONNX graphs."""
