"""From a model's name or a checkpoint file to a network that is ready to run."""
