"""The metrics of a mount: counters, gauges, histograms, and their text for people."""
