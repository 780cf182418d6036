"""What both planes import: the model, its checks, the table of resources, histograms. Knows neither plane."""

__version__ = "0.1.0"
API_VERSION = "1.0.0"
