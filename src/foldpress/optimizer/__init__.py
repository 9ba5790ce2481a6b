"""Passes over ONNX graphs, and the mergeable statistics that they learn from."""
