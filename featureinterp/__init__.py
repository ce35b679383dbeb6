"""featureinterp: explain the features of sparse autoencoders and test every explanation."""

__version__ = "0.1.0"
