"""Every kind of 2D image generator, built by hand: the library that the course's notebooks export."""

__version__ = "0.1.0"
