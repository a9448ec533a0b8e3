"""The assistants' entry: a server of the Model Context Protocol over the catalogue, through the gate (decision 25).

Nothing is imported here: the protocol's library costs half a second, which only the first assistant pays.
"""
