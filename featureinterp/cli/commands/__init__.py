"""Commands, one per module: the function of the module's name is the command."""
