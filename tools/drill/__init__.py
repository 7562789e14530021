"""The drill: the whole service as processes, under load, while everything is made to fail.

`make drill` runs it; nothing here is collected by the tests. It judges by what its pretend
Amplience and downstream saw, not by what the service says of itself.
"""
