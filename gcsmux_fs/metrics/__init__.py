"""The metrics of a mount: declares counters, gauges and histograms, and formats them as text."""
