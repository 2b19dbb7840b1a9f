"""The cloud on a laptop: simulators on real sockets and a local functions host.

Never deployed, never imported by the product.
"""
