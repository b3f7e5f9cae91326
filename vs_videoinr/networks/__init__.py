"""The networks: each in a room of its own, all behind `base.Network` and `base.VideoField`."""
