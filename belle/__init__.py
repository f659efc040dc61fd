"""belle: from raw text and a few seed tasks to a language model of your own."""

__version__ = "0.1.0"
