"""Evidence: paired accuracy, latency, intervals, and the gate and reports that judge and draw them."""
