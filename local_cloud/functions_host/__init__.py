"""A local host for Azure Functions in Python: what ``func start`` does, without .NET.

Microsoft's own azure-functions-runtime indexes the app, converts values and calls the functions; this package is the
host around it: HTTP, queue and timer triggers, queue output and the admin routes, with the semantics of the real host.
"""
