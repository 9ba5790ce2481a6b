"""Where channels go: one pass over a graph that labels every position of every axis, with one rule for each operator."""
