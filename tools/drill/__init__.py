"""The drill: the whole service as processes, under load, while everything fails. `make drill`."""
