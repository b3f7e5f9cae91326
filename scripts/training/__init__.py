"""What the scripts share for training and evaluating the networks; not part of the installed package."""
